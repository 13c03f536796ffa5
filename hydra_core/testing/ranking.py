"""Which sentences of a text answer a question, judged by words alone.

A sentence scores for the question's words that it holds itself, for those its
neighbours hold, and for looking like the kind of answer that is asked for (a
name for "who", a number for "how many"). Rare words weigh more, by the inverse
document frequency of BM25 taken over the sentences at hand.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from hydra_core.testing.number_words import NUMBER_WORDS
from hydra_core.testing.words import (
    CAUSES,
    PEOPLE,
    PLACES,
    TIMES,
    Sentence,
    names,
    stems,
    synonyms,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from hydra_core.testing.questions import Query

RELEVANT: Final = 0.4
"""Share of the question that a sentence and its neighbours must speak of to be reported."""

_DECAY: Final = (1.0, 0.8, 0.6, 0.5, 0.4, 0.3)
"""What a word counts that stands 0, 1, 2, ... sentences away."""

_SYNONYM: Final = 0.6
_FLOOR: Final = 0.35
"""Weight of a word that stands in every sentence, as a share of that of the rarest."""

_LEAST_SENTENCES: Final = 40
_FITTING: Final = {"who": 0.4, "what": 0.0, "how": 0.0}
_FITTING_ELSE: Final = 0.35
"""What looking like the kind of answer asked for adds to a score, which is mostly below 1."""

_DEFINING, _PREDICATED = 0.25, 0.3
_NEAR: Final = 25
_BREATH: Final = re.compile(r"[.?!;:\"\u201c\u201d]|\b(?:and|or|but)\b")
_COPULAS: Final = frozenset(("is", "wa", "was", "were", "are", "be", "been"))
_ARTICLES: Final = frozenset(("a", "an", "the"))
_QUOTE_MARK: Final = re.compile(r"[\"'\u201c\u2018](?=\w)")
_DIGITS: Final = re.compile(r"\d")


@dataclass(frozen=True, slots=True)
class Scored:
    """A sentence, its score, and the share (0..1) of the question it and its neighbours hold."""

    sentence: Sentence
    index: int
    score: float
    cover: float


def rank(query: Query, found: Sequence[Sentence], *, spread: bool = True) -> list[Scored]:
    """Score every sentence that bears on the question, best first.

    `spread`: neighbours count and rare words weigh more, as in a running text; without
    it each stands alone, as among passages that were already chosen.
    """
    weights = _weights(query, found) if spread else query.terms
    total = sum(weights.values())
    if not total:
        return []
    hits = [_hits(weights, sentence) for sentence in found]
    scored = []
    for index, sentence in enumerate(found):
        direct = sum(weights[base] * share for base, share in hits[index].items()) / total
        cover = _cover(weights, hits, index) / total if spread else direct
        if direct:
            score = 0.5 * direct + 0.5 * cover
            score += _FITTING.get(query.kind, _FITTING_ELSE) * _fits(query, sentence)
            score += _DEFINING * _defines(query, sentence) + _PREDICATED * _predicated(
                query, sentence
            )
            scored.append(Scored(sentence, index, score * _shape(sentence), cover))
    return sorted(scored, key=lambda one: (-one.score, one.index))


def _weights(query: Query, found: Sequence[Sentence]) -> dict[str, float]:
    """Prior times a share of the inverse document frequency, the rarest counting 1."""
    # Few sentences say nothing of a word's rarity, so a short text counts as a longer one.
    size = max(len(found), _LEAST_SENTENCES)
    bags = [frozenset(sentence.stems) for sentence in found]
    rarest = math.log(2 + 2 * size)
    weights = {}
    for base, prior in query.terms.items():
        df = sum(base in bag for bag in bags)
        idf = math.log(1 + (size - df + 0.5) / (df + 0.5)) / rarest
        weights[base] = prior * (_FLOOR + (1 - _FLOOR) * idf)
    return weights


def _hits(weights: Iterable[str], sentence: Sentence) -> dict[str, float]:
    bag = frozenset(sentence.stems)
    found = {}
    for base in weights:
        if base in bag:
            found[base] = 1.0
        elif not bag.isdisjoint(synonyms(base)):
            found[base] = _SYNONYM
    return found


def _cover(weights: dict[str, float], hits: Sequence[dict[str, float]], index: int) -> float:
    """What a sentence and its neighbours say of the question, nearer ones counting more."""
    best = dict.fromkeys(weights, 0.0)
    for distance, decay in enumerate(_DECAY):
        for place in {index - distance, index + distance}:
            if 0 <= place < len(hits):
                for base, share in hits[place].items():
                    best[base] = max(best[base], share * decay)
    return sum(weights[base] * share for base, share in best.items())


def _shape(sentence: Sentence) -> float:
    """Headings, questions and scraps answer badly; long sentences say little of any one thing."""
    length = len(sentence.stems)
    if length < 4:
        return 0.5
    if length < 13 and sentence.text[-1].isalnum():
        return 0.3
    shape = 0.75 if sentence.text.rstrip("\"'\u201d\u2019)").endswith("?") else 1.0
    return shape / (1 + max(0, length - 20) / 200)


def _fits(query: Query, sentence: Sentence) -> float:
    """How much a sentence looks like the kind of answer that is asked for, 0..1."""
    match query.kind:
        case "who":
            return _has_person(query, sentence)
        case "count":
            return float(bool(_DIGITS.search(sentence.text)) or _has_number(sentence))
        case "when":
            dated = not TIMES.isdisjoint(sentence.stems) or bool(_DIGITS.search(sentence.text))
            return float(dated)
        case "where":
            return float(_place_near(query, sentence))
        case "why":
            return float(bool(CAUSES.search(sentence.text)))
        case "words":
            return float(bool(_QUOTE_MARK.search(sentence.text)) or sentence.text.endswith(":"))
        case _:
            return 0.0


def _has_person(query: Query, sentence: Sentence) -> float:
    """1 for a name right beside a word of the question, less for one elsewhere or for a noun."""
    if query.subject:
        return float(not PEOPLE.isdisjoint(sentence.stems))
    new = [name for name in names(sentence.text) if query.terms.keys().isdisjoint(stems(name))]
    if any(beside(query, sentence.text, name) for name in new):
        return 1.0
    return 0.4 if new else 0.3 if not PEOPLE.isdisjoint(sentence.stems) else 0.0


def beside(query: Query, text: str, name: str) -> bool:
    """Whether a name stands within a few words of a word of the question, in one breath."""
    flat = " ".join(text.split())
    place = flat.find(name)
    before = _BREATH.split(flat[max(0, place - _NEAR) : place])[-1]
    after = _BREATH.split(flat[place + len(name) : place + len(name) + _NEAR])[0]
    return not query.terms.keys().isdisjoint((*stems(before), *stems(after)))


def _has_number(sentence: Sentence) -> bool:
    """Whether a number other than "one", which is mostly a pronoun, is written out."""
    return any(base in NUMBER_WORDS and base != "one" for base in sentence.stems)


def _place_near(query: Query, sentence: Sentence) -> bool:
    """Whether a preposition of place follows a word of the question closely."""
    words = sentence.stems
    marks = [at for at, base in enumerate(words) if base in query.terms]
    return any(word in PLACES for at in marks for word in words[at + 1 : at + 8])


def _defines(query: Query, sentence: Sentence) -> float:
    """How much a sentence says what the subject of the question is, 0..1."""
    if not query.subject or not query.subject.issubset(sentence.stems):
        return 0.0
    return max(
        (_pattern(query.subject, sentence, at) for at in _places(query, sentence)), default=0
    )


def _predicated(query: Query, sentence: Sentence) -> bool:
    """Whether the asked-for quality is said of someone: "was blind", "a blind man"."""
    if query.predicate is None:
        return False
    words = sentence.stems
    return any(
        not PEOPLE.isdisjoint(words[at + 1 : at + 2])
        or not _COPULAS.isdisjoint(words[max(0, at - 2) : at])
        for at, base in enumerate(words)
        if base == query.predicate
    )


def _places(query: Query, sentence: Sentence) -> Iterator[int]:
    """Where the subject's words begin."""
    words = sentence.stems
    for at, base in enumerate(words):
        if base in query.subject and (at == 0 or words[at - 1] not in query.subject):
            yield at


def _pattern(subject: frozenset[str], sentence: Sentence, at: int) -> float:
    words = sentence.stems
    after = [word for word in words[at + 1 : at + 5] if word not in subject]
    before = words[max(0, at - 4) : at]
    if {"of", "to", "by", "for", "with"}.intersection(before[-1:]):
        return 0.0
    if _COPULAS.intersection(before) or (after and after[0] in _COPULAS):
        return 1.0 if _ARTICLES.intersection((*before, *after[1:2])) else 0.5
    described = bool(_ARTICLES.intersection(before)) and not PEOPLE.isdisjoint(before)
    return 1.0 if described else 0.6 if after and after[0] in (*_ARTICLES, "who") else 0.0
