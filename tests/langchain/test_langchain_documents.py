"""The documents chain: one request while it can hold everything, a swarm beyond."""

import pytest
from langchain_classic.chains import create_retrieval_chain
from langchain_classic.chains.combine_documents import create_stuff_documents_chain
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.documents import Document
from langchain_core.messages import AIMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder, PromptTemplate
from langchain_core.runnables import RunnableLambda

from hydra_core.engine.capacity import GroupCapacity, WindowCapacity
from hydra_core.hydra import Hydra
from hydra_core.swarm.values import SwarmResult
from hydra_core.testing import ExtractiveModel, FakeProvider
from hydra_core.testing.ships_log import ships_log
from hydra_langchain import ChatHydra, create_swarm_documents_chain
from hydra_langchain.documents import _Form, one_request

PROMPT = ChatPromptTemplate.from_messages(
    [("system", "Use only this:\n\n{context}"), ("human", "{input}")]
)
SMALL = [Document("The mast broke.", metadata={"page": 1}), Document("The sail held.")]


LOG = ships_log(pages=40)
STOWAWAY = {"context": [Document(LOG.text)], "input": LOG.questions[1].text}


class Listener(BaseCallbackHandler):
    """Keeps the custom events of a run."""

    def __init__(self):
        self.events = []

    def on_custom_event(self, name, data, **_kwargs):
        self.events.append((name, data))


@pytest.fixture
def reading():
    """A ChatHydra whose model reads, over three keys of which the first is dead."""
    with FakeProvider(["one", "two", "three"], answer=ExtractiveModel()) as fake:
        fake.kill(0)
        yield ChatHydra(fake.config(strategy="priority", cache=False))


def group(**given):
    usual = {
        "name": "p/k/m", "provider": "p", "model": "m", "keys": ("k",), "windows": (),
        "concurrency": None, "in_flight": 0, "available_in": 0.0, "context_window": None,
        "max_output": None, "latency": None, "input_usd": None, "output_usd": None,
    }  # fmt: skip
    return GroupCapacity(**{**usual, **given})


def bodies(fake):
    return [call.body_hash for call in fake.log if call.status == 200]


def test_a_small_context_is_the_stuff_chain(fake):
    """What one request can hold is sent exactly as `create_stuff_documents_chain` sends it."""
    chat = ChatHydra(fake.config(cache=False))
    document_prompt = PromptTemplate.from_template("- {page_content}")
    chains = [
        make(chat, PROMPT, document_prompt=document_prompt, document_separator="\n")
        for make in (create_stuff_documents_chain, create_swarm_documents_chain)
    ]
    given = {"context": SMALL, "input": "What broke?"}
    assert chains[0].invoke(given) == chains[1].invoke(given) == "You said: What broke?"
    assert len(set(bodies(fake))) == 1
    assert len(bodies(fake)) == 2


async def test_a_small_context_streams(chat):
    """Its tokens stream, sync and async."""
    chain = create_swarm_documents_chain(chat, PROMPT)
    given = {"context": SMALL, "input": "What broke on the ship?"}
    assert len(list(chain.stream(given))) > 1
    pieces = [piece async for piece in chain.astream(given)]
    assert len(pieces) > 1
    assert "".join(pieces) == "You said: What broke on the ship?"


def test_it_plugs_into_a_retrieval_chain(chat):
    """A retrieval chain takes it as its combining step and gives context and answer."""
    retriever = RunnableLambda(lambda _: SMALL)
    chain = create_retrieval_chain(retriever, create_swarm_documents_chain(chat, PROMPT))
    found = chain.invoke({"input": "What broke?"})
    assert found["answer"] == "You said: What broke?"
    assert found["context"] == SMALL


def test_a_prompt_without_the_variable_is_refused(chat):
    """The same ValueError as the stuff chain's; and a model that is no ChatHydra is named."""
    with pytest.raises(ValueError, match="Prompt must accept docs as an input variable"):
        create_swarm_documents_chain(chat, PROMPT, document_variable_name="docs")
    with pytest.raises(TypeError, match="not a RunnableLambda"):
        create_swarm_documents_chain(RunnableLambda(lambda _: AIMessage("")), PROMPT)


@pytest.mark.parametrize(
    ("template", "inputs", "question"),
    [
        ("{context}{input}", {"input": "why?"}, "why?"),
        ("{context}{query}", {"query": "why?", "chat_history": []}, "why?"),
        ("{context}{topic}{tone}", {"topic": "masts", "tone": "dry"}, "tone: dry\ntopic: masts"),
        ("{context}{topic}", {"topic": "masts"}, "masts"),
        ("Sum this up: {context}", {}, "Sum this up:"),
    ],
)
def test_where_the_question_comes_from(template, inputs, question):
    """The usual inputs first, then the prompt's other variables, then the prompt itself."""
    form = _Form(PromptTemplate.from_template(template), PROMPT, "\n", "context")
    assert form.question({**inputs, "context": SMALL}) == question


def test_small_neighbours_share_a_call():
    """Retrieved snippets are joined up to what a request holds; long ones keep their name."""
    plain = PromptTemplate.from_template("{page_content}")
    form = _Form(PROMPT, plain, "\n\n", "context")
    book = Document("x" * 90, metadata={"source": "book"})
    given = [*SMALL, Document(" "), book, Document("end", metadata={"source": "book"})]
    joined = form.sources({"context": given}, 100)
    assert [each.page_content for each in joined] == [
        "The mast broke.\n\nThe sail held.",
        "x" * 90 + "\n\nend",
    ]
    assert joined[1].metadata == {"source": "book"}


def test_one_request_is_what_a_free_key_can_take():
    """Window and tokens a minute bound a request; a key that rests is not counted on."""
    minute = WindowCapacity("tokens", 60.0, 3000.0, 0.0, "sliding")
    assert one_request([group(windows=(minute,))], reserved=1000) == 6000
    resting = group(context_window=9000, available_in=50.0)
    assert one_request([group(context_window=5000), resting], reserved=1000) == 12000
    assert one_request([resting], reserved=1000) == 24000
    assert one_request([group()], reserved=1000) == one_request([], reserved=0) == 48000
    assert one_request([group(context_window=500)], reserved=1000) == 0


def test_a_long_context_is_read_by_all_keys(reading):
    """Beyond one request a swarm answers, tells its coverage, and a dead key loses nothing."""
    listener = Listener()
    chain = create_swarm_documents_chain(reading, PROMPT)
    answer = chain.invoke(STOWAWAY, config={"callbacks": [listener]})
    assert "Philippa Dunmore" in answer
    ((name, told),) = listener.events
    assert name == "hydra_swarm"
    assert (told["kind"], told["coverage"]) == ("full", 1.0)
    assert told["shards"] > 1
    assert told["usage"]["total_tokens"] > 10_000


async def test_a_long_context_is_read_on_the_loop(reading):
    """The async chain gives the same answer and the same event."""
    listener = Listener()
    chain = create_swarm_documents_chain(reading, PROMPT)
    assert "Philippa Dunmore" in await chain.ainvoke(STOWAWAY, config={"callbacks": [listener]})
    assert [name for name, _ in listener.events] == ["hydra_swarm"]


def test_a_long_context_in_a_retrieval_chain(reading):
    """A retrieval chain that finds the whole book gets its answer from the swarm."""
    retriever = RunnableLambda(lambda _: STOWAWAY["context"])
    chain = create_retrieval_chain(retriever, create_swarm_documents_chain(reading, PROMPT))
    assert "Philippa Dunmore" in chain.invoke({"input": STOWAWAY["input"]})["answer"]


def test_a_conversation_is_asked_over_what_was_found(reading):
    """With a chat history the prompt itself is asked once more, and its tokens stream."""
    history = MessagesPlaceholder("chat_history", optional=True)
    prompt = ChatPromptTemplate.from_messages([*PROMPT.messages, history])
    chain = create_swarm_documents_chain(reading, prompt)
    assert len(list(chain.stream(STOWAWAY))) == 1
    talk = [("human", STOWAWAY["input"])]
    pieces = list(chain.stream({**STOWAWAY, "chat_history": talk}))
    assert len(pieces) > 1
    assert "Philippa Dunmore" in "".join(pieces)


@pytest.mark.parametrize(
    ("given", "pieces"),
    [({"output_parser": StrOutputParser()}, "many"), ({"reword": True}, "many"), ({}, "one")],
)
def test_who_asks_for_rewording_gets_it(reading, given, pieces):
    """An output parser or `reword=True` asks the prompt over the findings; else one piece comes."""
    chain = create_swarm_documents_chain(reading, PROMPT, **given)
    assert (len(list(chain.stream(STOWAWAY))) > 1) == (pieces == "many")


def test_swarm_off_is_always_the_stuff_chain(fake):
    """`swarm="off"` sends everything in one request, as long as it may be."""
    fake.clear_faults()
    chat = ChatHydra(fake.config(cache=False), swarm="off")
    create_swarm_documents_chain(chat, PROMPT).invoke(STOWAWAY)
    assert fake.served == 1
    assert fake.log[0].prompt_tokens > len(LOG.text) / 5


@pytest.mark.parametrize("kind", ["partial", "wait"])
def test_what_is_not_whole_is_handed_on_as_it_is(reading, monkeypatch, kind):
    """A partial answer says what was not read: rewording could lose that, so none is asked."""
    result = SwarmResult("Read 40 %: half an answer.", kind, 0.4, eta=20.0)
    monkeypatch.setattr(Hydra, "swarm", lambda *_args, **_kwargs: result)
    listener = Listener()
    chain = create_swarm_documents_chain(reading, PROMPT, reword=True)
    assert chain.invoke(STOWAWAY, config={"callbacks": [listener]}) == result.text
    (_, told) = listener.events[0]
    assert (told["kind"], told["coverage"], told["eta"]) == (kind, 0.4, 20.0)


def test_a_swarm_has_the_models_deadline_and_route(reading, monkeypatch):
    """The swarm gets the model's timeout, lane and model, and what was bound goes before."""
    asked = {}

    def swarm(_self, question, _source, **given):
        asked.update(given, question=question)
        return SwarmResult("done", "full", 1.0)

    monkeypatch.setattr(Hydra, "swarm", swarm)
    chat = ChatHydra(reading.config, "fake-model", provider="fake", timeout=30.0)
    chain = create_swarm_documents_chain(chat.bind(timeout=7.0), PROMPT)
    assert chain.invoke(STOWAWAY) == "done"
    question = STOWAWAY["input"]
    assert asked == {"question": question, "model": "fake/fake-model", "deadline": 7.0}
