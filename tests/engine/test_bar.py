"""A provider that refuses this place: how long it is left alone, and which errors say so."""

from __future__ import annotations

from hydra_core.engine.barred import BARRED
from hydra_core.messages import Fault


def bar(pool, now, key):
    """A call by this key is refused for the place that it came from."""
    lease = pool.lease(now, avoid=[d for d in pool.deployments if d.key != key])
    pool.fail(lease, now, Fault.UNREACHABLE, status=403, message="Country not supported.")


def error_at(pool, now):
    """What a call ends with that cannot wait."""
    return pool.journey(now, max_wait=0.0).next_step(pool.manager, now).error


def test_each_refused_probe_doubles_the_pause_and_is_not_told_again(make_pool):
    """Half a minute at first, ten minutes at most; people hear of it once."""
    pool = make_pool([{}, {}])
    rest, now, pauses = pool.deployments[0].scopes.provider, 1.0, []
    for turn in range(7):
        bar(pool, now, f"k{turn % 2 + 1}")
        until = rest.breaker.open_until
        pauses.append(until - now)
        now = until
    assert pauses == [30.0, 60.0, 120.0, 240.0, 480.0, 600.0, 600.0]
    assert [notice.kind for notice in pool.manager.accounts.notices] == ["barred"]


def test_one_provider_that_refuses_the_place_is_not_all_of_them(make_pool):
    """Where another one rests for its limit, the wait is for that, and no proxy would help."""
    pool = make_pool([{"provider": "far"}, {"provider": "near", "rpm": 1}])
    bar(pool, 1.0, "k1")
    near = pool.lease(1.0)
    pool.lease(1.0, desperate=True)  # the one that looks whether this has changed
    assert BARRED not in error_at(pool, 2.0).causes
    pool.fail(near, 3.0, Fault.UNREACHABLE, status=403)
    assert BARRED in error_at(pool, 4.0).causes


def test_who_serves_again_is_refused_no_more(make_pool):
    """After a probe that passed, a limit that is used up is told as the limit that it is."""
    pool = make_pool([{"rpm": 2}])
    bar(pool, 1.0, "k1")
    probe = pool.lease(31.0)
    pool.manager.passed(probe, 0.1)
    pool.manager.settle(probe, 31.1)
    error = error_at(pool, 32.0)
    assert BARRED not in f"{error} {error.causes}"
