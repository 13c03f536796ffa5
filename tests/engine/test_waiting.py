"""Who goes first when all wait: shares, claims, and an order that holds across routes."""

from __future__ import annotations

from itertools import pairwise

import pytest

from hydra_core.engine.waiting import PASSES

PATIENT = {"max_wait": 5000.0, "deadline": 5000.0}


@pytest.fixture
def slot(make_pool, make_world, ok):
    """A world of one key that takes one call at a time, each of a second."""
    world = make_world(make_pool([{"concurrency": 1}]), lambda *_: (1.0, ok()))
    world.served = []
    judge = world._judge

    def noting(lease, now):
        journey = next(j for j in world.begun if j._lease is lease)
        world.served.append(journey.request.priority)
        return judge(lease, now)

    world._judge = noting
    return world


def test_interactive_requests_go_before_a_swarm(slot):
    """Among hundreds of shards an interactive call gets the very next slot that comes back."""
    for place in range(400):
        slot.ask(1.0 + place / 1000, priority=-1, **PATIENT)
    for when in (100.5, 200.5, 300.5):
        slot.ask(when, **PATIENT)
    slot.run()
    ends = [slot.ended[journey][0] for journey in slot.begun if journey.request.priority == 0]
    assert ends == [pytest.approx(when) for when in (102.0, 202.0, 302.0)]


def test_a_swarm_keeps_its_share_of_an_interactive_flood(slot):
    """However many interactive calls wait, every fifth grant is a shard's, and no more."""
    for place in range(200):
        slot.ask(1.0 + place / 1000, **PATIENT)
        slot.ask(1.0 + place / 1000, priority=-1, **PATIENT)
    slot.run(200.0)
    shards = [at for at, priority in enumerate(slot.served) if priority < 0]
    assert len(shards) == pytest.approx(len(slot.served) / (PASSES + 1), abs=1)
    assert {b - a for a, b in pairwise(shards)} == {PASSES + 1}


def test_an_idle_share_is_lent(slot):
    """Without shards the interactive calls have it all, and shards have all they leave."""
    for place in range(50):
        slot.ask(1.0 + place / 1000, **PATIENT)
    for place in range(50):
        slot.ask(2.0 + place / 1000, priority=-1, **PATIENT)
    slot.run()
    assert len(slot.served) == 100
    assert max(at for at, _ in slot.replies) == pytest.approx(101.0)


def test_a_large_shard_is_not_starved_by_small_calls(make_pool, make_world, ok):
    """Its turn holds a claim: small interactive calls cannot nibble away what it waits for."""
    world = make_world(make_pool([{"tpm": 1000}]), lambda lease, _: (0.1, ok(lease.tokens)))
    for tick in range(150):
        world.ask(float(tick), 50.0, **PATIENT)
    world.ask(30.0, 900.0, priority=-1, **PATIENT)
    world.run(300.0)
    starts = [at for at, lease in world.sent if lease.tokens == 50.0]
    large = next(at for at, lease in world.sent if lease.tokens == 900.0)
    assert starts[19] < 30.0 < large < 125.0
    assert len([at for at in starts if 30.0 < at < large]) == PASSES


def test_a_small_request_starts_behind_a_crowd_of_large_ones(make_pool):
    """Forty large requests wait for the only key that is large enough; the 41st uses another."""
    pool = make_pool([{"tpm": 1000}, {"tpm": 100}])
    manager, route = pool.manager, pool.route()
    large, small = (pool.lease(1.0, tokens).size for tokens in (900.0, 10.0))
    tickets = [manager.join(route, large, (), 0, 2.0) for _ in range(40)]
    came = manager.join(route, small, (), 0, 2.0)
    assert came.lease is not None
    assert came.lease.deployment.key == "k2"
    assert [ticket for ticket in tickets if ticket.lease] == []


def test_the_order_holds_across_routes_that_share_a_key(make_pool, make_world, ok):
    """Callers who name the provider, the model or nothing stand in one order."""
    world = make_world(make_pool([{"concurrency": 1}]), lambda *_: (1.0, ok()))
    names = ({}, {"provider": "acme"}, {"model": "m"}, {"provider": "acme", "model": "m"})
    for place in range(40):
        world.ask(1.0 + place / 100, **names[place * 7 % 4], **PATIENT)
    world.run()
    ends = [world.ended[journey][0] for journey in world.begun]
    assert ends == sorted(ends)
    assert len(world.replies) == 40


@pytest.mark.parametrize("names", [{}, {"provider": "acme"}])
def test_impatient_newcomers_take_nothing_that_is_claimed(make_pool, make_world, ok, names):
    """Calls that would not wait, on this route or another, do not delay who waits."""
    pool = make_pool([{"tpm": 1000, "shape": "bucket"}])
    world = make_world(pool, lambda lease, _: (0.1, ok(lease.tokens)))
    world.ask(1.0, 1000.0)
    world.ask(2.0, 900.0, **PATIENT)
    for tick in range(400):
        world.ask(3.0 + tick / 4, 20.0, max_wait=0.0, **names)
    world.run()
    large = next(at for at, lease in world.sent if lease.tokens == 900.0)
    assert large == pytest.approx(55.0, abs=1.0)


def test_an_impatient_newcomer_uses_what_nobody_claims(make_pool):
    """The key that the first waiter cannot use serves a call that would not wait."""
    pool = make_pool([{"tpm": 1000}, {"tpm": 100}])
    large = pool.lease(1.0, 900.0).size
    pool.manager.join(pool.route(), large, (), 0, 2.0)
    journey = pool.journey(2.0, 50.0, max_wait=0.0)
    step = journey.next_step(pool.manager, 2.0)
    assert step.lease.deployment.key == "k2"
