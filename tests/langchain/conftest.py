"""A pool of two keys, the first of which is refused at once."""

import pytest

from hydra_core import registry
from hydra_core.testing import FakeProvider
from hydra_langchain import ChatHydra

CANARY = "sk-canary-0123456789abcdef"


@pytest.fixture(autouse=True)
def own_state(tmp_path, monkeypatch):
    """Keep Hydra's files inside the test, and close what was built in it."""
    monkeypatch.setenv("HYDRA_STATE_DIR", str(tmp_path))
    yield
    registry.forget()


@pytest.fixture
def canary():
    """The text that every key of `fake` begins with."""
    return CANARY


@pytest.fixture
def fake():
    """A strict provider with two keys; the first answers 429 to its first call."""
    with FakeProvider([f"{CANARY}-1", f"{CANARY}-2"], strict=True) as provider:
        provider.fail("rate_limit", key=0, times=1, retry_after=60)
        yield provider


@pytest.fixture
def chat(fake):
    """A ChatHydra over `fake` that tries the first key first, and raises rather than wait."""
    config = fake.config(strategy="priority", on_exhausted="raise", max_wait=0.2, cache=False)
    return ChatHydra(config)
