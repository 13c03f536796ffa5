"""English, as far as a program without a model can see it: sentences, stems, names.

The word lists are data (`english.toml`), generic knowledge of the language only.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_ENGLISH: Final = tomllib.loads(
    resources.files("hydra_core.testing").joinpath("english.toml").read_text(encoding="utf-8")
)


def _listed(name: str) -> frozenset[str]:
    return frozenset(_ENGLISH[name].split())


STOPWORDS: Final = _listed("stopwords")
PRONOUNS: Final = _listed("pronouns")
PEOPLE: Final = _listed("people")
PLACES: Final = _listed("places")
TIMES: Final = _listed("times")
WEAK: Final = _listed("weak")

CAUSES: Final = re.compile(
    r"(?:(?<=, )for|\b(?:because|since|so that|in order|therefore|reason|lest|owing to|due to"
    r"|account of|lays? to|laid to|mistaken))\b",
    re.IGNORECASE,
)

CORRECTIONS: Final = re.compile(
    r"\b(correct(?:ed|ion|s)?|mistak\w+|in error|erroneous|cleared|ashamed of|wrongly|was wrong"
    r"|amend\w*|rectif\w+|set right|not \w[^.;]{0,40}\bbut\b|no longer)\b",
    re.IGNORECASE,
)
"""Words with which a text takes back what it said before."""

_IRREGULAR: Final = {
    form: base for base, forms in _ENGLISH["irregular"].items() for form in forms.split()
}
_SYNONYMS: Final = {word: group for group in _ENGLISH["synonyms"] for word in group.split()}

_ABBREVIATION: Final = re.compile(
    r"(?:\b(?:Mr|Mrs|Ms|Dr|St|Messrs|Esq|No|Capt|Col|Lt|Rev|Prof|vs|Mem|lat|approx)|\b[A-Z])\.$"
)
_SENTENCE_END: Final = re.compile(
    r"(?:[.!?]+[\"'\u201d\u2019)\]_*]*|:|;--)(?=\s+[\"'\u201c\u2018(_*]*[A-Z0-9]|\s*$)"
)
_CLAUSE_END: Final = re.compile(r";\s+(?:and |but )?")
_LONG: Final = 300
_SHORTEST: Final = 60
_VOWEL: Final = re.compile("[aeiouy]|..")
_WORD: Final = re.compile(r"[^\W\d_]+(?:['\u2019][^\W\d_]+)*|\d+(?:[.,:]\d+)*")
_NAME: Final = re.compile(
    r"(?:(?P<title>Mr|Mrs|Miss|Dr|Captain|Sir|Lady|Lord|Squire|Colonel)\.? )?"
    r"\b(?P<name>[A-Z][a-z]+(?:[ -](?:of (?=[A-Z]))?[A-Z][a-z]+)*)"
)
_OPENING: Final = re.compile(r"(?:^|[.!?:;]|--)[\s\"'\u201c\u2018(_*]*$|[\"\u201c]$")
_DOTTED: Final = ("Mr", "Mrs", "Dr")
_NOT_NAMES: Final = _listed("not_names")


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence: `text[start:end]` of the text it was found in, and its stems."""

    start: int
    end: int
    text: str
    stems: tuple[str, ...]
    paragraph: int


def sentences(text: str) -> list[Sentence]:
    """Cut a text into sentences; a blank line ends one whatever stands before it."""
    found: list[Sentence] = []
    for number, block in enumerate(re.finditer(r"\S(?:.|\n(?!\s*\n))*", text)):
        for start, end in _sentence_spans(block[0]):
            piece = block[0][start:end]
            offset = block.start()
            found.append(Sentence(offset + start, offset + end, piece, tuple(stems(piece)), number))
    return found


def _sentence_spans(block: str) -> Iterator[tuple[int, int]]:
    start = 0
    for match in _SENTENCE_END.finditer(block):
        if _ABBREVIATION.search(block, start, match.end()) and match.end() < len(block.rstrip()):
            continue
        yield from _clauses(block, start, match.end())
        start = match.end()
        while start < len(block) and block[start].isspace():
            start += 1
    if block[start:].strip():
        yield from _clauses(block, start, len(block.rstrip()))


def _clauses(block: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """A sentence, or its parts between semicolons when it is long: nobody quotes a page."""
    if end - start > _LONG:
        for found in _CLAUSE_END.finditer(block, start + _SHORTEST, end - _SHORTEST):
            if found.end() - start >= _SHORTEST:
                yield start, found.start() + 1
                start = found.end()
    yield start, end


def stems(text: str) -> list[str]:
    """The stems of a text's words, stopwords included, in order."""
    return [stem(word) for word in _WORD.findall(text)]


@lru_cache(maxsize=50_000)
def stem(word: str) -> str:
    """A word's base form, roughly: `islands` is `island`, `buried` is `bury`."""
    plain = word.lower().replace("\u2019", "'").removesuffix("'s").removesuffix("'")
    if plain in _IRREGULAR:
        return _without_e(_IRREGULAR[plain])
    for suffix, rest in (("iest", "y"), ("ier", "y")):
        if plain.endswith(suffix) and len(plain) > 6:
            return stem(plain.removesuffix(suffix) + rest)
    for suffix, rest in (("ies", "y"), ("ied", "y"), ("sses", "ss"), ("ing", ""), ("ed", "")):
        if plain.endswith(suffix) and _VOWEL.search(plain[2 : -len(suffix)] or rest):
            return _undouble(plain.removesuffix(suffix) + rest)
    if plain.endswith("ly") and len(plain) > 5:
        return plain[:-2]
    if plain.endswith("s") and not plain.endswith(("ss", "us", "is")) and len(plain) > 3:
        return _without_e(plain[:-1])
    return _without_e(plain)


def synonyms(base: str) -> frozenset[str]:
    """Stems that mean nearly the same, without the stem itself."""
    group = _SYNONYMS.get(base)
    return frozenset(stem(word) for word in group.split()) - {base} if group else frozenset()


def names(text: str) -> list[str]:
    """Names in a text: capitalised words that do not merely begin a sentence.

    A word that opens a sentence counts when it is capitalised elsewhere too, or
    when another capitalised word follows it.
    """
    flat = " ".join(text.split())
    found: list[tuple[str, bool]] = []
    for match in _NAME.finditer(flat):
        words = [word for word in match["name"].split() if word.lower() not in _NOT_NAMES]
        name = " ".join(words)
        if len(name) < 3 or words[0].lower() in STOPWORDS:
            continue
        opens = bool(_OPENING.search(flat, max(0, match.start() - 6), match.start()))
        title = match["title"]
        shown = f"{title}{'.' if title in _DOTTED else ''} {name}" if title else name
        found.append((shown, opens and len(words) == 1 and not title))
    sure = {word for name, doubtful in found if not doubtful for word in name.split()}
    return [name for name, doubtful in found if not doubtful or name in sure]


def _undouble(base: str) -> str:
    doubled = len(base) > 3 and base[-1] == base[-2] and base[-1] not in "lsz"
    return base[:-1] if doubled else _without_e(base)


def _without_e(base: str) -> str:
    """`stole` and `stor(ed)` must meet, so a final e is dropped from longer words."""
    return base[:-1] if base.endswith("e") and len(base) > 4 else base
