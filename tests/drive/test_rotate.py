"""`rotate`: a function that calls a provider gets a free key, and another when it was refused."""

from __future__ import annotations

import inspect

import httpx2
import pytest

from hydra_core import Hydra
from hydra_core.errors import HydraClosed, PoolExhausted
from hydra_core.testing import FakeKey, FakeLimits

http = httpx2.Client()  # a new client for each call would take longer than the call
BODY = {"messages": [{"role": "user", "content": "hello"}]}


@pytest.fixture(scope="module", autouse=True)
def _client_closed():
    yield
    http.close()


class Unwell(Exception):
    """An SDK's exception: a status code and no response."""

    def __init__(self, status_code):
        super().__init__("the provider is unwell")
        self.status_code = status_code


def ask(api_key, base_url, model):
    """One call as an SDK makes it."""
    reply = http.post(
        f"{base_url}/chat/completions",
        json={"model": model, **BODY},
        headers={"authorization": f"Bearer {api_key}"},
    )
    reply.raise_for_status()
    return reply.json()["choices"][0]["message"]["content"]


def rows(hydra):
    """The rows of all keys."""
    return [key for p in hydra.health()["providers"].values() for key in p["keys"]]


@pytest.mark.parametrize("fault", ["rate_limit", "auth", "billing", "server_error", "model_gone"])
def test_a_refused_key_is_replaced(caller, pool, serve, fault):
    """An exception with a response is read: the function runs again with another key."""
    fake = serve()
    fake.fail(fault, key=0, retry_after=30)
    asked = caller.rotated(pool(fake), ask)
    assert [asked() for _ in range(3)] == ["You said: hello"] * 3
    assert [call.key for call in fake.log] == ["fake-1", "fake-2", "fake-2", "fake-2"]


def test_a_status_code_alone_is_enough(caller, pool, serve):
    """An exception that carries only `status_code` is read as well."""
    hydra = pool(serve())
    used = []

    def refused_once(api_key, base_url=None, model=None):
        used.append(api_key)
        if len(used) == 1:
            raise Unwell(429)
        return model

    assert caller.rotated(hydra, refused_once)() == "fake-model"
    assert used == ["key-canary-1", "key-canary-2"]


def test_other_exceptions_pass_untouched(caller, pool, serve):
    """The function's own bug is raised as it is, after one run, and blames nobody."""
    hydra = pool(serve())
    runs = []
    mine = KeyError("mine")

    def broken(api_key, base_url=None, model=None):
        runs.append(api_key)
        raise mine

    with pytest.raises(KeyError) as caught:
        caller.rotated(hydra, broken)()
    assert caught.value is mine
    assert len(runs) == 1
    assert [(row["failures"], row["in_flight"]) for row in rows(hydra)] == [(0, 0), (0, 0)]


def test_a_request_that_no_key_would_take_is_not_tried_again(caller, pool, serve):
    """A refusal of the request itself is raised at once, as the function raised it."""
    fake = serve()
    fake.fail("context_too_long")
    hydra = pool(fake)
    with pytest.raises(httpx2.HTTPStatusError) as caught:
        caller.rotated(hydra, ask)()
    assert caught.value.response.status_code == 400
    assert (len(fake.log), sum(row["failures"] for row in rows(hydra))) == (1, 0)


def test_when_all_keys_were_refused_the_last_exception_is_raised(caller, pool, serve):
    """Each key is tried once; then the function's own last exception tells what happened."""
    fake = serve([f"key-canary-{n}" for n in range(4)])
    fake.fail("auth")
    hydra = pool(fake)
    asked = caller.rotated(hydra, ask)
    with pytest.raises(httpx2.HTTPStatusError):
        asked()
    assert sorted(call.key for call in fake.log) == ["fake-1", "fake-2", "fake-3", "fake-4"]
    with pytest.raises(PoolExhausted):
        asked()
    assert len(fake.log) == 4


def test_limits_are_kept_without_a_refusal(caller, pool, serve):
    """A rotated function waits for its turn like any call."""
    keys = [FakeKey(f"key-canary-{n}", limits=FakeLimits(rpm=3)) for n in (1, 2)]
    fake = serve(keys, time_scale=0.03)
    asked = caller.rotated(pool(fake), ask)
    assert {asked() for _ in range(7)} == {"You said: hello"}
    assert (fake.served, fake.refused) == (7, 0)


def test_the_function_gets_what_it_takes(serve):
    """`api_key` is text; `base_url`, `model`, `lane` and the lease come where they are taken."""
    fake = serve([FakeKey("key-canary-1", limits=FakeLimits(tpm=10_000))])
    with Hydra(fake.config(cache=False)) as hydra:

        @hydra.rotate(tokens=500)
        def everything(question, *, api_key, base_url, model, lane, lease):
            """Its own words."""
            lease.used(40)
            return question, api_key, base_url, model, lane, lease.key

        @hydra.rotate()
        def only_key(api_key):
            return api_key

        @hydra.rotate()
        def anything(**kwargs):
            return sorted(kwargs)

        assert everything("hello") == (
            *("hello", "key-canary-1", fake.base_url),
            *("fake-model", None, "fake-1"),
        )
        assert rows(hydra)[0]["limits"]["tpm"]["used"] == 40
        assert only_key() == "key-canary-1"
        assert anything() == ["api_key"]
        assert everything.__doc__ == "Its own words."


def test_the_callers_own_arguments_win(serve):
    """An argument that the caller gives is not replaced."""
    with Hydra(serve().config(cache=False)) as hydra:

        @hydra.rotate()
        def asked(api_key, model):
            return model

        assert asked(model="mine") == "mine"


async def test_a_coroutine_stays_a_coroutine(serve):
    """What was awaitable is awaitable, and is told apart from a plain function."""
    with Hydra(serve().config(cache=False)) as hydra:

        @hydra.rotate()
        async def asked(api_key):
            return api_key

        assert inspect.iscoroutinefunction(asked)
        assert (await asked()).startswith("key-canary")


@pytest.mark.parametrize("kind", ["generator", "async generator"])
def test_a_generator_cannot_be_rotated(serve, kind):
    """Its body runs after the call has returned, without a key: that is told when decorating."""
    with Hydra(serve().config(cache=False)) as hydra:

        def plain(api_key):
            yield api_key

        async def asynchronous(api_key):
            yield api_key

        with pytest.raises(TypeError, match="lease"):
            hydra.rotate()(plain if kind == "generator" else asynchronous)


def test_a_closed_hydra_rotates_nothing(serve):
    """The decorated function raises HydraClosed and is not run."""
    hydra = Hydra(serve().config(cache=False))
    asked = hydra.rotate()(lambda api_key: api_key)
    hydra.close()
    with pytest.raises(HydraClosed):
        asked()
