"""A real provider on loopback whose first key is refused once, and a HydraLLM over it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from hydra_core import registry
from hydra_core.testing import FakeProvider
from hydra_llamaindex import HydraLLM

if TYPE_CHECKING:
    from collections.abc import Iterator

CANARIES = ("fk-canary-first-0123456789", "fk-canary-second-0123456789")


@pytest.fixture
def provider() -> Iterator[FakeProvider]:
    with FakeProvider(CANARIES) as served:
        yield served


@pytest.fixture
def config(provider: FakeProvider) -> dict[str, Any]:
    """Two keys with their values inside, the first always tried first."""
    return provider.config(strategy="priority", cache=False)


@pytest.fixture
def llm(provider: FakeProvider, config: dict[str, Any]) -> Iterator[HydraLLM]:
    """A model whose first call meets a 429 on the first key."""
    provider.fail("rate_limit", key=0, times=1)
    yield HydraLLM(config)
    registry.forget()
