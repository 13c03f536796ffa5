"""Keep account of every character: read, screened, failed, waiting or excluded.

The states of a document always sum to its length, whatever is marked in whatever
order, and what was read stays read. So the share that is printed with an answer
can be recomputed from the answer's own spans.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import TYPE_CHECKING, Final, Literal

from hydra_core.swarm.document import Document
from hydra_core.swarm.values import LedgerSpan, NotRead
from hydra_core.swarm.wording import Language, Reading, sentence

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from hydra_core.swarm.split import Shard
    from hydra_core.swarm.values import QuoteState, ShardState

_START: Final = attrgetter("start")
_END: Final = attrgetter("end")


@dataclass(frozen=True, slots=True)
class Part:
    """A page or chapter and how much of it was read, excluded characters aside."""

    title: str
    document: str
    start: int
    end: int
    state: Literal["whole", "partly", "unread"]


class CoverageLedger:
    """The state of every character of one or more documents with distinct ids.

    At first everything waits, except what a document excludes. Not thread-safe.
    """

    def __init__(self, documents: Document | Sequence[Document]) -> None:
        given = (documents,) if isinstance(documents, Document) else tuple(documents)
        self._documents = {document.id: document for document in given}
        if len(self._documents) != len(given):
            raise ValueError("two documents have the same id; load() gives distinct ones")
        self._spans = {document.id: list(_initial(document)) for document in given}

    @classmethod
    def restore(
        cls, documents: Document | Sequence[Document], spans: Iterable[LedgerSpan]
    ) -> CoverageLedger:
        """A ledger as an earlier run left it, from that run's `spans()`."""
        ledger = cls(documents)
        for span in spans:
            if span.state != "excluded":
                ledger._mark(span)
        return ledger

    def read(self, shard: Shard) -> None:
        """The shard was read and its reply understood."""
        self._mark(_span_of(shard, "read"))

    def screened(self, shard: Shard) -> None:
        """Only a cheaper model looked whether the shard matters."""
        self._mark(_span_of(shard, "screened"))

    def failed(self, shard: Shard, reason: str) -> None:
        """The shard could not be read; it may be tried again."""
        self._mark(_span_of(shard, "failed", reason=reason))

    def waiting(self, shard: Shard, *, until: float | None = None, reason: str = "") -> None:
        """The shard waits for capacity until `until` seconds from the swarm's start."""
        self._mark(_span_of(shard, "waiting", reason=reason or None, until=until))

    def _mark(self, new: LedgerSpan) -> None:
        """Put a span in place of what it overlaps; read and excluded characters stay."""
        document = self._documents[new.document]
        if not 0 <= new.start <= new.end <= len(document.text):
            raise ValueError(f"no span of {new.document!r}: {new.start}-{new.end}")
        if new.start == new.end:
            return
        spans = self._spans[new.document]
        first = bisect_right(spans, new.start, key=_END)
        last = bisect_left(spans, new.end, key=_START)
        spans[first:last] = _merged(
            piece for old in spans[first:last] for piece in _overlaid(old, new)
        )

    def spans(self) -> tuple[LedgerSpan, ...]:
        """Disjoint spans that tile every document, in order; neighbours differ."""
        return tuple(span for spans in self._spans.values() for span in _merged(spans))

    def totals(self) -> dict[ShardState, int]:
        """Characters by state; the values sum to the length of all documents."""
        totals: Counter[ShardState] = Counter()
        for span in self.spans():
            totals[span.state] += span.end - span.start
        return dict(totals)

    @property
    def coverage(self) -> float:
        """Characters read over characters not excluded (0..1)."""
        return share_read(self.spans())

    def unread(self) -> tuple[NotRead, ...]:
        """What the answer does not rest on, why, and when it can be read."""
        return tuple(
            NotRead(
                start=span.start,
                end=span.end,
                pages=self._pages_of(span),
                reason=span.reason or span.state,
                until=span.until,
                document=span.document,
            )
            for span in self.spans()
            if span.state in ("waiting", "failed", "screened")
        )

    def _pages_of(self, span: LedgerSpan) -> tuple[int, int]:
        document = self._documents[span.document]
        return document.page_at(span.start), document.page_at(span.end - 1)

    def pages(self) -> tuple[Part, ...]:
        """Every page and whether it was read wholly, partly or not."""
        return tuple(
            self._part(document, str(page.number), page.start, page.end)
            for document in self._documents.values()
            for page in document.pages
        )

    def chapters(self) -> tuple[Part, ...]:
        """Every chapter and whether it was read wholly, partly or not.

        Chapters are the headings of the level that has the most of them.
        """
        return tuple(
            self._part(document, title, start, end)
            for document in self._documents.values()
            for title, start, end in _chapters(document)
        )

    def _part(self, document: Document, title: str, start: int, end: int) -> Part:
        spans = self._spans[document.id]
        low, high = bisect_right(spans, start, key=_END), bisect_left(spans, end, key=_START)
        states = {span.state for span in spans[low:high]} - {"excluded"}
        state: Literal["whole", "partly", "unread"] = "partly" if "read" in states else "unread"
        if states <= {"read"}:
            state = "whole"
        return Part(title, document.id, start, end, state)

    def sentence(
        self,
        language: Language = "en",
        *,
        quotes: Mapping[QuoteState, int] | None = None,
        nothing_found: bool = False,
        now: float = 0.0,
        resume_token: str | None = None,
    ) -> str:
        """What was read and what was not, in words that claim no more than is true.

        `quotes` counts the answer's quotes by state; `now` is seconds from the
        swarm's start, for the time until waiting parts can be read.
        """
        reading = Reading(
            coverage=self.coverage,
            pages=self.pages(),
            chapters=self.chapters(),
            unread=self.unread(),
            quotes=quotes,
            nothing_found=nothing_found,
            now=now,
            resume_token=resume_token,
        )
        return sentence(reading, language)


def share_read(spans: Iterable[LedgerSpan]) -> float:
    """The coverage (0..1) that ledger spans prove: read over not excluded."""
    read = total = 0
    for span in spans:
        size = span.end - span.start
        total += size if span.state != "excluded" else 0
        read += size if span.state == "read" else 0
    return read / total if total else 1.0


def _span_of(
    shard: Shard, state: ShardState, *, reason: str | None = None, until: float | None = None
) -> LedgerSpan:
    return LedgerSpan(shard.start, shard.end, state, reason, until, shard.document)


def _initial(document: Document) -> Iterator[LedgerSpan]:
    place = 0
    for span in document.excluded:
        if place < span.start:
            yield LedgerSpan(place, span.start, "waiting", document=document.id)
        yield LedgerSpan(span.start, span.end, "excluded", span.reason, document=document.id)
        place = span.end
    if place < len(document.text):
        yield LedgerSpan(place, len(document.text), "waiting", document=document.id)


def _overlaid(old: LedgerSpan, new: LedgerSpan) -> Iterator[LedgerSpan]:
    """The pieces of an old span after a new one was laid over it."""
    if old.state in ("read", "excluded"):
        yield old
        return
    start, end = max(old.start, new.start), min(old.end, new.end)
    if old.start < start:
        yield replace(old, end=start)
    yield replace(new, start=start, end=end)
    if end < old.end:
        yield replace(old, start=end)


def _merged(spans: Iterable[LedgerSpan]) -> Iterator[LedgerSpan]:
    last: LedgerSpan | None = None
    for span in spans:
        if last and replace(span, start=last.start, end=last.end) == last:
            last = replace(last, end=span.end)
            continue
        if last:
            yield last
        last = span
    if last:
        yield last


def _chapters(document: Document) -> Iterator[tuple[str, int, int]]:
    if not document.headings:
        return
    counts = Counter(heading.level for heading in document.headings)
    level = max(counts, key=lambda each: (counts[each], -each))
    bounds = [heading for heading in document.headings if heading.level <= level]
    ends = [*(heading.start for heading in bounds[1:]), len(document.text)]
    for heading, end in zip(bounds, ends, strict=True):
        if heading.level == level:
            yield heading.title, heading.start, end
