"""Fold a text to what a careless copyist keeps of it, remembering where it stood.

Case, typographic marks, emphasis marks, line breaks and the hyphens they cause
vanish; words, digits and their order stay. Every folded character knows the
source characters it came from, so a match leads back to an exact span.
"""

from __future__ import annotations

import re
import unicodedata
from array import array
from functools import lru_cache
from typing import Final

_HYPHENS: Final = "-\u2010\u2011\u2212"
_EN_DASH: Final = "\u2013"
_INVISIBLE: Final = "\u200b-\u200d\u2060\ufeff\u00ad"
_GAP: Final = rf"\s{_INVISIBLE}*_\-\u2010-\u2015\u2212"
_QUOTES: Final = "'\"`\u00b4\u2018-\u201f\u00ab\u00bb\u2039\u203a\u2032\u2033"
_OTHER: Final = rf"[^\x00-\x7f{_GAP}{_QUOTES}]"
_PLAIN: Final = rf"[^{_GAP}{_QUOTES}\x7f-\U0010ffff]"
_PIECES: Final = re.compile(
    rf"(?P<plain>{_PLAIN}+(?!{_OTHER}))|(?P<gap>[{_GAP}]+)|(?P<quotes>[{_QUOTES}]+)"
    rf"|(?P<other>{_PLAIN}?{_OTHER}+)|[\s\S]"
)
_FILLER: Final = re.compile(rf"[{_INVISIBLE}*_]+")


class FoldedText:
    """The folded form of `text[start:end]`, for any number of searches.

    `folded[i]` came from the source characters `source_span(i, i + 1)`. Folding
    takes about 0.1 microseconds a character for plain English, so a shard is
    folded once and kept.
    """

    __slots__ = ("_ends", "_starts", "end", "folded", "start", "text")

    def __init__(self, text: str, start: int = 0, end: int | None = None) -> None:
        self.text = text
        self.start = start
        self.end = len(text) if end is None else end
        self._starts = array("L")
        self._ends = array("L")
        self.folded = "".join(self._fold())

    def source_span(self, first: int, last: int) -> tuple[int, int]:
        """The source offsets behind `folded[first:last]`, which must not be empty."""
        return self._starts[first], self._ends[last - 1]

    def _fold(self) -> list[str]:
        out: list[str] = []
        for piece in _PIECES.finditer(self.text, self.start, self.end):
            first, last = piece.span()
            kind = piece.lastgroup
            if kind == "plain":
                out.append(piece[0].lower())
                self._starts.extend(range(first, last))
                self._ends.extend(range(first + 1, last + 1))
            elif kind == "other":
                self._fold_clusters(first, last, out)
            else:
                folded = piece[0]
                if kind == "gap":
                    folded = " " if folded.isspace() else self._fold_gap(first, last)
                elif kind == "quotes":
                    folded = "'"
                self._put(folded, first, last, out)
        return out

    def _put(self, folded: str, first: int, last: int, out: list[str]) -> None:
        out.append(folded)
        self._starts.extend([first] * len(folded))
        self._ends.extend([last] * len(folded))

    def _fold_clusters(self, first: int, last: int, out: list[str]) -> None:
        while first < last:
            after = first + 1
            while after < last and _continues(self.text[after]):
                after += 1
            self._put(_fold_cluster(self.text[first:after]), first, after, out)
            first = after

    def _fold_gap(self, first: int, last: int) -> str:
        r"""What stands between words: nothing, a space, or a hyphen that counts.

        A hyphen between letters goes, with the line break behind it if any:
        "well-\nknown" may be one word cut by the printer or two joined by the
        author. One before or between digits stays, since "-5" is not "5". Every
        other dash parts words, as a space does.
        """
        core = _FILLER.sub("", self.text[first:last])
        if not core or core.isspace():
            return " " if core else ""
        before = self.text[first - 1] if first > self.start else " "
        after = self.text[last] if last < self.end else " "
        dash, lead = core.strip(), core[0].isspace()
        if len(dash) == 1 and (dash in _HYPHENS or dash == _EN_DASH):
            trailing = core[-1].isspace()
            if after.isdigit() and not trailing:
                return " -" if lead else "-"
            joins = not lead and (not trailing or "\n" in core or "\r" in core)
            if dash != _EN_DASH and joins and before.isalpha() and after.isalpha():
                return ""
        return " "


@lru_cache(maxsize=4096)
def _fold_cluster(cluster: str) -> str:
    """Unicode's NFKC_Casefold for one base character and its marks."""
    folded = unicodedata.normalize("NFKC", cluster).casefold()
    return unicodedata.normalize("NFKC", folded)


@lru_cache(maxsize=4096)
def _continues(character: str) -> bool:
    """True for a mark or a conjoining jamo, which belongs to the character before it."""
    return "\u1160" <= character <= "\u11ff" or unicodedata.category(character)[0] == "M"
