"""What one text says on a question, as quotes that can be checked."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from hydra_core.testing.ranking import RELEVANT, Scored, rank
from hydra_core.testing.words import PRONOUNS, Sentence, names, sentences

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hydra_core.testing.questions import Query

MOST_FOUND: Final = 7
MOST_COUNTED: Final = 14
QUOTE_WORDS: Final = 40
CLAIM_WORDS: Final = 50

_OPENS: Final = re.compile(r"[\"'\u201c\u2018]\w")
_CLOSES: Final = re.compile(r"[\"'\u201d\u2019]$")


@dataclass(frozen=True, slots=True)
class Finding:
    """A sentence worth reporting: `text[start:end]` is its quote, `claim` says it in context."""

    start: int
    end: int
    claim: str
    names: tuple[str, ...]
    score: float


def report_on(query: Query, text: str) -> list[Finding]:
    """What a text says on a question, the best first; nothing when it only brushes it."""
    found = sentences(text)
    ranked = rank(query, found)
    if not ranked or ranked[0].cover < RELEVANT:
        return []
    most, least = (MOST_COUNTED, 0.35) if query.kind == "count" else (MOST_FOUND, 0.6)
    kept = [one for one in ranked if one.score >= least * ranked[0].score and one.cover >= RELEVANT]
    return [_finding(one, found, text) for one in kept[:most]]


def _finding(one: Scored, found: Sequence[Sentence], text: str) -> Finding:
    sentence = one.sentence
    start, end = _quote_span(sentence, text)
    for following in _announced(one.index, found):
        room = QUOTE_WORDS - len(text[start:end].split())
        end = _quote_span(following, text, words=room)[1] if room > 0 else end
    claim = " ".join(text[start:end].split())
    before = found[one.index - 1] if one.index else None
    if before is not None and sentence.stems and sentence.stems[0] in PRONOUNS:
        claim = f"{' '.join(before.text.split())} {claim}"
    near = found[max(0, one.index - 2) : one.index + 3]
    return Finding(
        start=start,
        end=end,
        claim=" ".join(claim.split()[-CLAIM_WORDS:]),
        names=tuple(dict.fromkeys(name for each in near for name in names(each.text))),
        score=one.score,
    )


def _announced(index: int, found: Sequence[Sentence]) -> Iterator[Sentence]:
    """What a colon announces: the next sentence, and the rest of the speech that it opens.

    It is the answer more often than the announcement.
    """
    if not found[index].text.endswith(":") or index + 1 == len(found):
        return
    following = found[index + 1 : index + 5]
    yield following[0]
    if _OPENS.match(following[0].text):
        for last, sentence in pairwise(following):
            if _CLOSES.search(last.text):
                return
            yield sentence


def _quote_span(sentence: Sentence, text: str, *, words: int = QUOTE_WORDS) -> tuple[int, int]:
    """The sentence's first words, at most this many, as a span of the text."""
    found = list(re.finditer(r"\S+", text[sentence.start : sentence.end]))[:words]
    return sentence.start, sentence.start + found[-1].end()
