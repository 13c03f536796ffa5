from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest

from hydra_core.swarm.synthesize import Synthesis, citation, merge
from hydra_core.swarm.values import Fact


def fact(
    start: int, claim: str = "", *, document: str = "a", size: int = 40, **more: object
) -> Fact:
    made = Fact(
        fact_id=f"{document}{start}", shard=start // 1000, claim=claim or f"claim at {start}",
        quote=f"words at {start}", kind="stated", entities=(), time=None, confidence=3.0,
        start=start, end=start + size, state="exact", page=1 + start // 2000, heading=("One",),
        document=document,
    )  # fmt: skip
    return replace(made, **more)  # type: ignore[arg-type]


def _synthesis(facts: list[Fact], budget: int = 10_000) -> Synthesis:
    return Synthesis("Why?", facts, documents=("b", "a"), budget=budget, coverage="100 %")


def test_facts_stand_in_document_order_whatever_their_arrival() -> None:
    """Order is by the sources' order and the place in the text, never by arrival."""
    merged = merge([fact(90), fact(10), fact(50, document="b")], ("b", "a"))
    assert [(one.document, one.start) for one in merged] == [("b", 50), ("a", 10), ("a", 90)]


def test_one_passage_reported_twice_is_one_fact_with_both_claims() -> None:
    """Overlapping spans are one fact; the surer stays and no claim is lost."""
    pair = [fact(10, "He ran."), fact(20, "He was afraid.", confidence=5.0)]
    (one,) = merge(pair, ("a",))
    assert one.start == 20
    assert one.claim == "He was afraid. He ran."


def test_equal_words_at_two_places_are_two_facts() -> None:
    """A recurring entry is counted as often as it stands in the text."""
    twice = [fact(10, quote="Took ten casks."), fact(900, quote="Took ten casks.")]
    assert len(merge(twice, ("a",))) == 2


def test_unverified_facts_never_reach_the_prompt() -> None:
    """A fact whose quote was not found is neither shown to the model nor citable."""
    synthesis = _synthesis([fact(10, state="unverified"), fact(90)])
    assert [one.start for one in synthesis.facts.values()] == [90]
    with pytest.raises(ValueError, match="no quote"):
        citation(fact(10, state="unverified"))


def test_no_facts_no_call() -> None:
    """Without facts nothing is asked and there is no answer."""
    synthesis = _synthesis([])
    assert synthesis.calls() == ()
    assert synthesis.answer is None


def test_ids_become_numbered_citations_and_invented_ones_vanish() -> None:
    """[F3] becomes the number of its citation; an id that was not given is removed and counted."""
    synthesis = _synthesis([fact(10), fact(500), fact(900)])
    (call,) = synthesis.calls()
    synthesis.report(call, "He fled [F3], [F99] being afraid [F1, F3] (F2).")
    answer = synthesis.answer
    assert answer is not None
    assert answer.text == "He fled [3], being afraid [1][3] [2]."
    assert [one.start for one in answer.citations] == [10, 500, 900]
    assert answer.invented == 1


def test_an_answer_without_ids_shows_what_it_was_given() -> None:
    """When the model cites nothing, the surest facts are shown and the answer says so."""
    synthesis = _synthesis([fact(n * 100, confidence=float(n % 5)) for n in range(20)])
    (call,) = synthesis.calls()
    synthesis.report(call, "Because he was afraid.")
    assert synthesis.answer is not None
    assert synthesis.answer.uncited
    assert 1 <= len(synthesis.answer.citations) <= 5


def test_a_failed_synthesis_lists_the_verified_facts_in_order() -> None:
    """When no model answers, code returns the passages with their places, in document order."""
    synthesis = _synthesis([fact(900), fact(10)])
    (call,) = synthesis.calls()
    synthesis.report(call, None)
    answer = synthesis.answer
    assert answer is not None
    assert not answer.written
    assert answer.text.index("words at 10") < answer.text.index("words at 900")
    assert [one.start for one in answer.citations] == [10, 900]


def test_too_many_facts_are_chosen_in_a_tree_of_neighbours() -> None:
    """Selections get neighbouring facts within the budget, and together all of them, once."""
    synthesis = _synthesis([fact(n * 100) for n in range(60)], budget=400)
    calls = synthesis.calls()
    assert len(calls) > 2
    assert [key for call in calls for key in call.keys] == [*synthesis.facts]
    while not synthesis.answer:
        for call in calls:
            text = "Done [F1]." if call.final else json.dumps({"kept": [*call.keys[:2], "F999"]})
            synthesis.report(call, text)
        calls = synthesis.calls()
    assert synthesis.answer.citations[0].start == 0
    assert synthesis.answer.carried < synthesis.answer.extracted == 60


@pytest.mark.parametrize("output", [None, "", "nonsense", '{"kept": []}', "ALL"])
def test_the_tree_ends_whatever_the_model_returns(output: str | None) -> None:
    """Failed, empty or non-shrinking selections are trimmed by code: levels come to an end."""
    synthesis = _synthesis([fact(n * 100, claim="x" * 300) for n in range(64)], budget=300)
    levels = 0
    while calls := synthesis.calls():
        levels += 1
        assert levels <= 10
        for call in calls:
            everything = json.dumps({"kept": list(call.keys)})
            synthesis.report(call, everything if output == "ALL" else output)
    assert synthesis.answer is not None
    assert synthesis.answer.citations


def test_a_prompt_that_is_too_long_is_halved() -> None:
    """When no model takes the prompt, the facts are chosen down until one does."""
    synthesis = _synthesis([fact(n * 100) for n in range(40)])
    (call,) = synthesis.calls()
    synthesis.report(call, None, too_long=True)
    smaller = synthesis.calls()
    assert not any(one.final for one in smaller)
    for one in smaller:
        synthesis.report(one, json.dumps({"kept": [one.keys[0]]}))
    (last,) = synthesis.calls()
    assert last.final
    assert len(last.keys) < len(call.keys)


def test_a_fact_over_the_budget_does_not_loop() -> None:
    """A single fact longer than the budget is asked about all the same."""
    synthesis = _synthesis([fact(10, claim="x" * 4_000)], budget=10)
    (call,) = synthesis.calls()
    assert call.final


def test_every_mark_has_its_citation() -> None:
    """The numbers in the text run from 1 to the number of citations."""
    synthesis = _synthesis([fact(n * 100) for n in range(12)])
    (call,) = synthesis.calls()
    synthesis.report(call, " ".join(f"s [F{n}]" for n in (12, 3, 7, 3)))
    assert synthesis.answer is not None
    marks = {int(number) for number in re.findall(r"\[(\d+)\]", synthesis.answer.text)}
    assert marks == set(range(1, len(synthesis.answer.citations) + 1))
