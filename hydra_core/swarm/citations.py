"""Check that a quote stands in the text, and say how well.

A model copies with slips, so a plain search rejects most true quotes; a fuzzy
search accepts an inserted "not". Here a quote is `exact`, `folded` (equal but for
case, typography and line breaks), `repaired` (nearly equal, no content word
added, no negation touched) or `unverified`. Only the first two count as found;
none of them says that the claim is true.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import cached_property
from heapq import nlargest
from typing import TYPE_CHECKING, Final

from hydra_core.swarm.folding import FoldedText
from hydra_core.swarm.wordguard import says_the_same

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hydra_core.swarm.document import Document
    from hydra_core.swarm.values import QuoteState

MIN_FOLDED: Final = 12
"""Folded characters below which a quote, or a piece of an elided one, proves nothing."""

MAX_ELISION: Final = 300
"""Folded characters that one "..." may stand for."""

MIN_SIMILARITY: Final = 0.90
"""Least share of equal characters, 2 * equal / (both lengths), of a repaired quote."""

MAX_REPAIRED: Final = 1_000
"""Folded characters above which a quote is not repaired; 40 words have about 240."""

_CANDIDATES: Final = 3
_SLACK: Final = 3
_MARKS: Final = re.compile(r"\[p\d+\]")
_ELISION: Final = re.compile(r"\s*[\[(]?(?:\.{3,}|(?:\. ){2}\.)[\])]?\s*")
_WORD: Final = re.compile(r"-?\d+(?:[.,]\d+)*(?!\w)|\w+(?:'\w+)*")


@dataclass(frozen=True, slots=True)
class Verified:
    """Where a quote stands, and the source's own `text` there.

    `elided` says that the quote left something out with "..."; `text` holds it. An
    `unverified` quote spans the whole core and keeps its own words.
    """

    state: QuoteState
    start: int
    end: int
    text: str
    elided: bool = False

    @property
    def found(self) -> bool:
        """True when the quote counts as found in the text."""
        return self.state in ("exact", "folded")


def verify(quote: str, document: Document, start: int, end: int) -> Verified:
    """Look for a quote in `document.text[start:end]`; see `ShardQuotes` for many quotes."""
    return ShardQuotes(document, start, end).verify(quote)


class ShardQuotes:
    """Verifies the quotes of one shard; the core is folded once, at the first need."""

    def __init__(self, document: Document, start: int, end: int) -> None:
        self._text = document.text
        self._start = start
        self._end = end

    def verify(self, quote: str) -> Verified:
        """The strongest state in which the quote stands in the shard's core."""
        quote = _MARKS.sub("", quote).strip()
        span = self._exact(quote)
        if span:
            return self._verified("exact", span)
        needle = FoldedText(quote).folded.strip()
        if len(needle) >= MIN_FOLDED:
            for words in dict.fromkeys((needle, needle.strip("' "))):
                if span := self._folded_span(words):
                    return self._verified("folded", span)
            if span := self._elided(needle):
                return self._verified("folded", span, elided=True)
            if len(needle) <= MAX_REPAIRED and (span := self._repaired(needle)):
                return self._verified("repaired", span)
        return Verified("unverified", self._start, self._end, quote)

    def _verified(
        self, state: QuoteState, span: tuple[int, int], *, elided: bool = False
    ) -> Verified:
        return Verified(state, *span, self._text[slice(*span)], elided)

    def _exact(self, quote: str) -> tuple[int, int] | None:
        places = _places(self._text, quote, self._start, self._end)
        return next(((place, place + len(quote)) for place in places), None)

    @cached_property
    def _core(self) -> FoldedText:
        return FoldedText(self._text, self._start, self._end)

    def _folded_span(self, needle: str) -> tuple[int, int] | None:
        if len(needle) < MIN_FOLDED:
            return None
        folded = self._core.folded
        place = next(_places(folded, needle, 0, len(folded)), None)
        return None if place is None else self._core.source_span(place, place + len(needle))

    def _elided(self, needle: str) -> tuple[int, int] | None:
        """Where all pieces of a quote with "..." stand in order, close together.

        Every place of every piece is tried: `chains` maps the end of each chain of
        pieces found so far to its start.
        """
        pieces = [piece.strip("' ") for piece in _ELISION.split(needle)]
        pieces = [piece for piece in pieces if piece]
        if not pieces or any(len(piece) < MIN_FOLDED for piece in pieces):
            return None
        folded, first = self._core.folded, pieces[0]
        chains = {p + len(first): p for p in _places(folded, first, 0, len(folded))}
        for piece in pieces[1:]:
            longer: dict[int, int] = {}
            for end, start in chains.items():
                limit = min(len(folded), end + MAX_ELISION + len(piece))
                for place in _places(folded, piece, end, limit):
                    longer[place + len(piece)] = max(start, longer.get(place + len(piece), 0))
            chains = longer
        if not chains:
            return None
        end, start = min(chains.items(), key=lambda chain: chain[0] - chain[1])
        return self._core.source_span(start, end)

    @cached_property
    def _words(self) -> list[tuple[str, int, int]]:
        return [(m[0], m.start(), m.end()) for m in _WORD.finditer(self._core.folded)]

    @cached_property
    def _word_places(self) -> dict[str, list[int]]:
        places: defaultdict[str, list[int]] = defaultdict(list)
        for index, (word, _, _) in enumerate(self._words):
            places[word].append(index)
        return dict(places)

    def _repaired(self, needle: str) -> tuple[int, int] | None:
        """The most similar run of words, if it is similar enough and says the same."""
        words = _WORD.findall(needle)
        best: tuple[float, int, int] | None = None
        for offset in self._likely_offsets(words):
            first, last = self._aligned(words, offset)
            if first >= last:
                continue
            start, end = self._words[first][1], self._words[last - 1][2]
            source = self._core.folded[start:end]
            ratio = SequenceMatcher(None, source, needle, autojunk=False).ratio()
            said = [word for word, _, _ in self._words[first:last]]
            better = best is None or ratio > best[0]
            if ratio >= MIN_SIMILARITY and better and says_the_same(words, said):
                best = (ratio, start, end)
        return self._core.source_span(best[1], best[2]) if best else None

    def _likely_offsets(self, words: list[str]) -> list[int]:
        """Word offsets of the shard at which the most words of the quote agree."""
        votes: defaultdict[int, float] = defaultdict(float)
        for index, word in enumerate(words):
            places = self._word_places.get(word, [])
            for place in places:
                # A rare word says more about the place than "the" does.
                votes[place - index] += 1 / len(places)
        return nlargest(_CANDIDATES, votes, key=votes.__getitem__)

    def _aligned(self, words: list[str], offset: int) -> tuple[int, int]:
        """The run of the shard's words that the quote's words line up with."""
        low = max(0, offset - _SLACK)
        high = min(len(self._words), offset + len(words) + _SLACK)
        said = [word for word, _, _ in self._words[low:high]]
        matches = SequenceMatcher(None, said, words, autojunk=False).get_matching_blocks()[:-1]
        if not matches:
            return 0, 0
        first, last = matches[0], matches[-1]
        missing = len(words) - (last.b + last.size)
        return (
            max(low, low + first.a - first.b),
            min(high, low + last.a + last.size + missing),
        )


def _places(text: str, needle: str, start: int, end: int) -> Iterator[int]:
    """Where a needle stands in `text[start:end]` without cutting a word or a number.

    "he was guilty" is not a quote of "she was guilty", nor "5 pounds" of "2.5 pounds".
    """
    place = text.find(needle, start, end) if needle else -1
    while place >= 0:
        if not (_cuts(text, place) or _cuts(text, place + len(needle))):
            yield place
        place = text.find(needle, place + 1, end)


def _cuts(text: str, place: int) -> bool:
    if not 0 < place < len(text):
        return False
    before, after = text[place - 1], text[place]
    if unicodedata.combining(after) or (_spelled(before) and _spelled(after)):
        return True
    decimal = (after.isdigit() and text[max(0, place - 2) : place]) or (
        before.isdigit() and text[place : place + 2][::-1]
    )
    return bool(decimal and _POINT.fullmatch(decimal))


_POINT: Final = re.compile(r"\d[.,]")


def _spelled(character: str) -> bool:
    """True for digits and for letters of scripts that part words by spaces."""
    return character.isdigit() or character.lower() != character.upper()
