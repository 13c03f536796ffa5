"""What one text says on a question, as quotes that can be checked."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from hydra_core.testing.reading.echoes import asks_the_same
from hydra_core.testing.reading.holding import tells
from hydra_core.testing.reading.ranking import Scored, rank
from hydra_core.testing.reading.words import Sentence, names, sentences, stems

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hydra_core.testing.reading.questions import Named, Query

MOST_FOUND: Final = 7
MOST_COUNTED: Final = 14
QUOTE_WORDS: Final = 40
CONTEXT_WORDS: Final = 25

_REACH: Final = 20
"""Sentences before a quote in which what it leaves unsaid is looked for."""

_FADES: Final = 0.95
"""What a word of one of these counts, for each sentence that it is further away."""

_OPENS: Final = re.compile(r"[\"'\u201c\u2018]\w")
_CLOSES: Final = re.compile(r"[\"'\u201d\u2019]$")
_PAUSE: Final = re.compile(r"[,;:)]$|--$")


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
    ranking = rank(query, found)
    ranked = [one for one in ranking.scored if one.relevant]
    if not ranked:
        return []
    most, least = (MOST_COUNTED, 0.35) if query.kind == "count" else (MOST_FOUND, 0.6)
    kept = [one for one in ranked if one.score >= least * ranked[0].score]
    return [_finding(query, one, found, text, ranking.narrator) for one in kept[:most]]


def _finding(
    query: Query, one: Scored, found: Sequence[Sentence], text: str, narrator: Named | None
) -> Finding:
    start, end = quote_span(query, one.sentence, text)
    for following in _announced(query, one.index, found):
        if len(text[start : following.end].split()) <= QUOTE_WORDS:
            end = following.end
            continue
        room = QUOTE_WORDS - len(text[start : following.start].split())
        if room > 0 and one.sentence.text.endswith(":"):
            end = quote_span(query, following, text, words=room)[1]
        break
    near = found[max(0, one.index - 2) : one.index + 3]
    return Finding(
        start=start,
        end=end,
        claim=_claim(query, one.index, found, text[start:end], narrator),
        names=tuple(dict.fromkeys(name for each in near for name in names(each.text))),
        score=one.score,
    )


def _claim(
    query: Query, index: int, found: Sequence[Sentence], quote: str, narrator: Named | None
) -> str:
    """The quote after who tells it and the sentence before it that says what it leaves unsaid."""
    claim = " ".join(quote.split())
    missing = query.terms.keys() - set(stems(quote))
    if narrator is not None and tells(found[index]):
        claim = f"{' '.join(narrator.words)} tells: {claim}"
        missing -= narrator.bases
    before = found[max(0, index - _REACH) : index]
    worth = [
        sum(query.terms[base] for base in missing & set(one.stems)) * _FADES ** (len(before) - at)
        for at, one in enumerate(before)
    ]
    best = max(range(len(before)), key=worth.__getitem__, default=None)
    if best is None or not worth[best]:
        return claim
    context = before[best]
    first, last = _best_run(query, context.text.split(), CONTEXT_WORDS)
    return f"{' '.join(context.text.split()[first:last])} {claim}"


def _announced(query: Query, index: int, found: Sequence[Sentence]) -> Iterator[Sentence]:
    """What a colon announces, or what answers a question that the text itself asks.

    It is the answer more often than the sentence before it.
    """
    sentence = found[index]
    following = found[index + 1 : index + 5]
    if not following:
        return
    if sentence.text.endswith(":"):
        yield following[0]
        if _OPENS.match(following[0].text):
            for last, one in pairwise(following):
                if _CLOSES.search(last.text):
                    return
                yield one
    elif asks_the_same(query, sentence.text):
        # A short sentence after a question names who asks; the answer comes next.
        yield following[0]
        if len(following[0].stems) < 4 and len(following) > 1:
            yield following[1]


def quote_span(
    query: Query, sentence: Sentence, text: str, *, words: int = QUOTE_WORDS
) -> tuple[int, int]:
    """The sentence as a span of the text; of a long one the clauses that say the most."""
    found = list(re.finditer(r"\S+", text[sentence.start : sentence.end]))
    first, last = _best_run(query, [word[0] for word in found], words)
    return sentence.start + found[first].start(), sentence.start + found[last - 1].end()


def _best_run(query: Query, words: Sequence[str], most: int) -> tuple[int, int]:
    """The run of whole clauses of at most so many words that holds most of the question."""
    if len(words) <= most:
        return 0, len(words)
    cuts = [0, *(at for at, word in enumerate(words, start=1) if _PAUSE.search(word)), len(words)]
    cuts = sorted(set(cuts))
    bags = [query.terms.keys() & set(stems(word)) for word in words]
    runs = [
        (sum(query.terms[base] for base in set().union(*bags[first:last])), last - first, -first)
        # Cuts are distinct, so no run of so many words ends beyond that many of them.
        for place, first in enumerate(cuts)
        for last in cuts[place + 1 : place + 1 + most]
        if last - first <= most
    ]
    if not runs:
        return 0, most
    _, length, before = max(runs)
    return -before, length - before
