"""Write a short readable answer from passages, citing each; with no model, by rules."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from hydra_core.testing.reading.counting import counted
from hydra_core.testing.reading.english import STOPWORDS
from hydra_core.testing.reading.forms import FORMED, NEEDED, fits
from hydra_core.testing.reading.naming import leading_name
from hydra_core.testing.reading.passages import DIRECT, rank_passages
from hydra_core.testing.reading.words import CORRECTIONS, stems

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hydra_core.testing.reading.passages import Passage, Ranked
    from hydra_core.testing.reading.questions import Query

MODEL_NAME: Final = "Hydra's built-in extractive model"

ALL: Final = "100 %"
"""How a prompt says that the whole document was read."""

_SHOWN, _LISTED = 2, 6
_RUNNER_UP, _RUNNER_UP_LISTED = 0.85, 0.6
"""Share of the best passage's score that another needs to be shown beside it."""

_ALIKE: Final = 0.6
"""Share of its own words in common from which the shorter of two passages adds nothing."""

_RIVALS: Final = 5
_MARKS: Final = re.compile(r"[\"\u201c\u201d]")
_AFTER_SPEECH: Final = frozenset(("", " ", ".", ",", ";", ":", "-"))
_ENDS: Final = (*".!?:;\"'\u201d\u2019)]*_", "--")


def compose(query: Query, passages: Sequence[Passage], *, share: str) -> str:
    """Answer from the passages that fit best; `share`: how much of the document was read."""
    ranked = rank_passages(query, passages)
    if not ranked:
        return _indirect(share)
    if query.kind == "count" and (total := counted(query, passages, whole=share == ALL)):
        return total
    if corrected := _correction(ranked):
        return corrected
    return _quoted(query, ranked, share)


def best_keys(query: Query, passages: Sequence[Passage]) -> list[str]:
    """The ids of the better half of the passages; one at least."""
    ranked = [one.passage.key for one in rank_passages(query, passages)]
    ranked += [one.key for one in passages if one.key not in ranked]
    return ranked[: max(1, len(passages) // 2)]


def plain_answer(question: str, found: Sequence[str]) -> str:
    """An answer outside a swarm: what the prompt says, and who is speaking."""
    if found:
        return " ".join(" ".join(text.split()) for text in found)
    return (
        f"This is {MODEL_NAME}. It only quotes from the prompt, and the prompt says nothing "
        f"on: {question}"
    )


def _quoted(query: Query, ranked: Sequence[Ranked], share: str) -> str:
    """The best passages as quotations, with a word before them on how well they answer."""
    best = ranked[0]
    if not _answers(query, best) or _unheard_of(query, ranked):
        return f"{_indirect(share)} The closest: {_cite(best.passage)}"
    shown = " ".join(map(_cite, _worth_showing(query, ranked)))
    name = leading_name(query, ranked) if query.kind == "who" and not query.subject else None
    return f"The passages point to {name}. {shown}" if name else shown


def _indirect(share: str) -> str:
    """That there is no direct answer, and in how much of the text: never more than was read."""
    if share == ALL:
        return "No passage answers this directly, in all of the text."
    return f"No passage answers this directly in the {share} read; the rest may."


def _answers(query: Query, one: Ranked) -> bool:
    """Whether a passage holds enough of the question, and the form that its kind needs."""
    if not one.apt or one.cover < DIRECT:
        return False
    fit = fits(query, one.sentence)
    speaks = fit == 1.0 or not query.things or not query.things.isdisjoint(one.bases)
    return speaks and (query.kind not in NEEDED or fit >= FORMED)


def _unheard_of(query: Query, ranked: Sequence[Ranked]) -> bool:
    """Whether no passage speaks of one of the things that the question is about."""
    spoken: set[str | None] = set().union(*(one.bases for one in ranked))
    if fits(query, ranked[0].sentence) == 1.0:
        # "The lamp is red" need not say that red is a colour.
        spoken.add(query.focus)
    return not query.things <= spoken


def _worth_showing(query: Query, ranked: Sequence[Ranked]) -> Iterator[Passage]:
    """The best passage, and others that are nearly as good and say something else."""
    most, least = (_LISTED, _RUNNER_UP_LISTED) if query.many else (_SHOWN, _RUNNER_UP)
    shown: list[frozenset[str]] = []
    for one in ranked:
        if len(shown) == most or one.score < least * ranked[0].score or not _answers(query, one):
            return
        words = frozenset(stems(one.passage.quote)) - STOPWORDS - query.terms.keys()
        if not any(
            len(words & other) >= _ALIKE * max(1, min(len(words), len(other))) for other in shown
        ):
            shown.append(words)
            yield one.passage


def _alike(words: frozenset[str], other: frozenset[str]) -> bool:
    return len(words & other) >= _ALIKE * max(1, min(len(words), len(other)))


def _cite(passage: Passage) -> str:
    """A passage as a quotation, marked where it leaves out a sentence's beginning or end."""
    inner = " ".join(passage.quote.split())
    before = "\u2026 " if inner[:1].islower() else ""
    after = "" if inner.endswith(_ENDS) else " \u2026"
    inner = _MARKS.sub("'", _balanced(inner))
    return f"\u201c{before}{inner}{after}\u201d [{passage.key}]"


def _balanced(quote: str) -> str:
    """A quote from the midst of a speech, with the mark that opened or will close the speech."""
    marks = [found.end() for found in _MARKS.finditer(quote)]
    if len(marks) % 2 == 0:
        return quote
    closes = quote[marks[0] : marks[0] + 1] in _AFTER_SPEECH
    return f'"{quote}' if closes else f'{quote}"'


def _correction(ranked: Sequence[Ranked]) -> str | None:
    """What stands later and takes back what stood earlier, and both."""
    best = [one for one in ranked[:_RIVALS] if one.cover >= DIRECT]
    for later in best:
        if CORRECTIONS.search(later.passage.quote):
            earlier = [one for one in best if one.place < later.place]
            if earlier:
                return (
                    f"{_cite(later.passage)} An earlier passage says otherwise: "
                    f"{_cite(earlier[0].passage)}"
                )
    return None
