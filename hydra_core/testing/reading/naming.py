"""Which name the passages give as the answer to "who", if they carry one."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Final

from hydra_core.testing.reading.forms import beside, titled
from hydra_core.testing.reading.passages import DIRECT
from hydra_core.testing.reading.speech import bystanders
from hydra_core.testing.reading.words import names, stems

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hydra_core.testing.reading.passages import Ranked
    from hydra_core.testing.reading.questions import Query

_VOTERS: Final = 6
_WORTHY: Final = 0.5
"""Share of the best passage's score from which a passage has a vote."""

_LEADS: Final = 1.5
"""How many times the runner-up's votes a name needs to be asserted."""


def leading_name(query: Query, ranked: Sequence[Ranked]) -> str | None:
    """The name that the best passages give to the one who is asked for, if one leads clearly.

    A passage votes for a name that stands beside the quality or deed of the question,
    in one breath, and not as a place, an owner or someone spoken to.
    """
    votes: Counter[str] = Counter()
    for one in ranked[:_VOTERS]:
        if one.score < _WORTHY * ranked[0].score or not one.apt or one.cover < DIRECT:
            continue
        for name in dict.fromkeys(_voted(query, one)):
            votes[name] += round(100 * one.score)
    (first, most), (_, next_most) = [*votes.most_common(2), ("", 0), ("", 0)][:2]
    enough = most >= _WORTHY * 100 * ranked[0].score and most >= _LEADS * next_most
    return first if first and enough else None


def _voted(query: Query, one: Ranked) -> Iterator[str]:
    asked = {base for base in (query.quality, query.deed, query.role) if base}
    if not asked:
        return
    for text in dict.fromkeys((one.passage.quote, one.passage.claim)):
        told = not query.names or any(name.borne(one.passage.quote) for name in query.names)
        if asked.isdisjoint(stems(text)) or not told:
            continue
        aside = bystanders(text)
        for name in names(text):
            bases = stems(name)
            known = query.terms.keys() & set(bases) - asked
            if known or aside.issuperset(bases) or _no_doer(text, name):
                continue
            if (query.role and titled(name, query.role)) or beside(query, text, name, words=asked):
                yield name


def _no_doer(text: str, name: str) -> bool:
    """Whether a name is a place ("at Hull") or owns something ("Bell's")."""
    return bool(
        re.search(
            rf"\b(?:at|in|on|to|for|from|near|off|into|of)\s+(?:(?:the|this|that)\s+)?{re.escape(name)}\b"
            rf"|{re.escape(name)}['\u2019]s?\b",
            " ".join(text.split()),
            re.IGNORECASE,
        )
    )
