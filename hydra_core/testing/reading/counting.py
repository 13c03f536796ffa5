"""Add up what a book counts in several places."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from hydra_core.testing.number_words import number_of
from hydra_core.testing.reading.english import STOPWORDS, stem
from hydra_core.testing.reading.words import stems

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hydra_core.testing.reading.passages import Passage
    from hydra_core.testing.reading.questions import Query

_TOTAL: Final = re.compile(r"\b(?:in all|altogether|in total|total|overall)\b", re.IGNORECASE)
_COUNTED: Final = re.compile(
    r"\bhow (?:many|much) ((?:(?!\b(?:were|was|did|do|does|are|is|has|have|had|in)\b)[\w' ])+)",
    re.IGNORECASE,
)
_TOKEN: Final = re.compile(r"[a-zA-Z]+(?:-[a-zA-Z]+)?|\d[\d,]*")


def counted(query: Query, passages: Sequence[Passage], *, whole: bool) -> str | None:
    """The sum of the numbers that stand before what is counted, each passage once.

    None unless a total is asked for and two passages count. `whole`: all of the
    document was read, else the sum is a lower bound.
    """
    asked = _COUNTED.search(query.text)
    if asked is None or not _TOTAL.search(query.text):
        return None
    things = asked[1].strip()
    found = [
        (number, passage)
        for passage in passages
        if (number := _number_of(stems(things), passage.quote)) is not None
    ]
    if len(found) < 2:
        return None
    total = sum(number for number, _ in found)
    parts = " + ".join(f"{number} [{passage.key}]" for number, passage in found)
    opening = "In all" if whole else "At least"
    return f"{opening} {total} {things}, added up from {len(found)} passages: {parts}."


def _number_of(things: Sequence[str], quote: str) -> int | None:
    """The number right before the counted things, with at most three words between."""
    words = _TOKEN.findall(quote)
    bases = [stem(word) for word in words]
    wanted = [base for base in things if base not in STOPWORDS]
    for at, word in enumerate(words):
        number = number_of(word)
        after = bases[at + 1 : at + 4 + len(things)]
        if number is not None and wanted and wanted[0] in after[:4] and set(wanted) <= set(after):
            return number
    return None
