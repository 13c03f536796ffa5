"""Decide whether two nearly equal runs of words say the same.

Similarity of characters cannot: "he did not sign" is 0.92 similar to "he did
sign". The words are aligned; what the quote adds, drops or replaces decides.
"""

from __future__ import annotations

from collections import Counter
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

_HARMLESS: Final = frozenset((
    "a", "an", "the", "and", "of", "to", "in", "on", "at", "that", "which", "as", "is", "was",
    "were", "are", "be", "been", "has", "had", "have", "el", "la", "los", "las", "un", "una",
    "unos", "unas", "y", "e", "de", "del", "al", "en", "que",
))  # fmt: skip
# Negations, and the few words that turn a statement as surely as they do.
_TURNING: Final = frozenset((
    "not", "no", "never", "none", "nothing", "nobody", "nowhere", "nor", "neither", "cannot",
    "without", "hardly", "scarcely", "barely", "unless", "except", "if", "only", "almost",
    "nearly", "nunca", "nada", "nadie", "ningún", "ninguno", "ninguna", "tampoco", "sin",
    "jamás", "ni", "apenas", "salvo", "excepto", "si", "solo", "sólo", "casi",
))  # fmt: skip
_NEGATIVE_PREFIXES: Final = ("un", "in", "im", "il", "ir", "dis", "non", "des", "a")
_SHORTEST_TYPO: Final = 4
_LONG_WORD: Final = 10


def says_the_same(quote: Sequence[str], source: Sequence[str]) -> bool:
    """True when the quote adds no content word and leaves every negation and condition in place.

    Both are folded words in order. A word may be misspelled by one letter, by two
    from ten letters on; a number may not.
    """
    matcher = SequenceMatcher(None, source, quote, autojunk=False)
    for tag, a, a_end, b, b_end in matcher.get_opcodes():
        if tag == "equal":
            continue
        said, wrote = source[a:a_end], quote[b:b_end]
        if _turning(said) != _turning(wrote):
            return False
        if not all(_allowed(word, said) for word in wrote):
            return False
    return True


def _turning(words: Sequence[str]) -> Counter[str]:
    return Counter(
        "n't" if word.endswith("n't") else word
        for word in words
        if word in _TURNING or word.endswith("n't")
    )


def _allowed(word: str, said: Sequence[str]) -> bool:
    return word in _HARMLESS or any(_same_word(word, other) for other in said)


def _same_word(word: str, other: str) -> bool:
    """True when one is the other misspelled, and no other word by its looks."""
    if word == other:
        return True
    if other in _HARMLESS and len(other) > 1:
        return _edits(word, other) <= 1
    shorter, longer = sorted((word, other), key=len)
    if len(shorter) < _SHORTEST_TYPO or any(map(str.isdigit, word + other)):
        return False
    if any(prefix + shorter == longer for prefix in _NEGATIVE_PREFIXES):
        return False
    return _edits(shorter, longer) <= (2 if len(shorter) >= _LONG_WORD else 1)


def _edits(left: str, right: str) -> int:
    """Levenshtein's distance: letters added, dropped or replaced."""
    row = list(range(len(right) + 1))
    for index, letter in enumerate(left, start=1):
        diagonal, row[0] = row[0], index
        for place, other in enumerate(right, start=1):
            best = min(row[place] + 1, row[place - 1] + 1, diagonal + (letter != other))
            diagonal, row[place] = row[place], best
    return row[-1]
