from __future__ import annotations

import json
from typing import Any

import pytest

from hydra_core.errors import (
    ConfigError,
    ContentRefused,
    ContextTooLong,
    DeadlineExceeded,
    PoolExhausted,
    RequestRejected,
)
from hydra_core.messages import Attempt, Fault, Reply
from hydra_core.swarm.document import Document
from hydra_core.swarm.map import (
    Exhausted,
    Failed,
    Outcome,
    Read,
    TooLong,
    Truncated,
    Unparsable,
    halve,
    parse_object,
    quality_of,
    read_error,
    read_reply,
)
from hydra_core.swarm.prompts import paragraphs_of
from hydra_core.swarm.split import split

TEXT = (
    "Joe was a blacksmith, and a mild man.\n\n"
    "On Christmas Eve a convict seized me\namong the graves and asked for a file.\n\n"
    "I did not tell my sister.\n"
)
DOCUMENT = Document.of(TEXT, name="pip.txt")
(SHARD,) = split(DOCUMENT, budget=10_000)
PARAGRAPHS = tuple(paragraphs_of(TEXT, SHARD.start, SHARD.end))


def _reply(text: str, finish: str | None = "stop", kind: str = "full", **more: Any) -> Reply:
    return Reply(
        text, {"role": "assistant", "content": text}, finish_reason=finish, kind=kind, **more
    )


def _read(text: str, finish: str | None = "stop") -> Outcome:
    return read_reply(_reply(text, finish), DOCUMENT, SHARD, PARAGRAPHS)


def _report(*facts: dict[str, Any], **fields: Any) -> str:
    return json.dumps({"relevant": True, "facts": list(facts), **fields})


QUOTE = "On Christmas Eve a convict seized me among the graves and asked for a file."


def test_a_fact_is_located_by_its_quote() -> None:
    """A quote that differs by a line break is found, and the source's own words are kept."""
    outcome = _read(_report({"claim": "A convict wants a file.", "quote": QUOTE, "para": 2}))
    assert isinstance(outcome, Read)
    (fact,) = outcome.facts
    assert fact.state == "folded"
    assert TEXT[fact.start : fact.end] == fact.quote
    assert "seized me\namong" in fact.quote


def test_a_quote_with_an_inserted_not_is_not_found() -> None:
    """A false quote stays a fact, but an unverified one."""
    outcome = _read(_report({"claim": "x", "quote": QUOTE.replace("asked", "never asked")}))
    assert isinstance(outcome, Read)
    assert outcome.facts[0].state == "unverified"


@pytest.mark.parametrize(
    ("quotes", "quality"),
    [((QUOTE,), 1.0), ((QUOTE, "He was kind to me."), 0.5), ((), None)],
)
def test_a_report_is_worth_the_share_of_its_quotes_that_are_found(
    quotes: tuple[str, ...], quality: float | None
) -> None:
    """An invented quote halves a report of two; one without facts shows nothing of its writer."""
    outcome = _read(_report(*({"claim": "x", "quote": quote} for quote in quotes)))
    assert quality_of(outcome) == quality


def test_paragraph_numbers_stand_in_for_a_quote() -> None:
    """`para` alone locates a fact, verbatim; a number that does not exist locates nothing."""
    outcome = _read(_report({"claim": "Joe", "para": 1}, {"claim": "y", "para": [2, 9]}))
    assert isinstance(outcome, Read)
    assert [fact.state for fact in outcome.facts] == ["exact", "unverified"]
    assert outcome.facts[0].quote == "Joe was a blacksmith, and a mild man."


def test_confidence_is_clamped_and_lower_when_inferred() -> None:
    """An inferred fact is at most 4.5 sure, whatever the model says."""
    row = {"claim": "Joe is kind.", "quote": "a mild man.", "kind": "inferred"}
    outcome = _read(_report(row, confidence=99))
    assert isinstance(outcome, Read)
    assert outcome.facts[0].confidence == 4.5


@pytest.mark.parametrize(
    "text",
    [
        '```json\n{"relevant": false, "facts": []}\n```',
        'Here it is: {"relevant": false, "facts": [],}',
        '{"relevant": "no", "facts": null}',
        '{"relevant": false}\n\nI hope this helps!',
    ],
)
def test_near_json_is_understood(text: str) -> None:
    """Fences, words around the object, trailing commas and nulls do not cost a repair call."""
    assert _read(text) == Read((), relevant=False)


@pytest.mark.parametrize(
    "text", ["The answer is Joe.", '{"facts": []}', "[1, 2]", '{"relevant": tr']
)
def test_an_output_without_relevant_is_not_read(text: str) -> None:
    """Without a parsed object that says `relevant`, the shard is not read."""
    assert _read(text) == Unparsable(text)


@pytest.mark.parametrize(
    ("finish", "text", "outcome"),
    [
        ("content_filter", "", Failed(Fault.CONTENT_FILTER)),
        ("stop", "  ", Failed(Fault.INVALID_RESPONSE, again=True)),
        ("tool_calls", "{}", Failed(Fault.INVALID_RESPONSE, again=True)),
    ],
)
def test_an_abnormal_end_is_never_read(finish: str, text: str, outcome: Failed) -> None:
    """A refused, empty or odd reply has a reason; it does not look like a silent book."""
    assert _read(text, finish) == outcome


def test_a_cut_off_report_keeps_its_whole_verified_facts() -> None:
    """Of a report that hit the length limit, complete facts with a found quote survive."""
    good = json.dumps({"claim": "Joe", "quote": "Joe was a blacksmith, and a mild man."})
    false = json.dumps({"claim": "z", "quote": "Joe was a goldsmith and a harsh man."})
    outcome = _read(f'{{"relevant": true, "facts": [{good}, {false}, {{"claim": "cut of', "length")
    assert isinstance(outcome, Truncated)
    assert [fact.claim for fact in outcome.facts] == ["Joe"]


def test_a_wait_notice_is_no_reading() -> None:
    """A reply that only says to wait counts as missing capacity."""
    waiting = _reply("Please wait.", kind="wait", eta=12.0)
    outcome = read_reply(waiting, DOCUMENT, SHARD, PARAGRAPHS)
    assert isinstance(outcome, Exhausted)
    assert outcome.error.eta == 12.0


def test_errors_name_the_shards_fate() -> None:
    """Each error of a call means one thing for the shard; the others are no shard's matter."""
    large = Attempt("p", "m", "k", Fault.REQUEST_TOO_LARGE)
    exhausted = read_error(PoolExhausted("full", eta=7.0))
    assert isinstance(exhausted, Exhausted)
    assert exhausted.error.eta == 7.0
    assert isinstance(read_error(ContextTooLong("long")), TooLong)
    assert isinstance(read_error(RequestRejected("big", attempts=[large])), TooLong)
    late, refused = DeadlineExceeded("late"), ContentRefused("no")
    assert read_error(late) == Failed(Fault.TIMEOUT, late, again=True)
    assert read_error(refused) == Failed(Fault.CONTENT_FILTER, refused)
    with pytest.raises(ConfigError):
        read_error(ConfigError("no such model"))


def test_halves_tile_the_shard() -> None:
    """A shard is halved at a paragraph's end, and the halves are numbered on."""
    halves = halve(DOCUMENT, SHARD, 7)
    assert halves is not None
    first, second = halves
    assert (first.start, first.end, second.end) == (0, second.start, len(TEXT))
    assert [first.index, second.index] == [7, 8]
    assert TEXT[: first.end].endswith("\n\n")


def test_one_paragraph_is_not_halved() -> None:
    """What has no paragraph end inside cannot be halved."""
    document = Document.of("One line.", name="x")
    (shard,) = split(document, budget=100)
    assert halve(document, shard, 1) is None


@pytest.mark.parametrize("bad", ["", "{", "null", "{" * 5_000, '{"a": 1e999}'])
def test_no_output_breaks_the_parser(bad: str) -> None:
    """Whatever a model writes, the parser returns an object or None."""
    assert parse_object(bad) in (None, {"a": float("inf")})


def test_odd_field_types_are_survived() -> None:
    """Numbers, lists and nulls where text is expected cost a field, not the shard."""
    row = {"claim": None, "quote": QUOTE, "para": "two", "entities": [1, "Pip"], "time": 5}
    outcome = _read(_report(row, "not a fact", {"quote": 3}, confidence=float("nan")))  # type: ignore[arg-type]
    assert isinstance(outcome, Read)
    (fact,) = outcome.facts
    assert (fact.entities, fact.time, fact.confidence) == (("Pip",), None, 3.0)
