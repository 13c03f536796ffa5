"""One map call: read a model's report on a shard, and believe only what can be checked.

A shard counts as read only when the model ended by itself, its output could be
parsed and it says whether the shard is relevant. Everything else has a name, so
that an outage never looks like a book that is silent on the question.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from math import isfinite
from typing import TYPE_CHECKING, Any, Final

from hydra_core.errors import (
    ContentRefused,
    ContextTooLong,
    DeadlineExceeded,
    PoolExhausted,
    RequestRejected,
)
from hydra_core.messages import Fault
from hydra_core.swarm.citations import ShardQuotes, Verified
from hydra_core.swarm.prompts import paragraphs_of
from hydra_core.swarm.shortage import trouble_of
from hydra_core.swarm.split import CONTEXT_TAIL, Shard
from hydra_core.swarm.values import Fact

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from hydra_core.messages import Reply
    from hydra_core.swarm.document import Document
    from hydra_core.swarm.prompts import Paragraph

MAX_CONFIDENCE: Final = 5.0
MAX_INFERRED: Final = 4.5
MAX_PARAGRAPH_QUOTE: Final = 600
"""Characters of a paragraph that stand for a quote when a model gives `para` alone."""

_NORMAL_ENDS: Final = frozenset({None, "", "stop", "end_turn", "eos", "stop_sequence", "STOP"})
_FENCED: Final = re.compile(r"```[a-zA-Z]*\s*\n(.*?)```", re.DOTALL)
_TRAILING_COMMA: Final = re.compile(r",(\s*[}\]])")
_FACTS: Final = re.compile(r'"facts"\s*:\s*\[')


@dataclass(frozen=True, slots=True)
class Read:
    """The shard was read; `facts` may be empty."""

    facts: tuple[Fact, ...]
    relevant: bool


@dataclass(frozen=True, slots=True)
class Truncated:
    """The report was cut off; `facts` are those whose quotes were found."""

    facts: tuple[Fact, ...]


@dataclass(frozen=True, slots=True)
class Unparsable:
    """The report is not the object asked for; a repair call may save it."""

    output: str


@dataclass(frozen=True, slots=True)
class TooLong:
    """No model takes a request of this length."""


@dataclass(frozen=True, slots=True)
class Exhausted:
    """No capacity came in time; `error` says when it would, if anybody knows."""

    error: PoolExhausted


@dataclass(frozen=True, slots=True)
class Failed:
    """The shard could not be read, and why; `error` is what is raised if all end so.

    `again` is True when the same call may well succeed another time.
    """

    reason: Fault
    error: Exception | None = None
    again: bool = False


Outcome = Read | Truncated | Unparsable | TooLong | Exhausted | Failed


def read_reply(
    reply: Reply, document: Document, shard: Shard, paragraphs: Sequence[Paragraph]
) -> Outcome:
    """Turn the reply to a map prompt into checked facts, or into the reason why not."""
    if reply.kind == "wait":
        return Exhausted(PoolExhausted(reply.text, eta=reply.eta))
    if reply.finish_reason == "content_filter":
        return Failed(Fault.CONTENT_FILTER)
    located = _Locator(document, shard, paragraphs)
    if reply.finish_reason == "length":
        facts = located.facts(_whole_facts(reply.text), confidence=MAX_CONFIDENCE)
        return Truncated(tuple(fact for fact in facts if fact.state in ("exact", "folded")))
    if reply.finish_reason not in _NORMAL_ENDS:
        return Failed(Fault.INVALID_RESPONSE, again=True)
    if not reply.text.strip():
        return Failed(Fault.INVALID_RESPONSE, again=True)
    report = parse_object(reply.text)
    relevant = _as_bool(report.get("relevant")) if report else None
    if report is None or relevant is None:
        return Unparsable(reply.text)
    confidence = _as_number(report.get("confidence"), default=3.0)
    facts = located.facts(_dicts(report.get("facts")), confidence=confidence)
    return Read(tuple(facts), relevant)


def quality_of(outcome: Outcome) -> float | None:
    """What reading its reply showed of the model: the share of its quotes that are in the text.

    A report that is not the object asked for is worth nothing; None: it shows nothing.
    """
    match outcome:
        case Unparsable():
            return 0.0
        case Read(facts=facts) if facts:
            return sum(fact.state in ("exact", "folded") for fact in facts) / len(facts)
        case _:
            return None


def read_error(error: Exception) -> Outcome:
    """What an error of a map call means for its shard.

    Raises:
        Exception: `error` itself, when it says nothing about the shard.
    """
    match error:
        case DeadlineExceeded():
            return Failed(trouble_of(error) or Fault.TIMEOUT, error, again=True)
        case PoolExhausted():
            return Exhausted(error)
        case ContextTooLong():
            return TooLong()
        case ContentRefused():
            return Failed(Fault.CONTENT_FILTER, error)
        case RequestRejected() if _oversize(error):
            return TooLong()
        case RequestRejected():
            return Failed(Fault.BAD_REQUEST, error)
        case _:
            raise error


def _oversize(error: RequestRejected) -> bool:
    """Whether no limit lets a request of this size through; a smaller one may pass."""
    return bool(error.attempts) and error.attempts[-1].outcome == Fault.REQUEST_TOO_LARGE


def parse_object(text: str) -> dict[str, Any] | None:
    """The JSON object in a model's output, fenced or surrounded by words, or None."""
    fenced = _FENCED.search(text)
    for candidate in (text, fenced[1] if fenced else "", text[max(0, text.find("{")) :]):
        for version in (candidate, _TRAILING_COMMA.sub(r"\1", candidate)):
            found = _decode(version.strip())
            if found is not None:
                return found
    return None


def halve(document: Document, shard: Shard, index: int) -> tuple[Shard, Shard] | None:
    """Cut a shard in two at the paragraph end nearest its middle, or None if it has just one.

    The halves are numbered `index` and `index + 1`.
    """
    middle = (shard.start + shard.end) / 2
    ends = [part.end for part in paragraphs_of(document.text, shard.start, shard.end)][:-1]
    if not ends:
        return None
    cut = min(ends, key=lambda end: abs(end - middle))
    return (
        replace(shard, index=index, end=cut),
        Shard(
            index=index + 1,
            start=cut,
            end=shard.end,
            heading_path=document.heading_path(cut),
            context_tail_start=max(shard.start, cut - CONTEXT_TAIL),
            document=shard.document,
        ),
    )


class _Locator:
    """Finds the place of each reported fact in one shard."""

    def __init__(self, document: Document, shard: Shard, paragraphs: Sequence[Paragraph]) -> None:
        self._document = document
        self._shard = shard
        self._paragraphs = {part.number: part for part in paragraphs}
        self._quotes = ShardQuotes(document, shard.start, shard.end)

    def facts(self, rows: Iterable[dict[str, Any]], *, confidence: float) -> Iterator[Fact]:
        for row in rows:
            claim, quote = _as_text(row.get("claim")), _as_text(row.get("quote"))
            if not (claim or quote):
                continue
            place = self._quotes.verify(quote) if quote else self._paragraph(row.get("para"))
            inferred = row.get("kind") == "inferred"
            sure = _as_number(row.get("confidence"), default=confidence)
            yield Fact(
                fact_id=f"{self._shard.index}:{place.start}-{place.end}",
                shard=self._shard.index,
                claim=claim or quote,
                quote=place.text,
                kind="inferred" if inferred else "stated",
                entities=tuple(_texts(row.get("entities"))),
                time=_as_text(row.get("time")) or None,
                confidence=min(sure, MAX_INFERRED if inferred else MAX_CONFIDENCE),
                start=place.start,
                end=place.end,
                state=place.state,
                page=self._document.page_at(place.start),
                heading=self._document.heading_path(place.start),
                document=self._document.id,
            )

    def _paragraph(self, para: object) -> Verified:
        """A fact's paragraphs in place of a quote: verbatim by nature, if they exist."""
        numbers = [number for number in _listed(para) if isinstance(number, int)]
        parts = [self._paragraphs.get(number) for number in numbers]
        text = self._document.text
        if not parts or parts[0] is None or parts[-1] is None or parts[0].start > parts[-1].start:
            return Verified("unverified", self._shard.start, self._shard.end, "")
        start, end = parts[0].start, parts[-1].end
        if end - start > MAX_PARAGRAPH_QUOTE:
            end = text.rfind(" ", start, start + MAX_PARAGRAPH_QUOTE) + 1 or end
        quote = text[start:end].strip()
        start = text.index(quote, start)
        return Verified("exact" if quote else "unverified", start, start + len(quote), quote)


def _whole_facts(text: str) -> Iterator[dict[str, Any]]:
    """The complete fact objects at the head of a report that was cut off."""
    begin = _FACTS.search(text)
    place = begin.end() if begin else len(text)
    decoder = json.JSONDecoder(strict=False)
    while (place := text.find("{", place)) >= 0:
        try:
            row, place = decoder.raw_decode(text, place)
        except json.JSONDecodeError:
            return
        if isinstance(row, dict):
            yield row


def _decode(text: str) -> dict[str, Any] | None:
    try:
        # Not strict: models copy line breaks into strings as they are.
        found, _ = json.JSONDecoder(strict=False).raw_decode(text)
    except (json.JSONDecodeError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _as_bool(value: object) -> bool | None:
    if isinstance(value, bool):
        return value
    return {"true": True, "yes": True, "false": False, "no": False}.get(str(value).lower())


def _as_number(value: object, *, default: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        return default
    return min(max(float(value), 0.0), MAX_CONFIDENCE)


def _as_text(value: object) -> str:
    return value.strip() if isinstance(value, str) else ""


def _listed(value: object) -> list[object]:
    return list(value) if isinstance(value, list) else [value]


def _texts(value: object) -> Iterator[str]:
    return (item for item in _listed(value) if isinstance(item, str) and item)


def _dicts(value: object) -> Iterator[dict[str, Any]]:
    return (item for item in _listed(value) if isinstance(item, dict))
