"""What an answer looks like: a name for "who", a number for "how many", a place for "where"."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from hydra_core.testing.number_words import NUMBER_WORDS
from hydra_core.testing.reading.definitions import places
from hydra_core.testing.reading.english import (
    COINS,
    COLOURS,
    COPULAS,
    PEOPLE,
    PLACES,
    PRONOUNS,
    SPANS,
    STOPWORDS,
    TIMES,
    stem,
)
from hydra_core.testing.reading.words import CAUSES, names, stems

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from hydra_core.testing.reading.questions import Query
    from hydra_core.testing.reading.words import Sentence

NEEDED: Final = frozenset(("count", "money", "duration", "age", "when"))
"""Kinds to which a sentence without the form is no answer at all."""

FORMED: Final = 0.3
"""From here on a sentence has the form, if not just where it is looked for."""

_NEAR: Final = 25
_BREATH: Final = re.compile(r"[.?!;:\"\u201c\u201d]|\b(?:and|or|but)\b")
_QUOTE_MARK: Final = re.compile(r"[\"'\u201c\u2018](?=\w)")
_DIGITS: Final = re.compile(r"\d")
_MONTHS: Final = (
    "january|february|march|april|may|june|july|august|september|october|november|december"
)
_DATE: Final = re.compile(
    rf"\b(?:1[0-9]|20)\d\d\b|\b(?:\d\w* (?:of )?(?:{_MONTHS})|(?:{_MONTHS}) \d)|o'clock"
    r"|\b(?:mon|tues|wednes|thurs|fri|satur|sun)day\b",
    re.IGNORECASE,
)
_IN_NAME: Final = re.compile(
    r"\b(?:in|at|near|from|off|on|to|behind|under)\s+(?:the\s+|an?\s+)?(?:[a-z]+\s+)?[A-Z]{1,2}[a-z]"
)
_PAIR: Final = re.compile(r"(?<![\w'-])(?=(\w+) (\w+))")
_COLOUR: Final = frozenset(("colour", "color", "shad", "hue"))
_AGED: Final = re.compile(
    r"\baged\b|\bage of\b|\byears?[ -](?:old|of age)\b"
    r"|\bof (?:about |some )?(?:\w+teen|twenty|thirty|forty|fifty|sixty)\b"
)
_MEANS: Final = frozenset(("by", "with", "of", "from", "through", "using", "so"))
_CALLING: Final = re.compile(r"\b(?:call(?:ed|s)?|named?|names|known as)\b", re.IGNORECASE)
_NUMBERS: Final = frozenset(
    stem(word) for word in (*NUMBER_WORDS, "hundred", "thousand", "million", "dozen", "score")
) - {"one"}


def fits(query: Query, sentence: Sentence) -> float:
    """How much a sentence looks like the kind of answer that is asked for, 0..1."""
    form = _FORMS.get(query.kind)
    return form(query, sentence) if form else 0.0


def beside(query: Query, text: str, name: str, *, words: Collection[str] = ()) -> bool:
    """Whether a name stands within a few words of a word of the question, in one breath.

    `words` are the stems to stand beside, else all of the question's.
    """
    flat = " ".join(text.split())
    place = flat.casefold().find(name.casefold())
    if place < 0:
        return False
    before = _BREATH.split(flat[max(0, place - _NEAR) : place])[-1]
    after = _BREATH.split(flat[place + len(name) : place + len(name) + _NEAR])[0]
    return not set(words or query.terms).isdisjoint((*stems(before), *stems(after)))


def _person(query: Query, sentence: Sentence) -> float:
    """1 for a name right beside a word of the question, less for one elsewhere or for a noun."""
    if query.subject:
        return 0.0 if PEOPLE.isdisjoint(sentence.stems) else 0.3
    new = list(_new_names(query, sentence))
    if query.role:
        named = any(titled(name, query.role) for name in names(sentence.text))
        return 1.0 if named else 0.3 * bool(new)
    if any(beside(query, sentence.text, name) for name in new):
        return 1.0
    return 0.4 if new else 0.3 if not PEOPLE.isdisjoint(sentence.stems) else 0.0


def titled(name: str, role: str) -> bool:
    """Whether a name bears an office: "Captain Bell"."""
    return " " in name and stems(name)[0] == role


def _named(query: Query, sentence: Sentence) -> float:
    """1 for a new name in a sentence that speaks of calling, less for one without."""
    new = list(_new_names(query, sentence))
    if not new:
        return 0.0
    calling = _CALLING.search(sentence.text) is not None
    return 0.5 * calling + 0.5 * any(beside(query, sentence.text, name) for name in new)


def _new_names(query: Query, sentence: Sentence) -> Iterator[str]:
    return (name for name in names(sentence.text) if query.terms.keys().isdisjoint(stems(name)))


def _count(query: Query, sentence: Sentence) -> float:
    """1 for a number right before what is counted, less for one elsewhere."""
    words = sentence.stems
    numbers = [at for at, word in enumerate(words) if _is_number(word)]
    if not numbers:
        return 0.0
    if query.focus is None:
        return 0.6
    if any(query.focus in words[at + 1 : at + 4] for at in numbers):
        return 1.0
    return 0.4 if query.focus in words else 0.1


def _money(_query: Query, sentence: Sentence) -> float:
    """1 for a sum of money."""
    words = sentence.stems
    coins = [at for at, word in enumerate(words) if word in COINS]
    if any(_is_number(word) for at in coins for word in words[max(0, at - 3) : at]):
        return 1.0
    return float("$" in sentence.text or "\u00a3" in sentence.text)


def _duration(_query: Query, sentence: Sentence) -> float:
    """1 for a number of years, days or hours."""
    words = sentence.stems
    spans = [at for at, word in enumerate(words) if word in SPANS]
    return float(any(_is_number(word) for at in spans for word in words[max(0, at - 3) : at]))


def _age(_query: Query, sentence: Sentence) -> float:
    """1 for how old someone is, less for any number of years."""
    if _AGED.search(sentence.text):
        return 1.0
    return 0.2 * _duration(_query, sentence)


def _is_number(word: str) -> bool:
    """Whether a stem is a number other than "one", which is mostly a pronoun."""
    return word in _NUMBERS or word[0].isdigit()


def _date(_query: Query, sentence: Sentence) -> float:
    """1 for a date or an hour, less for a time of the day or year."""
    if _DATE.search(sentence.text):
        return 1.0
    return 0.5 if not TIMES.isdisjoint(sentence.stems) or _DIGITS.search(sentence.text) else 0.0


def _place(query: Query, sentence: Sentence) -> float:
    """Whether a preposition of place follows a word of the question closely, or a name does."""
    if query.subject:
        return float(places(query.subject, sentence.text))
    words = sentence.stems
    marks = [at for at, base in enumerate(words) if base in query.related]
    if any(word in COPULAS and after in PLACES for word, after in _pairs_after(words, marks)):
        return 1.0
    if not any(word in PLACES for at in marks for word in words[at + 1 : at + 8]):
        return 0.3 if not PLACES.isdisjoint(words) else 0.0
    return 1.0 if _IN_NAME.search(sentence.text) else 0.6


def _pairs_after(words: Sequence[str], marks: Sequence[int]) -> Iterator[tuple[str, str]]:
    """The two words after each mark."""
    return ((words[at + 1], words[at + 2]) for at in marks if at + 2 < len(words))


def _cause(_query: Query, sentence: Sentence) -> float:
    return float(CAUSES.search(sentence.text) is not None)


def _manner(query: Query, sentence: Sentence) -> float:
    """Whether a deed of the question is followed by what it was done by, with or of."""
    words = sentence.stems
    named = frozenset[str]().union(*(name.bases for name in query.names))
    marks = [at for at, base in enumerate(words) if base in query.related and base not in named]
    return float(any(not _MEANS.isdisjoint(words[at + 1 : at + 3]) for at in marks))


def _chosen(query: Query, sentence: Sentence) -> float:
    """1 where a word before the focus tells it from others: "the left leg"."""
    if query.focus in _COLOUR:
        return float(not COLOURS.isdisjoint(sentence.stems))
    if query.focus not in sentence.stems:
        return 0.0
    pairs = _PAIR.findall(" ".join(sentence.text.split()))
    told = {stem(first) for first, second in pairs if stem(second) == query.focus} - {"one"}
    return 1.0 if told - STOPWORDS - PRONOUNS - query.terms.keys() else 0.3


def _wording(_query: Query, sentence: Sentence) -> float:
    return float(bool(_QUOTE_MARK.search(sentence.text)) or sentence.text.endswith(":"))


_FORMS: Final[Mapping[str, Callable[[Query, Sentence], float]]] = {
    "who": _person,
    "name": _named,
    "count": _count,
    "money": _money,
    "duration": _duration,
    "age": _age,
    "when": _date,
    "where": _place,
    "why": _cause,
    "how": _manner,
    "which": _chosen,
    "words": _wording,
}
