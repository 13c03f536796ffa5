"""Keys that are refused again although they waited as they were told: they have company."""

from __future__ import annotations

import math

import pytest

from hydra_core.engine.steps import Patience
from hydra_core.messages import Fault
from hydra_core.testing import FakeLimits
from hydra_core.testing.limits import Quota

_LATENCY = 0.05


def refused(pool, lease, now):
    """The call is refused, with a wait of six seconds; when its key may be used again."""
    pool.fail(lease, now, Fault.RATE_LIMIT_MINUTE, status=429, retry_after=6.0)
    return max(pool.by("k1").hard_until, pool.by("k1").soft_until)


def test_only_the_wait_that_was_told_binds_who_has_no_other_key(make_pool):
    """To yield for longer is our own idea: one call at a time may try the key, to the last."""
    pool = make_pool([{}])
    until = refused(pool, pool.lease(0.0), 0.0)
    assert refused(pool, pool.lease(until), until) == until + 12.0
    assert pool.lease(until + 6.0) is None
    assert pool.lease(until + 5.9, desperate=True) is None
    assert pool.lease(until + 6.0, desperate=True) is not None
    assert pool.lease(until + 6.0, desperate=True) is None


def test_a_call_that_was_sent_before_the_word_came_kept_no_wait(make_pool):
    """Keys that prove to be one account's were refused apart, and told the same."""
    pool = make_pool([{"account": "a"}, {"account": "a"}])
    first, second = pool.lease(0.0), pool.lease(0.5)
    for lease, now in ((first, 0.2), (second, 0.7)):
        until = refused(pool, lease, now)
        assert until == pytest.approx(now + 6.0)


def test_each_wait_kept_in_vain_doubles_the_next_one(make_pool):
    """Up to a minute, after which any minute's limit is whole."""
    pool, now, waits = make_pool([{}]), 0.0, []
    for _ in range(6):
        until = refused(pool, pool.lease(now), now)
        waits.append(until - now)
        now = until
    assert waits == [6.0, 12.0, 24.0, 48.0, 60.0, 60.0]


def test_calls_that_were_under_way_together_kept_no_wait(make_pool):
    """They are refused together, and told the same."""
    pool = make_pool([{}])
    for lease in [pool.lease(0.0) for _ in range(4)]:
        until = refused(pool, lease, 1.0)
    assert until == 7.0


def test_a_call_that_is_served_ends_the_doubling(make_pool):
    """Then the provider kept its word, and is believed anew."""
    pool = make_pool([{}])
    until = refused(pool, pool.lease(0.0), 0.0)
    lease = pool.lease(until)
    pool.manager.passed(lease, 0.1)
    pool.manager.settle(lease, until + 0.1)
    assert refused(pool, pool.lease(10.0), 10.0) == 16.0


def test_longer_waits_than_a_minute_are_obeyed_and_not_doubled(make_pool):
    """What a provider states beyond our own longest guess is believed as it is."""
    pool = make_pool([{}])
    for now in (0.0, 300.0):
        pool.fail(
            pool.lease(now), now, Fault.RATE_LIMIT_MINUTE, status=429, retry_after=300.0
        )
        assert pool.by("k1").hard_until == now + 300.0


@pytest.mark.parametrize(("keys", "most"), [(3, 20), (8, 60)])
def test_keys_that_share_a_bucket_unknown_to_us_come_to_blows_ever_more_rarely(
    make_pool, make_world, ok, refuse, keys, most
):
    """One of them is served each time, and the others leave it the field: nobody waits longer."""
    shared = Quota(FakeLimits(rpm=10, tpm=100_000, window="bucket"), scale=1.0)
    refusals = []

    def judge(lease, now):
        refusal = shared.refusal(100, now)
        if refusal is None:
            shared.enter(100, now)
            return _LATENCY, ok(100)
        refusals.append(now)
        wait = float(math.ceil(refusal.wait))
        said = {"retry_after": wait, "kind": "requests", "limit": 10.0, "used": refusal.used}
        return _LATENCY, refuse(Fault.RATE_LIMIT_MINUTE, status=429, **said)

    pool = make_pool([{"untold": True, "shape": "bucket"}] * keys, windows={"acme": "bucket"})
    world = make_world(pool, judge)
    for _ in range(40):
        world.ask(0.0, 100.0, patience=Patience(max_wait=1e4, timeout=1e4))
    world.run()
    assert len(world.replies) == 40
    assert len(refusals) <= most
    assert max(at for at, _ in world.replies) <= 200.0  # thirty of them need 180 s to come in
