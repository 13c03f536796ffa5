"""LangChain's cache, kept from storing what is no answer."""

import pytest
from langchain_core.caches import InMemoryCache

from hydra_core.messages import Reply
from hydra_langchain.cache import FullAnswersOnly
from hydra_langchain.from_wire import chat_result


@pytest.mark.parametrize(("kind", "stored"), [("full", True), ("wait", False), ("cached", False)])
async def test_only_full_answers_are_stored(kind, stored):
    """A wait notice or an aged answer must not become the answer for good."""
    inner = InMemoryCache()
    cache = FullAnswersOnly(inner)
    generations = chat_result(Reply(text="x", message={}, kind=kind)).generations
    cache.update("p", "sync", generations)
    await cache.aupdate("p", "async", generations)
    assert (inner.lookup("p", "sync") is not None) == stored
    assert (await cache.alookup("p", "async") is not None) == stored
