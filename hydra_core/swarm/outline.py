"""Judge proposed headings together: which are real, and what contains what.

A numbered sequence, page numbers and a table of contents show only in the whole
list, never in one line.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

# Ranks order what contains what; Markdown's own levels come before all of them.
MARKDOWN, VOLUME, CHAPTER, SECTION, NUMERAL = range(5)

_CONTENTS_GAP: Final = 200
_CONTENTS_RUN: Final = 4
_PAGE_NUMBERS: Final = 8
_LEADER: Final = re.compile(r"(?:\s*\.{2,}|\s{2,}|\t)\s*\d+$")


@dataclass(frozen=True, slots=True)
class Heading:
    """One heading: its nesting level from 1, its title, and the titles down to it.

    `start` and `end` enclose the heading's own lines.
    """

    level: int
    title: str
    start: int
    end: int
    path: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Candidate:
    """A possible heading. `rank` orders nesting; `kind` tells the rank's members apart."""

    start: int
    end: int
    title: str
    rank: int
    kind: str
    value: int | None = None
    named: bool = True


def outline(found: list[Candidate]) -> tuple[Heading, ...]:
    """The headings among the candidates, which are in text order, with their nesting."""
    return tuple(_nested(_without_contents(_in_sequence(found))))


def _in_sequence(found: list[Candidate]) -> list[Candidate]:
    """Keep numerals without a keyword only where their values count up from one.

    "VII. THE BLUE CARBUNCLE" after "ADVENTURE VI." continues the adventures, so it
    takes their rank.
    """
    kept: list[Candidate] = []
    chains: dict[str, list[Candidate]] = {}
    last: Candidate | None = None
    for item in found:
        if item.kind not in ("bare", "numbered"):
            kept.append(item)
            last = item if item.value is not None else last
            continue
        value = item.value or 0
        if item.kind == "numbered" and last and last.value is not None and value == last.value + 1:
            last = replace(item, rank=last.rank, kind=last.kind)
            kept.append(last)
            continue
        chain = chains.get(item.kind, [])
        if value == 1:
            kept += _trusted(chain)
            chains[item.kind] = [item]
        elif chain and (chain[-1].value or 0) < value <= (chain[-1].value or 0) + 2:
            chain.append(item)
    for chain in chains.values():
        kept += _trusted(chain)
    return sorted(kept, key=lambda item: item.start)


def _trusted(chain: list[Candidate]) -> list[Candidate]:
    """A lone numeral proves nothing, and evenly spaced ones are page numbers."""
    if len(chain) < 2:
        return []
    if len(chain) >= _PAGE_NUMBERS and not any(item.named for item in chain):
        gaps = [after.start - before.start for before, after in pairwise(chain)]
        middle = median(gaps)
        even = sum(0.6 * middle <= gap <= 1.4 * middle for gap in gaps)
        if middle < 5_000 and even >= 0.9 * len(gaps):
            return []
    return chain


def _without_contents(found: list[Candidate]) -> list[Candidate]:
    """Drop the lines of a table of contents: their titles recur later.

    Markdown's headings are marked as such, so they are never taken for contents.
    """
    titles = [_LEADER.sub("", item.title).casefold().strip(" .") for item in found]
    later = Counter(titles)
    kept: list[Candidate] = []
    for run in _runs(found):
        long = len(run) >= _CONTENTS_RUN
        for index in run:
            later[titles[index]] -= 1
            contents = long and found[index].rank != MARKDOWN and later[titles[index]] > 0
            # The last of a run is often the first true heading; where it bears a name
            # of its own, a second occurrence shows that it was a line of the contents.
            if not contents or (index == run[-1] and not found[index].named):
                kept.append(found[index])
    return kept


def _runs(found: Sequence[Candidate]) -> Iterator[range]:
    first = 0
    for index in range(1, len(found) + 1):
        if index == len(found) or found[index].start - found[index - 1].start >= _CONTENTS_GAP:
            yield range(first, index)
            first = index


def _nested(found: Sequence[Candidate]) -> Iterator[Heading]:
    levels = _levels(found)
    open_titles: list[tuple[int, str]] = []
    for item in found:
        level = levels[item.rank, item.kind]
        while open_titles and open_titles[-1][0] >= level:
            open_titles.pop()
        open_titles.append((level, item.title))
        yield Heading(level, item.title, item.start, item.end, tuple(t for _, t in open_titles))


def _levels(found: Iterable[Candidate]) -> dict[tuple[int, str], int]:
    """Nesting levels from 1: Markdown's own, then volumes, chapters, sections, numerals.

    Books nest volumes, books and parts in any order, so those take the order in
    which they first appear. A preface stands beside the outermost of them.
    """
    kinds = list(dict.fromkeys((item.rank, item.kind) for item in found))
    order: dict[tuple[int, str], tuple[int, int]] = {}
    for place, (rank, kind) in enumerate(kinds):
        if kind == "":
            continue
        inner = {MARKDOWN: int(kind) if rank == MARKDOWN else 0, VOLUME: place}
        order[rank, kind] = (rank, inner.get(rank, 0))
    places = sorted(set(order.values()))
    levels = {kind: places.index(where) + 1 for kind, where in order.items()}
    plain = [level for (rank, _), level in levels.items() if rank != MARKDOWN]
    levels[VOLUME, ""] = min(plain, default=1)
    return levels
