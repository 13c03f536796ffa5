"""What a swarm cannot mean is told by name, and before anything is read or sent."""

import math

import pytest

from hydra_core import Hydra
from hydra_core.errors import ConfigError, RequestRejected
from hydra_core.testing import ExtractiveModel, FakeProvider

TEXT = "The blind man Pew came to the inn. " * 20


@pytest.fixture
def fake():
    """A provider that logs what it was asked."""
    with FakeProvider(["k"], answer=ExtractiveModel()) as provider:
        yield provider


@pytest.fixture
def hydra(fake):
    """A pool that keeps nothing."""
    with Hydra(fake.config(store="memory", cache=False)) as pool:
        yield pool


@pytest.mark.parametrize("deadline", ["5", math.nan, True, [1]])
def test_a_deadline_that_is_no_number_is_refused(hydra, fake, deadline):
    """As in a call: a RequestRejected that names the argument."""
    for use in (
        lambda: hydra.swarm("Who?", TEXT, deadline=deadline),
        lambda: hydra.plan(TEXT, deadline=deadline),
    ):
        with pytest.raises(RequestRejected, match="deadline"):
            use()
    assert fake.log == ()


def test_an_endless_deadline_is_none(hydra):
    """It is no bound, in what a plan says of itself as well."""
    assert "deadline" not in str(hydra.plan(TEXT, deadline=math.inf))
    assert hydra.swarm("Who came to the inn?", TEXT, deadline=math.inf).kind == "full"


def test_a_question_that_is_no_text_is_refused(hydra, fake):
    """A number asks nothing."""
    with pytest.raises(RequestRejected, match="question"):
        hydra.swarm(5, TEXT)
    with pytest.raises(RequestRejected, match="question"):
        hydra.plan(TEXT, 5)
    assert fake.log == ()


@pytest.mark.parametrize("resume", [3, b"token", {}])
def test_a_resume_that_is_neither_result_nor_token_is_refused(hydra, fake, resume):
    """A ConfigError, as for a token that was cut."""
    with pytest.raises(ConfigError, match="resume: give a result"):
        hydra.swarm("Who?", TEXT, resume=resume)
    assert fake.log == ()
