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
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from hydra_core.testing.number_words import NUMBER_WORDS
from hydra_core.testing.words import (
    CAUSES,
    PEOPLE,
    PLACES,
    PRONOUNS,
    STOPWORDS,
    TIMES,
    WEAK,
    Sentence,
    names,
    sentences,
    stem,
    stems,
    synonyms,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

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
_COPULAS: Final = frozenset(("is", "wa", "was", "were", "are", "be", "been"))
_OWNER: Final = 0.6
"""Factor for the words before a possessive: "the blue carbuncle's goose" asks of the goose."""

_NEAR: Final = 25
_BREATH: Final = re.compile(r"[.?!;:\"\u201c\u201d]")
_ARTICLES: Final = frozenset(("a", "an", "the"))
_ASKED: Final = 1.6
"""Weight of the word that a question is about: blind in "Who was blind and came in?"."""

_FITTING: Final = {"who": 0.4, "what": 0.0, "how": 0.0}
_FITTING_ELSE: Final = 0.35
_QUOTE_MARK: Final = re.compile(r"[\"'\u201c\u2018](?=\w)")
_OPENS: Final = re.compile(r"[\"'\u201c\u2018]\w")
_CLOSES: Final = re.compile(r"[\"'\u201d\u2019]$")
_DIGITS: Final = re.compile(r"\d")
RELEVANT: Final = 0.4
"""Share of the question that a sentence and its neighbours must speak of to be reported."""

MOST_FOUND: Final = 7
MOST_COUNTED: Final = 14
QUOTE_WORDS: Final = 40
CLAIM_WORDS: Final = 50

_DECAY: Final = (1.0, 0.8, 0.6, 0.5, 0.4, 0.3)
_LEAST_SENTENCES: Final = 40
_FLOOR: Final = 0.35
"""Weight of a word that stands in every sentence, as a share of that of the rarest."""
_SYNONYM: Final = 0.6
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
        proper = {base for name in named for base in stems(name)}
        terms: dict[str, float] = {}
        for word in re.findall(r"[\w'\u2019]+", text):
            if word.lower() in STOPWORDS:
                continue
            base = stem(word)
            terms[base] = 1.4 if base in proper else 0.3 if base in _WEAK_STEMS else 1.0
        predicate = _weighted_predicate(text, terms)
        asked = _DEFINITION.match(text)
        subject = frozenset(stems(asked[1])) & terms.keys() if asked else frozenset()
        return cls(text, terms, kind, named, subject, predicate)


def _weighted_predicate(text: str, terms: dict[str, float]) -> str | None:
    """Raise the weight of what is said or asked of the subject; return it if it is an adjective."""
    adjective = _PREDICATE.match(text)
    action = _ACTION.search(text) or _POSSESSED.search(text)
    for found in (adjective, action):
        base = stem(found[1]) if found else ""
        if base in terms:
            terms[base] = max(terms[base], _ASKED)
    owner = _POSSESSED.search(text)
    for base in stems(text[: owner.start()]) if owner else ():
        if base in terms:
            terms[base] *= _OWNER
    base = stem(adjective[1]) if adjective else ""
    return base if base in terms else None


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
            score += 0.25 * _defines(query, sentence) + 0.3 * _predicated(query, sentence)
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
    return shape / (1 + max(0, length - 45) / 120)


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
    if not query.subject or query.subject.isdisjoint(sentence.stems):
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
    return (at for at, base in enumerate(sentence.stems) if base in query.subject)


def _pattern(subject: frozenset[str], sentence: Sentence, at: int) -> float:
    words = sentence.stems
    after = [word for word in words[at + 1 : at + 4] if word not in subject]
    before = words[max(0, at - 4) : at]
    if {"of", "to", "by", "for", "with"}.intersection(before[-1:]):
        return 0.0
    if _COPULAS.intersection(before) or (after and after[0] in _COPULAS):
        return 1.0 if _ARTICLES.intersection((*before, *after[1:2])) else 0.5
    described = bool(_ARTICLES.intersection(before)) and not PEOPLE.isdisjoint(before)
    return 1.0 if described else 0.6 if after and after[0] in (*_ARTICLES, "who") else 0.0


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
