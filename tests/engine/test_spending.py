"""What others spend of a shared day: heard, added up, and never believed below one's own."""

from __future__ import annotations

import pytest

from hydra_core.engine import spending
from hydra_core.engine.allowance import Allowance
from hydra_core.engine.budget import Budget
from hydra_core.engine.steps import Park, Send
from hydra_core.wire import DAY

ENDS = {"ends": DAY}


def spender(make_pool):
    """A pool of one key with ten tokens a day, of which it has spent four."""
    budget = Budget(
        "pool", "tokens", 10.0, whose="the pool", offset=0.0, now=0.0,
        day_end=lambda wall: DAY * (wall // DAY + 1.0),
    )  # fmt: skip
    pool = make_pool([{"allowance": Allowance([budget])}])
    pool.manager.settle(pool.lease(1.0, 4.0), 1.0, tokens=4.0)
    return pool, budget


def hears(pool, used):
    """The store holds such a sum after this pool has written its own."""
    ours = spending.rows(pool.manager, 2.0, 2.0)
    spending.hear(pool.manager, ours, {"pool": {**ours["pool"], "used": used}}, 2.0)


def test_who_waits_goes_on_when_others_did_not_use_what_they_booked(make_pool):
    """A day that others had booked up has room again with the next sum that is heard."""
    pool, _ = spender(make_pool)
    hears(pool, 10.0)
    journey = pool.journey(2.0, 5.0, deadline=2 * DAY, max_wait=2 * DAY)
    assert isinstance(journey.next_step(pool.manager, 2.0), Park)
    hears(pool, 5.0)
    assert isinstance(journey.next_step(pool.manager, 2.0), Send)


def test_a_sum_that_lost_what_was_spent_gives_nothing_back(make_pool):
    """A store that was set back to an older copy does not let this process spend twice."""
    pool, budget = spender(make_pool)
    hears(pool, 1.0)
    assert budget.used(2.0) == 4.0


@pytest.mark.parametrize(
    ("stored", "own", "before", "used"),
    [
        ({**ENDS, "used": 6.0}, 4.0, {}, 10.0),
        ({**ENDS, "used": 6.0}, 4.0, {**ENDS, "own": 3.0}, 7.0),
        ({**ENDS, "used": 6.0}, 4.0, {"ends": 0.0, "own": 3.0}, 10.0),
        ({**ENDS, "used": 1.0}, 0.0, {**ENDS, "own": 3.0}, 0.0),
        ({"ends": 0.0, "used": 6.0}, 4.0, {}, 4.0),
        ({**ENDS, "used": "damaged"}, 4.0, {}, 4.0),
    ],
)
def test_a_row_is_what_is_stored_and_what_was_added_on_the_same_day(stored, own, before, used):
    """Another day's row, or a damaged one, is no part of the sum; none falls below nothing."""
    ours = {**ENDS, "used": own, "own": own}
    assert spending.merged(stored, ours, before=before)["used"] == used
