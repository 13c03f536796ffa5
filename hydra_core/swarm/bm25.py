"""Rank shards by how much they have to say on a question, with no model.

BM25 (Robertson and Zaragoza, 2009) with k1 = 1.2 and b = 0.75. When not
everything can be read, this order finds the answer's shard in the first third of
the reading more often than the book's own order.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

K1: Final = 1.2
B: Final = 0.75

_WORD: Final = re.compile(r"[^\W_]+")
_STOP_WORDS: Final = frozenset((
    "a", "about", "all", "an", "and", "any", "are", "as", "at", "be", "been", "but", "by", "can",
    "could", "did", "do", "does", "for", "from", "had", "has", "have", "he", "her", "him", "his",
    "how", "i", "if", "in", "into", "is", "it", "its", "me", "my", "no", "not", "of", "on", "or",
    "our", "she", "so", "that", "the", "their", "them", "then", "there", "they", "this", "to",
    "up", "was", "we", "were", "what", "when", "where", "which", "who", "whom", "why", "will",
    "with", "would", "you", "your", "al", "como", "con", "cual", "cuando", "de", "del", "donde",
    "e", "el", "en", "era", "es", "esta", "este", "esto", "fue", "ha", "hay", "la", "las", "le",
    "les", "lo", "los", "mas", "mi", "ni", "o", "para", "pero", "por", "que", "quien", "se", "ser",
    "si", "sin", "su", "sus", "tu", "un", "una", "uno", "unos", "y", "ya",
))  # fmt: skip
# Longest first: the first that leaves a stem of three letters is cut off.
_ENDINGS: Final = (
    "amientos", "imientos", "amiento", "imiento", "aciones", "ations", "mente", "acion", "ation",
    "ments", "iendo", "ment", "ando", "ings", "ness", "adas", "ados", "idas", "idos", "ies",
    "ing", "ada", "ado", "ida", "ido", "aba", "ar", "er", "ir", "ed", "es", "ly", "as", "os", "s",
    "e", "a", "o", "y",
)  # fmt: skip
_SHORTEST_STEM: Final = 3


def rank(question: str, texts: Iterable[str]) -> list[int]:
    """Indices of the texts, the most relevant first; equal ones keep their order."""
    values = scores(question, texts)
    return sorted(range(len(values)), key=lambda index: -values[index])


def scores(question: str, texts: Iterable[str]) -> list[float]:
    """The BM25 score of each text for a question; 0 when they share no term."""
    wanted = set(terms(question))
    counted = [_counted(text, wanted) for text in texts]
    mean = sum(length for _, length in counted) / len(counted) if counted else 0.0
    weights = _weights(wanted, [found for found, _ in counted])
    return [
        sum(
            weights[term] * times * (K1 + 1) / (times + K1 * (1 - B + B * length / mean))
            for term, times in found.items()
        )
        for found, length in counted
    ]


def _counted(text: str, wanted: set[str]) -> tuple[Counter[str], int]:
    """How often each wanted term stands in a text, and how many terms it has."""
    words = Counter(_WORD.findall(_plain(text)))
    found: Counter[str] = Counter()
    length = 0
    # Stemming each distinct word once is what keeps a whole book cheap.
    for word, times in words.items():
        if word in _STOP_WORDS:
            continue
        length += times
        if (term := _stem(word)) in wanted:
            found[term] += times
    return found, length


def _weights(wanted: set[str], found: Sequence[Counter[str]]) -> dict[str, float]:
    """Each term's inverse document frequency, ln(1 + (N - n + 0.5) / (n + 0.5))."""
    weights = {}
    for term in wanted:
        holding = sum(term in counts for counts in found)
        weights[term] = math.log(1 + (len(found) - holding + 0.5) / (holding + 0.5))
    return weights


def terms(text: str) -> list[str]:
    """The stems of a text's words, without stop words, case and accents."""
    return [_stem(word) for word in _WORD.findall(_plain(text)) if word not in _STOP_WORDS]


def _plain(text: str) -> str:
    text = text.casefold()
    if text.isascii():
        return text
    parts = unicodedata.normalize("NFD", text)
    return "".join(character for character in parts if not unicodedata.combining(character))


def _stem(word: str) -> str:
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= _SHORTEST_STEM:
            return word[: -len(ending)]
    return word
