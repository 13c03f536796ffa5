"""Which sentences of a text answer a question, judged by words alone.

A sentence scores for the question's words that it holds itself, for those its
neighbours hold, and for looking like the kind of answer that is asked for (a
name for "who", a number for "how many"). Rare words weigh more, by the inverse
document frequency of BM25 taken over the sentences at hand.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from hydra_core.testing.reading.definitions import continues, defines
from hydra_core.testing.reading.echoes import asks_the_same
from hydra_core.testing.reading.english import COPULAS, PEOPLE, SPEECH, STOPWORDS, stem
from hydra_core.testing.reading.forms import FORMED, NEEDED, fits
from hydra_core.testing.reading.holding import held_alone, held_nearby, narrator_of, tell

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from hydra_core.testing.reading.holding import Held
    from hydra_core.testing.reading.questions import Named, Query
    from hydra_core.testing.reading.words import Sentence

RELEVANT: Final = 0.4
"""Share of the question that a sentence and its neighbours must speak of to be reported."""

RELEVANT_UNAPT: Final = 0.6
"""The same where none of the question's names is near, or nothing is said of it."""

_UNAPT: Final = 0.5
"""What such a sentence's score is worth."""

_NAMED: Final = 0.35
"""How well a name must be held nearby for a sentence to speak of who bears it."""

_LOOKS: Final = 0.15
"""What looking just like the answer adds to that share."""

_ANY_NAME: Final = frozenset(("who", "name"))
"""Kinds whose form is a name, which nearly every sentence of a story has."""

_CONTEXT: Final = 0.7
"""What a word counts that stands only in the context of a quote."""

_FLOOR: Final = 0.35
"""Weight of a word that stands in every sentence, as a share of that of the rarest."""

_LEAST_SENTENCES: Final = 40
_COUNTS: Final = 0.5
"""How well a sentence must hold a word to count towards the word's frequency."""

_FITTING: Final = {"who": 0.4, "what": 0.0, "how": 0.2}
_FITTING_ELSE: Final = 0.35
"""What looking like the kind of answer asked for adds to a score, which is mostly below 1."""

_FULLY: Final = 2.0
"""It adds all of that from half of the question on, else in proportion."""

_FORMLESS: Final = 0.5
"""What a score is worth to a question for a number or a date where there is none."""

_DEFINING, _UNDEFINED = 0.6, 0.6
"""What a definition adds where one is asked for, and what the words alone are then worth."""

_QUALIFIED, _ECHOED = 0.3, 0.5
_FOLLOWS_WITHIN: Final = 4
_WHOLE: Final = 0.6
"""How well a sentence must hold each word of a subject to be continued by "It is a ..."."""

_SAID: Final = frozenset(map(stem, SPEECH))


@dataclass(frozen=True, slots=True)
class Scored:
    """A sentence, its score, and the share (0..1) of the question it and its neighbours hold.

    `apt`: one of the question's names is near, if it has any, and the sentence says
    something of what is asked of it; `bases` are the question's stems held there.
    """

    sentence: Sentence
    index: int
    score: float
    cover: float
    apt: bool
    bases: frozenset[str]

    @property
    def relevant(self) -> bool:
        """Whether it bears on the question enough to be reported."""
        return self.cover >= (RELEVANT if self.apt else RELEVANT_UNAPT)


@dataclass(frozen=True, slots=True)
class Ranking:
    """The sentences that bear on a question, best first, and whose name in it is the narrator's."""

    scored: tuple[Scored, ...]
    narrator: Named | None


def rank(query: Query, found: Sequence[Sentence]) -> Ranking:
    """Score every sentence of a running text that bears on the question."""
    held = [held_alone(query, sentence) for sentence in found]
    judge = _Judge(query, _weights(query, held))
    if narrator := narrator_of(query, found, held):
        tell(narrator, found, held)
    after = _definitions_after(query, found, held)
    scored = []
    for index, (own, near) in enumerate(held_nearby(query, found, held)):
        if own or index in after or (near and query.kind in NEEDED):
            scored.append(judge.score(found[index], index, own, near, after=index in after))
    return Ranking(tuple(_best_first(scored)), narrator)


def score_alone(
    query: Query, quotes: Sequence[Sentence], claims: Sequence[Sentence]
) -> list[Scored]:
    """Score passages that stand alone, best first: `claims` are the quotes with their context."""
    contexts = [held_alone(query, claim) for claim in claims]
    judge = _Judge(query, _weights(query, contexts), spread=False)
    scored = []
    for index, (quote, context) in enumerate(zip(quotes, contexts, strict=True)):
        own = held_alone(query, quote)
        near = own | {
            base: max(own.get(base, 0.0), _CONTEXT * share) for base, share in context.items()
        }
        if near:
            after = continues(quote.text, person=query.kind == "who")
            after = after and _holds_whole(query.subject, near)
            scored.append(judge.score(quote, index, own, near, after=after))
    return _best_first(scored)


def _best_first(scored: Iterable[Scored]) -> list[Scored]:
    return sorted(scored, key=lambda one: (-one.score, one.index))


def _weights(query: Query, held: Sequence[Held]) -> dict[str, float]:
    """Prior times a share of the inverse document frequency, the rarest counting 1."""
    # Few sentences say nothing of a word's rarity, so a short text counts as a longer one.
    size = max(len(held), _LEAST_SENTENCES)
    rarest = math.log(2 + 2 * size)
    weights = {}
    for base, prior in query.terms.items():
        df = sum(own.get(base, 0.0) > _COUNTS for own in held)
        idf = math.log(1 + (size - df + 0.5) / (df + 0.5)) / rarest
        weights[base] = prior * (_FLOOR + (1 - _FLOOR) * idf)
    return weights


@dataclass(frozen=True, slots=True)
class _Judge:
    """Scores sentences against one question; `spread`: they stand in a running text."""

    query: Query
    weights: Mapping[str, float]
    spread: bool = True

    def score(
        self, sentence: Sentence, index: int, own: Held, near: Held, *, after: bool
    ) -> Scored:
        """Score one sentence; `after`: it continues one that holds the subject of a definition."""
        query = self.query
        fit = fits(query, sentence)
        score = 0.5 * _share(self.weights, own) + 0.5 * _share(self.weights, near)
        spoken = _share(self.weights, near)
        score += _FITTING.get(query.kind, _FITTING_ELSE) * fit * min(1.0, _FULLY * spoken)
        if query.kind in NEEDED and fit < FORMED:
            score *= _FORMLESS
        if query.subject and query.kind != "where":
            told = 1.0 if after else defines(query.subject, sentence.text)
            score = _UNDEFINED * score + _DEFINING * told
        score += _QUALIFIED * _qualified(query, sentence)
        score *= _shape(query, sentence)
        if asks_the_same(query, sentence.text):
            score += _ECHOED * _share(self.weights, own)
        # Among chosen passages every one holds the question's words, which says nothing of how
        # rare they are in the text.
        cover = _share(self.weights if self.spread else query.terms, near)
        cover += 0.0 if query.kind in _ANY_NAME else _LOOKS * fit
        exact = fit == 1.0 and query.kind in NEEDED and (query.focus is None or query.focus in own)
        apt = (exact and query.focus in own) or (
            self._names_one(near) and (exact or self._touches(own))
        )
        score *= 1.0 if apt else _UNAPT
        return Scored(sentence, index, score, cover, apt, frozenset(near))

    def _names_one(self, near: Held) -> bool:
        """Whether one of the question's names is near, if it has any."""
        names = self.query.names
        return not names or any(
            near.get(base, 0.0) >= _NAMED for name in names for base in name.bases
        )

    def _touches(self, own: Held) -> bool:
        """Whether the sentence itself says something of what is asked of the names."""
        query = self.query
        return bool(query.subject) or not query.asked or not query.asked.isdisjoint(own)


def _share(weights: Mapping[str, float], held: Held) -> float:
    total = sum(weights.values())
    return sum(weights[base] * worth for base, worth in held.items() if base in weights) / total


def _definitions_after(
    query: Query, found: Sequence[Sentence], held: Sequence[Held]
) -> frozenset[int]:
    """Sentences such as "It is a ..." shortly after one that holds the whole subject."""
    person = query.kind == "who"
    places: set[int] = set()
    for index, own in enumerate(held):
        if query.subject and _holds_whole(query.subject, own):
            following = range(index + 1, min(index + 1 + _FOLLOWS_WITHIN, len(found)))
            first = next((at for at in following if continues(found[at].text, person=person)), None)
            places |= set() if first is None else {first}
    return frozenset(places)


def _holds_whole(subject: Sequence[str], held: Held) -> bool:
    return all(held.get(stem(word), 0.0) >= _WHOLE for word in subject)


def _shape(query: Query, sentence: Sentence) -> float:
    """Headings, questions and scraps answer badly; long sentences say little of any one thing."""
    words = sentence.stems
    length = len(words)
    if length < 13 and sentence.text[-1].isalnum():
        return 0.3
    told = [word for word in words if not (word in STOPWORDS or word in _SAID)]
    news = len([word for word in told if word not in query.terms])
    shape = 0.75 if sentence.text.rstrip("\"'\u201d\u2019)").endswith("?") else 1.0
    if length < 4 or not news:
        shape *= 0.5
    elif news == 1:
        shape *= 0.9
    return shape / (1 + max(0, length - 20) / 200)


def _qualified(query: Query, sentence: Sentence) -> bool:
    """Whether the asked-for quality is said of someone: "was blind", "a blind man"."""
    if query.quality is None:
        return False
    words = sentence.stems
    return any(
        not PEOPLE.isdisjoint(words[at + 1 : at + 2])
        or not COPULAS.isdisjoint(words[max(0, at - 2) : at])
        for at, base in enumerate(words)
        if base == query.quality
    )
