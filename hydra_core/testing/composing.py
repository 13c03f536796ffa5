"""Write a short readable answer from passages, citing each; with no model, by rules."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from hydra_core.testing.number_words import number_of
from hydra_core.testing.ranking import Scored, beside, rank
from hydra_core.testing.words import CORRECTIONS, STOPWORDS, Sentence, names, stem, stems

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hydra_core.testing.questions import Query

MODEL_NAME: Final = "Hydra's built-in extractive model"

_SHOWN: Final = 3
_RUNNER_UP: Final = 0.7
"""Share of the best passage's score that another needs to be shown beside it."""

_DIRECT: Final = 0.52
"""Share of the question that the best passage must hold to count as an answer."""

_VOTERS: Final = 6
_RIVALS: Final = 5
_TOTAL: Final = re.compile(r"\b(?:in all|altogether|in total|total|overall)\b", re.IGNORECASE)
_COUNTED: Final = re.compile(
    r"\bhow (?:many|much) ((?:(?!\b(?:were|was|did|do|does|are|is|has|have|had|in)\b)[\w' ])+)",
    re.IGNORECASE,
)
_TOKEN: Final = re.compile(r"[a-zA-Z]+(?:-[a-zA-Z]+)?|\d[\d,]*")


@dataclass(frozen=True, slots=True)
class Passage:
    """One fact of a synthesis prompt: its id, claim, quote and place."""

    key: str
    claim: str
    quote: str
    place: str


def compose(query: Query, passages: Sequence[Passage], *, whole: bool) -> str:
    """Answer from the passages that fit best; `whole`: all of the document was read."""
    scored = _ranked(query, passages)
    if not scored:
        return "The passages found do not answer this question."
    ranked = [passages[one.index] for one in scored]
    if query.kind == "count" and (counted := _count(query, passages, whole=whole)):
        return counted
    if corrected := _correction(ranked, passages):
        return corrected
    return _quoted(query, scored, passages)


def best_keys(query: Query, passages: Sequence[Passage]) -> list[str]:
    """The ids of the better half of the passages."""
    ranked = _ranked(query, passages)
    return [passages[one.index].key for one in ranked[: max(1, len(passages) // 2)]]


def plain_answer(question: str, found: Sequence[str]) -> str:
    """An answer outside a swarm: what the prompt says, and who is speaking."""
    if found:
        return " ".join(" ".join(text.split()) for text in found)
    return (
        f"This is {MODEL_NAME}. It only quotes from the prompt, and the prompt says nothing "
        f"on: {question}"
    )


def _ranked(query: Query, passages: Sequence[Passage]) -> list[Scored]:
    return rank(query, [_sentence(place, one) for place, one in enumerate(passages)], spread=False)


def _sentence(place: int, passage: Passage) -> Sentence:
    """A passage as one sentence: its words, and its claim's where that says more."""
    known = passage.quote in passage.claim
    words = passage.claim if known else f"{passage.claim} {passage.quote}"
    return Sentence(0, 0, passage.quote, tuple(stems(words)), place)


def _quoted(query: Query, scored: Sequence[Scored], passages: Sequence[Passage]) -> str:
    """The best passages as quotations, with a word before them on how well they answer."""
    best = scored[0]
    close = [passages[one.index] for one in scored if one.score >= _RUNNER_UP * best.score]
    shown = " ".join(_cite(passage) for passage in close[:_SHOWN])
    if best.cover < _DIRECT:
        return f"No passage answers this directly. The closest: {shown}"
    name = None
    if query.kind == "who" and not query.subject:
        name = _name(query, [passages[one.index] for one in scored])
    return f"The passages point to {name}. {shown}" if name else shown


def _name(query: Query, ranked: Sequence[Passage]) -> str | None:
    """The name that the best passages hold closest to the question's words, if one leads."""
    votes: Counter[str] = Counter()
    for place, passage in enumerate(ranked[:_VOTERS]):
        for text in dict.fromkeys((passage.claim, passage.quote)):
            for name in names(text):
                known = query.terms.keys() & set(stems(name))
                if not known and beside(query, text, name) and not _a_place(text, name):
                    votes[name] += _VOTERS - place
    (first, most), (_, next_most) = [*votes.most_common(2), ("", 0), ("", 0)][:2]
    return first if most >= _VOTERS and most > next_most else None


def _a_place(text: str, name: str) -> bool:
    """Whether a name follows a preposition of place, as people rarely do."""
    return bool(re.search(rf"\b(?:at|in|from|near|off|into)\s+(?:the\s+)?{re.escape(name)}", text))


def _cite(passage: Passage) -> str:
    """A passage as a quotation; its own double quotes become single ones inside it."""
    inner = passage.quote.strip().replace('"', "'").replace("\u201c", "'").replace("\u201d", "'")
    return f"\u201c{inner}\u201d [{passage.key}]"


def _count(query: Query, passages: Sequence[Passage], *, whole: bool) -> str | None:
    """The sum of the numbers that stand before what is counted, each passage once."""
    counted = _COUNTED.search(query.text)
    if counted is None or not _TOTAL.search(query.text):
        return None
    things = counted[1].strip()
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


def _correction(ranked: Sequence[Passage], passages: Sequence[Passage]) -> str | None:
    """What stands later and takes back what stood earlier, and both."""
    best = ranked[:_RIVALS]
    order = {passage.key: place for place, passage in enumerate(passages)}
    for later in best:
        if CORRECTIONS.search(later.quote):
            earlier = [one for one in best if order[one.key] < order[later.key]]
            if earlier:
                return f"{_cite(later)} An earlier passage says otherwise: {_cite(earlier[0])}"
    return None
