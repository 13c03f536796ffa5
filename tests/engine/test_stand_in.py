"""What a line is told that waits for keys with rests, budgets, little time or much use."""

from __future__ import annotations

import pytest

from hydra_core.engine.budget import Budget
from hydra_core.engine.size import Size
from hydra_core.engine.stand_in import Purse
from hydra_core.messages import Fault

NOW = 1.0
ONE = Size(chars=2, messages=1, max_tokens=None, known_tokens=1.0)


def join(pool, count, priority=0):
    """So many requests come at once; how many of them wait."""
    came = [pool.manager.join(pool.route(), ONE, (), priority, NOW) for _ in range(count)]
    return sum(ticket.lease is None for ticket in came)


def turn(pool, now=NOW, avoid=(), priority=0):
    """Seconds that one is told who comes now."""
    return pool.manager.room.turn(pool.route(), ONE, avoid, priority, now) - now


def daily(limit):
    """A budget of so many tokens a day."""
    return Budget(
        "pool", "tokens", limit, whose="the pool", offset=0.0, now=0.0,
        day_end=lambda wall: 100.0 * (wall // 100.0 + 1.0),
    )  # fmt: skip


def test_a_rest_comes_before_all_who_wait_for_its_end(make_pool):
    """Those ahead start when the key may be used again, and not while it rests."""
    pool = make_pool([{"rpm": 6, "shape": "bucket"}])
    pool.deployments[0].scopes.key.cool(NOW + 120.0, Fault.OVERLOADED)
    pool.manager.reconsider(NOW)
    assert join(pool, 12) == 12
    assert turn(pool) == pytest.approx(190.0, abs=11.0)


def test_dead_keys_have_no_part_in_a_sample(make_pool):
    """Where every second of many keys is dead, the line is served by the others."""
    pool = make_pool([{"rpm": 6, "shape": "bucket"}] * 130)
    for deployment in pool.deployments[::2]:
        deployment.scopes.key.die(Fault.AUTH, NOW)
    pool.manager.reconsider(NOW)
    waiting = join(pool, 1000)
    assert turn(pool) == pytest.approx(waiting / 65 * 10.0, rel=0.1)


def test_who_may_not_use_a_key_waits_for_another(make_pool):
    """A key that has refused this very request does not shorten its wait."""
    pool = make_pool([{"rpm": 60, "shape": "bucket"}, {"rpm": 6, "shape": "bucket"}])
    join(pool, 80)
    assert turn(pool) < 15.0 < turn(pool, avoid=pool.deployments[:1])


def test_batch_work_comes_after_the_interactive_that_go_first(make_pool):
    """Also where no other batch work waits: some of the interactive requests go before it."""
    pool = make_pool([{"rpm": 6, "shape": "bucket"}])
    waiting = join(pool, 9)
    assert turn(pool, priority=-1) == pytest.approx(10.0 * (waiting + 1), abs=2.0)


def test_uses_beyond_those_looked_at_come_back_with_the_last(make_pool):
    """Of a limit of many small uses the last ones return, too, within its period."""
    pool = make_pool([{"rpm": 1500}])
    for second in range(1500):
        pool.deployments[0].group.charge(1.0, NOW + second * 0.04)
    assert join(pool, 1200) == 1200
    assert turn(pool, NOW + 60.0) < 62.0


def test_a_wait_is_told_anew_when_the_limit_has_changed(make_pool):
    """A line that is as long as was foreseen is played again after a small part of its wait."""
    pool = make_pool([{"rpm": 60, "shape": "bucket"}])
    waiting = join(pool, 1060)
    assert turn(pool) == pytest.approx(waiting, rel=0.02)
    pool.deployments[0].group.windows[0].limit = 30.0
    assert turn(pool, NOW + 140.0) == pytest.approx(2 * waiting, rel=0.05)


def test_who_has_no_stand_in_is_told_the_wait_of_one_who_comes_alone(make_pool):
    """Of many keys only a part is played: who may use no other has at least his own wait told."""
    pool = make_pool([{"rpm": 6, "shape": "bucket"}] * 130)
    join(pool, 800)
    others = [deployment for deployment in pool.deployments if deployment.key != "k2"]
    assert turn(pool, avoid=others) == pytest.approx(10.0, abs=1.0)


def test_what_costs_nothing_is_let_through_a_budget_that_is_overdrawn():
    """As the budget itself lets it: only what would spend more waits for the next day."""
    budget = daily(10.0)
    budget.book(11.0, NOW)
    purse = Purse(budget, NOW)
    assert (purse.earliest(0.0, 5.0), purse.earliest(1.0, 5.0)) == (5.0, 100.0)


def test_an_answer_that_may_not_be_long_takes_no_more_than_it_may(make_pool):
    """Who asks for few tokens holds those behind him up for no longer than these take."""
    pool = make_pool([{"tpm": 600, "shape": "bucket"}])
    short = Size(chars=2, messages=1, max_tokens=5, known_tokens=None)
    for _ in range(400):
        pool.manager.join(pool.route(), short, (), 0, NOW)
    usual = pool.deployments[0].model.usual_tokens(short)
    assert usual < 20.0 < pool.deployments[0].model.usual_output
    line = sum(ticket.lease is None for ticket in pool.manager.room.tickets())
    assert turn(pool) == pytest.approx(line * usual / 10.0, rel=0.1)
