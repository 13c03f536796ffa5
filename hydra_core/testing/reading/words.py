"""A text as far as a program without a model can see it: sentences, stems, names."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from hydra_core.testing.reading.english import NOT_NAMES, STOPWORDS, stem

if TYPE_CHECKING:
    from collections.abc import Iterator

CAUSES: Final = re.compile(
    r"(?:(?<=, )for (?=(?:he|she|it|I|they|we|you|there|this|that|no)\b)"
    r"|\b(?:because|since|so that|in order|therefore|reason|lest|owing to|due to|account of"
    r"|lays? to|laid to|mistaken)\b)",
    re.IGNORECASE,
)
CORRECTIONS: Final = re.compile(
    r"\b(?:correct(?:ed|ion|s)? (?:the|an?|my|that|this|what|to)|(?:was|were|is|be|been) "
    r"(?:mistaken|wrong)|in error|erroneous\w*|is cleared|ashamed of|wrongly|amend\w*|rectif\w+"
    r"|set right)\b",
    re.IGNORECASE,
)
"""Words with which a text takes back what it said before."""

_ABBREVIATION: Final = re.compile(
    r"(?:\b(?:Mr|Mrs|Ms|Dr|St|Messrs|Esq|No|Capt|Col|Lt|Rev|Prof|vs|Mem|lat|approx)|\b[A-Z])\.$"
)
_SHORT: Final = 12
"""Characters of the longest abbreviation, and some more."""

_SENTENCE_END: Final = re.compile(
    r"(?:[.!?]+[\"'\u201d\u2019)\]_*]*|:|;--)(?=\s+[\"'\u201c\u2018(_*]*[A-Z0-9]|\s*$)"
)
_CLAUSE_END: Final = re.compile(r";\s+(?:and |but )?")
_LONG: Final = 300
_SHORTEST: Final = 60
_WORD: Final = re.compile(r"[^\W\d_]+(?:['\u2019][^\W\d_]+)*|\d+(?:[.,:]\d+)*")
_INITIALS: Final = re.compile(r"\b[A-Z](?:\. ?[A-Z]\b)+\.?")
_MISS: Final = re.compile(r"\bMiss (?=[A-Z])")
TITLE: Final = (
    r"(?:Mr\.?|Mrs\.?|Miss|Dr\.?|Captain|Cap'n|Sir|Lady|Lord|Squire|Colonel|Professor|Inspector)"
)
"""A pattern for a title before a name."""

_CAPITAL: Final = r"[A-Z\u00c0-\u00de][a-z\u00df-\u00ff]+(?:[A-Z][a-z]+)*"
_NAME: Final = re.compile(
    rf"(?:(?P<title>{TITLE}) )?"
    rf"\b(?P<name>{_CAPITAL}(?:-[a-z]+)?(?:[ -](?:of (?=[A-Z]))?{_CAPITAL})*|[A-Z]{{4,}})\b"
)
_OPENING: Final = re.compile(r"(?:^|[.!?:;]|--)[\s\"'\u201c\u2018(_*]*$|[\"\u201c]$")
_SPEECH_MARK: Final = re.compile(r"[\"\u201c\u201d]")
_DOTTED: Final = ("Mr", "Mrs", "Dr")


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence: `text[start:end]` of the text it was found in, and its stems.

    `spoken`: it goes on with a speech that began before it in its paragraph.
    """

    start: int
    end: int
    text: str
    stems: tuple[str, ...]
    spoken: bool = False


def sentences(text: str) -> list[Sentence]:
    """Cut a text into sentences; a blank line ends one whatever stands before it."""
    found: list[Sentence] = []
    for block in re.finditer(r"\S(?:.|\n(?!\s*\n))*", text):
        marks = 0
        for start, end in _sentence_spans(block[0]):
            piece = block[0][start:end]
            place = block.start() + start
            spoken = marks % 2 == 1
            found.append(Sentence(place, place + len(piece), piece, tuple(stems(piece)), spoken))
            marks += len(_SPEECH_MARK.findall(piece))
    return found


def _sentence_spans(block: str) -> Iterator[tuple[int, int]]:
    start, last = 0, len(block.rstrip())
    for match in _SENTENCE_END.finditer(block):
        short = _ABBREVIATION.search(block, max(start, match.end() - _SHORT), match.end())
        if short and match.end() < last:
            continue
        yield from _clauses(block, start, match.end())
        start = match.end()
        while start < len(block) and block[start].isspace():
            start += 1
    if block[start:].strip():
        yield from _clauses(block, start, last)


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
    if "Miss " in text:
        # Else the title would be a form of the verb.
        text = _MISS.sub("Mrs ", text)
    return [stem(word) for word in _WORD.findall(joined_initials(text))]


def joined_initials(text: str) -> str:
    """The text with runs of initials as one word: `U. S. A.` is `USA`."""
    return _INITIALS.sub(lambda found: re.sub(r"\W", "", found[0]), text) if "." in text else text


def names(text: str) -> list[str]:
    """Names in a text: capitalised words that do not merely begin a sentence.

    A word that opens a sentence counts when it is capitalised elsewhere too, or
    when another capitalised word follows it. Words in capitals among others are
    names in print that knows no italics: `the HISPANIOLA`.
    """
    flat = " ".join(text.split())
    shouted = flat.isupper()
    found: list[tuple[str, bool]] = []
    for match in _NAME.finditer(flat):
        words = [word for word in match["name"].split() if word.lower() not in NOT_NAMES]
        if words and words[0].isupper():
            words = [] if shouted else [words[0].title()]
        name = " ".join(words)
        if len(name) < 3 or words[0].lower() in STOPWORDS:
            continue
        opens = bool(_OPENING.search(flat, max(0, match.start() - 6), match.start()))
        title = (match["title"] or "").rstrip(".")
        shown = f"{title}{'.' if title in _DOTTED else ''} {name}" if title else name
        found.append((shown, opens and len(words) == 1 and not title))
    sure = {word for name, doubtful in found if not doubtful for word in name.split()}
    return [name for name, doubtful in found if not doubtful or name in sure]
