"""Which shard is sent next, and what its outcome means for the rest: no clock, no I/O.

    law 1   every shard ends as read, failed or waiting; none is dropped
    law 2   a shard that found no capacity has not failed: it waits, no attempt is spent
    law 3   the map closes early enough that the answer can still be written

Which key serves a call, and when, is the engine's part: it plans over all waiting
calls. This module keeps enough calls outstanding for it, in the right order.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Final, assert_never

from hydra_core.errors import PoolExhausted
from hydra_core.messages import Fault
from hydra_core.swarm.map import Exhausted, Failed, Read, TooLong, Truncated, Unparsable, halve
from hydra_core.swarm.pace import GRACE, reserve
from hydra_core.swarm.prompts import map_prompt, repair_prompt
from hydra_core.swarm.shortage import HORIZON, Allowance, Shortage

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hydra_core.messages import Message, Reply
    from hydra_core.swarm.account import Account
    from hydra_core.swarm.coverage import CoverageLedger
    from hydra_core.swarm.document import Document
    from hydra_core.swarm.map import Outcome
    from hydra_core.swarm.prompts import Paragraph
    from hydra_core.swarm.split import Shard
    from hydra_core.swarm.values import Fact

MAX_ATTEMPTS: Final = 3
MAP_TOKENS: Final = 1_500
"""Most tokens of a map call's report: some fifteen facts with their quotes."""

ROOMY_TOKENS: Final = 6_000
"""What a call gets whose report was cut off before its first fact: its model thinks aloud."""

PATIENCE: Final = 30.0
"""Seconds without any reply after which an outage is taken for lasting."""


@dataclass(frozen=True, slots=True)
class MapTask:
    """One map call to make. `timeout` None: as long as the caller's own settings say."""

    shard: Shard
    messages: tuple[Message, ...]
    paragraphs: tuple[Paragraph, ...]
    started: float
    timeout: float | None
    max_tokens: int = MAP_TOKENS


@dataclass(frozen=True, slots=True)
class Start:
    """Make these calls now."""

    tasks: tuple[MapTask, ...]


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to start for this many seconds, or until a call ends; None: only the latter."""

    seconds: float | None


@dataclass(frozen=True, slots=True)
class Recount:
    """As many calls are made as estimates allowed: tell what the quota allows of those left."""

    calls: int


@dataclass(frozen=True, slots=True)
class Close:
    """The map is over; call `close`, which abandons what is in flight."""


Step = Start | Wait | Recount | Close


@dataclass(slots=True)
class _Tries:
    """How often a shard was tried; `draft` is an output that is to be repaired."""

    made: int = 0
    max_tokens: int = MAP_TOKENS
    draft: str | None = None
    repaired: bool = False


class SwarmRun:
    """The map phase of one swarm; times are seconds from its start.

    `shards` are given in the order in which they are to be read; `width` is the
    number of calls to keep outstanding, `allowance` what the quota leaves for them,
    `patience` how many seconds an outage is borne when no deadline says it. The
    driver asks `step`, obeys, and hands every call's end to `report`; at `Close` it
    calls `close`.
    """

    def __init__(
        self,
        question: str,
        documents: Mapping[str, Document],
        shards: Iterable[Shard],
        *,
        ledger: CoverageLedger,
        account: Account,
        width: int,
        deadline: float | None = None,
        allowance: Allowance | None = None,
        patience: float = PATIENCE,
    ) -> None:
        self.facts: list[Fact] = []
        self.errors: list[Exception] = []
        self._question = question
        self._documents = documents
        self._queue = deque(shards)
        self._ledger = ledger
        self._account = account
        self._width = max(1, width)
        self._deadline = deadline
        self._tries: dict[int, _Tries] = {}
        self._flying: dict[int, MapTask] = {}
        self._shortage = (
            Shortage(patience=patience, horizon=HORIZON)
            if deadline is None
            else Shortage(patience=inf, horizon=inf)
        )
        self._allowance = allowance or Allowance(inf, None)
        self._recounted = False
        self._slowest = 0.0
        for shard in self._queue:
            account.open(shard)

    @property
    def close_at(self) -> float:
        """When the map ends, so that the synthesis keeps its reserve."""
        return inf if self._deadline is None else self._deadline - self._reserve

    @property
    def eta_at(self) -> float | None:
        """When the capacity that was missing last returns, if that is known."""
        until = self._shortage.until
        if until is not None or self._shortage.trouble is not None:
            return until
        return self._allowance.until

    @property
    def trouble(self) -> Fault | None:
        """Why calls were not served last; None when they are, or nobody said."""
        return self._shortage.trouble

    def step(self, now: float) -> Step:
        """What to do now."""
        if not (self._queue or self._flying):
            return Close()
        if now >= self.close_at:
            return self._closing(now)
        if not self._flying and self._shortage.hopeless(now, self.close_at):
            return Close()
        if self._shortage.over_at > now:
            return _wait_until(min(self._shortage.over_at, self.close_at), now)
        room = min(self._width - len(self._flying), self._allowance.calls, len(self._queue))
        if room >= 1:
            return Start(tuple(self._launch(now) for _ in range(int(room))))
        if self._flying:
            return _wait_until(self.close_at, now)
        return Close() if self._recounted else Recount(len(self._queue))

    def recounted(self, allowance: Allowance | None) -> None:
        """What the quota leaves for the calls that are left; None: all of them."""
        self._allowance = allowance or Allowance(inf, None)
        self._recounted = True

    def report(self, task: MapTask, outcome: Outcome, reply: Reply | None, now: float) -> None:
        """Take the end of a call; `reply` is None when there was none."""
        shard = task.shard
        if self._flying.pop(shard.index, None) is None:
            return
        self._account.book(shard, outcome, reply, start=task.started, now=now)
        if reply is not None:
            calls = [attempt.latency for attempt in reply.attempts[-1:]] or [reply.latency]
            self._slowest = max(self._slowest, *calls)
        self._note(task, outcome, now)
        match outcome:
            case Read(facts=facts):
                self.facts += facts
                self._ledger.read(shard)
                self._account.settle(shard, "read")
                self._account.tell("read", now, shard)
            case Truncated(facts=facts):
                self.facts += facts
                self._truncated(shard, bool(facts), now)
            case TooLong():
                self._halve(shard, Fault.CONTEXT_TOO_LONG, now)
            case Unparsable(output=output):
                self._unparsable(shard, output, now)
            case Exhausted():
                self.errors.append(outcome.error)
                self._exhausted(shard, now)
            case Failed():
                self._failed(shard, outcome, now)
            case _:
                assert_never(outcome)

    def close(self, now: float) -> None:
        """End the map: whatever is unread waits, and the ledger says why."""
        reason = self._why_unread(now)
        left = [*self._queue, *(task.shard for task in self._flying.values())]
        for shard in left:
            self._ledger.waiting(shard, until=self.eta_at, reason=reason)
            self._account.settle(shard, "waiting", reason)
        self._queue.clear()
        self._flying.clear()

    def _why_unread(self, now: float) -> str:
        """Why what is left was not read: what went wrong last, unless time ran out."""
        trouble = self._shortage.trouble
        if now >= self.close_at and trouble in (None, Fault.TIMEOUT, Fault.CANCELLED):
            return "deadline"
        return trouble or "waiting"

    def _note(self, task: MapTask, outcome: Outcome, now: float) -> None:
        """Learn from a call's end whether calls are served."""
        if isinstance(outcome, Exhausted):
            self._shortage.exhausted(outcome.error, now)
        elif not (isinstance(outcome, Failed) and isinstance(outcome.error, PoolExhausted)):
            self._shortage.ended(now)
        elif not self._shortage.served_since(task.started):
            self._shortage.seen(0.0, now, outcome.reason)

    def _launch(self, now: float) -> MapTask:
        shard = self._queue.popleft()
        tries = self._tries.setdefault(shard.index, _Tries())
        tries.made += 1
        self._allowance = self._allowance.changed(-1)
        self._recounted = False
        prompt = map_prompt(self._documents[shard.document], shard, self._question)
        messages = prompt.messages
        if tries.draft is not None:
            messages = repair_prompt(messages, tries.draft)
            tries.draft, tries.repaired = None, True
        timeout = None if self.close_at == inf else self.close_at - now
        task = MapTask(shard, messages, prompt.paragraphs, now, timeout, tries.max_tokens)
        self._flying[shard.index] = task
        self._account.tell("started", now, shard)
        return task

    def _closing(self, now: float) -> Step:
        """Past the close: calls in flight have a short grace, then they are abandoned."""
        overrun = self.close_at + GRACE * self._reserve
        return Wait(overrun - now) if self._flying and now < overrun else Close()

    @property
    def _reserve(self) -> float:
        return reserve(self._deadline or 0.0, self._slowest)

    def _exhausted(self, shard: Shard, now: float) -> None:
        """Put the shard back first in line; nothing starts before capacity returns."""
        self._tries[shard.index].made -= 1
        self._allowance = self._allowance.changed(1)
        self._queue.appendleft(shard)
        self._ledger.waiting(shard, until=self._shortage.until)
        self._account.settle(shard, "waiting", "waiting")
        self._account.tell("waiting", now, shard)

    def _unparsable(self, shard: Shard, output: str, now: float) -> None:
        """Have it repaired once; after that ask anew, of a model that has followed the form."""
        tries = self._tries[shard.index]
        if tries.repaired:
            able = self._ledger.coverage > 0.0
            self._failed(shard, Failed(Fault.INVALID_RESPONSE, again=able), now)
            return
        tries.draft = output
        self._again(shard, now)

    def _truncated(self, shard: Shard, some: bool, now: float) -> None:
        """Ask with more room if not one fact came through, else read two halves."""
        tries = self._tries[shard.index]
        if some or tries.max_tokens == ROOMY_TOKENS:
            self._halve(shard, Fault.INVALID_RESPONSE, now)
            return
        tries.max_tokens = ROOMY_TOKENS
        self._again(shard, now)

    def _failed(self, shard: Shard, outcome: Failed, now: float) -> None:
        if outcome.error is not None:
            self.errors.append(outcome.error)
        if outcome.again and self._tries[shard.index].made < MAX_ATTEMPTS:
            self._again(shard, now)
            return
        self._ledger.failed(shard, outcome.reason)
        self._account.settle(shard, "failed", outcome.reason)
        self._account.tell("failed", now, shard)

    def _again(self, shard: Shard, now: float) -> None:
        self._queue.appendleft(shard)
        self._account.tell("again", now, shard)

    def _halve(self, shard: Shard, reason: Fault, now: float) -> None:
        halves = halve(self._documents[shard.document], shard, self._account.next_index)
        if halves is None:
            self._failed(shard, Failed(reason), now)
            return
        self._account.tell("halved", now, shard)
        self._account.replace(shard, halves)
        self._queue.extendleft(reversed(halves))


def _wait_until(moment: float, now: float) -> Wait:
    return Wait(None if moment == inf else moment - now)
