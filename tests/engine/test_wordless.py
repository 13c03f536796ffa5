"""A refusal that states no wait: how long to rest, by what the calls before it show."""

from __future__ import annotations

import pytest

from hydra_core.messages import Fault

UNTOLD = {"untold": True}


def wordless(pool, now):
    """One more call is refused, and nothing is said of why or for how long."""
    lease = pool.lease(now)
    pool.fail(lease, now, Fault.RATE_LIMIT_MINUTE, status=429)
    return pool.by("k1").hard_until


def served(pool, moments):
    """A call at each of these moments, answered a tenth of a second later."""
    for moment in moments:
        lease = pool.lease(moment)
        pool.manager.passed(lease, 0.1)
        pool.manager.settle(lease, moment + 0.1)


def test_a_rolling_window_has_room_when_its_oldest_call_leaves_it(make_pool):
    """Ten calls in ten seconds fill a window of ten: the first leaves a minute after it came."""
    pool = make_pool([UNTOLD], windows={"acme": "sliding"})
    served(pool, range(10))
    assert wordless(pool, 20.0) == pytest.approx(60.1, abs=0.01)


def test_a_bucket_has_room_when_as_much_came_in_as_was_asked(make_pool):
    """Ten calls at once empty a small bucket, but it needs no minute to gain one more."""
    pool = make_pool([UNTOLD], windows={"acme": "bucket"})
    served(pool, [n * 0.3 for n in range(10)])
    until = wordless(pool, 3.0)
    (limit,) = (w.limit for w in pool.by("k1").group.windows)
    assert 3.0 + 60.0 / limit <= until <= 3.0 + 3.0 * 60.0 / limit


def test_each_further_refusal_in_a_row_doubles_the_rest(make_pool):
    """What was supposed may be wrong; up to a minute, after which any minute's limit is whole."""
    pool = make_pool([UNTOLD], windows={"acme": "bucket"})
    served(pool, [n * 0.3 for n in range(30)])
    rests, now = [], 9.0
    for _ in range(6):
        until = wordless(pool, now)
        rests.append(until - now)
        now = until
    assert rests[1] < 20.0
    assert rests[2] == pytest.approx(2.0 * rests[1])
    assert rests[3:] == [60.0] * 3


def test_a_refusal_that_nothing_explains_rests_for_a_minute(make_pool):
    """Who never sent anything cannot have spent it: others did, and nobody knows when."""
    pool = make_pool([UNTOLD], windows={"acme": "bucket"})
    assert wordless(pool, 5.0) == 65.0
