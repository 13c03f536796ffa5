"""What a swarm hands to its caller: the answer, its proofs, and how it came about.

All positions are character offsets into one document's text, half open
(`text[start:end]`); `document` is the id of that document. All times are
seconds; `latency` is measured, `timeline` counts from the start of the swarm.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from hydra_core.messages import Usage

if TYPE_CHECKING:
    from hydra_core.messages import ReplyKind

CitationState = Literal["exact", "folded", "repaired"]
QuoteState = Literal["exact", "folded", "repaired", "unverified"]
FactKind = Literal["stated", "inferred"]
ShardState = Literal["read", "screened", "failed", "waiting", "excluded"]
"""What became of a span of text; every character has exactly one of these."""

BoundBy = Literal[
    "requests per minute",
    "tokens per minute",
    "daily limit",
    "concurrency",
    "longest shard",
    "no capacity",
]


@dataclass(frozen=True, slots=True)
class Citation:
    """One quote of the answer, as the document has it.

    `exact` and `folded` quotes were found in the text; a `repaired` one differs
    in wording, and `quote` is the source's own. `page` counts from 1.
    """

    quote: str
    state: CitationState
    start: int
    end: int
    page: int
    heading: tuple[str, ...]
    document: str


@dataclass(frozen=True, slots=True)
class Fact:
    """One located fact that a map call reported, with the state of its quote.

    `confidence` runs from 0 to 5 and breaks ties only. `start` and `end` locate
    the quote, or the whole shard core when the quote is `unverified`.
    """

    fact_id: str
    shard: int
    claim: str
    quote: str
    kind: FactKind
    entities: tuple[str, ...]
    time: str | None
    confidence: float
    start: int
    end: int
    state: QuoteState
    page: int
    heading: tuple[str, ...]
    document: str = ""


@dataclass(frozen=True, slots=True)
class ShardReport:
    """What became of one shard, who read it, and what it cost in tokens."""

    index: int
    start: int
    end: int
    state: ShardState
    provider: str | None = None
    model: str | None = None
    key: str | None = None
    latency: float = 0.0
    tokens: int = 0
    attempts: int = 0
    document: str = ""
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class TimelineEntry:
    """One call of one shard on one key, in seconds from the start of the swarm."""

    shard: int
    key: str
    start: float
    end: float
    outcome: str


@dataclass(frozen=True, slots=True)
class LedgerSpan:
    """One span of a document and its state.

    `reason` says why it failed or is excluded; `until` is when a waiting span can
    be read, in seconds from the start of the swarm, or None when nobody knows.
    """

    start: int
    end: int
    state: ShardState
    reason: str | None = None
    until: float | None = None
    document: str = ""


@dataclass(frozen=True, slots=True)
class NotRead:
    """A span that the answer does not rest on, why, and when it can be read.

    `pages` is the first and last page; `until` as in `LedgerSpan`.
    """

    start: int
    end: int
    pages: tuple[int, int]
    reason: str
    until: float | None = None
    document: str = ""


@dataclass(frozen=True, slots=True)
class GroupPlan:
    """One quota group's part of a plan: its calls, tokens, and seconds until its last ends."""

    name: str
    provider: str
    model: str
    keys: tuple[str, ...]
    calls: int
    tokens: int
    seconds: float


@dataclass(frozen=True, slots=True)
class SwarmPlan:
    """What a swarm is going to do, said before the first call.

    `rounds` is the number of quota windows that the busiest group needs;
    `seconds_p50` and `seconds_p90` come from simulated runs and are None when no
    group can ever serve; `cost_usd` is the expected cost and `cost_range` its
    bounds, None when any price is unknown; `bound_by` is the limit that makes it
    take this long; `coverage_at_deadline` (0..1) is the share that simulated runs
    read on average before they must write the answer, 1 when there is no deadline;
    `shard_chars` is the longest shard that is allowed.
    """

    shards: int
    rounds: int
    seconds_p50: float | None
    seconds_p90: float | None
    tokens: int
    cost_usd: float | None
    bound_by: BoundBy
    coverage_at_deadline: float
    shard_chars: int
    groups: tuple[GroupPlan, ...] = ()
    cost_range: tuple[float, float] | None = None
    deadline: float | None = None

    def __str__(self) -> str:
        return "\n".join((*self._facts(), *self._table()))

    def _facts(self) -> list[str]:
        time = "never: no group can serve"
        if self.seconds_p50 is not None and self.seconds_p90 is not None:
            time = (
                f"{_seconds(self.seconds_p50)} (9 in 10 runs within {_seconds(self.seconds_p90)})"
            )
        cost = "unknown"
        if self.cost_range is not None:
            cost = f"${self.cost_range[0]:.4f} to ${self.cost_range[1]:.4f}"
        rows = [
            ("shards", f"{self.shards:,} of at most {self.shard_chars:,} characters"),
            ("rounds", f"{self.rounds:,}"),
            ("time", time),
            ("tokens", f"{self.tokens:,}"),
            ("cost", cost),
            ("bound by", self.bound_by),
        ]
        if self.deadline is not None:
            share = f"{percent(self.coverage_at_deadline)} read after {_seconds(self.deadline)}"
            rows.append(("deadline", share))
        return [f"{name:<9} {value}" for name, value in rows]

    def _table(self) -> list[str]:
        if not self.groups:
            return []
        width = max(len("group"), *(len(row.name) for row in self.groups))
        lines = [
            "",
            f"{'group':<{width}}  {'keys':>4}  {'calls':>6}  {'tokens':>10}  {'seconds':>9}",
        ]
        lines += [
            f"{row.name:<{width}}  {len(row.keys):>4}  {row.calls:>6,}  {row.tokens:>10,}"
            f"  {row.seconds:>9.1f}"
            for row in self.groups
        ]
        return lines


@dataclass(frozen=True, slots=True)
class SwarmResult:
    """The answer of a swarm and everything needed to check it.

    `coverage` is the share of the text's characters that were read (0..1), never
    rounded up. `citations` are in document order. `kind` is `cached` when no call
    was made for this answer; then `age` is its age in seconds. `eta` is the
    number of seconds until what is missing can be read.
    """

    text: str
    kind: ReplyKind
    coverage: float
    citations: tuple[Citation, ...] = ()
    shards: tuple[ShardReport, ...] = ()
    timeline: tuple[TimelineEntry, ...] = ()
    usage: Usage = field(default_factory=Usage)
    plan: SwarmPlan | None = None
    resume_token: str | None = None
    not_read: tuple[NotRead, ...] = ()
    eta: float | None = None
    age: float | None = None
    ledger: tuple[LedgerSpan, ...] = ()


def percent(share: float) -> str:
    """A share (0..1) as people read it, rounded down to a tenth: 0.9997 is `99.9 %`.

    Down, because "100 %" must mean that nothing is missing.
    """
    tenths = int(share * 1000 + 1e-9)
    whole, tenth = divmod(tenths, 10)
    return f"{whole}.{tenth} %" if tenth else f"{whole} %"


def _seconds(value: float) -> str:
    if value < 120:
        return f"{value:.1f} s"
    minutes, seconds = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {seconds:02d} s"
