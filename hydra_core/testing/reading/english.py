"""English as word lists: base forms, words of nearly the same meaning, kinds of nouns.

The lists are data (`english.toml`), generic knowledge of the language only: no word
in them belongs to any one book.
"""

from __future__ import annotations

import re
import tomllib
from functools import cache, lru_cache
from importlib import resources
from typing import Final

_ENGLISH: Final = tomllib.loads(
    resources.files("hydra_core.testing.reading").joinpath("english.toml").read_text(encoding="utf-8")
)
_IRREGULAR: Final = {
    form: base for base, forms in _ENGLISH["irregular"].items() for form in forms.split()
}
_PREFIXES: Final = ("over", "under", "fore", "with", "mis", "out")
_SUFFIXES: Final = (
    *(("iest", "y", 4), ("ier", "y", 5)),
    *(("ies", "y", 3), ("ied", "y", 3), ("sses", "ss", 3), ("ing", "", 3), ("ed", "", 3)),
)
"""Endings, what takes their place, and the least length of what remains."""

_VOWEL: Final = re.compile("[aeiouy]")


@lru_cache(maxsize=50_000)
def stem(word: str) -> str:
    """A word's base form, roughly: `islands` is `island`, `buried` is `bury`."""
    plain = word.lower().replace("\u2019", "'").removesuffix("'s").removesuffix("'")
    if plain in _IRREGULAR:
        return _without_e(_IRREGULAR[plain])
    if plain.endswith("eed"):
        return plain
    for prefix in _PREFIXES:
        if plain.startswith(prefix) and plain.removeprefix(prefix) in _IRREGULAR:
            return prefix + _without_e(_IRREGULAR[plain.removeprefix(prefix)])
    for suffix, rest, least in _SUFFIXES:
        base = plain.removesuffix(suffix) + rest
        if plain.endswith(suffix) and len(base) >= least and _VOWEL.search(base):
            return _undouble(base)
    if plain.endswith("ly") and len(plain) > 5:
        return plain[:-2]
    if plain.endswith("s") and not plain.endswith(("ss", "us", "is")) and len(plain) > 3:
        return _without_e(plain[:-1])
    return _without_e(plain)


def is_form(word: str) -> bool:
    """Whether a word looks like a form of a verb: `born`, `hidden`, `buried`."""
    return word in _IRREGULAR or word.endswith("ed")


def synonyms(base: str) -> frozenset[str]:
    """Stems that mean nearly the same, without the stem itself."""
    return _synonyms().get(base, frozenset())


@cache
def _synonyms() -> dict[str, frozenset[str]]:
    found: dict[str, frozenset[str]] = {}
    for group in _ENGLISH["synonyms"]:
        bases = frozenset(stem(word) for word in group.split())
        for base in bases:
            found[base] = found.get(base, frozenset()) | (bases - {base})
    return found


def _undouble(base: str) -> str:
    doubled = len(base) > 3 and base[-1] == base[-2] and base[-1] not in "lsz"
    return base[:-1] if doubled else _without_e(base)


def _without_e(base: str) -> str:
    """`stole` and `stor(ed)` must meet, so a final e is dropped from longer words."""
    return base[:-1] if base.endswith("e") and len(base) > 4 else base


def _listed(name: str) -> frozenset[str]:
    return frozenset(_ENGLISH[name].split())


def _stemmed(name: str) -> frozenset[str]:
    return frozenset(map(stem, _listed(name)))


STOPWORDS: Final = _listed("stopwords")
QUESTION_STOPWORDS: Final = STOPWORDS | _listed("spanish_stopwords")
"""Words of a question, asked in English or Spanish, that are not looked for."""

PRONOUNS: Final = _listed("pronouns")
PLACES: Final = _listed("places")
TITLES: Final = _listed("titles")
SPEECH: Final = _listed("speech")
COPULAS: Final = frozenset(("is", "was", "were", "are", "be", "been", "lay", "stood"))
NOT_NAMES: Final = _listed("not_names")
PEOPLE: Final = _stemmed("people")
TIMES: Final = _stemmed("times")
WEAK: Final = _stemmed("weak")
COINS: Final = _stemmed("coins")
COLOURS: Final = _stemmed("colours")
SPANS: Final = _stemmed("spans")
"""`PEOPLE` to `SPANS` hold stems: nouns for persons and times, common verbs, coins, time units."""
