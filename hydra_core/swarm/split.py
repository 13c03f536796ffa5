"""Cut a document into shards that fit a budget, losing nothing and cutting little.

The cores of the shards partition the text exactly: joined, they are the text.
Cuts are chosen by dynamic programming over the places where a cut would do the
least harm, so no shard is small without need and almost none ends inside a
sentence.
"""

from __future__ import annotations

import re
import unicodedata
from collections import deque
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hydra_core.swarm.document import Document

CONTEXT_TAIL: Final = 400
"""Characters before a core that may be shown as context; never quoted, never counted."""

_SHARD_COST: Final = 20.0
_HEADING, _PARAGRAPH, _SENTENCE, _SPACE, _HARD = 0.0, 1.0, 4.0, 15.0, 100.0

_BLANK_LINES: Final = re.compile(r"(?:\r?\n[^\S\r\n]*){2,}|\f+")
_SENTENCE_END: Final = re.compile(
    r"(?<![.!?\u2026])[.!?\u2026]++[\"'\u201d\u2019\u00bb)\]_*]*+\s+"
    r"|[\u3002\uff01\uff1f]++[\u300d\u300f\u201d\uff09]*+"
)
_WHITE: Final = re.compile(r"\s+")
_JOINER: Final = "\u200d"


@dataclass(frozen=True, slots=True)
class Shard:
    """One piece of a document: its core is `text[start:end]`.

    `heading_path` is what the core's first character stands under. The text from
    `context_tail_start` to `start` is context only.
    """

    index: int
    start: int
    end: int
    heading_path: tuple[str, ...]
    context_tail_start: int
    document: str = ""

    def __len__(self) -> int:
        return self.end - self.start


def split(document: Document, *, budget: int) -> tuple[Shard, ...]:
    """Cut a document into shards of at most `budget` characters each.

    Minimises 20 per shard plus a penalty per cut (heading 0, blank line 1,
    sentence 4, space 15, inside a word 100). An empty text has no shard. A
    combining cluster or a line break is cut only when it alone exceeds the budget.

    Raises:
        ValueError: the budget is below 1.
    """
    if budget < 1:
        raise ValueError(f"a shard needs a budget of at least 1 character, not {budget}")
    ends = _best_cuts(_cuts(document, budget), budget) if document.text else []
    return tuple(
        Shard(
            index=index,
            start=start,
            end=end,
            heading_path=document.heading_path(start),
            context_tail_start=_tail_start(document.text, start),
            document=document.id,
        )
        for index, (start, end) in enumerate(pairwise(ends))
    )


def _tail_start(text: str, start: int) -> int:
    """Where the context before a core begins: at a word, at most `CONTEXT_TAIL` back."""
    earliest = max(0, start - CONTEXT_TAIL)
    if earliest == 0:
        return 0
    word = _WHITE.search(text, earliest, start)
    return word.end() if word else start


def _cuts(document: Document, budget: int) -> list[tuple[int, float]]:
    """Every place considered for a cut with its penalty, ascending, both ends included.

    Weaker places join only where the stronger leave a gap, which keeps the list
    short and every gap within the budget.
    """
    text, size = document.text, len(document.text)
    penalties = {match.end(): _SENTENCE for match in _SENTENCE_END.finditer(text)}
    penalties |= {match.end(): _PARAGRAPH for match in _BLANK_LINES.finditer(text)}
    penalties |= {heading.start: _HEADING for heading in document.headings}
    for heading in document.headings:
        # The place right below a heading is a bad one: it would leave the title behind.
        body = _WHITE.match(text, heading.end)
        penalties[body.end() if body else heading.end] = _SPACE
    penalties[size] = 0.0
    cuts: list[tuple[int, float]] = [(0, 0.0)]
    for place in sorted(penalties):
        if place > cuts[-1][0] and not _joined(text, place):
            cuts += _spaces(text, cuts[-1][0], place, budget)
            cuts += _hard_cuts(text, cuts[-1][0], place, budget)
            cuts.append((place, penalties[place]))
    return cuts


def _spaces(text: str, start: int, end: int, budget: int) -> Iterator[tuple[int, float]]:
    """Space cuts in a gap wider than a quarter of the budget, hard ones between them."""
    if end - start <= max(1, budget // 4):
        return
    last = start
    for match in _WHITE.finditer(text, start, end):
        if start < match.end() < end and not _joined(text, match.end()):
            yield from _hard_cuts(text, last, match.end(), budget)
            last = match.end()
            yield last, _SPACE


def _hard_cuts(text: str, start: int, end: int, budget: int) -> Iterator[tuple[int, float]]:
    while end - start > budget:
        start = _cluster_start(text, start, start + budget)
        yield start, _HARD


def _cluster_start(text: str, start: int, place: int) -> int:
    """The last place up to `place` that parts no cluster and no CRLF pair."""
    cut = place
    while cut > start and _joined(text, cut):
        cut -= 1
    return cut if cut > start else place


def _joined(text: str, place: int) -> bool:
    """True when the characters on both sides of a place are one to a reader.

    The rules of Unicode Standard Annex 29 that need no table: CRLF, marks and
    joiners, emoji modifiers, pairs of regional indicators, conjoining jamo.
    """
    if not 0 < place < len(text):
        return False
    before, after = text[place - 1], text[place]
    if before in "\r\n\f":
        return before == "\r" and after == "\n"
    if after < "\u0300":
        return False
    if _JOINER in (before, after) or "\U0001f3fb" <= after <= "\U0001f3ff":
        return True
    if "\u1160" <= after <= "\u11ff":
        return True
    if _is_regional(after):
        return _regional_run(text, place) % 2 == 1
    return unicodedata.category(after).startswith("M")


def _is_regional(character: str) -> bool:
    return "\U0001f1e6" <= character <= "\U0001f1ff"


def _regional_run(text: str, place: int) -> int:
    """How many regional indicators stand directly before a place; two make a flag."""
    first = place
    while first and _is_regional(text[first - 1]):
        first -= 1
    return place - first


def _best_cuts(cuts: list[tuple[int, float]], budget: int) -> list[int]:
    """The cheapest chain of cuts from the first to the last, no link over the budget.

    best[i] = penalty[i] + 20 + min(best[j] : place[i] - place[j] <= budget); the
    window only moves forward, so a monotone queue finds each minimum in O(1).
    """
    best = [0.0]
    came_from = [0]
    window: deque[int] = deque([0])
    for index in range(1, len(cuts)):
        place, penalty = cuts[index]
        while place - cuts[window[0]][0] > budget:
            window.popleft()
        came_from.append(window[0])
        best.append(best[window[0]] + penalty + _SHARD_COST)
        # Among equals the later place wins, which evens the shards out from the end.
        while window and best[window[-1]] >= best[index]:
            window.pop()
        window.append(index)
    chain = [len(cuts) - 1]
    while chain[-1]:
        chain.append(came_from[chain[-1]])
    return [cuts[index][0] for index in reversed(chain)]
