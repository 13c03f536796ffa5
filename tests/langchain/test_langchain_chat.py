"""ChatHydra over real sockets, with a first key that is refused."""

import asyncio

import pytest
from langchain_core.callbacks import UsageMetadataCallbackHandler
from langchain_core.exceptions import ModelError
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage
from langchain_core.runnables import RunnableLambda
from pydantic import BaseModel

from hydra_core.errors import PoolExhausted, StreamBroken
from hydra_core.testing import EchoModel, FakeAnswer, FakeKey, FakeLimits, FakeProvider
from hydra_langchain import ChatHydra


class Ship(BaseModel):
    """A ship."""

    name: str
    masts: int


class Prose:
    """A model that cannot be made to write JSON."""

    def answer(self, _body):
        return FakeAnswer("no JSON at all")


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def merged(chunks: list[AIMessageChunk]) -> AIMessageChunk:
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole += chunk
    return whole


def told(message: AIMessage) -> dict:
    return message.response_metadata["hydra"]


def test_a_refused_key_is_not_seen(chat, fake):
    """A 429 on the first key costs the caller nothing but a line in the metadata."""
    answer = chat.invoke("hello")
    assert answer.content == "You said: hello"
    assert told(answer)["kind"] == "full"
    assert answer.usage_metadata["total_tokens"] > 0
    outcomes = [attempt["outcome"] for attempt in told(answer)["attempts"]]
    assert outcomes == ["rate_limit_minute", "ok"]
    assert fake.served == 1


async def test_async_is_the_same(chat):
    """`ainvoke` answers as `invoke` does, with the same usage."""
    answer = await chat.ainvoke("hello")
    assert answer.content == "You said: hello"
    assert answer.usage_metadata["total_tokens"] > 0


def test_a_stream_is_whole_and_counts_once(chat):
    """Chunks arrive in pieces; usage and metadata are on exactly one, the last."""
    chunks = list(chat.stream("one two three four"))
    assert sum(chunk.usage_metadata is not None for chunk in chunks) == 1
    assert sum("hydra" in chunk.response_metadata for chunk in chunks) == 1
    assert [chunk.chunk_position for chunk in chunks if chunk.chunk_position] == ["last"]
    whole = merged(chunks)
    assert whole.content == "You said: one two three four"
    assert whole.response_metadata["model_name"] == "fake-model"


async def test_an_async_stream_is_the_same(chat):
    """`astream` gives the same message as `stream`."""
    whole = merged([chunk async for chunk in chat.astream("one two")])
    assert whole.content == "You said: one two"
    assert whole.usage_metadata["total_tokens"] > 0


def test_a_batch_keeps_its_order(chat):
    """Threads of a batch share the pool and answers stay with their questions."""
    answers = chat.batch(["a", "b", "c"], config={"max_concurrency": 2})
    assert [answer.content[-1] for answer in answers] == ["a", "b", "c"]


async def test_an_async_batch_keeps_its_order(chat):
    """So do the tasks of an async batch."""
    answers = await chat.abatch(["a", "b", "c"], config={"max_concurrency": 2})
    assert [answer.content[-1] for answer in answers] == ["a", "b", "c"]


def test_usage_callbacks_count_each_call_once(chat):
    """A usage handler sums calls and streams by model, refused attempts not included."""
    usage = UsageMetadataCallbackHandler()
    first = chat.invoke("a", config={"callbacks": [usage]})
    second = merged(list(chat.stream("b", config={"callbacks": [usage]})))
    total = sum(m.usage_metadata["total_tokens"] for m in (first, second))
    assert usage.usage_metadata["fake-model"]["total_tokens"] == total


def test_generate_sums_the_usage_of_a_batch(chat):
    """`generate` over several prompts has one `llm_output` with the summed tokens."""
    result = chat.generate([[HumanMessage("a")], [HumanMessage("b")]])
    singles = [each[0].message.usage_metadata["total_tokens"] for each in result.generations]
    assert result.llm_output["token_usage"]["total_tokens"] == sum(singles)


def test_a_config_reaches_the_call(chat):
    """Tags, metadata and a run name of a RunnableConfig arrive in a chain of steps."""
    seen = []
    chain = RunnableLambda(lambda text: text.upper()) | chat | RunnableLambda(seen.append)
    chain.invoke("hi", config={"tags": ["t"], "metadata": {"m": 1}, "run_name": "r"})
    assert seen[0].content == "You said: HI"


@pytest.mark.parametrize("method", ["function_calling", "json_schema"])
def test_structured_output_is_an_instance(chat, method):
    """A class comes back as its instance, filled from the user's own words."""
    ship = chat.with_structured_output(Ship, method=method).invoke("the 'Beagle' has 3 masts")
    assert ship == Ship(name="Beagle", masts=3)


def test_json_mode_parses_what_the_prompt_described(chat):
    """JSON mode asks for any JSON and gives a dict; a schema is not promised."""
    assert chat.with_structured_output(None, method="json_mode").invoke("json") == {
        "answer": "text"
    }
    with pytest.raises(ValueError, match="strict has no meaning"):
        chat.with_structured_output(Ship, method="json_mode", strict=True)


def test_raw_output_survives_an_answer_that_does_not_parse():
    """With `include_raw` a bad answer is returned beside the error, not raised."""
    with FakeProvider(["k"], answer=Prose()) as prose:
        chat = ChatHydra(prose.config())
        shaped = chat.with_structured_output(Ship, method="json_mode", include_raw=True)
        found = shaped.invoke("x")
    assert found["parsed"] is None
    assert found["parsing_error"] is not None
    assert found["raw"].content == "no JSON at all"


def test_streamed_tool_calls_arrive_whole(chat):
    """A tool call in pieces ends as one valid call with its name, id and arguments."""
    whole = merged(list(chat.bind_tools([add], tool_choice="any").stream("add 7")))
    (call,) = whole.tool_calls
    assert (call["name"], call["args"]) == ("add", {"a": 7, "b": 7})
    assert call["id"]
    assert whole.response_metadata["finish_reason"] == "tool_calls"


def test_empty_tools_are_no_tools(chat):
    """Binding an empty list, as agents do, sends no `tools`, which strict servers refuse."""
    assert chat.bind_tools([], tool_choice="any").invoke("hi").content == "You said: hi"


def test_a_truncated_stream_raises(chat, fake):
    """Without an end mark the stream is an error that carries the text so far."""
    fake.clear_faults()
    fake.fail("cut", after_chunks=2)
    with pytest.raises(StreamBroken) as caught:
        list(chat.stream("one two three four five six"))
    assert isinstance(caught.value, ModelError)
    assert caught.value.is_retryable
    assert caught.value.partial


def test_a_cut_tool_call_never_becomes_a_call(chat, fake):
    """A stream cut inside a tool call raises: LangChain would repair the arguments."""
    fake.clear_faults()
    fake.fail("cut")
    with pytest.raises(ModelError):
        list(chat.bind_tools([add], tool_choice="any").stream("add 123456"))


def test_an_exhausted_pool_is_not_asked_again(chat, fake):
    """`with_retry` leaves an exhausted pool alone: it says when to come back."""
    fake.clear_faults()
    fake.saturate(seconds=60)
    with pytest.raises(PoolExhausted) as caught:
        chat.with_retry(stop_after_attempt=5, wait_exponential_jitter=False).invoke("hi")
    assert isinstance(caught.value, ModelError)
    assert not caught.value.is_retryable
    assert caught.value.eta > 0
    assert len(fake.log) <= 2


def test_an_exhausted_pool_answers_with_an_honest_wait(fake):
    """By default an exhausted pool answers: a notice, marked as a wait, with its ETA."""
    fake.saturate(seconds=60)
    answer = ChatHydra(fake.config(max_wait=0.1, cache=False)).invoke("hi")
    assert told(answer)["kind"] == "wait"
    assert told(answer)["eta"] > 0
    assert answer.usage_metadata is None


async def test_the_loop_is_not_blocked():
    """While a slow answer is awaited, the event loop does other work."""
    with FakeProvider(["k"], latency=0.3) as slow:
        call = asyncio.create_task(ChatHydra(slow.config()).ainvoke("hi"))
        turns = 0
        while not call.done():
            await asyncio.sleep(0.01)
            turns += 1
        assert (await call).content == "You said: hi"
    assert turns > 3


def test_an_abandoned_stream_gives_its_lease_back():
    """A stream dropped after its first chunk frees the only slot for the next call."""
    keys = [FakeKey("k", limits=FakeLimits(concurrency=1))]
    with FakeProvider(keys, chunk_delay=0.05, answer=EchoModel("word " * 50)) as fake:
        chat = ChatHydra(fake.config(on_exhausted="raise", max_wait=5))
        stream = chat.stream("hi")
        next(stream)
        stream.close()
        fake.wait_idle()
        assert chat.invoke("again").content
        assert chat.hydra.capacity()[0].in_flight == 0


async def test_an_abandoned_async_stream_gives_its_lease_back():
    """So does an async stream that is closed."""
    keys = [FakeKey("k", limits=FakeLimits(concurrency=1))]
    with FakeProvider(keys, chunk_delay=0.05, answer=EchoModel("word " * 50)) as fake:
        chat = ChatHydra(fake.config(on_exhausted="raise", max_wait=5))
        stream = chat.astream("hi")
        await anext(stream)
        await stream.aclose()
        assert (await chat.ainvoke("again")).content
        assert chat.hydra.capacity()[0].in_flight == 0


def test_streaming_false_gives_whole_answers(fake):
    """`streaming=False` makes `stream()` one whole message; True streams `invoke` inside."""
    config = fake.config(cache=False)
    (only,) = ChatHydra(config, streaming=False).stream("hi there")
    assert only.content == "You said: hi there"
    assert [call.stream for call in fake.log][-1] is False
    ChatHydra(config, streaming=True).invoke("hi there")
    assert [call.stream for call in fake.log][-1] is True
