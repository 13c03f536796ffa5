"""A text that is read in pieces: immutable, with tables of its pages and headings.

Nothing is ever removed from the text; what is no part of the work (page numbers,
running heads) is listed as an excluded span. Every position is a character
offset, half open.
"""

from __future__ import annotations

import hashlib
import re
from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import TYPE_CHECKING

from hydra_core.swarm.headings import find_headings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hydra_core.swarm.outline import Heading

PAGE_CHARS = 2_000
"""Length of a page where the text does not mark its own, in characters."""

FURNITURE = "furniture"
"""Why a running head or a page number is excluded."""

_TITLED = 3
"""Headings from which the first, if all others stand under it, is the document's title."""

_FURNITURE_LINES = 2
_FURNITURE_SHARE = 0.5
_FURNITURE_PAGES = 4
_INKED_LINE = re.compile(r"[^\r\n\f]*\S[^\r\n\f]*")
_DIGITS = re.compile(r"\d+")
_BARE_NUMBER = re.compile(
    r"[-\u2013\u2014\[( ]*(?:page |página )?(?:\d+|[ivxlc]+)[-\u2013\u2014\]) ]*", re.IGNORECASE
)
_START = attrgetter("start")


@dataclass(frozen=True, slots=True)
class Page:
    """One page: its number, counted from 1, and its characters."""

    number: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Span:
    """A run of characters that does not count as text to be read, and why."""

    start: int
    end: int
    reason: str


@dataclass(frozen=True, slots=True)
class Document:
    """One immutable text with its pages, headings and excluded spans.

    `pages` tile the text; `headings` are in text order, their paths without the
    document's own title; `excluded` spans are disjoint and in text order; `sha256`
    is that of the text in UTF-8.
    """

    id: str
    text: str
    sha256: str
    pages: tuple[Page, ...]
    headings: tuple[Heading, ...]
    excluded: tuple[Span, ...]

    @classmethod
    def of(cls, text: str, *, name: str | None = None) -> Document:
        """Build a document from a text; `name` becomes its id, else a hash does."""
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
        pages = tuple(_pages(text))
        headings = find_headings(text)
        return cls(
            id=name or digest[:12],
            text=text,
            sha256=digest,
            pages=pages,
            headings=_without_title(headings),
            excluded=tuple(_furniture(text, pages)) if "\f" in text else (),
        )

    def __len__(self) -> int:
        return len(self.text)

    def __repr__(self) -> str:
        return f"Document(id={self.id!r}, chars={len(self.text)}, pages={len(self.pages)})"

    def page_at(self, offset: int) -> int:
        """The number of the page that holds this character; past the end, the last."""
        return max(1, bisect_right(self.pages, offset, key=_START))

    def heading_at(self, offset: int) -> Heading | None:
        """The innermost heading that this character stands under, or None."""
        index = bisect_right(self.headings, offset, key=_START)
        return self.headings[index - 1] if index else None

    def heading_path(self, offset: int) -> tuple[str, ...]:
        """The titles that this character stands under, outermost first."""
        heading = self.heading_at(offset)
        return heading.path if heading else ()


def _without_title(headings: tuple[Heading, ...]) -> tuple[Heading, ...]:
    """The headings with the document's own title taken from the paths of all that it contains.

    A title that stands over everything tells no place from another, and a path that
    begins with it shows the chapter in one citation and hides it in the next.
    """
    if len(headings) < _TITLED or any(one.path[0] != headings[0].title for one in headings):
        return headings
    title, *others = headings
    if any(len(one.path) < 2 for one in others):
        return headings
    return (title, *(replace(one, path=one.path[1:]) for one in others))


def _pages(text: str) -> Iterator[Page]:
    start = 0
    for number, end in enumerate(_page_ends(text), start=1):
        yield Page(number, start, end)
        start = end


def _page_ends(text: str) -> Iterator[int]:
    """Form feeds end pages; without any, a line end after each `PAGE_CHARS` does."""
    if "\f" in text:
        yield from (match.end() for match in re.finditer(r"\f", text) if match.end() < len(text))
        yield len(text)
        return
    start = 0
    while len(text) - start > PAGE_CHARS:
        # The last line end inside the page, so that a page is never longer than stated.
        newline = text.rfind("\n", start, start + PAGE_CHARS)
        start = newline + 1 if newline >= start + PAGE_CHARS // 2 else start + PAGE_CHARS
        yield start
    yield len(text)


def _furniture(text: str, pages: tuple[Page, ...]) -> Iterator[Span]:
    """Lines at the edges of pages that repeat on at least half of them, numbers aside.

    A bare page number needs the other pages to carry one too, so a lone "1984" at
    the foot of a page stays text.
    """
    if len(pages) < _FURNITURE_PAGES:
        return
    edges = [list(_edge_lines(text, page)) for page in pages]
    seen = Counter(key for page in edges for key in {_furniture_key(text, line) for line in page})
    least = max(_FURNITURE_PAGES, _FURNITURE_SHARE * len(pages))
    for page in edges:
        for line in sorted(page):
            if seen[_furniture_key(text, line)] >= least:
                yield Span(*line, FURNITURE)


def _edge_lines(text: str, page: Page) -> set[tuple[int, int]]:
    """The first and last line of a page, and the next one where that is a bare number."""
    lines = [match.span() for match in _INKED_LINE.finditer(text, page.start, page.end)]
    edges: set[tuple[int, int]] = set()
    for order in (lines, lines[::-1]):
        for line in order[:_FURNITURE_LINES]:
            edges.add(line)
            if not _BARE_NUMBER.fullmatch(text[slice(*line)].strip()):
                break
    return edges


def _furniture_key(text: str, line: tuple[int, int]) -> str:
    words = text[line[0] : line[1]].strip()
    return "#" if _BARE_NUMBER.fullmatch(words) else _DIGITS.sub("#", words.casefold())
