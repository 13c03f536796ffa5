"""Questions that a text asks itself: what follows one is its answer."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from hydra_core.testing.reading.words import stems

if TYPE_CHECKING:
    from hydra_core.testing.reading.questions import Query

_ASKING: Final = re.compile(r"\b(who|what|where|when|why|how|which)\b", re.IGNORECASE)
_IS: Final = re.compile(r"(?:'s|\s+(?:is|was|are|were))\b", re.IGNORECASE)
_SHARED: Final = 0.6
"""Share of the question's words that its echo holds."""


def asks_the_same(query: Query, text: str) -> bool:
    """Whether a text holds a question with the query's question word and most of its words."""
    wanted = _ASKING.search(query.text)
    asked, mark, _ = " ".join(text.split()).partition("?")
    word = _ASKING.search(asked)
    if wanted is None or not mark or word is None or word[1].lower() != wanted[1].lower():
        return False
    if query.subject and _IS.match(asked, word.end()) is None:
        return False
    shared = query.terms.keys() & set(stems(asked[word.start() :]))
    return sum(query.terms[base] for base in shared) >= _SHARED * sum(query.terms.values())
