"""Find the headings of a Markdown or plain text, as a reader would see them.

Each rule looks at one line with its neighbours and proposes a candidate; later
passes see the whole list, because a table of contents and a numbered sequence
show only there. Plain texts have no mark-up, so every rule asks for blank lines
around and for a short line: a missed heading costs a worse cut, a false one
mislabels citations.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING, Final

from hydra_core.swarm.numerals import NUMBER, numeral

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

_MAX_TITLE: Final = 120
_TITLE_LINES: Final = 3
_CONTENTS_GAP: Final = 200
_CONTENTS_RUN: Final = 4
_PAGE_NUMBERS: Final = 8

_FENCE: Final = re.compile(r" {0,3}(`{3,}|~{3,})(.*)")
_ATX: Final = re.compile(r" {0,3}(#{1,6})[ \t]+(.*?)(?:[ \t]+#+)?[ \t]*")
_SETEXT: Final = re.compile(r" {0,3}(={3,}|-{3,})[ \t]*")
_EMPHASIS: Final = "*_ \t\f"
_BARE: Final = re.compile(rf"[(\[]?(?P<number>{NUMBER})[.)\]]?")
_NUMBERED: Final = re.compile(rf"(?P<number>{NUMBER})[.:]\s+(?P<title>\S.*)")
_LEADER: Final = re.compile(r"(?:\s*\.{2,}|\s{2,}|\t)\s*\d+$")
_WORD: Final = re.compile(r"[^\W\d_][^\W_'-]*(?:['-][^\W_]+)*")
_QUOTED: Final = re.compile(r"([\"'\u201c\u2018\u00ab]).*[\"'\u201d\u2019\u00bb]")

# Ranks order what contains what; Markdown's own levels come before all of them.
_MARKDOWN, _VOLUME, _CHAPTER, _SECTION, _NUMERAL = range(5)
_WORDS: Final = {
    "volume": _VOLUME, "volumen": _VOLUME, "tomo": _VOLUME, "book": _VOLUME, "libro": _VOLUME,
    "part": _VOLUME, "parte": _VOLUME, "act": _VOLUME, "acto": _VOLUME,
    "chapter": _CHAPTER, "capítulo": _CHAPTER, "capitulo": _CHAPTER, "adventure": _CHAPTER,
    "aventura": _CHAPTER, "letter": _CHAPTER, "carta": _CHAPTER, "stave": _CHAPTER,
    "canto": _CHAPTER, "scene": _CHAPTER, "escena": _CHAPTER,
    "section": _SECTION, "sección": _SECTION,
}  # fmt: skip
_SOLO: Final = re.compile(
    r"(?:(?:first|second|third|primer|segundo)\s+)?"
    r"(?:prologue|epilogue|preface|foreword|introduction|afterword|conclusion|appendix|contents"
    r"|table of contents|prólogo|epílogo|prefacio|introducción|apéndice|índice)"
    r"(?:\s+[A-Z\d]{1,4})?(?:\s*[.:\u2014\u2013-]+\s*.*)?",
    re.IGNORECASE,
)
_KEYWORD: Final = re.compile(
    rf"(?P<label>(?P<word>{'|'.join(_WORDS)})\s+(?:the\s+)?(?P<number>{NUMBER}))"
    r"(?P<gap>[.:)\]\u2014\u2013-]+\s*|\s+|$)(?P<title>.*)",
    re.IGNORECASE,
)


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
class _Line:
    start: int
    end: int
    text: str
    fenced: bool = False

    @property
    def blank(self) -> bool:
        return not self.text.strip()


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A possible heading. `rank` orders nesting; `kind` tells the rank's members apart."""

    start: int
    end: int
    title: str
    rank: int
    kind: str
    value: int | None = None
    named: bool = True


def find_headings(text: str) -> tuple[Heading, ...]:
    """The headings of a text in order; none inside fenced code or front matter.

    Tables of contents are left out: in a run of four or more headings less than
    200 characters apart, those whose title recurs later are dropped.
    """
    lines = list(_lines(text))
    return tuple(_nested(_without_contents(_in_sequence(list(_candidates(lines))))))


def _lines(text: str) -> Iterator[_Line]:
    start, fence = 0, ""
    matter = text.startswith(("---\n", "---\r\n"))
    for number, raw in enumerate(text.split("\n")):
        line = raw.rstrip("\r")
        opening = _FENCE.fullmatch(line)
        closes = bool(fence and opening and opening[1].startswith(fence) and not opening[2].strip())
        yield _Line(start, start + len(line), line, fenced=bool(fence or opening or matter))
        if matter:
            matter = number == 0 or line.rstrip() != "---"
        elif closes:
            fence = ""
        elif opening and not fence:
            fence = opening[1]
        start += len(raw) + 1


def _candidates(lines: Sequence[_Line]) -> Iterator[_Candidate]:
    last_end = -1
    for index, line in enumerate(lines):
        if line.fenced or line.start < last_end or not (words := line.text.strip(_EMPHASIS)):
            continue
        if len(words) > _MAX_TITLE:
            continue
        follows = index > 0 and lines[index - 1].end == last_end
        opens = index == 0 or lines[index - 1].blank or follows
        for rule in _RULES:
            if found := rule(lines, index, words, opens):
                last_end = found.end
                yield found
                break


def _atx(lines: Sequence[_Line], index: int, _words: str, _opens: bool) -> _Candidate | None:
    line = lines[index]
    match = _ATX.fullmatch(line.text)
    if not match or not match[2].strip():
        return None
    level = len(match[1])
    return _Candidate(line.start, line.end, match[2].strip(), _MARKDOWN, f"{level}")


def _setext(lines: Sequence[_Line], index: int, words: str, opens: bool) -> _Candidate | None:
    if not opens or index + 1 >= len(lines) or not _WORD.search(words):
        return None
    under = lines[index + 1]
    match = _SETEXT.fullmatch(under.text)
    if not match:
        return None
    level = "1" if match[1][0] == "=" else "2"
    return _Candidate(lines[index].start, under.end, words, _MARKDOWN, level)


def _keyword(lines: Sequence[_Line], index: int, words: str, opens: bool) -> _Candidate | None:
    match = _KEYWORD.fullmatch(words)
    if not match or not opens or not words[0].isupper():
        return None
    value, title = numeral(match["number"]), match["title"].strip()
    if value is None or (title and match["gap"].isspace() and title[0].islower()):
        return None
    end, rest = _title_after(lines, index, own=title)
    if title and end is None:
        return None
    word = match["word"].casefold()
    whole = " ".join(filter(None, (words, rest))) if title else _joined(match["label"], rest)
    return _Candidate(
        lines[index].start, end or lines[index].end, whole, _WORDS[word], word, value,
        named=bool(title or rest),
    )  # fmt: skip


def _solo(lines: Sequence[_Line], index: int, words: str, opens: bool) -> _Candidate | None:
    line = lines[index]
    alone = index + 1 == len(lines) or lines[index + 1].blank
    if not (opens and alone and words[0].isupper() and _SOLO.fullmatch(words)):
        return None
    return _Candidate(line.start, line.end, words, _VOLUME, "")


def _numbered(lines: Sequence[_Line], index: int, words: str, opens: bool) -> _Candidate | None:
    """`VII. THE BLUE CARBUNCLE`: in capitals, or it would be an item of a list."""
    match = _NUMBERED.fullmatch(words)
    alone = index + 1 == len(lines) or lines[index + 1].blank
    if not match or not opens or not alone or not match["title"].isupper():
        return None
    value = numeral(match["number"])
    if value is None:
        return None
    return _Candidate(lines[index].start, lines[index].end, words, _SECTION, "numbered", value)


def _bare(lines: Sequence[_Line], index: int, words: str, opens: bool) -> _Candidate | None:
    match = _BARE.fullmatch(words)
    alone = index + 1 == len(lines) or lines[index + 1].blank
    if not match or not opens or not alone:
        return None
    value = numeral(match["number"])
    if value is None:
        return None
    end, title = _title_after(lines, index)
    return _Candidate(
        lines[index].start, end or lines[index].end, _joined(match["number"], title),
        _NUMERAL, "bare", value, named=bool(title),
    )  # fmt: skip


_RULES: Final[tuple[Callable[[Sequence[_Line], int, str, bool], _Candidate | None], ...]] = (
    _atx, _setext, _keyword, _solo, _numbered, _bare,
)  # fmt: skip


def _joined(label: str, title: str) -> str:
    return f"{label}. {title}" if title else label


def _title_after(lines: Sequence[_Line], index: int, *, own: str = "") -> tuple[int | None, str]:
    """The lines below a heading's number that are its title, and where they end.

    With a title of its `own`, only the rest of the same block can belong to it, and
    None means that the block is a paragraph. Otherwise the title may follow a
    blank line, as in "1", "", "The Old Sea-dog".
    """
    first = index + 1
    while not own and first < len(lines) and first <= index + 2 and lines[first].blank:
        first += 1
    block = []
    for line in lines[first : first + _TITLE_LINES]:
        if line.blank or line.fenced:
            break
        block.append(line)
    words = " ".join(line.text.strip(_EMPHASIS) for line in block)
    if own:
        return _rest_of_title(lines, index, block, words, own)
    if not block or len(block) == _TITLE_LINES or not _is_title(words):
        return None, ""
    return block[-1].end, words


def _rest_of_title(
    lines: Sequence[_Line], index: int, block: list[_Line], words: str, own: str
) -> tuple[int | None, str]:
    line = lines[index]
    listed = bool(block) and _KEYWORD.fullmatch(block[0].text.strip(_EMPHASIS)) is not None
    if not block or listed:
        return line.end, ""
    if len(block) < _TITLE_LINES and len(words) <= _MAX_TITLE and _is_title(f"{own} {words}"):
        return block[-1].end, words
    return (line.end, "") if own.isupper() else (None, "")


def _is_title(words: str) -> bool:
    """True for a short run whose longer words mostly begin with a capital."""
    if len(words) > 2 * _MAX_TITLE or _KEYWORD.fullmatch(words) or _BARE.fullmatch(words):
        return False
    if _QUOTED.fullmatch(words):
        words = words[1:-1]
    if not words or words[-1] in ",;":
        return False
    long = [word for word in _WORD.findall(words) if len(word) > 3]
    capitals = sum(word[0].isupper() for word in long)
    return words[0].isupper() and 2 * capitals >= len(long)


def _in_sequence(found: list[_Candidate]) -> list[_Candidate]:
    """Keep numerals without a keyword only where their values count up from one.

    "VII. THE BLUE CARBUNCLE" after "ADVENTURE VI." continues the adventures, so it
    takes their rank.
    """
    kept: list[_Candidate] = []
    chains: dict[str, list[_Candidate]] = {}
    last: _Candidate | None = None
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


def _trusted(chain: list[_Candidate]) -> list[_Candidate]:
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


def _without_contents(found: list[_Candidate]) -> list[_Candidate]:
    titles = [_LEADER.sub("", item.title).casefold().strip(" .") for item in found]
    later = Counter(titles)
    kept: list[_Candidate] = []
    for run in _runs(found):
        for index in run:
            later[titles[index]] -= 1
            contents = len(run) >= _CONTENTS_RUN and later[titles[index]] > 0
            # The last of a run is often the first true heading; where it bears a name
            # of its own, a second occurrence shows that it was a line of the contents.
            if not contents or (index == run[-1] and not found[index].named):
                kept.append(found[index])
    return kept


def _runs(found: Sequence[_Candidate]) -> Iterator[range]:
    first = 0
    for index in range(1, len(found) + 1):
        if index == len(found) or found[index].start - found[index - 1].start >= _CONTENTS_GAP:
            yield range(first, index)
            first = index


def _nested(found: Sequence[_Candidate]) -> Iterator[Heading]:
    levels = _levels(found)
    open_titles: list[tuple[int, str]] = []
    for item in found:
        level = levels[item.rank, item.kind]
        while open_titles and open_titles[-1][0] >= level:
            open_titles.pop()
        open_titles.append((level, item.title))
        yield Heading(level, item.title, item.start, item.end, tuple(t for _, t in open_titles))


def _levels(found: Iterable[_Candidate]) -> dict[tuple[int, str], int]:
    """Nesting levels from 1: Markdown's own, then volumes, chapters, sections, numerals.

    Books nest volumes, books and parts in any order, so those take the order in
    which they first appear. A preface stands beside the outermost of them.
    """
    kinds = list(dict.fromkeys((item.rank, item.kind) for item in found))
    order: dict[tuple[int, str], tuple[int, int]] = {}
    for place, (rank, kind) in enumerate(kinds):
        if kind == "":
            continue
        inner = {_MARKDOWN: int(kind) if rank == _MARKDOWN else 0, _VOLUME: place}
        order[rank, kind] = (rank, inner.get(rank, 0))
    places = sorted(set(order.values()))
    levels = {kind: places.index(where) + 1 for kind, where in order.items()}
    plain = [level for (rank, _), level in levels.items() if rank != _MARKDOWN]
    levels[_VOLUME, ""] = min(plain, default=1)
    return levels
