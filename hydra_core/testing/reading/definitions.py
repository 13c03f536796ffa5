"""Sentences that say what someone or something is."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from hydra_core.testing.reading.english import PEOPLE, stem
from hydra_core.testing.reading.words import TITLE

if TYPE_CHECKING:
    from collections.abc import Sequence

_BE: Final = r"(?:is|was|are|were|am|be|been|being|'s|'m)"
_BEING: Final = rf"{_BE}|had been|has been|became|means?|signif\w+|stands? for"
_DETERMINER: Final = r"(?:an?|the|my|our|his|her|your|their|one of|that|this|some|no)"
_FORMS: Final = (
    # "Bell is a cook", "Bell means trouble"
    (1.0, rf"{{x}},? (?:{_BEING}) (?:\w+ly )?{_DETERMINER}\b"),
    # "Bell, the cook"; "Bell, of Hull" says less
    (1.0, rf"{{x}}, {_DETERMINER} (?=[\w-]+)"),
    (0.6, r"{x},? (?:of|from|who|whose|whom|which|formerly|late)\b"),
    # "a gentleman called Bell", "my name is Bell", "I am Bell"
    (1.0, r"(?:called|named|known as|by the name of),? {x}"),
    (0.9, r"\b(?:names? (?:of|is|was|be)|I am|I'm|(?:this|that|it) (?:is|was)) {x}"),
)  # fmt: skip
_NOUN_BEFORE: Final = re.compile(rf"{_DETERMINER} (?:[\w-]+,? ){{0,4}}?([\w-]+),? $", re.IGNORECASE)
_FOLLOWS_WHO: Final = re.compile(
    r"\W*(?:he|she|they)(?:'s| is| was| were) (?:an?|one of)\b", re.IGNORECASE
)
_FOLLOWS: Final = re.compile(
    r"\W*(?:it|that|this|they)(?:'s| is| was| were| are) (?:an?|the|one of)\b", re.IGNORECASE
)
_LIES: Final = rf"(?:{_BE}|lies|lay|stands?|stood)"
_WHERE: Final = "(?:in|on|at|near|behind|under|by|above|below|between|beyond|within|opposite|off)"
_PLACED: Final = (
    # "Hull, on the coast", "Bell's box is in the attic"; "at the Bell, Corn Street"
    rf"{{x}},? (?:{_LIES} )?{_WHERE} ",
    r"{x}, [A-Z]",
)
_BY_SURNAME: Final = 0.7
"""What a definition counts that gives only a part of the name: it may be a relative's."""

_MOST_INITIALS: Final = 6
_REACH: Final = 60
"""Characters before a name in which the noun that it explains may stand."""


def defines(subject: Sequence[str], text: str) -> float:
    """How much a sentence says what `subject` is, 0..1."""
    flat = " ".join(text.split())
    forms, alone = _patterns(tuple(subject))
    if spells_out(subject, flat):
        return 1.0
    best = max((worth for worth, form in forms if form.search(flat)), default=0.0)
    if best < 1.0 and any(_described(flat, found.start()) for found in alone.finditer(flat)):
        best = 1.0
    whole = all(word in flat for word in subject) or not subject[-1][0].isupper()
    return best if whole else _BY_SURNAME * best


def places(subject: Sequence[str], text: str) -> bool:
    """Whether a sentence says where `subject` is."""
    flat = " ".join(text.split())
    return any(form.search(flat) for form in _placing(tuple(subject)))


def spells_out(subject: Sequence[str], text: str) -> bool:
    """Whether a text holds the words whose initials the subject is: KKK, Ku Klux Klan."""
    initials = _initials(tuple(subject))
    return initials is not None and initials.search(text) is not None


def continues(text: str, *, person: bool) -> bool:
    """Whether a sentence may define what an earlier one named: "It is a ...", "He was a ..."."""
    form = _FOLLOWS_WHO if person else _FOLLOWS
    return form.match(" ".join(text.split())) is not None


def _described(flat: str, place: int) -> bool:
    """Whether a noun for a person leads up to a name: "the well-known singer, Ada Bell"."""
    noun = _NOUN_BEFORE.search(flat, max(0, place - _REACH), place)
    return noun is not None and stem(noun[1]) in PEOPLE


@lru_cache(maxsize=64)
def _patterns(
    subject: tuple[str, ...],
) -> tuple[tuple[tuple[float, re.Pattern[str]], ...], re.Pattern[str]]:
    """The forms that define one subject, and the subject alone."""
    x, flags = _subject(subject)
    compiled = tuple((worth, re.compile(form.replace("{x}", x), flags)) for worth, form in _FORMS)
    return compiled, re.compile(x, flags)


@lru_cache(maxsize=64)
def _placing(subject: tuple[str, ...]) -> tuple[re.Pattern[str], ...]:
    x, flags = _subject(subject)
    return tuple(re.compile(form.replace("{x}", x), flags) for form in _PLACED)


def _subject(subject: tuple[str, ...]) -> tuple[str, re.RegexFlag]:
    """The pattern of a subject; of a name the first words may be missing."""
    *first, last = (re.escape(word) for word in subject)
    proper = subject[-1][0].isupper()
    gap = r"[\s.]*" if proper else r"\s+"
    lead = "".join(f"(?:{word}{gap})?" if proper else f"{word}{gap}" for word in first)
    x = rf"\b(?:{TITLE} )?{lead}{last}['\"\u201d\u2019]?\b"
    return x, re.NOFLAG if proper else re.IGNORECASE


@lru_cache(maxsize=64)
def _initials(subject: tuple[str, ...]) -> re.Pattern[str] | None:
    """The pattern of the words behind initials, if the subject is such."""
    letters = subject[-1] if len(subject) == 1 else ""
    if not (letters.isalpha() and letters.isupper() and 2 <= len(letters) <= _MOST_INITIALS):
        return None
    return re.compile(r"\b" + r"\s+(?:(?:of|and|the)\s+)?".join(f"{one}[a-z]+" for one in letters))
