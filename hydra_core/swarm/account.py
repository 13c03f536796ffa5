"""What a swarm has done so far: every shard's fate, every call, the bill, the events."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, assert_never

from hydra_core.messages import OK, Fault, Usage
from hydra_core.swarm.map import Exhausted, Failed, Read, TooLong, Truncated, Unparsable
from hydra_core.swarm.progress import SwarmProgress
from hydra_core.swarm.values import ShardReport, TimelineEntry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hydra_core.messages import Reply
    from hydra_core.swarm.coverage import CoverageLedger
    from hydra_core.swarm.map import Outcome
    from hydra_core.swarm.progress import ProgressEvent
    from hydra_core.swarm.split import Shard
    from hydra_core.swarm.values import ShardState

SYNTHESIS: int = -1
"""The shard number of calls that write the answer, in the timeline."""


class Account:
    """The books of one swarm; times are seconds from its start.

    `documents` are the ids of the sources in order, `expected` the seconds that the
    plan says. `usage.cost_usd` becomes None as soon as one call's price is unknown.
    """

    def __init__(
        self, documents: Sequence[str], ledger: CoverageLedger, *, expected: float | None = None
    ) -> None:
        self.timeline: list[TimelineEntry] = []
        self.usage = Usage(cost_usd=0.0)
        self.calls = 0
        self._order = {document: place for place, document in enumerate(documents)}
        self._ledger = ledger
        self._expected = expected
        self._reports: dict[int, ShardReport] = {}
        self._events: list[SwarmProgress] = []
        self._done_before = 0
        self._began: float | None = None

    @property
    def reports(self) -> tuple[ShardReport, ...]:
        """Every shard and what became of it, in document order."""
        reports = self._reports.values()
        return tuple(sorted(reports, key=lambda one: (self._order[one.document], one.start)))

    @property
    def next_index(self) -> int:
        """A shard number that is not taken."""
        return max(self._reports, default=-1) + 1

    def open(self, shard: Shard, state: ShardState = "waiting") -> None:
        """Enter a shard; one that an earlier run read counts as done."""
        self._done_before += state == "read"
        self._reports[shard.index] = ShardReport(
            shard.index, shard.start, shard.end, state, document=shard.document
        )

    def replace(self, old: Shard, halves: Sequence[Shard]) -> None:
        """Enter the halves of a shard in its place; they inherit what it cost."""
        spent = self._reports.pop(old.index)
        for half in halves:
            self.open(half)
        first = halves[0].index
        self._reports[first] = replace(self._reports[first], tokens=spent.tokens)

    def settle(self, shard: Shard, state: ShardState, reason: str | None = None) -> None:
        """Note what became of a shard."""
        self._reports[shard.index] = replace(self._reports[shard.index], state=state, reason=reason)

    def book(
        self, shard: Shard, outcome: Outcome, reply: Reply | None, *, start: float, now: float
    ) -> None:
        """Enter one map call."""
        report = self._reports[shard.index]
        tries = max(1, len(reply.attempts)) if reply is not None else 1
        report = replace(report, attempts=report.attempts + tries)
        if reply is not None:
            self._began = start if self._began is None else min(self._began, start)
            report = replace(
                report,
                provider=reply.provider,
                model=reply.model,
                key=reply.key,
                latency=now - start,
                tokens=report.tokens + reply.usage.total_tokens,
            )
        self._reports[shard.index] = report
        self._enter(shard.index, outcome_name(outcome), reply, start=start, now=now)

    def book_synthesis(
        self, reply: Reply | None, outcome: str, *, start: float, now: float
    ) -> None:
        """Enter one call of the synthesis."""
        self._enter(SYNTHESIS, outcome, reply, start=start, now=now)

    def tell(self, event: ProgressEvent, now: float, shard: Shard | None = None) -> None:
        """Note an event for whoever watches."""
        report = self._reports.get(shard.index) if shard is not None else None
        self._events.append(
            SwarmProgress(
                event=event,
                shard=None if shard is None else shard.index,
                key=None if report is None else report.key,
                shards_done=self._done(),
                shards_total=len(self._reports),
                coverage=self._ledger.coverage,
                seconds=now,
                eta=self._eta(now),
            )
        )

    def drain(self) -> list[SwarmProgress]:
        """The events since the last call."""
        events, self._events = self._events, []
        return events

    def _enter(
        self, shard: int, outcome: str, reply: Reply | None, *, start: float, now: float
    ) -> None:
        key = reply.key if reply is not None and reply.key is not None else ""
        self.timeline.append(TimelineEntry(shard, key, start, now, outcome))
        if reply is not None:
            self.calls += 1
            self.usage = _sum(self.usage, reply.usage)

    def _done(self) -> int:
        return sum(report.state in ("read", "failed") for report in self._reports.values())

    def _eta(self, now: float) -> float | None:
        """Seconds to the end at the pace so far; before the first shard, the plan's."""
        done = self._done()
        fresh = done - self._done_before
        if fresh <= 0 or now <= 0:
            return None if self._expected is None else max(0.0, self._expected - now)
        # Waiting for the first capacity is no part of the pace.
        busy = now - (self._began or 0.0)
        return busy / fresh * (len(self._reports) - done)


def outcome_name(outcome: Outcome) -> str:
    """The word for an outcome in a timeline: `ok`, a fault's name, or what it led to."""
    match outcome:
        case Read():
            return OK
        case Truncated():
            return "truncated"
        case Unparsable():
            return Fault.INVALID_RESPONSE
        case TooLong():
            return Fault.CONTEXT_TOO_LONG
        case Exhausted():
            return "waiting"
        case Failed(reason=reason):
            return reason
        case _:
            assert_never(outcome)


def _sum(one: Usage, other: Usage) -> Usage:
    cost = None
    if one.cost_usd is not None and other.cost_usd is not None:
        cost = one.cost_usd + other.cost_usd
    return Usage(
        one.prompt_tokens + other.prompt_tokens,
        one.completion_tokens + other.completion_tokens,
        cost,
    )
