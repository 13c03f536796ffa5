"""From located facts to one answer: code first, then as few calls as the budget allows.

Facts go upward, not the shards' own answers: a majority of answers is right far
less often than the facts in the order of the text. Ids go in and ids come out, so
no call of this stage can add a fact; an id that was not among the inputs is
removed and counted. When a call fails, code goes on with what it has.

`Synthesis` decides and makes no call itself: `calls()` says what to ask now,
`report()` takes the replies, until `answer` is there.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from hydra_core.swarm.map import parse_object
from hydra_core.swarm.prompts import fact_text, select_prompt, synthesis_prompt
from hydra_core.swarm.values import Citation, Fact

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from hydra_core.messages import Message

CHARS_PER_TOKEN: Final = 4
MAX_CLAIM: Final = 400
"""Characters to which claims of one and the same passage are joined."""

MOST_UNCITED: Final = 5
"""Facts shown as citations when the model cited none of those it was given."""

MOST_LISTED: Final = 12
"""Passages shown when no model could write the answer: a reader, not a model, goes through them."""

_SAME_PASSAGE: Final = 0.5
_CITED: Final = re.compile(r"[ \t]*[\[(]\s*(F\d+(?:\s*(?:,|;|and|y)?\s*F?\d+)*)\s*[\])]")
_NUMBER: Final = re.compile(r"\d+")
_STATES: Final = {"exact": 0, "folded": 1, "repaired": 2}


@dataclass(frozen=True, slots=True)
class ReduceCall:
    """One call to make: `keys` are the ids that went in; `final` asks for the answer."""

    messages: tuple[Message, ...]
    keys: tuple[str, ...]
    final: bool


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer's text with marks [1], [2] for `citations`, in document order.

    `written` is False when no model wrote it; `uncited` True when the model cited
    nothing and the citations are the surest facts it was given; `invented` counts
    ids that were cited but did not exist; `carried` of `extracted` facts reached
    the last prompt.
    """

    text: str
    citations: tuple[Citation, ...]
    written: bool
    uncited: bool = False
    invented: int = 0
    carried: int = 0
    extracted: int = 0


class Synthesis:
    """Turns facts into an answer.

    `documents` are the ids of the sources in their order, `budget` how many tokens of
    facts fit one call, `coverage` the share read as the model is told. Facts whose
    quote was not found stay out.
    """

    def __init__(
        self,
        question: str,
        facts: Iterable[Fact],
        *,
        documents: Sequence[str],
        budget: int,
        coverage: str,
    ) -> None:
        self.answer: Answer | None = None
        self._question = question
        self._budget = max(1, budget)
        self._coverage = coverage
        merged = merge(facts, documents)
        self._facts = {f"F{number}": fact for number, fact in enumerate(merged, start=1)}
        self._kept = [*self._facts]
        self._open: set[tuple[str, ...]] = set()
        self._chosen: set[str] = set()

    @property
    def facts(self) -> Mapping[str, Fact]:
        """Every fact that may be cited, by id, in document order."""
        return self._facts

    def calls(self) -> tuple[ReduceCall, ...]:
        """The calls to make now, independent of each other."""
        if self.answer or self._open or not self._kept:
            return ()
        if self._size(self._kept) <= self._budget or len(self._kept) == 1:
            chosen = [(key, self._facts[key]) for key in self._kept]
            prompt = synthesis_prompt(chosen, self._question, coverage=self._coverage)
            calls = [ReduceCall(prompt, tuple(self._kept), final=True)]
        else:
            calls = [self._selection(keys) for keys in self._packed()]
        self._open = {call.keys for call in calls}
        return tuple(calls)

    def report(self, call: ReduceCall, text: str | None, *, too_long: bool = False) -> None:
        """Take the reply to a call; None or an empty text: the call failed.

        `too_long`: no model takes a prompt of this size, so the next ones are half of it.
        """
        self._open.discard(call.keys)
        if too_long and len(call.keys) > 1:
            self._budget = max(1, min(self._budget, self._size(call.keys)) // 2)
            if call.final:
                return
        if call.final:
            self.answer = self._cited(text) if text and text.strip() else self._listed(self._kept)
            return
        self._chosen |= self._selected(call.keys, text)
        if not self._open:
            half = self._size(self._kept) // 2
            chosen = [key for key in self._kept if key in self._chosen]
            # A choice of nothing is distrusted: the facts were reported as relevant.
            self._kept = self._trimmed(chosen or self._kept, max(half, self._budget))
            self._chosen = set()

    def _selection(self, keys: tuple[str, ...]) -> ReduceCall:
        prompt = select_prompt(((key, self._facts[key]) for key in keys), self._question)
        return ReduceCall(prompt, keys, final=False)

    def _packed(self) -> Iterator[tuple[str, ...]]:
        """The kept facts in runs of neighbours, each within the budget or a single fact."""
        run: list[str] = []
        room = self._budget
        for key in self._kept:
            size = self._size([key])
            if run and size > room:
                yield tuple(run)
                run, room = [], self._budget
            run.append(key)
            room -= size
        yield tuple(run)

    def _selected(self, keys: tuple[str, ...], text: str | None) -> set[str]:
        """What a selection keeps: at most half of what went in, so that levels come to an end."""
        report = parse_object(text) if text else None
        kept = report.get("kept") if report else None
        half = max(self._size(keys) // 2, 1)
        if not isinstance(kept, list):
            return set(self._trimmed(keys, half))
        chosen = [key for key in keys if key in {str(item).strip("[] ") for item in kept}]
        return set(chosen if self._size(chosen) <= half else self._trimmed(chosen, half))

    def _trimmed(self, keys: Sequence[str], tokens: int) -> list[str]:
        """The best facts that fit: well verified, sure, spread over the text; one at least."""
        seen: dict[int, int] = {}
        ranked = []
        for key in keys:
            fact = self._facts[key]
            nth = seen[fact.shard] = seen.get(fact.shard, -1) + 1
            ranked.append((_STATES[fact.state], -math.floor(fact.confidence), nth, fact.start, key))
        kept: set[str] = set()
        for *_, key in sorted(ranked):
            tokens -= self._size([key])
            if kept and tokens < 0:
                break
            kept.add(key)
        return [key for key in keys if key in kept]

    def _size(self, keys: Iterable[str]) -> int:
        return sum(len(fact_text(key, self._facts[key])) for key in keys) // CHARS_PER_TOKEN

    def _cited(self, text: str) -> Answer:
        """The model's text, its ids replaced by citation numbers; unknown ids vanish."""
        named = {key for found in _CITED.finditer(text) for key in _keys(found[1])}
        known = [key for key in self._facts if key in named]
        shown = known or self._trimmed(self._kept, self._budget)[:MOST_UNCITED]
        numbers = {key: f"[{number}]" for number, key in enumerate(known, start=1)}

        def expand(found: re.Match[str]) -> str:
            marks = "".join(numbers.get(key, "") for key in dict.fromkeys(_keys(found[1])))
            return f" {marks}" if marks else ""

        return Answer(
            text=_CITED.sub(expand, text).strip(),
            citations=tuple(citation(self._facts[key]) for key in shown),
            written=True,
            uncited=not known,
            invented=len(named - self._facts.keys()),
            carried=len(self._kept),
            extracted=len(self._facts),
        )

    def _listed(self, keys: Sequence[str]) -> Answer:
        """The surest of the passages, in document order: what code can do without a model."""
        surest = sorted(keys, key=lambda key: -self._facts[key].confidence)[:MOST_LISTED]
        keys = [key for key in keys if key in surest]
        lines = [
            f"{place_of(self._facts[key])}: \u201c{' '.join(self._facts[key].quote.split())}\u201d"
            f" [{number}]"
            for number, key in enumerate(keys, start=1)
        ]
        return Answer(
            text="\n".join(lines),
            citations=tuple(citation(self._facts[key]) for key in keys),
            written=False,
            carried=len(keys),
            extracted=len(self._facts),
        )


def merge(facts: Iterable[Fact], documents: Sequence[str]) -> list[Fact]:
    """Facts with a place, in the order of the documents and of their text, each passage once.

    Two facts are one when their spans overlap by half of the shorter; the surer one
    stays and takes over the other's claim. Equal words at two places are two facts:
    an entry that recurs is counted as often as it stands there.
    """
    rank = {document: place for place, document in enumerate(documents)}
    located = [fact for fact in facts if fact.state != "unverified"]
    located.sort(key=lambda fact: (rank[fact.document], fact.start, fact.end))
    merged: list[Fact] = []
    for fact in located:
        if merged and _same_passage(merged[-1], fact):
            merged[-1] = _joined(merged[-1], fact)
        else:
            merged.append(fact)
    return merged


def citation(fact: Fact) -> Citation:
    """A fact as the proof that a reader sees.

    Raises:
        ValueError: the fact's quote was not found in the text.
    """
    if fact.state == "unverified":
        raise ValueError(f"fact {fact.fact_id} has no quote that was found")
    return Citation(
        quote=fact.quote,
        state=fact.state,
        start=fact.start,
        end=fact.end,
        page=fact.page,
        heading=fact.heading,
        document=fact.document,
    )


def place_of(fact: Fact) -> str:
    """Where a fact stands, as a reader would say it."""
    return f"p. {fact.page}, {fact.heading[-1]}" if fact.heading else f"p. {fact.page}"


def _same_passage(one: Fact, other: Fact) -> bool:
    shared = min(one.end, other.end) - max(one.start, other.start)
    shorter = min(one.end - one.start, other.end - other.start)
    return one.document == other.document and shared >= _SAME_PASSAGE * max(1, shorter)


def _joined(one: Fact, other: Fact) -> Fact:
    """One fact for one passage: the better verified, surer and longer of the two."""
    first, second = sorted(
        (one, other), key=lambda fact: (_STATES[fact.state], -fact.confidence, fact.start)
    )
    claim = first.claim
    if second.claim not in claim and len(claim) + len(second.claim) < MAX_CLAIM:
        claim = f"{claim} {second.claim}"
    return replace(first, claim=claim)


def _keys(cited: str) -> list[str]:
    return [f"F{number}" for number in _NUMBER.findall(cited)]
