"""Leases: one call of any SDK with a key that is free; its end is read and settled."""

from __future__ import annotations

import asyncio
import contextlib

import httpx2
import pytest

from hydra_core import Hydra
from hydra_core.errors import HydraClosed, HydraError, PoolExhausted, RequestRejected
from hydra_core.testing import FakeKey, FakeLimits
from hydra_core.vault import Secret

BODY = {"messages": [{"role": "user", "content": "hello"}]}


class Unwell(Exception):
    """An SDK's exception: a status code and no response."""

    def __init__(self, status_code):
        super().__init__("the provider is unwell")
        self.status_code = status_code


def post(lease):
    """One call as an SDK makes it: the error carries the response."""
    key = lease.api_key.get_secret_value()
    reply = httpx2.post(
        f"{lease.base_url}/chat/completions",
        json={"model": lease.model, **BODY},
        headers={"authorization": f"Bearer {key}"},
    )
    reply.raise_for_status()
    return lease.key


def rows(hydra):
    """The rows of all keys."""
    return [key for p in hydra.health()["providers"].values() for key in p["keys"]]


def test_a_lease_prints_which_key_it_holds(pool, serve):
    """Printed, it says which key of which model it has, and whether it still has it."""
    lease = pool(serve()).lease()
    assert repr(lease) == "<HeldLease [no key yet]>"
    with lease:
        assert repr(lease) == "<HeldLease fake/fake-model [fake-1: held]>"
    assert repr(lease) == "<HeldLease fake/fake-model [fake-1: ended]>"


def test_a_lease_names_all_that_a_call_needs(caller, pool, serve):
    """Inside: the secret, the address, the model and their names; in flight until the end."""
    fake = serve()
    hydra = pool(fake)

    def look(lease):
        assert isinstance(lease.api_key, Secret)
        assert [row["in_flight"] for row in rows(hydra)] == [1, 0]
        return lease.provider, lease.model, lease.key, lease.base_url

    seen = caller.lease(hydra, look)
    assert seen == ("fake", "fake-model", "fake-1", fake.base_url)
    assert [row["in_flight"] for row in rows(hydra)] == [0, 0]
    assert caller.lease(hydra, post) == "fake-1"
    assert fake.served == 1


def test_leases_share_the_limits_of_calls(caller, pool, serve):
    """What leases took, chats cannot have: together they never pass the limit."""
    limits = FakeLimits(rpm=2)
    fake = serve([FakeKey(f"key-canary-{n}", limits=limits) for n in (1, 2)])
    hydra = pool(fake, max_wait=0.0)
    leased = [caller.lease(hydra, post) for _ in range(2)]
    asked = [caller.chat(hydra, "hello").key for _ in range(2)]
    assert sorted(leased + asked) == ["fake-1", "fake-1", "fake-2", "fake-2"]
    with pytest.raises(PoolExhausted) as caught:
        caller.lease(hydra, post)
    assert 0 < caught.value.eta <= 61
    assert (fake.served, fake.refused) == (4, 0)


def test_the_tokens_said_to_be_used_are_booked(caller, pool, serve):
    """`used` corrects the reservation; without it the reservation stays."""
    fake = serve([FakeKey("key-canary-1", limits=FakeLimits(tpm=10_000))])
    hydra = pool(fake)
    booked = []
    for use in (lambda lease: lease.used(70), lambda _: None):
        caller.lease(hydra, use, tokens=500)
        booked.append(rows(hydra)[0]["limits"]["tpm"]["used"])
    assert booked == [70, 570]


@pytest.mark.parametrize("status", [401, 429, 503])
def test_an_sdks_error_is_read_and_passes_on(caller, pool, serve, status):
    """The caller gets his own exception, the key rests, and the next lease is of another key."""
    hydra = pool(serve())

    def fail(lease):
        raise Unwell(status)

    with pytest.raises(Unwell):
        caller.lease(hydra, fail)
    assert [(row["failures"], row["in_flight"]) for row in rows(hydra)] == [(1, 0), (0, 0)]
    assert caller.lease(hydra, lambda lease: lease.key) == "fake-2"


def test_the_wait_in_a_response_is_obeyed(caller, pool, serve):
    """The headers of the response that an exception carries say how long the key rests."""
    fake = serve()
    fake.fail("rate_limit", key=0, times=1, retry_after=30)
    hydra = pool(fake)
    with pytest.raises(httpx2.HTTPStatusError):
        caller.lease(hydra, post)
    assert [caller.lease(hydra, post) for _ in range(3)] == ["fake-2"] * 3
    assert 25 < rows(hydra)[0]["available_in"] <= 30


def test_other_exceptions_blame_nobody(caller, pool, serve):
    """A caller's own bug passes untouched; the lease is back at once."""
    fake = serve([FakeKey("key-canary-1", limits=FakeLimits(concurrency=1))])
    hydra = pool(fake, max_wait=0.0)

    def stumble(_lease):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        caller.lease(hydra, stumble)
    assert [(row["failures"], row["in_flight"]) for row in rows(hydra)] == [(0, 0)]
    assert caller.lease(hydra, post) == "fake-1"


def test_a_response_that_cannot_be_read_does_not_hide_the_error(caller, pool, serve):
    """Reading the body of a streamed response raises; the caller still gets his own error."""
    fake = serve()
    fake.fail("auth", key=0)
    hydra = pool(fake)

    def stream(lease):
        url = f"{lease.base_url}/chat/completions"
        headers = {"authorization": f"Bearer {lease.api_key.get_secret_value()}"}
        body = {"model": lease.model, **BODY}
        with httpx2.stream("POST", url, json=body, headers=headers) as reply:
            reply.raise_for_status()

    with pytest.raises(httpx2.HTTPStatusError):
        caller.lease(hydra, stream)
    assert [row["state"] for row in rows(hydra)] == ["dead", "active"]


def test_nested_leases_hold_two_slots(serve):
    """Inside one lease another can be had, of another key when each has one slot."""
    limits = FakeLimits(concurrency=1)
    fake = serve([FakeKey(f"key-canary-{n}", limits=limits) for n in (1, 2)])
    with Hydra(fake.config(cache=False, strategy="priority")) as hydra:
        with hydra.lease() as one, hydra.lease() as two:
            assert (one.key, two.key) == ("fake-1", "fake-2")
            with pytest.raises(PoolExhausted), hydra.lease(max_wait=0.0):
                pass
        with hydra.lease(max_wait=0.0) as again:
            assert again.key == "fake-1"


@pytest.mark.parametrize("error", [None, KeyError("mine"), Unwell(503)])
def test_a_lease_is_for_one_use(serve, error):
    """However it ended, and also while it is held, it cannot be entered again."""
    with Hydra(serve().config(cache=False)) as hydra:
        lease = hydra.lease()
        with contextlib.suppress(KeyError, Unwell), lease:
            with pytest.raises(HydraError, match="for one call"):
                lease.__enter__()
            assert sum(row["in_flight"] for row in rows(hydra)) == 1
            if error is not None:
                raise error
        with pytest.raises(HydraError, match="for one call"):
            lease.__enter__()
        assert [sum(row[n] for row in rows(hydra)) for n in ("in_flight", "calls")] == [0, 1]


async def test_an_async_lease_is_for_one_use(serve):
    """The rule of one use holds in event loops."""
    async with Hydra(serve().config(cache=False)) as hydra:
        lease = hydra.lease()
        async with lease:
            with pytest.raises(HydraError, match="for one call"):
                await lease.__aenter__()
        with pytest.raises(HydraError, match="for one call"):
            await lease.__aenter__()
        assert sum(row["in_flight"] for row in rows(hydra)) == 0


def test_outside_its_block_a_lease_has_no_key(serve):
    """Before it nothing is known; after it the names are, but the key is not."""
    with Hydra(serve().config(cache=False)) as hydra:
        lease = hydra.lease()
        with pytest.raises(HydraError, match="inside its `with` block"):
            _ = lease.api_key
        with lease:
            held = lease.key
        assert lease.key == held
        with pytest.raises(HydraError, match="has ended"):
            _ = lease.api_key


def test_what_cannot_be_leased_is_told_at_once(serve):
    """An unknown model or lane, and a closed Hydra."""
    hydra = Hydra(serve().config(cache=False))
    with pytest.raises(RequestRejected, match="no key serves model 'nobody'"):
        hydra.lease(model="nobody")
    hydra.close()
    with pytest.raises(HydraClosed):
        hydra.lease()


async def test_a_cancelled_wait_for_a_lease_leaves_the_line(serve):
    """Who stops waiting is not served later, and takes no slot with him."""
    keys = [FakeKey("key-canary-1", limits=FakeLimits(concurrency=1))]
    async with Hydra(serve(keys).config(cache=False)) as hydra:
        async with hydra.lease():
            waiting = asyncio.create_task(hydra.lease().__aenter__())
            while not hydra._gate.waiting:  # noqa: ASYNC110 - the gate rings nobody for it
                await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            assert hydra._gate.waiting == 0
        async with hydra.lease(max_wait=0.0) as lease:
            assert lease.key == "fake-1"


def test_leases_are_in_the_report_like_any_call(caller, pool, serve):
    """Their attempts, errors and ends are counted, for a lease and for a rotated function."""
    fake = serve()
    hydra = pool(fake)
    caller.lease(hydra, post)
    fake.fail("rate_limit", times=1, retry_after=50)
    with pytest.raises(httpx2.HTTPStatusError):
        caller.lease(hydra, post)
    fake.kill(1)

    @hydra.rotate()
    def refused(api_key):
        raise Unwell(401)

    with pytest.raises(Unwell):
        refused()
    health = hydra.health()
    provider = health["providers"]["fake"]
    assert (health["total_requests"], provider["total_requests"]) == (3, 3)
    assert (provider["total_failures"], provider["last_error_type"]) == (2, "auth")
    faults = [error["fault"] for error in health["recent_errors"]]
    assert faults == ["rate_limit_minute", "auth"]
    assert {k: n for k, n in hydra.stats()["replies"].items() if n} == {"full": 1, "not served": 2}
