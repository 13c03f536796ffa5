"""Refusals without a word where calls at once are limited, and none by the minute."""

from __future__ import annotations

import random

import pytest

from hydra_core.engine.steps import Patience
from hydra_core.messages import Fault

# An answer more than a fifth late now and then, so that ends and beginnings mix.
_UNEVEN = (1.0, 0.8, 1.2, 0.9, 1.1)


def serve(make_pool, make_world, ok, refuse, *, at_once, latency, calls=48, shape="sliding"):
    """How long a server of so many places takes for a batch, and how often it refuses."""
    busy, told = [0], {"asked": 0, "refused": 0}

    def judge(_, now):
        told["asked"] += 1
        if busy[0] >= at_once:
            told["refused"] += 1
            return 0.05, refuse(Fault.RATE_LIMIT_MINUTE, status=429)
        busy[0] += 1
        took = latency * _UNEVEN[told["asked"] % len(_UNEVEN)]
        world.at(now + took, lambda: busy.__setitem__(0, busy[0] - 1))
        return took, ok()

    world = make_world(make_pool([{"untold": True}], windows={"acme": shape}), judge)
    for _ in range(calls):
        world.ask(0.0, patience=Patience(max_wait=1e5, timeout=1e5))
    world.run()
    assert len(world.replies) == calls
    return max(at for at, _ in world.replies), told["refused"]


@pytest.mark.parametrize("shape", ["sliding", "bucket"])
def test_places_are_not_taken_for_calls_a_minute(make_pool, make_world, ok, refuse, shape):
    """Two at once are not two a minute: a batch takes hardly ever a minute more than it needs.

    Where as many calls as a minute may have end between two refusals, the one looks like the other.
    """
    draw, slow = random.Random(shape), 0
    for _ in range(150):
        at_once, latency = draw.randint(1, 8), 0.3 * 33.0 ** draw.random()
        given_by = {"at_once": at_once, "latency": latency, "shape": shape}
        seconds, refused = serve(make_pool, make_world, ok, refuse, **given_by)
        slow += seconds > 3.0 * 48 * latency / at_once + 60.0
        assert refused <= 12
    assert slow <= 3


def leased(pool, now, count):
    """So many calls, each begun a second after the one before."""
    return [pool.lease(now + second) for second in range(count)]


def refused(pool, lease, now):
    """This call is refused without a word; what its group may have at once from now on."""
    pool.fail(lease, now, Fault.RATE_LIMIT_MINUTE, status=429)
    return lease.group.concurrency


def test_the_calls_under_way_are_taken_for_what_is_bearable(make_pool):
    """Three were under way and none had ended when the fourth was refused: three at once."""
    pool = make_pool([{"untold": True}])
    leases = leased(pool, 0.0, 4)
    assert refused(pool, leases[3], 4.0) == 3
    assert not pool.by("k1").group.windows
    assert pool.by("k1").hard_until == 5.0


def test_who_is_refused_within_what_was_borne_is_refused_by_the_minute(make_pool):
    """The second refusal, with fewer under way, ends the mistake."""
    pool = make_pool([{"untold": True}])
    leases = leased(pool, 0.0, 4)
    refused(pool, leases[3], 4.0)
    for lease in leases[:2]:
        pool.manager.passed(lease, 5.0)
        pool.manager.settle(lease, 5.0)
    assert refused(pool, pool.lease(6.0), 6.0) is None
    (window,) = pool.by("k1").group.windows
    assert (window.kind, window.tentative) == ("requests", True)


def test_where_many_have_ended_it_is_a_limit_by_the_minute(make_pool):
    """Ten answers within the minute and one call under way: not that one is too many."""
    pool = make_pool([{"untold": True}])
    for second in range(10):
        lease = pool.lease(float(second))
        pool.manager.passed(lease, 0.5)
        pool.manager.settle(lease, second + 0.5)
    _, last = leased(pool, 20.0, 2)
    assert refused(pool, last, 22.0) is None
    assert pool.by("k1").group.windows
