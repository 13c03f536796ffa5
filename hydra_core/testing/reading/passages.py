"""The passages of a synthesis prompt, and how well each answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from hydra_core.testing.reading.ranking import score_alone
from hydra_core.testing.reading.words import Sentence, stems

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hydra_core.testing.reading.questions import Query

DIRECT: Final = 0.5
"""Share of the question that a passage must hold to count as an answer."""


@dataclass(frozen=True, slots=True)
class Passage:
    """One fact of a synthesis prompt: its id, claim, quote and place."""

    key: str
    claim: str
    quote: str
    place: str


@dataclass(frozen=True, slots=True)
class Ranked:
    """A passage with its score and the share (0..1) of the question that it holds.

    `apt`: it speaks of one of the question's names, if there are any, and says what
    is asked of it; `bases` are the question's stems that it or its context holds;
    `place` is its position among the passages, which are in the order of the document.
    """

    passage: Passage
    place: int
    sentence: Sentence
    score: float
    cover: float
    apt: bool
    bases: frozenset[str]


def rank_passages(query: Query, passages: Sequence[Passage]) -> list[Ranked]:
    """The passages that bear on the question, best first."""
    quotes = [_sentence(one.quote) for one in passages]
    claims = [_sentence(one.claim) for one in passages]
    return [
        Ranked(
            passage=passages[one.index],
            place=one.index,
            sentence=one.sentence,
            score=one.score,
            cover=one.cover,
            apt=one.apt,
            bases=one.bases,
        )
        for one in score_alone(query, quotes, claims)
    ]


def _sentence(text: str) -> Sentence:
    return Sentence(0, len(text), text, tuple(stems(text)))
