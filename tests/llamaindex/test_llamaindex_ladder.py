"""Every rung of the ladder reaches a LlamaIndex pipeline, and says which one it is."""

from __future__ import annotations

from typing import Any

import pytest
from llama_index.core import Document, SummaryIndex
from llama_index.core.base.llms.types import ChatMessage
from pydantic import BaseModel

from hydra_core import registry
from hydra_core.errors import PoolExhausted
from hydra_core.testing import FakeProvider
from hydra_llamaindex import HydraLLM


@pytest.fixture
def served():
    with FakeProvider(["fk-canary-1"], models=("large", "small")) as provider:
        yield provider
    registry.forget()


@pytest.fixture
def llm(served):
    return HydraLLM(served.config(cache=True, store="memory", max_wait=0.0))


async def through(door: str, llm: HydraLLM, text: str) -> tuple[str, dict[str, Any]]:
    """The text and the route of an answer, by each of the four doors."""
    asked = [ChatMessage(text)]
    if door == "chat":
        reply = llm.chat(asked)
    elif door == "achat":
        reply = await llm.achat(asked)
    elif door == "stream":
        *_, reply = llm.stream_chat(asked)
    else:
        *_, reply = [part async for part in await llm.astream_chat(asked)]
    return reply.message.content, reply.additional_kwargs["hydra"]


@pytest.mark.parametrize("door", ["chat", "achat", "stream", "astream"])
async def test_each_rung_arrives_and_names_itself(served, llm, door):
    """Full, then a smaller model, then the old answer with its age, then a wait with its ETA."""
    text, route = await through(door, llm, "Who is Pew?")
    assert (route["kind"], route["model"]) == ("full", "large")
    served.fail("rate_limit", model="large", retry_after=100)
    assert (await through(door, llm, "Who is Flint?"))[1]["model"] == "small"
    served.fail("rate_limit", model="small", retry_after=100)
    again, route = await through(door, llm, "who is pew?")
    assert (again, route["kind"], 0 <= route["age"] < 60) == (text, "cached", True)
    _, route = await through(door, llm, "Who is Silver?")
    assert (route["kind"], 0 < route["eta"] <= 100) == ("wait", True)


def test_a_query_engine_finds_the_answer_on_the_same_nodes(served, llm):
    """The nodes of an index in another order are the same sources; other nodes are not."""
    texts = ["Pew is the blind beggar who came to the inn.", "Flint buried his gold on an island."]

    def ask(texts):
        documents = [Document(text=t, metadata={"file": t[:4]}) for t in texts]
        return str(SummaryIndex.from_documents(documents).as_query_engine(llm=llm).query("Pew?"))

    text = ask(texts)
    served.saturate(seconds=100)
    assert ask(texts[::-1]) == text
    assert "No key can answer now" in ask(texts[:1])


def test_structured_output_raises(served, llm):
    """Prose never stands in for an object."""

    class Pirate(BaseModel):
        name: str

    served.saturate(seconds=100)
    with pytest.raises(PoolExhausted):
        llm.as_structured_llm(Pirate).complete("Who is Pew?")
