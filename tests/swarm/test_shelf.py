"""A swarm that cannot read now gives the last whole answer, with its age."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from hydra_core.errors import PoolExhausted
from hydra_core.hydra import Hydra
from hydra_core.testing.extractive import ExtractiveModel
from hydra_core.testing.provider import FakeProvider
from hydra_core.testing.ships_log import ships_log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hydra_core.swarm.values import SwarmResult

LOG = ships_log(pages=12)
ASKED = LOG.questions[0].text



@pytest.fixture
def fake() -> Iterator[FakeProvider]:
    with FakeProvider(["key-1", "key-2"], answer=ExtractiveModel()) as provider:
        yield provider


@pytest.fixture(params=["swarm", "aswarm"])
def ask(request: pytest.FixtureRequest) -> Callable[..., SwarmResult]:
    """Ask a swarm by its blocking door and by the loop's."""

    def asked(hydra: Hydra, question: str, source: Any, **options: Any) -> SwarmResult:
        if request.param == "swarm":
            return hydra.swarm(question, source, **options)
        return asyncio.run(hydra.aswarm(question, source, **options))

    return asked


def test_the_last_whole_answer_is_given_when_nothing_can_be_read(
    fake: FakeProvider, ask: Callable[..., SwarmResult]
) -> None:
    """Text, citations and ledger are those of then; no call was made, and the age says when."""
    with Hydra(fake.config(store="memory", max_wait=0.0)) as hydra:
        whole = ask(hydra, ASKED, LOG.text)
        fake.saturate(seconds=7_200)
        again = ask(hydra, f" {ASKED[0].lower()}{ASKED[1:]} ", LOG.text)
    assert (whole.kind, again.kind, again.text) == ("full", "cached", whole.text)
    assert (again.citations, again.ledger) == (whole.citations, whole.ledger)
    assert again.citations
    assert (again.usage.total_tokens, again.shards, again.coverage) == (0, (), 1.0)
    assert again.age is not None
    assert again.eta is not None
    assert (0 <= again.age < 60, 0 < again.eta <= 7_200) == (True, True)


def test_another_text_or_question_is_never_answered_from_the_shelf(
    fake: FakeProvider, ask: Callable[..., SwarmResult]
) -> None:
    """One character more, or another question, has no earlier answer: the wait is told."""
    with Hydra(fake.config(store="memory", max_wait=0.0)) as hydra:
        ask(hydra, ASKED, LOG.text)
        fake.saturate(seconds=7_200)
        for question, text in ((ASKED, LOG.text + "."), ("Who was the captain?", LOG.text)):
            assert ask(hydra, question, text).kind == "wait"


def test_a_deadline_that_is_too_short_is_answered_from_the_shelf(
    fake: FakeProvider, ask: Callable[..., SwarmResult]
) -> None:
    """The old answer comes within the time that there is."""
    with Hydra(fake.config(store="memory")) as hydra:
        whole = ask(hydra, ASKED, LOG.text)
        fake.saturate(seconds=100)
        again = ask(hydra, ASKED, LOG.text, deadline=0.2)
    assert (again.kind, again.text) == ("cached", whole.text)


def test_an_answer_outlives_the_process(
    fake: FakeProvider, ask: Callable[..., SwarmResult], tmp_path: Any
) -> None:
    """Another Hydra on the same store finds it; with `on_exhausted="raise"` none does."""
    config = fake.config(store=f"sqlite:///{tmp_path}/state.db", max_wait=0.0)
    with Hydra(config) as hydra:
        whole = ask(hydra, ASKED, LOG.text)
    fake.saturate(seconds=7_200)
    with Hydra(config) as hydra:
        assert ask(hydra, ASKED, LOG.text).text == whole.text
    with Hydra({**config, "on_exhausted": "raise"}) as hydra:
        assert ask(hydra, ASKED, LOG.text).kind == "wait"


def test_an_error_is_replaced_too(fake: FakeProvider, ask: Callable[..., SwarmResult]) -> None:
    """In an outage nobody knows when; the old answer comes all the same."""
    with Hydra(fake.config(store="memory", max_wait=0.0)) as hydra:
        whole = ask(hydra, ASKED, LOG.text)
        fake.stop()
        again = ask(hydra, ASKED, LOG.text)
        assert (again.kind, again.text, again.eta) == ("cached", whole.text, None)
        with pytest.raises(PoolExhausted):
            ask(hydra, "Who was the captain?", LOG.text)
