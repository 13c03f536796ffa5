"""Waiting: how long a call may, how it ends when that is over, and what each attempt cost it."""

from __future__ import annotations

import pytest

from hydra_core.errors import DeadlineExceeded, PoolExhausted
from hydra_core.testing import FakeKey, FakeLimits

STREAM = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])


def test_a_call_waits_for_a_limit_to_pass_and_is_never_refused(caller, pool, serve):
    """Beyond a known limit calls wait for their turn: all are served, none is refused."""
    fake = serve([FakeKey("key-canary-1", limits=FakeLimits(rpm=4))], time_scale=0.03)
    hydra = pool(fake)
    kinds = {caller.ask(hydra, f"question {n}", stream=n % 2 == 1)[1] for n in range(6)}
    assert (kinds, fake.served, fake.refused) == ({"full"}, 6, 0)


def test_waiting_is_told_in_the_trail(caller, pool, serve):
    """`waited` of an attempt is how long the call had waited for capacity before it."""
    fake = serve(["key-canary-1"], time_scale=0.1)
    fake.fail("rate_limit", times=1, retry_after=0.3)
    reply = caller.chat(pool(fake), "hello")
    assert [a.outcome for a in reply.attempts] == ["rate_limit_minute", "ok"]
    first, second = reply.attempts
    assert first.waited == 0.0
    assert 0.25 < second.waited <= reply.latency
    assert fake.log[1].at - fake.log[0].at > 0.295


@STREAM
def test_a_wait_beyond_max_wait_is_not_begun(caller, pool, serve, stream):
    """A start that comes too late is told at once, not after the patience has run out."""
    fake = serve(["key-canary-1"])
    fake.saturate(seconds=100)
    hydra = pool(fake, max_wait=59.0, timeout=200.0)
    assert caller.ask(hydra, "hello", stream=stream)[1] == "wait"
    with pytest.raises(PoolExhausted) as caught:
        caller.ask(hydra, "hello", stream=stream, on_exhausted="raise", max_wait=50.0)
    assert 50 < caught.value.eta <= 100
    assert len(fake.log) == 1


@STREAM
def test_the_argument_beats_the_configured_patience(caller, pool, serve, stream):
    """`max_wait` of one call is longer or shorter than the setting."""
    fake = serve(["key-canary-1"], time_scale=0.1)
    fake.saturate(seconds=0.3)
    hydra = pool(fake, max_wait=0.0)
    assert caller.ask(hydra, "hello", stream=stream)[1] == "wait"
    assert caller.ask(hydra, "hello", stream=stream, max_wait=10.0)[1] == "full"


@STREAM
def test_the_deadline_holds_while_an_attempt_is_under_way(caller, pool, serve, stream):
    """A call that hangs ends by its deadline with DeadlineExceeded and its trail."""
    fake = serve()
    fake.fail("hang")
    hydra = pool(fake)
    with pytest.raises(DeadlineExceeded) as caught:
        caller.ask(hydra, "hello", stream=stream, deadline=0.2, on_exhausted="raise")
    assert [(a.key, a.outcome) for a in caught.value.attempts] == [("fake-1", "timeout")]
    assert len(fake.log) == 1
    fake.wait_idle()
    assert fake.log[0].latency < 5


@STREAM
def test_a_deadline_that_passed_is_not_told_as_want_of_keys(caller, pool, serve, stream):
    """The notice and the error say that time ran out, with an attempt under way or without."""
    fake = serve()
    fake.fail("hang")
    hydra = pool(fake, cache=False)
    assert "No answer came before the deadline" in caller.ask(
        hydra, "hello", stream=stream, deadline=0.2
    )[0]
    with pytest.raises(DeadlineExceeded, match="its deadline passed before an answer came"):
        caller.ask(hydra, "hello", stream=stream, deadline=0.2, on_exhausted="raise")
    with pytest.raises(PoolExhausted, match="left no time for an attempt"):
        caller.ask(pool(serve()), "hello", stream=stream, deadline=0.0, on_exhausted="raise")


@STREAM
def test_the_deadline_is_one_for_all_attempts(caller, pool, serve, stream):
    """Each attempt gets what is left: hanging keys together take no longer than it."""
    fake = serve([f"key-canary-{n}" for n in range(6)])
    fake.fail("hang")
    hydra = pool(fake, attempt_timeout=0.15, first_token_timeout=0.15)
    with pytest.raises(DeadlineExceeded) as caught:
        caller.ask(hydra, "hello", stream=stream, deadline=0.4, on_exhausted="raise")
    assert {a.outcome for a in caught.value.attempts} == {"timeout"}
    assert 2 <= len(caught.value.attempts) <= 3
    assert len(fake.log) == len(caught.value.attempts)


def test_a_deadline_without_an_attempt_is_exhaustion(caller, pool, serve):
    """Nothing was under way, so it is PoolExhausted, with the ETA; nothing was sent."""
    fake = serve(["key-canary-1"])
    fake.saturate(seconds=100)
    hydra = pool(fake)
    caller.chat(hydra, "hello", max_wait=0.0)
    with pytest.raises(PoolExhausted) as caught:
        caller.chat(hydra, "hello", deadline=0.1, on_exhausted="raise")
    assert (type(caught.value), caught.value.eta > 90) == (PoolExhausted, True)
    assert len(fake.log) == 1


def test_a_deadline_of_zero_sends_nothing(caller, pool, serve):
    """There is no time for any call."""
    fake = serve()
    with pytest.raises(PoolExhausted):
        caller.chat(pool(fake), "hello", deadline=0.0, on_exhausted="raise")
    assert fake.log == ()


def test_who_came_first_is_served_first_and_priority_before(caller, pool, serve):
    """Waiting calls are served in the order of their priority, then of their coming."""
    order = []

    def latency(call):
        order.append(call.body["messages"][0]["content"])
        return 0.2 if len(order) == 1 else 0.0

    fake = serve([FakeKey("key-canary-1", limits=FakeLimits(concurrency=1))], latency=latency)
    asks = [("first", 0), ("second", 0), ("third", 0), ("urgent", 5)]
    replies = caller.queue(pool(fake, max_wait=20.0), asks)
    assert [reply.kind for reply in replies] == ["full"] * 4
    assert order == ["first", "urgent", "second", "third"]


def test_an_impatient_caller_puts_no_key_to_a_long_rest(caller, pool, serve):
    """A deadline shorter than the answer is a light doubt: others are served soon."""
    fake = serve(["key-canary-1", "key-canary-2"], latency=0.6, time_scale=0.05)
    hydra = pool(fake)
    caller.chat(hydra, "the first call of a process loads what it needs")
    cut = []
    for _ in range(3):
        # On a busy machine the time may be up before anything is sent.
        with pytest.raises((DeadlineExceeded, PoolExhausted)) as caught:
            caller.chat(hydra, "quick!", deadline=0.25, on_exhausted="raise")
        cut += caught.value.attempts
    assert "timeout" in [attempt.outcome for attempt in cut]
    rests = [row["available_in"] for row in hydra.health()["providers"]["fake"]["keys"]]
    assert all(rest < 1.0 for rest in rests)
    assert caller.chat(hydra, "at leisure", on_exhausted="raise").kind == "full"
    fake.wait_idle()
