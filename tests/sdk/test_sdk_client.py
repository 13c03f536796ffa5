"""The openai SDK, unmodified, over a pool whose first key fails."""

import asyncio
import gc
import weakref

import openai
import pytest
from pydantic import BaseModel

from hydra_core import Hydra
from hydra_core.testing import FakeProvider

KEYS = ("sk-canary-first-0123456789", "sk-canary-second-0123456789")
AHOY = [{"role": "user", "content": "Ahoy"}]
TOOL = {
    "type": "function",
    "function": {
        "name": "steer",
        "parameters": {
            "type": "object",
            "properties": {"degrees": {"type": "integer"}},
            "required": ["degrees"],
        },
    },
}


class Heading(BaseModel):
    degrees: int


class Caller:
    """Asks through OpenAI or AsyncOpenAI, over either client library; tests do not see which."""

    def __init__(self, hydra, door, library):
        self.door = door
        self._runner = asyncio.Runner()
        if door == "sync":
            self.sdk = openai.OpenAI(
                api_key="placeholder",
                base_url="http://hydra/v1",
                http_client=hydra.http_client(library),
            )
        else:
            self.sdk = openai.AsyncOpenAI(
                api_key="placeholder",
                base_url="http://hydra/v1",
                http_client=hydra.async_http_client(library),
            )

    def do(self, call, **arguments):
        """The result of one SDK method; of a stream, all its chunks."""

        async def run():
            result = await call(**arguments)
            return [chunk async for chunk in result] if arguments.get("stream") else result

        if self.door == "async":
            return self._runner.run(run())
        result = call(**arguments)
        return list(result) if arguments.get("stream") else result

    def chat(self, **arguments):
        """`chat.completions.create`."""
        arguments = {"model": "fake-model", "messages": AHOY, **arguments}
        return self.do(self.sdk.chat.completions.create, **arguments)

    def close(self):
        """Close the SDK, and with it the client."""
        if self.door == "async":
            self._runner.run(self.sdk.close())
        else:
            self.sdk.close()
        self._runner.close()


@pytest.fixture
def fake():
    with FakeProvider(KEYS, strict=True) as provider:
        yield provider


@pytest.fixture
def hydra(fake):
    settings = {"strategy": "priority", "cache": False, "max_wait": 0.2}
    with Hydra(fake.config(aliases={"smart": ["fake/fake-model"]}, **settings)) as pool:
        yield pool


@pytest.fixture(params=["sync-httpx", "sync-httpx2", "async-httpx", "async-httpx2"])
def caller(request, hydra):
    one = Caller(hydra, *request.param.split("-"))
    yield one
    one.close()


def text_of(chunks):
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


@pytest.mark.parametrize("fault", ["rate_limit", "auth", "server_error", "cut", "reset", "html"])
@pytest.mark.parametrize("stream", [False, True])
def test_a_failing_key_is_not_noticed(fake, caller, fault, stream):
    """Whatever the first key answers, the SDK gets the second key's reply, whole or streamed."""
    fake.fail(fault, key=0, after_chunks=0)
    reply = caller.chat(stream=stream)
    text = text_of(reply) if stream else reply.choices[0].message.content
    assert text == "You said: Ahoy"
    fake.wait_idle()
    assert [call.key for call in fake.log] == ["fake-1", "fake-2"]


@pytest.mark.parametrize("fault", ["error_event", "empty", "role_then_cut", "bad_json"])
def test_a_stream_that_fails_before_its_first_token_moves_on(fake, caller, fault):
    """Failing over is invisible until something of the stream was shown."""
    fake.fail(fault, key=0, after_chunks=0)
    assert text_of(caller.chat(stream=True)) == "You said: Ahoy"


@pytest.mark.parametrize("model", ["fake-model", "fake/fake-model", "smart", "hydra", "default"])
def test_the_model_is_a_selector(fake, caller, model):
    """Bare, with its provider, an alias or none: the provider is asked for its own name."""
    assert caller.chat(model=model).choices[0].message.content == "You said: Ahoy"
    assert fake.log[-1].model == "fake-model"


def test_tools_are_called_whole_and_streamed(fake, caller):
    """Tools reach the provider, and their calls come back, over a key that failed."""
    fake.fail("rate_limit", key=0)
    asked = {"messages": [{"role": "user", "content": "steer to 123"}], "tools": [TOOL]}
    reply = caller.chat(tool_choice="required", **asked)
    assert reply.choices[0].message.tool_calls[0].function.arguments == '{"degrees":123}'
    chunks = caller.chat(tool_choice="required", stream=True, **asked)
    deltas = [chunk.choices[0].delta for chunk in chunks if chunk.choices]
    calls = [call for delta in deltas for call in delta.tool_calls or ()]
    assert "".join(call.function.arguments or "" for call in calls) == '{"degrees":123}'


def test_parse_gives_an_object(fake, caller):
    """The SDK's structured output works over a key that failed."""
    fake.fail("auth", key=0)
    reply = caller.do(
        caller.sdk.chat.completions.parse,
        model="smart",
        messages=[{"role": "user", "content": "the heading is 123"}],
        response_format=Heading,
    )
    assert reply.choices[0].message.parsed == Heading(degrees=123)


@pytest.mark.parametrize("stream", [False, True])
def test_two_dead_keys_cost_two_requests(fake, caller, stream):
    """The last real response comes back as the SDK's own error, and the SDK does not retry."""
    fake.fail("rate_limit", key=0, retry_after=60)
    fake.fail("auth", key=1)
    with pytest.raises(openai.AuthenticationError) as caught:
        caller.chat(stream=stream)
    assert len(fake.log) == 2
    assert caught.value.response.headers["x-should-retry"] == "false"
    assert caught.value.response.headers["x-hydra-key"] == "fake-2"
    assert not any(key in f"{caught.value!r}{caught.value.body}" for key in KEYS)


def test_nothing_is_sent_while_all_rest(fake, caller):
    """A 429 of our own then names the wait, in OpenAI's shape, and the SDK does not retry."""
    fake.fail("rate_limit", retry_after=60)
    with pytest.raises(openai.RateLimitError):
        caller.chat()
    with pytest.raises(openai.RateLimitError) as caught:
        caller.chat()
    assert len(fake.log) == 2
    assert caught.value.code == "pool_exhausted"
    assert 1 <= int(caught.value.response.headers["retry-after"]) <= 60
    assert 0 < caught.value.body["eta"] <= 60


def test_a_bad_request_stays_the_callers(fake, hydra, caller):
    """A refused request is returned as it is; no key is tried after it, none is blamed."""
    with pytest.raises(openai.BadRequestError):
        caller.chat(messages=[{"role": "nobody", "content": "Ahoy"}])
    assert len(fake.log) == 1
    assert all(key["state"] == "active" for key in hydra.health()["providers"]["fake"]["keys"])


def test_usage_and_route_are_known_afterwards(fake, hydra, caller):
    """SDK calls count like all others, and the response names the route it took."""
    fake.fail("rate_limit", key=0)
    raw = caller.do(
        caller.sdk.chat.completions.with_raw_response.create, model="smart", messages=AHOY
    )
    assert (raw.headers["x-hydra-key"], raw.headers["x-hydra-attempts"]) == ("fake-2", "2")
    stats = hydra.stats()
    assert stats["tokens"] == raw.parse().usage.total_tokens
    assert (stats["replies"], stats["failovers"]) == ({"full": 1}, 1)


def test_a_streams_usage_is_booked(fake, hydra, caller):
    """The usage chunk that the SDK asked for reaches it, and settles the lease."""
    chunks = caller.chat(stream=True, stream_options={"include_usage": True})
    assert chunks[-1].usage.total_tokens == hydra.stats()["tokens"] > 0
    assert hydra.stats()["keys"]["fake-1"]["in_flight"] == 0


def test_models_come_from_the_configuration(fake, caller):
    """GET /models lists bare names, provider/model and aliases, without asking a provider."""
    listing = caller.do(caller.sdk.with_options().get, path="/models", cast_to=object)
    assert [row["id"] for row in listing["data"]] == ["fake-model", "fake/fake-model", "smart"]
    assert caller.do(caller.sdk.models.retrieve, model="fake/fake-model").owned_by == "fake"
    with pytest.raises(openai.NotFoundError):
        caller.do(caller.sdk.models.retrieve, model="other")


def test_an_unknown_model_is_not_found(fake, caller):
    """The error lists what is configured; nothing is sent."""
    with pytest.raises(openai.NotFoundError, match="Configured: fake/fake-model"):
        caller.chat(model="other")
    assert fake.log == ()


def test_a_closed_hydra_says_so_once(hydra, caller):
    """After the end of its Hydra a client answers with an error that is not retried."""
    hydra.close()
    with pytest.raises(openai.APIStatusError, match="closed") as caught:
        caller.chat()
    assert caught.value.status_code == 503


def test_one_async_client_serves_two_loops(fake, hydra):
    """Connections belong to their loop; the client and the SDK may outlive it."""
    sdk = openai.AsyncOpenAI(
        api_key="placeholder", base_url="http://hydra/v1", http_client=hydra.async_http_client()
    )
    for _ in range(3):
        reply = asyncio.run(sdk.chat.completions.create(model="hydra", messages=AHOY))
        assert reply.choices[0].message.content == "You said: Ahoy"
    assert fake.served == 3


def test_the_connections_of_an_async_client_end_with_their_loop(fake):
    """Each `asyncio.run` closes what it opened: an ended loop is not kept by its connections."""
    ended = []
    with Hydra(fake.config(cache=False, transport="httpx2")) as hydra:
        sdk = openai.AsyncOpenAI(
            api_key="placeholder", base_url="http://hydra/v1", http_client=hydra.async_http_client()
        )

        async def asked():
            ended.append(weakref.ref(asyncio.get_running_loop()))
            await sdk.chat.completions.create(model="hydra", messages=AHOY)

        for _ in range(3):
            asyncio.run(asked())
        gc.collect()
        assert [loop() for loop in ended] == [None] * 3
