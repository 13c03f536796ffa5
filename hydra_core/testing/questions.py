"""Read a question: what it asks about, and what kind of answer it wants."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from hydra_core.testing.words import STOPWORDS, WEAK, names, stem, stems

_KINDS: Final = (
    ("count", re.compile(r"\bhow (?:many|much)\b|\bnumber of\b", re.IGNORECASE)),
    ("who", re.compile(r"\bwho(?:m|se)?\b", re.IGNORECASE)),
    ("when", re.compile(r"\bwhen\b|\bwhat (?:day|date|year|time|month|hour)\b", re.IGNORECASE)),
    ("where", re.compile(r"\bwhere\b|\bin what (?:place|town|city|room)\b", re.IGNORECASE)),
    ("why", re.compile(r"\bwhy\b|\bfor what reason\b", re.IGNORECASE)),
    ("how", re.compile(r"\bhow\b", re.IGNORECASE)),
    ("words", re.compile(r"\b(?:song|sings?|sang|words|written|motto|verse)\b", re.IGNORECASE)),
)
_DEFINITION: Final = re.compile(
    r"^\s*(?:who|what)\s+(?:is|was|are|were)\s+(?:the |a |an )?((?:\S+\s?){1,4})\?*\s*$",
    re.IGNORECASE,
)
_PREDICATE: Final = re.compile(
    r"^\s*who\s+(?:is|was|are|were)\s+(?!the |a |an )([a-z]+)", re.IGNORECASE
)
_ACTION: Final = re.compile(
    r"^\s*(?:how|where)\s+(?:did|does|do|was|were|is|are)\b.*?(\w+)\s*\?", re.IGNORECASE
)
_POSSESSED: Final = re.compile(r"['\u2019]s\s+(\w+)\s*\?")
_DEED: Final = re.compile(r"^\s*who\s+(?!is |was |are |were )(\w+)", re.IGNORECASE)
_OWNER: Final = 0.8
"""Factor for the words before a possessive: "the blue carbuncle's goose" asks of the goose."""

_NAME: Final = 1.6
"""Weight of a whole name, shared by its words."""

_WEAK: Final = 0.3
_ASKED: Final = 1.6
"""Weight of the word that a question is about: blind in "Who was blind and came in?"."""

_WEAK_STEMS: Final = frozenset(stem(word) for word in WEAK)


@dataclass(frozen=True, slots=True)
class Query:
    """A question, read: what it asks about and what kind of answer it wants.

    `terms` maps each stem to its prior weight; `kind` is one of `who`, `when`,
    `where`, `count`, `why`, `how`, `words` or `what`; `subject` the stems of what
    a definition is asked of ("Who is Irene Adler?"), else empty.
    """

    text: str
    terms: dict[str, float]
    kind: str
    names: frozenset[str]
    subject: frozenset[str]
    predicate: str | None = None

    @classmethod
    def of(cls, text: str) -> Query:
        """Read a question."""
        kind = next((name for name, pattern in _KINDS if pattern.search(text)), "what")
        named = frozenset(names(f"x {text}"))
        proper = {base: _NAME / len(stems(name)) for name in named for base in stems(name)}
        terms: dict[str, float] = {}
        for word in re.findall(r"[\w'\u2019]+", text):
            if word.lower() not in STOPWORDS:
                base = stem(word)
                terms[base] = proper.get(base, _WEAK if base in _WEAK_STEMS else 1.0)
        predicate = _weighted_predicate(text, terms)
        asked = _DEFINITION.match(text)
        defines = asked is not None and kind in ("who", "what")
        subject = frozenset(stems(asked[1])) & terms.keys() if asked and defines else frozenset()
        return cls(text, terms, kind, named, subject, predicate)


def _weighted_predicate(text: str, terms: dict[str, float]) -> str | None:
    """Raise the weight of what is said or asked of the subject; return it if it is an adjective."""
    owner = _POSSESSED.search(text)
    for base in stems(text[: owner.start()]) if owner else ():
        if base in terms:
            terms[base] *= _OWNER
    adjective = _PREDICATE.match(text)
    for found in (adjective, owner, _ACTION.search(text), _DEED.match(text)):
        base = stem(found[1]) if found else ""
        if base in terms and base not in _WEAK_STEMS:
            terms[base] = _ASKED
    base = stem(adjective[1]) if adjective else ""
    return base if base in terms else None
