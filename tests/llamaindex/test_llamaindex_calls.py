"""Every way of calling the model crosses a refused key without the caller noticing."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.callbacks import CallbackManager, TokenCountingHandler

from hydra_core.errors import PoolExhausted, StreamBroken

if TYPE_CHECKING:
    from hydra_core.testing import FakeProvider
    from hydra_llamaindex import HydraLLM

SAID = "You said: ahoy"
MESSAGES = [ChatMessage("ahoy")]
CALLS = {
    "chat": lambda llm: llm.chat(MESSAGES).message.content,
    "complete": lambda llm: llm.complete("ahoy").text,
    "stream_chat": lambda llm: "".join(r.delta for r in llm.stream_chat(MESSAGES)),
    "stream_complete": lambda llm: "".join(r.delta for r in llm.stream_complete("ahoy")),
}


async def _joined(stream: Any) -> str:
    return "".join([response.delta async for response in await stream])


ASYNC_CALLS = {
    "achat": lambda llm: llm.achat(MESSAGES),
    "acomplete": lambda llm: llm.acomplete("ahoy"),
    "astream_chat": lambda llm: _joined(llm.astream_chat(MESSAGES)),
    "astream_complete": lambda llm: _joined(llm.astream_complete("ahoy")),
}


@pytest.mark.parametrize("call", CALLS)
def test_a_sync_call_crosses_a_refused_key(
    call: str, llm: HydraLLM, provider: FakeProvider
) -> None:
    """One 429 on the first key costs the caller nothing, and each key is asked once."""
    assert CALLS[call](llm) == SAID
    assert _statuses(provider) == [429, 200]


@pytest.mark.parametrize("call", ASYNC_CALLS)
async def test_an_async_call_crosses_a_refused_key(
    call: str, llm: HydraLLM, provider: FakeProvider
) -> None:
    """The same on an event loop."""
    answer = await ASYNC_CALLS[call](llm)
    assert SAID in str(answer)
    assert _statuses(provider) == [429, 200]


async def test_a_sync_call_works_inside_a_running_loop(llm: HydraLLM) -> None:
    """A notebook's cell runs inside a loop; a plain call there needs no patch of asyncio."""
    assert CALLS["chat"](llm) == SAID
    assert CALLS["stream_chat"](llm) == SAID


def test_one_model_serves_several_event_loops_and_plain_code(llm: HydraLLM) -> None:
    """Every asyncio.run is a new loop; no connection of a closed one is used again."""
    for _ in range(3):
        assert asyncio.run(llm.achat(MESSAGES)).message.content == SAID
        assert asyncio.run(_joined(llm.astream_chat(MESSAGES))) == SAID
        assert CALLS["chat"](llm) == SAID


def test_a_stream_shows_its_text_growing_and_its_usage_last(llm: HydraLLM) -> None:
    """Each response holds the text so far and its own delta; the last one has the usage."""
    responses = list(llm.stream_chat(MESSAGES))
    grown = ""
    for response in responses:
        grown += response.delta
        assert response.message.content == grown
    assert [bool(r.raw.get("usage")) for r in responses] == [False] * (len(responses) - 1) + [True]
    assert len({id(r.message.blocks) for r in responses}) == len(responses)


def test_a_reply_tells_which_way_it_took(llm: HydraLLM, provider: FakeProvider) -> None:
    """Kind, provider, key name, attempts and coverage are under one word, twice."""
    response = llm.chat(MESSAGES)
    route = response.additional_kwargs["hydra"]
    assert route == response.raw["hydra"]
    assert (route["kind"], route["key"], route["coverage"]) == (
        "full",
        "fake-2",
        None,
    )
    assert [a["outcome"] for a in route["attempts"]] == ["rate_limit_minute", "ok"]
    assert llm.complete("ahoy").additional_kwargs["hydra"]["kind"] == "full"


@pytest.mark.parametrize("call", CALLS)
def test_a_call_over_two_keys_is_one_event_with_the_servers_count(
    call: str, llm: HydraLLM, provider: FakeProvider
) -> None:
    """Failover happens below the callbacks, and token counters read the provider's usage."""
    counter = TokenCountingHandler()
    llm.callback_manager = CallbackManager([counter])
    CALLS[call](llm)
    provider.wait_idle()
    served = provider.log[-1]
    assert len(counter.llm_token_counts) == 1
    assert counter.prompt_llm_token_count == served.prompt_tokens
    assert counter.completion_llm_token_count == served.completion_tokens


async def test_an_async_call_leaves_the_loop_free(llm: HydraLLM, provider: FakeProvider) -> None:
    """While the provider takes its time, other tasks of the loop go on."""
    provider.fail("slow", times=1)
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0.005)

    ticking = asyncio.create_task(tick())
    await llm.achat(MESSAGES)
    ticking.cancel()
    assert ticks > 3


def test_an_abandoned_stream_gives_its_key_back(llm: HydraLLM) -> None:
    """Whoever stops reading holds no lease."""
    stream = llm.stream_chat(MESSAGES)
    next(stream)
    del stream
    assert _in_flight(llm) == 0


async def test_an_abandoned_async_stream_gives_its_key_back(llm: HydraLLM) -> None:
    """The same on an event loop, once the generator is closed."""
    stream = await llm.astream_chat(MESSAGES)
    await anext(stream)
    await stream.aclose()
    for _ in range(1000):  # LlamaIndex leaves the inner generator to the loop's own clean-up
        if not _in_flight(llm):
            break
        await asyncio.sleep(0.001)
    assert _in_flight(llm) == 0


def test_a_stream_that_is_never_read_leases_nothing(llm: HydraLLM, provider: FakeProvider) -> None:
    """Nothing is asked before the first response is wanted."""
    llm.stream_chat(MESSAGES)
    assert (_in_flight(llm), provider.log) == (0, ())


def test_a_broken_stream_is_an_error_with_what_was_said(
    llm: HydraLLM, provider: FakeProvider
) -> None:
    """After the first words nothing is replayed; the caller learns what he has."""
    llm.chat(MESSAGES)
    provider.fail("cut", times=1)
    shown: list[str] = []
    with pytest.raises(StreamBroken) as caught:
        shown.extend(response.delta for response in llm.stream_chat(MESSAGES))
    assert caught.value.partial == "".join(shown)


def test_an_exhausted_pool_is_told_as_asked(llm: HydraLLM, provider: FakeProvider) -> None:
    """A notice with its kind by default, an error that is no RuntimeError when asked for."""
    provider.fail("rate_limit", times=9)
    notice = llm.chat(MESSAGES, deadline=0.2)
    assert notice.additional_kwargs["hydra"]["kind"] == "wait"
    assert notice.message.content
    with pytest.raises(PoolExhausted) as caught:
        llm.chat(MESSAGES, deadline=0.2, on_exhausted="raise")
    assert not isinstance(caught.value, RuntimeError)


def _in_flight(llm: HydraLLM) -> int:
    return sum(group.in_flight for group in llm.hydra.capacity())


def _statuses(provider: FakeProvider) -> list[int | None]:
    provider.wait_idle()
    return [record.status for record in provider.log]
