"""Streams below an SDK: shown as they come, never cut in silence, never left with a lease."""

import asyncio
import gc

import httpx
import httpx2
import openai
import pytest

from hydra_core import Hydra
from hydra_core.dialects import get_dialect
from hydra_core.dialects.streams import EventReader
from hydra_core.drive.exchange import Exchange
from hydra_core.drive.redaction import Forms
from hydra_core.sdk.events import EventSteps, ReasoningShown
from hydra_core.sdk.streams import Flow
from hydra_core.testing import FakeProvider
from hydra_core.vault import Secret
from hydra_core.wire import Answer, StreamEvent, Verdict

LONG = [{"role": "user", "content": "one two three four five six seven eight nine ten"}]
BROKEN = (httpx.HTTPError, httpx2.HTTPError)


@pytest.fixture
def fake():
    with FakeProvider(["sk-canary-first-0123456789", "sk-canary-second-0123456789"]) as provider:
        yield provider


@pytest.fixture
def hydra(fake):
    with Hydra(fake.config(strategy="priority", cache=False, stall_timeout=0.5)) as pool:
        yield pool


@pytest.fixture(params=["httpx", "httpx2"])
def library(request):
    return request.param


def sync_sdk(hydra, library):
    client = hydra.http_client(library)
    return openai.OpenAI(api_key="hydra", base_url="http://hydra/v1", http_client=client)


def async_sdk(hydra, library):
    client = hydra.async_http_client(library)
    return openai.AsyncOpenAI(api_key="hydra", base_url="http://hydra/v1", http_client=client)


def begin(sdk):
    return sdk.chat.completions.create(model="hydra", messages=LONG, stream=True)


def in_flight(hydra):
    return sum(row["in_flight"] for row in hydra.stats()["keys"].values())


def collect(stream, texts):
    texts.extend(chunk.choices[0].delta.content for chunk in stream)


@pytest.mark.parametrize("fault", ["cut", "stall"])
def test_a_stream_that_breaks_off_raises(fake, hydra, library, fault):
    """After the first token nothing is replayed, and an early end is never taken for a whole."""
    fake.fail(fault, key=0, after_chunks=3)
    texts = []
    with sync_sdk(hydra, library) as sdk:
        stream = begin(sdk)
        with pytest.raises(BROKEN, match="broke off"):
            collect(stream, texts)
    assert "".join(filter(None, texts)).startswith("You said: one")
    assert (len(fake.log), in_flight(hydra)) == (1, 0)
    assert hydra.health()["recent_errors"][0]["key"] == "fake-1"


async def test_an_async_stream_that_breaks_off_raises(fake, hydra, library):
    """The async door tells it, too."""
    fake.fail("cut", key=0, after_chunks=3)
    async with async_sdk(hydra, library) as sdk:
        with pytest.raises(BROKEN, match="broke off"):
            [chunk async for chunk in await begin(sdk)]
    assert in_flight(hydra) == 0


def test_an_error_within_a_stream_reaches_the_sdk(fake, hydra, library):
    """An error event after the first token is the SDK's to raise, in the provider's words."""
    fake.fail("error_event", key=0, after_chunks=3)
    with sync_sdk(hydra, library) as sdk, pytest.raises(openai.APIError, match="had an error"):
        list(begin(sdk))
    assert (len(fake.log), in_flight(hydra)) == (1, 0)


def test_leaving_a_stream_frees_its_lease(fake, hydra, library):
    """Closing a stream half way ends its call at the provider, and books what was shown."""
    fake.fail("stall", after_chunks=3)
    with sync_sdk(hydra, library) as sdk:
        with begin(sdk) as stream:
            next(stream)
            assert in_flight(hydra) == 1
        assert in_flight(hydra) == 0
        fake.wait_idle()


async def test_leaving_an_async_stream_frees_its_lease(fake, hydra, library):
    """Synchronously, before anything is awaited."""
    fake.fail("stall", after_chunks=3)
    async with async_sdk(hydra, library) as sdk:
        stream = await begin(sdk)
        await anext(stream)
        assert in_flight(hydra) == 1
        await stream.close()
        assert in_flight(hydra) == 0
    fake.wait_idle()


def test_a_forgotten_stream_frees_its_lease(fake, hydra, library, until):
    """An SDK's stream that nobody closes is settled when it is collected."""
    fake.fail("stall", after_chunks=3)
    with sync_sdk(hydra, library) as sdk:
        next(begin(sdk))
        gc.collect()
        until(lambda: not in_flight(hydra))
        fake.wait_idle()


async def test_a_forgotten_async_stream_frees_its_lease(fake, hydra, library, until):
    """The same on an event loop."""
    fake.fail("stall", after_chunks=3)
    async with async_sdk(hydra, library) as sdk:
        stream = await begin(sdk)
        await anext(stream)
        del stream
        gc.collect()
        await asyncio.to_thread(until, lambda: not in_flight(hydra))
    await asyncio.to_thread(fake.wait_idle)


def raw_stream(client):
    """A response of a bare client, the first bytes of which were read."""
    body = {"model": "hydra", "messages": LONG, "stream": True}
    request = client.build_request("POST", "http://hydra/v1/chat/completions", json=body)
    response = client.send(request, stream=True)
    pieces = response.iter_raw()
    next(pieces)
    return response, pieces


def test_a_forgotten_response_frees_its_lease(fake, hydra, library, until):
    """A response that not even an SDK watches over is settled by its own end."""
    fake.fail("stall", after_chunks=3)
    with hydra.http_client(library) as client:
        held = raw_stream(client)
        assert in_flight(hydra) == 1
        del held
        gc.collect()
        until(lambda: not in_flight(hydra))


def test_closing_within_the_gates_lock_does_not_hang(fake, hydra, library, until):
    """The collector may close a stream while its thread decides: that must not be for ever."""
    fake.fail("stall", after_chunks=3)
    with hydra.http_client(library) as client:
        response, pieces = raw_stream(client)
        hydra._gate.ask(lambda *_: response.close())
        until(lambda: not in_flight(hydra))
        pieces.close()


@pytest.mark.parametrize("stream", [False, True])
async def test_a_cancelled_call_frees_its_lease(fake, hydra, library, until, stream):
    """Cancelling while the provider is silent settles at once and lets the connection go."""
    fake.fail("hang")
    async with async_sdk(hydra, library) as sdk:
        call = asyncio.create_task(
            sdk.chat.completions.create(model="hydra", messages=LONG, stream=stream)
        )
        await asyncio.to_thread(until, lambda: fake.in_flight)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert in_flight(hydra) == 0
    await asyncio.to_thread(fake.wait_idle)


def test_a_filtered_stream_keeps_its_end(fake, hydra, library):
    """A finish reason that is a fault to us is still the SDK's to read, with all after it."""
    fake.fail("content_filter", key=0)
    with sync_sdk(hydra, library) as sdk, pytest.raises(openai.APIStatusError) as caught:
        list(begin(sdk))
    assert (caught.value.status_code, len(fake.log)) == (400, 1)


def judge(data):
    """A judge that keeps what it was asked about."""
    return Verdict(message=data.decode())


def events_read():
    """A reader of an endpoint that no dialect knows."""
    return EventReader(EventSteps(judge), read=lambda body: Answer(judge(body)))


def test_events_of_other_endpoints_are_read():
    """Text, usage and end of completions and responses are found; an error event is a failure."""
    reader = events_read()
    events = reader.feed(
        b'data: {"choices":[{"text":"Aye"}]}\n\n'
        b'data: {"type":"response.output_text.delta","delta":" aye"}\n\n'
        b'data: {"type":"response.completed","response":'
        b'{"error":null,"usage":{"input_tokens":3,"output_tokens":2}}}\n\n'
    )
    assert [event.text for event in events] == ["Aye", " aye", ""]
    assert (events[-1].usage.total_tokens, events[-1].done) == (5, True)
    assert all(event.content for event in events)
    failed = events_read().feed(b'data: {"type":"error","code":"x"}\n\n')
    assert failed[0].verdict.message == '{"type":"error","code":"x"}'


def test_the_end_of_a_body_ends_streams_without_a_mark():
    """Endpoints whose end mark is not known end with their body, unless nothing ever came."""
    reader = events_read()
    reader.feed(b'data: {"object":"x"}\n\n')
    assert reader.finish() is None
    assert events_read().finish().verdict is not None


class Shown:
    """A record of a stream that is being shown."""

    shown = True
    answer = None

    def feed(self, piece, now):
        """Nothing in it matters here."""


def test_a_key_that_comes_in_two_pieces_is_cut_out():
    """All other bytes are handed on as they are, whatever their encoding."""
    ended = []
    flow = Flow(
        Shown(),
        ended.append,
        status=200,
        headers=(),
        clock=float,
        stall=1.0,
        forms=Forms(Secret("sk-canary-first-0123456789")),
        raised=Exchange({}).raised,
    )
    out = []
    for piece in (b"data: \xc3\xa9 sk-canary-fi", b"rst-0123456789 \xff\n", b"sk-c", None):
        flow.feed(piece)
        out.extend(flow.take())
    assert b"".join(out) == b"data: \xc3\xa9 **** \xff\nsk-c"
    assert (flow.over, ended) == (True, [flow.record])


class Reader:
    """A dialect's reader that has one event to tell."""

    readings = ()
    scope_hint = None
    in_one_piece = False

    def __init__(self, delta):
        self._event = StreamEvent(raw={"choices": [{"delta": delta}]})

    def feed(self, data):  # noqa: ARG002
        return [self._event]

    def finish(self):
        return None


@pytest.mark.parametrize(
    ("delta", "shown"),
    [
        ({"role": "assistant", "content": ""}, False),
        ({"role": "assistant", "content": None, "reasoning_content": ""}, False),
        ({"reasoning_content": "Let me see"}, True),
        ({"reasoning": "Let me see"}, True),
    ],
)
def test_reasoning_is_shown(delta, shown):
    """A model that thinks aloud is not cut off for silence: an SDK shows its thoughts."""
    assert ReasoningShown(Reader(delta)).feed(b"")[0].content is shown


def test_a_plain_body_is_no_stream_to_an_sdk():
    """The SDK would see nothing in it, silently: it fails before anything is shown."""
    body = b'{"choices":[{"message":{"content":"Aye"},"finish_reason":"stop"}]}'
    reader = ReasoningShown(get_dialect("openai", "someone").stream(200, {}, now=0.0))
    assert reader.feed(body) == []
    assert "plain body" in reader.finish().verdict.message
