"""Every rung of the ladder reaches a LangChain pipeline, and says which one it is."""

from __future__ import annotations

import pytest
from langchain_core.documents import Document
from langchain_core.prompts import ChatPromptTemplate
from pydantic import BaseModel

from hydra_core.testing import FakeProvider
from hydra_langchain import ChatHydra


@pytest.fixture
def served():
    with FakeProvider(["fk-canary-1"], models=("large", "small")) as provider:
        yield provider


@pytest.fixture
def model(served):
    return ChatHydra(served.config(cache=True, store="memory", max_wait=0.0))


async def through(door, model, text):
    """The text and the metadata of an answer, by each of the four doors."""
    if door == "invoke":
        message = model.invoke(text)
    elif door == "ainvoke":
        message = await model.ainvoke(text)
    else:
        parts = (
            list(model.stream(text))
            if door == "stream"
            else [part async for part in model.astream(text)]
        )
        message = parts[0]
        for part in parts[1:]:
            message += part
    return message.text, message.response_metadata


@pytest.mark.parametrize("door", ["invoke", "ainvoke", "stream", "astream"])
async def test_each_rung_arrives_and_names_itself(served, model, door):
    """Full, then a smaller model, then the old answer with its age, then a wait with its ETA."""
    text, told = await through(door, model, "Who is Pew?")
    assert (told["hydra"]["kind"], told["model_name"]) == ("full", "large")
    served.fail("rate_limit", model="large", retry_after=100)
    assert (await through(door, model, "Who is Flint?"))[1]["model_name"] == "small"
    served.fail("rate_limit", model="small", retry_after=100)
    again, told = await through(door, model, "who is pew?")
    assert (again, told["hydra"]["kind"], 0 <= told["hydra"]["age"] < 60) == (text, "cached", True)
    _, told = await through(door, model, "Who is Silver?")
    assert (told["hydra"]["kind"], 0 < told["hydra"]["eta"] <= 100) == ("wait", True)


def test_a_chain_finds_the_answer_on_the_same_documents(served, model):
    """Retrieved documents in another order are the same sources; other documents are not."""
    documents = [
        Document("Pew is the blind beggar who came to the inn."),
        Document("Flint buried his gold on an island in the sea."),
    ]
    prompt = ChatPromptTemplate.from_messages(
        [("system", "Answer from the context.\n<context>\n{context}\n</context>"), ("human", "{q}")]
    )

    def ask(documents, question="Who is Pew?"):
        context = "\n\n".join(document.page_content for document in documents)
        return (prompt | model).invoke({"context": context, "q": question})

    text = ask(documents).text
    served.saturate(seconds=100)
    found = ask(documents[::-1], "who is  pew?")
    assert (found.text, found.response_metadata["hydra"]["kind"]) == (text, "cached")
    assert ask(documents[:1]).response_metadata["hydra"]["kind"] == "wait"


def test_structured_output_raises(served, model):
    """Prose never stands in for an object."""

    class Pirate(BaseModel):
        """A pirate."""

        name: str

    served.saturate(seconds=100)
    with pytest.raises(Exception, match="could start in"):
        model.with_structured_output(Pirate).invoke("Who is Pew?")
