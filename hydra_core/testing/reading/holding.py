"""How much of a question each sentence of a text holds, itself and through its neighbours."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from hydra_core.testing.reading.definitions import spells_out
from hydra_core.testing.reading.english import PRONOUNS, synonyms
from hydra_core.testing.reading.speech import addressed, bystanders, speakers
from hydra_core.testing.reading.words import stems

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hydra_core.testing.reading.questions import Named, Query
    from hydra_core.testing.reading.words import Sentence

Held = dict[str, float]
"""For each stem of a question that a sentence holds, how well (0..1)."""

_DECAY: Final = (1.0, 0.8, 0.6, 0.5, 0.4, 0.3)
"""What a word counts that stands 0, 1, 2, ... sentences away."""

_HE: Final = 0.9
"""What a word of the sentence before counts when a pronoun opens this one."""

_TOPIC_REACH: Final = 20
_TOPIC: Final = 0.4
"""What a name counts that was mentioned within so many sentences before: it is still the topic."""

_SYNONYM: Final = 0.6
_REST_OF_NAME: Final = 0.7
_TITLE_ALONE: Final = 0.25
_BYSTANDER: Final = 0.3
NARRATOR: Final = 0.5
"""What "I" counts for one who is only ever addressed by name: the one who tells the story."""

_CALLED_OUT: Final = 2
_OFTEN: Final = 0.2
"""Least number of times, and share of its mentions, that a narrator's name is called out."""

_FIRST_PERSON: Final = frozenset(("i", "me", "my", "myself"))
_SPEECH_MARK: Final = re.compile(r"[\"\u201c\u201d]")


def held_alone(query: Query, sentence: Sentence) -> Held:
    """What a sentence holds of a question by itself."""
    bag = frozenset(sentence.stems)
    found: Held = {}
    for base in query.terms:
        if base in bag:
            found[base] = 1.0
        elif not bag.isdisjoint(synonyms(base)):
            found[base] = _SYNONYM
    for name in query.names:
        for base in name.bases:
            found.pop(base, None)
        borne = name.borne(sentence.text) if not name.bases.isdisjoint(bag) else frozenset()
        if borne:
            found |= _named(query, name, sentence, borne)
        elif name.title in bag:
            found |= dict.fromkeys(name.bases & query.terms.keys(), _TITLE_ALONE)
    if query.subject and spells_out(query.subject, sentence.text):
        found |= dict.fromkeys((base for word in query.subject for base in stems(word)), 1.0)
    return found


def _named(query: Query, name: Named, sentence: Sentence, borne: frozenset[str]) -> Held:
    """A name's stems where a part of it stands: whoever is called by a part is meant."""
    worth = _BYSTANDER if borne <= bystanders(sentence.text) else 1.0
    return {
        base: worth * (1.0 if base in borne else _REST_OF_NAME)
        for base in name.bases & query.terms.keys()
    }


def narrator_of(query: Query, found: Sequence[Sentence], held: Sequence[Held]) -> Named | None:
    """The name in the question that is the narrator's, if one is."""
    return next((name for name in query.names if _narrates(name, found, held)), None)


def tells(sentence: Sentence) -> bool:
    """Whether a narrator says "I" in a sentence, outside all speech that it reports."""
    if sentence.spoken or _FIRST_PERSON.isdisjoint(sentence.stems):
        return False
    before = _SPEECH_MARK.split(sentence.text, maxsplit=1)[0]
    return not _FIRST_PERSON.isdisjoint(stems(before))


def tell(name: Named, found: Sequence[Sentence], held: Sequence[Held]) -> None:
    """Let the sentences in which the narrator says "I" hold the narrator's name."""
    for sentence, own in zip(found, held, strict=True):
        if tells(sentence):
            for base in name.bases:
                own[base] = max(own.get(base, 0.0), NARRATOR)


def _narrates(name: Named, found: Sequence[Sentence], held: Sequence[Held]) -> bool:
    """Whether others call a name out and it never "said" anything, as only a narrator's does."""
    texts = [
        sentence.text
        for sentence, own in zip(found, held, strict=True)
        if not name.bases.isdisjoint(own) and name.borne(sentence.text)
    ]
    called = sum(not name.bases.isdisjoint(addressed(text)) for text in texts)
    if called < _CALLED_OUT or called < _OFTEN * len(texts):
        return False
    return all(name.bases.isdisjoint(speakers(text)) for text in texts)


def held_nearby(
    query: Query, found: Sequence[Sentence], held: Sequence[Held]
) -> Iterator[tuple[Held, Held]]:
    """For each sentence, what it holds itself and what it holds with its neighbours."""
    topics: dict[int, tuple[int, frozenset[str]]] = {}
    for index, own in enumerate(held):
        near = _with_neighbours(found, held, index)
        for number, name in enumerate(query.names):
            here = name.bases & own.keys()
            if here:
                topics[number] = (index, here)
            elif number in topics and index - topics[number][0] <= _TOPIC_REACH:
                for base in topics[number][1]:
                    near[base] = max(near.get(base, 0.0), _TOPIC)
        yield own, near


def _with_neighbours(found: Sequence[Sentence], held: Sequence[Held], index: int) -> Held:
    best = dict(held[index])
    refers = bool(found[index].stems) and found[index].stems[0] in PRONOUNS
    for distance, decay in enumerate(_DECAY[1:], start=1):
        for place in (index - distance, index + distance):
            if not 0 <= place < len(held):
                continue
            worth = _HE if refers and place == index - 1 else decay
            for base, share in held[place].items():
                best[base] = max(best.get(base, 0.0), share * worth)
    return best
