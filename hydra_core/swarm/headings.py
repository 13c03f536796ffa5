"""Find the headings of a Markdown or plain text, as a reader would see them.

Each rule looks at one line with its neighbours and proposes a candidate; the
outline then judges the whole list. Plain texts have no mark-up, so every rule asks for blank lines
around and for a short line: a missed heading costs a worse cut, a false one
mislabels citations.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from hydra_core.swarm.numerals import NUMBER, numeral
from hydra_core.swarm.outline import (
    CHAPTER,
    MARKDOWN,
    NUMERAL,
    SECTION,
    VOLUME,
    Candidate,
    outline,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from hydra_core.swarm.outline import Heading

_MAX_TITLE: Final = 120
_TITLE_LINES: Final = 3

_FENCE: Final = re.compile(r" {0,3}(`{3,}|~{3,})(.*)")
# A form feed ends a page, and a heading may be the first thing on the next one.
_ATX: Final = re.compile(r"\f? {0,3}(#{1,6})[ \t]+(.*?)(?:[ \t]+#+)?[ \t]*")
_SETEXT: Final = re.compile(r" {0,3}(={3,}|-{3,})[ \t]*")
_EMPHASIS: Final = "*_ \t\f"
_BARE: Final = re.compile(rf"[(\[]?(?P<number>{NUMBER})[.)\]]?")
_NUMBERED: Final = re.compile(rf"(?P<number>{NUMBER})[.:]\s+(?P<title>\S.*)")
_WORD: Final = re.compile(r"[^\W\d_][^\W_'-]*(?:['-][^\W_]+)*")
_QUOTED: Final = re.compile(r"([\"'\u201c\u2018\u00ab]).*[\"'\u201d\u2019\u00bb]")

_WORDS: Final = {
    "volume": VOLUME, "volumen": VOLUME, "tomo": VOLUME, "book": VOLUME, "libro": VOLUME,
    "part": VOLUME, "parte": VOLUME, "act": VOLUME, "acto": VOLUME,
    "chapter": CHAPTER, "capítulo": CHAPTER, "capitulo": CHAPTER, "adventure": CHAPTER,
    "aventura": CHAPTER, "letter": CHAPTER, "carta": CHAPTER, "stave": CHAPTER,
    "canto": CHAPTER, "scene": CHAPTER, "escena": CHAPTER,
    "section": SECTION, "sección": SECTION,
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
class _Line:
    start: int
    end: int
    text: str
    fenced: bool = False

    @property
    def blank(self) -> bool:
        return not self.text.strip()


def find_headings(text: str) -> tuple[Heading, ...]:
    """The headings of a text in order; none inside fenced code or front matter.

    Tables of contents are left out: in a run of four or more headings less than
    200 characters apart, those whose title recurs later are dropped.
    """
    lines = list(_lines(text))
    return outline(list(_candidates(lines)))


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


def _candidates(lines: Sequence[_Line]) -> Iterator[Candidate]:
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


def _atx(lines: Sequence[_Line], index: int, _words: str, _opens: bool) -> Candidate | None:
    line = lines[index]
    match = _ATX.fullmatch(line.text)
    if not match or not match[2].strip():
        return None
    level = len(match[1])
    return Candidate(line.start, line.end, match[2].strip(), MARKDOWN, f"{level}")


def _setext(lines: Sequence[_Line], index: int, words: str, opens: bool) -> Candidate | None:
    if not opens or index + 1 >= len(lines) or not _WORD.search(words):
        return None
    under = lines[index + 1]
    match = _SETEXT.fullmatch(under.text)
    if not match:
        return None
    level = "1" if match[1][0] == "=" else "2"
    return Candidate(lines[index].start, under.end, words, MARKDOWN, level)


def _keyword(lines: Sequence[_Line], index: int, words: str, opens: bool) -> Candidate | None:
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
    return Candidate(
        lines[index].start, end or lines[index].end, whole, _WORDS[word], word, value,
        named=bool(title or rest),
    )  # fmt: skip


def _solo(lines: Sequence[_Line], index: int, words: str, opens: bool) -> Candidate | None:
    line = lines[index]
    alone = index + 1 == len(lines) or lines[index + 1].blank
    if not (opens and alone and words[0].isupper() and _SOLO.fullmatch(words)):
        return None
    return Candidate(line.start, line.end, words, VOLUME, "")


def _numbered(lines: Sequence[_Line], index: int, words: str, opens: bool) -> Candidate | None:
    """`VII. THE BLUE CARBUNCLE`: in capitals, or it would be an item of a list."""
    match = _NUMBERED.fullmatch(words)
    alone = index + 1 == len(lines) or lines[index + 1].blank
    if not match or not opens or not alone or not match["title"].isupper():
        return None
    value = numeral(match["number"])
    if value is None:
        return None
    return Candidate(lines[index].start, lines[index].end, words, SECTION, "numbered", value)


def _bare(lines: Sequence[_Line], index: int, words: str, opens: bool) -> Candidate | None:
    match = _BARE.fullmatch(words)
    alone = index + 1 == len(lines) or lines[index + 1].blank
    if not match or not opens or not alone:
        return None
    value = numeral(match["number"])
    if value is None:
        return None
    end, title = _title_after(lines, index)
    return Candidate(
        lines[index].start, end or lines[index].end, _joined(match["number"], title),
        NUMERAL, "bare", value, named=bool(title),
    )  # fmt: skip


_RULES: Final[tuple[Callable[[Sequence[_Line], int, str, bool], Candidate | None], ...]] = (
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
