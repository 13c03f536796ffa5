"""One swarm from its source to its result, apart from the calls: what both drivers share."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from math import inf
from typing import TYPE_CHECKING, Final

from hydra_core.swarm.account import Account
from hydra_core.swarm.bm25 import rank
from hydra_core.swarm.coverage import CoverageLedger
from hydra_core.swarm.loaders import load
from hydra_core.swarm.pace import outstanding
from hydra_core.swarm.plan import plan
from hydra_core.swarm.prompts import MAP_INSTRUCTIONS, SYNTHESIS_INSTRUCTIONS
from hydra_core.swarm.reading import MAP_TOKENS, SwarmRun
from hydra_core.swarm.report import build_result, nothing_read, waiting_result
from hydra_core.swarm.resume import Checkpoint, checkpoint_of
from hydra_core.swarm.shortage import HORIZON, allowance_of
from hydra_core.swarm.split import split
from hydra_core.swarm.synthesize import CHARS_PER_TOKEN, Synthesis
from hydra_core.swarm.values import percent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hydra_core.engine.capacity import GroupCapacity
    from hydra_core.swarm.document import Document
    from hydra_core.swarm.loaders import Source
    from hydra_core.swarm.split import Shard
    from hydra_core.swarm.values import SwarmPlan, SwarmResult
    from hydra_core.swarm.wording import Language

SYNTHESIS_TOKENS: Final = 1_200
"""Most tokens of the answer."""

FACTS_MOST: Final = 16_000
FACTS_LEAST: Final = 500
"""Tokens of facts in one call: beyond the first, models overlook what stands in the middle."""

_CONTEXT_TOKENS: Final = 200
"""Heading path, words before the shard, paragraph numbers and fences of one map prompt."""

_SUMMARY: Final = re.compile(
    r"\b(summar\w+|overview|what is (?:this|the) \w+ about|outline|resum\w+|de qu[eé] trata)\b",
    re.IGNORECASE,
)


@dataclass(slots=True)
class SwarmJob:
    """The state of one swarm; the drivers make the calls that `reading` and `synthesis` name."""

    question: str
    documents: dict[str, Document]
    plan: SwarmPlan
    ledger: CoverageLedger
    account: Account
    reading: SwarmRun
    width: int
    facts_budget: int
    deadline: float | None
    language: Language
    synthesis: Synthesis | None = None

    @classmethod
    def prepare(
        cls,
        question: str,
        source: Source,
        capacity: Sequence[GroupCapacity],
        *,
        deadline: float | None,
        resume: str | SwarmResult | None,
        language: Language,
        patience: float,
    ) -> SwarmJob:
        """Load, plan and cut a source. `deadline` is seconds from the start.

        `patience` is how many seconds an outage is borne without a deadline.

        Raises:
            SourceError: the source cannot be read.
            ConfigError: `resume` belongs to something else.
        """
        documents = {document.id: document for document in load(source)}
        texts = tuple(documents.values())
        planned = reading_plan(texts, capacity, question=question, deadline=deadline)
        earlier = Checkpoint((), (), ())
        if resume is None:
            unread = _shards(texts, planned.shard_chars)
        else:
            earlier = checkpoint_of(resume, question, documents)
            unread = earlier.unread
        ledger = CoverageLedger(texts)
        account = Account(tuple(documents), ledger, expected=planned.seconds_p50)
        for shard in earlier.read:
            ledger.read(shard)
            account.open(shard, "read")
        width = outstanding(capacity)
        reading = SwarmRun(
            question,
            documents,
            reading_order(question, documents, unread, hurried=deadline is not None),
            ledger=ledger,
            account=account,
            width=width,
            deadline=deadline,
            patience=patience,
            allowance=allowance_of(
                capacity,
                calls=len(unread),
                tokens=planned.tokens // max(1, planned.shards),
                horizon=HORIZON if deadline is None else deadline,
            ),
        )
        reading.facts += earlier.facts
        account.tell("planned", 0.0)
        budget = facts_budget(capacity)
        return cls(
            question,
            documents,
            planned,
            ledger,
            account,
            reading,
            width,
            budget,
            deadline,
            language,
        )

    def recount(self, capacity: Sequence[GroupCapacity], calls: int, now: float) -> None:
        """Let `calls` more be made as far as the quota allows, by what those before really took."""
        usage = self.account.usage
        tokens = max(1, math.ceil(usage.total_tokens / max(1, self.account.calls)))
        left = HORIZON if self.deadline is None else self.deadline - now
        allowance = allowance_of(
            capacity,
            calls=calls,
            tokens=tokens,
            horizon=left,
            # The answer is written from all reports, so it may take as much as several calls.
            kept=max(1, math.ceil((usage.completion_tokens + SYNTHESIS_TOKENS) / tokens)),
            least=0,
        )
        if allowance is not None and allowance.until is not None:
            allowance = replace(allowance, until=now + allowance.until)
        self.reading.recounted(allowance)

    def begin_synthesis(self, now: float) -> Synthesis:
        """What turns the facts read so far into an answer."""
        self.reading.close(now)
        coverage = self.ledger.coverage
        self.synthesis = Synthesis(
            self.question,
            self.reading.facts,
            documents=tuple(self.documents),
            budget=self.facts_budget,
            coverage=percent(coverage),
        )
        if self.synthesis.facts:
            self.account.tell("synthesis", now)
        return self.synthesis

    def time_left(self, now: float) -> float | None:
        """Seconds until the deadline, never negative; None without one."""
        return None if self.deadline is None else max(0.0, self.deadline - now)

    def result(self, now: float) -> SwarmResult:
        """What came of it.

        Raises:
            PoolExhausted: nothing was read, and nobody knows when it can be.
            RequestRejected: every provider rejects the calls as such.
        """
        self.account.tell("finished", now)
        if self.ledger.coverage == 0.0 and self.account.reports:
            return self._nothing(now)
        return build_result(
            question=self.question,
            documents=self.documents,
            ledger=self.ledger,
            account=self.account,
            facts=self.reading.facts,
            answer=None if self.synthesis is None else self.synthesis.answer,
            plan=self.plan,
            language=self.language,
            now=now,
        )

    def _nothing(self, now: float) -> SwarmResult:
        until = self.reading.eta_at
        reasons = {report.reason or report.state for report in self.account.reports}
        if until is None and reasons != {"deadline"}:
            raise nothing_read(self.reading.errors, self.account.reports)
        return waiting_result(
            ledger=self.ledger,
            account=self.account,
            eta=None if until is None else max(0.0, until - now),
            plan=self.plan,
            language=self.language,
        )


def reading_plan(
    documents: Sequence[Document],
    capacity: Sequence[GroupCapacity],
    *,
    question: str | None,
    deadline: float | None,
) -> SwarmPlan:
    """The plan for these documents, with the size of this module's own calls.

    A character takes what the engine books for it, at the model that books most: calls that
    are planned smaller would wait for room of which the plan knows nothing.
    """
    ratios = [group.tokens_per_char for group in capacity if group.tokens_per_char is not None]
    return plan(
        documents,
        capacity,
        question=question,
        deadline=deadline,
        prompt_tokens=len(MAP_INSTRUCTIONS) // CHARS_PER_TOKEN + _CONTEXT_TOKENS,
        output_tokens=MAP_TOKENS,
        chars_per_token=1.0 / max(ratios) if ratios else CHARS_PER_TOKEN,
    )


def reading_order(
    question: str, documents: dict[str, Document], shards: Sequence[Shard], *, hurried: bool
) -> list[Shard]:
    """The order in which shards are sent.

    When all will be read, the longest go first, so that no long one ends last. When
    time may run out, those closest to the question go first; for a summary, which
    is close to nothing, one from each stretch of the text before a second.
    """
    if not hurried:
        return sorted(shards, key=len, reverse=True)
    if _SUMMARY.search(question):
        return _spread(shards)
    texts = [documents[one.document].text[one.start : one.end] for one in shards]
    return [shards[place] for place in rank(question, texts)]


def facts_budget(capacity: Sequence[GroupCapacity]) -> int:
    """Tokens of facts that fit one call at the group that takes the longest prompts."""
    prompt = len(SYNTHESIS_INSTRUCTIONS) // CHARS_PER_TOKEN + _CONTEXT_TOKENS
    rooms = [_longest_prompt(group) for group in capacity]
    room = max(rooms, default=float(FACTS_MOST)) - SYNTHESIS_TOKENS - prompt
    return int(min(max(room, FACTS_LEAST), FACTS_MOST))


def _longest_prompt(group: GroupCapacity) -> float:
    limits = [window.limit for window in group.windows if window.kind == "tokens"]
    return min([*limits, float(group.context_window or inf)])


def _shards(documents: Sequence[Document], budget: int) -> tuple[Shard, ...]:
    """All documents' shards, numbered through."""
    shards = [shard for document in documents for shard in split(document, budget=budget)]
    return tuple(replace(shard, index=index) for index, shard in enumerate(shards))


def _spread(shards: Sequence[Shard]) -> list[Shard]:
    """Both ends, then always the middle of the widest stretch not yet begun."""
    order = [0, len(shards) - 1] if len(shards) > 1 else [0] * len(shards)
    gaps = [(0, len(shards) - 1)]
    while gaps:
        low, high = gaps.pop(0)
        middle = (low + high) // 2
        if low < middle < high:
            order.append(middle)
            gaps += [(low, middle), (middle, high)]
    return [shards[place] for place in dict.fromkeys(order)]
