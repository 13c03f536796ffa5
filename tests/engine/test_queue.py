"""Who waits: the order, the claims, the watch, and the bells."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest

from hydra_core.engine.queue import Ticket, WaitingLine
from hydra_core.engine.size import Size
from hydra_core.engine.windows import NEVER
from hydra_core.messages import Fault

SIZE = Size(chars=0, messages=1, max_tokens=None, known_tokens=1.0)


def stand(line, *priorities):
    """Tickets of these priorities, joined in this order."""
    tickets = [Ticket(None, SIZE, (), priority, n) for n, priority in enumerate(priorities)]
    for ticket in tickets:
        line.join(ticket)
    return tickets


def test_the_line_is_by_priority_then_by_arrival():
    """First come, first served within a priority; a higher one stands before all others."""
    line = WaitingLine()
    a, b, c, d = stand(line, 0, 5, 0, 5)
    assert line.first(9) == [b, d, a, c]
    assert line.first(2) == [b, d]
    assert "priority 5: waiting" in repr(b)


def test_leaving_twice_is_harmless():
    """Who has left, or never stood there, removes nobody else."""
    line = WaitingLine()
    a, b = stand(line, 0, 0)
    line.leave(a)
    line.leave(a)
    assert line.first(9) == [b]
    assert len(line) == 1
    line.leave(b)
    assert not line


@pytest.mark.parametrize(
    ("standing", "newcomer", "served"),
    [((), 0, True), ((0,), 0, False), ((0,), 1, True), ((5, 0), 5, False), ((5,), -1, False)],
)
def test_only_a_higher_priority_passes_those_who_wait(make_pool, standing, newcomer, served):
    """A slot that comes free goes to a newcomer only if nobody of its rank or above waits."""
    pool = make_pool([{"concurrency": 1}])
    manager, busy = pool.manager, pool.lease(1.0)
    for priority in standing:
        manager.join(pool.route(), SIZE, (), priority, 2.0)
    came = manager.join(pool.route(), SIZE, (), newcomer, 3.0)
    manager.settle(busy, 4.0)
    assert (came.lease is not None) is served


def test_waiters_are_served_first_come_first_served(make_pool, make_world, ok):
    """Twenty callers of one slot start in the order in which they came."""
    world = make_world(make_pool([{"concurrency": 1}]), lambda *_: (1.0, ok()))
    for place in range(20):
        world.ask(1.0 + place / 100)
    world.run()
    ends = [world.ended[journey][0] for journey in world.begun]
    assert ends == [pytest.approx(2.0 + place) for place in range(20)]


def test_a_higher_priority_is_served_before_those_who_wait(make_pool, make_world, ok):
    """It passes all of a lower one, and none of its own."""
    world = make_world(make_pool([{"concurrency": 1}]), lambda *_: (1.0, ok()))
    for place, priority in enumerate((0, 0, 0, 9, 9)):
        world.ask(1.0 + place / 100, priority=priority)
    world.run()
    served = sorted(world.begun, key=lambda journey: world.ended[journey][0])
    assert [world.begun.index(journey) for journey in served] == [0, 3, 4, 1, 2]


def test_a_large_request_is_not_starved_by_small_ones(make_pool, make_world, ok):
    """Small ones that would always fit wait behind the large one that claims the only group."""
    world = make_world(make_pool([{"tpm": 1000}]), lambda lease, _: (0.1, ok(lease.tokens)))
    for second in range(100):
        world.ask(float(second), 50.0, max_wait=600.0, deadline=600.0)
    world.ask(10.5, 900.0, max_wait=600.0, deadline=600.0)
    world.run()
    large = next(at for at, lease in world.sent if lease.tokens == 900.0)
    assert large < 75.0
    assert len(world.replies) == 101


def test_small_requests_pass_a_large_one_in_groups_it_does_not_claim(make_pool, make_world, ok):
    """A large one waits for the larger key; the smaller key goes on serving others."""
    pool = make_pool([{"tpm": 1000}, {"tpm": 300, "models": ["m"]}])
    world = make_world(pool, lambda lease, _: (0.1, ok(lease.tokens)))
    world.ask(1.0, 800.0)
    world.ask(2.0, 900.0, max_wait=100.0)
    world.ask(3.0, 100.0)
    world.run()
    assert [(at, lease.tokens) for at, lease in world.sent[:2]] == [(1.0, 800.0), (3.0, 100.0)]
    assert len(world.replies) == 3


def test_those_with_nothing_left_to_claim_hold_up_nobody(make_pool, make_world, ok):
    """Two long prompts wait for the one large window; a short one goes to the other model."""
    pool = make_pool(
        [{"models": ["a"], "tpm": 1000}, {"provider": "q", "models": ["b"]}],
        facts={"b": {"context_window": 500}},
        aliases={"x": ["a", "b"]},
    )
    world = make_world(pool, lambda lease, _: (0.5, ok(lease.tokens)))
    for when, tokens in ((1.0, 900.0), (2.0, 900.0), (2.1, 900.0), (3.0, 100.0)):
        world.ask(when, tokens, model="x", max_wait=200.0, deadline=300.0)
    world.run()
    short = next(at for at, lease in world.sent if lease.tokens == 100.0)
    assert short == 3.0
    assert len(world.replies) == 4
    assert world.steps < 100


@pytest.mark.parametrize("behind", [1, 40])
def test_nobody_polls_behind_a_claim(make_pool, make_world, ok, behind):
    """Who would fit now but waits its turn sleeps until a bell, not a millisecond."""
    world = make_world(make_pool([{"tpm": 1000}]), lambda lease, _: (0.5, ok(lease.tokens)))
    world.ask(1.0, 600.0)
    world.ask(2.0, 900.0, max_wait=200.0, deadline=400.0)
    for _ in range(behind):
        world.ask(3.0, 10.0, max_wait=200.0, deadline=400.0)
    world.run()
    assert len(world.replies) == behind + 2
    assert world.steps < 40 * (behind + 2)


def test_a_leavers_grant_goes_to_the_next(make_pool):
    """A lease that was granted and not claimed is given back, and serves who waits behind."""
    pool = make_pool([{"rpm": 2, "concurrency": 1}])
    manager, size = pool.manager, pool.lease(0.0).size
    busy = pool.deployments[0]
    first = manager.join(pool.route(), size, (), 0, 1.0)
    second = manager.join(pool.route(), size, (), 0, 1.0)
    busy.group.concurrency = 2
    manager.serve(2.0)
    assert first.lease is not None
    assert second.lease is None
    manager.leave(first, 3.0)
    assert second.lease is not None
    assert first.lease is None
    assert [ticket for ticket in manager.take_rung() if ticket is second] == [second]
    assert busy.group.windows[0].used(3.0) == 2.0
    manager.leave(first, 3.0)
    assert busy.group.in_flight == 2


def test_somebody_is_awake_for_the_next_start(make_pool):
    """When the next start moves ahead of all alarm clocks, the one whose start it is is rung."""
    rows = [{"models": ["a"], "rpm": 1}, {"models": ["b"], "rpm": 1}]
    pool = make_pool(rows, aliases={"x": ["a", "b"]})
    manager, route = pool.manager, pool.route(model="x")
    a, b = pool.by("k1", "a"), pool.by("k2", "b")
    held = [pool.lease(now, avoid=[other], model="x") for now, other in ((0.0, b), (20.0, a))]
    for_a = manager.join(route, held[0].size, (b,), 0, 21.0)
    for_b = manager.join(route, held[0].size, (a,), 0, 21.0)
    guard = a.group.windows[0]._guard
    assert (for_a.start, for_b.start) == (60.0 + guard, 80.0 + guard)
    for_a.parked_until, for_b.parked_until = for_a.start, for_b.start
    manager.take_rung()
    b.own_rest.cool(50.0, Fault.OVERLOADED)
    manager._refresh(b.own_rest)
    manager.settle(held[1], 22.0, requests=0.0)
    assert for_b.start == 50.0
    assert manager.take_rung() == [for_b]
    manager.serve(23.0)
    assert manager.take_rung() == []


def test_a_leaving_watcher_hands_the_watch_over(make_pool, make_world, ok):
    """The one who would have woken for the next start gives up; the next is served in time."""
    world = make_world(make_pool([{"rpm": 1}]), lambda *_: (0.1, ok()))
    for when in (1.0, 2.0, 2.0):
        world.ask(when, max_wait=100.0)
    world.cancel(59.0, 1)
    world.run()
    assert [at for at, _ in world.sent] == [1.0, pytest.approx(61.1, abs=0.2)]
    assert len(world.replies) == 2


def test_two_thousand_waiters_wake_one_by_one(make_pool, make_world, ok):
    """When 100 keys come free at one instant, as many are rung as can start, and no herd."""
    pool = make_pool([{"rpm": 10} for _ in range(100)])
    world = make_world(pool, lambda *_: (0.5, ok()))
    for _ in range(3000):
        world.ask(1.0, max_wait=300.0, deadline=400.0)
    world.run(1.0)
    assert len(world.sent) == 1000
    before = world.steps
    # All are answered after half a second, which proves their date.
    opens = 61.0 + min(0.5, pool.by("k1").group.windows[0]._guard)
    world.run(opens - 0.05)
    assert world.steps - before < 1000 + 2000 * 14  # each looks once in five seconds
    before = world.steps
    world.run(opens + 0.05)
    started = len(world.sent) - 1000
    assert started == 1000
    assert world.steps - before < 1.1 * started
    world.run()
    assert len(world.replies) == 3000


def test_served_and_gone_leave_nothing_behind(make_pool, make_world, ok):
    """After the last answer nobody waits, nothing is in flight, nothing is charged twice."""
    pool = make_pool([{"rpm": 30, "tpm": 900, "concurrency": 2} for _ in range(3)])
    world = make_world(pool, lambda lease, now: (0.2 + now % 0.3, ok(lease.tokens)))
    for place in range(120):
        world.ask(place / 10, 10.0 + place % 20, max_wait=300.0, deadline=500.0)
    for place in range(0, 120, 7):
        world.cancel(20.0, place)
    world.run()
    assert not pool.manager.room
    assert all(group.in_flight == 0 for group in pool.groups.values())
    assert len(world.replies) + len(world.errors) >= 120 - 18
    assert world.errors == []


def test_starts_are_never_closer_than_the_limits_allow(make_pool, make_world, ok):
    """A recount of what was sent finds no minute with more than the limit, for any key."""
    pool = make_pool([{"rpm": 5}, {"rpm": 3}])
    world = make_world(pool, lambda *_: (0.3, ok()))
    for place in range(60):
        world.ask(place / 5, max_wait=900.0, deadline=900.0)
    world.run()
    per_key = Counter(lease.deployment.key for _, lease in world.sent)
    assert sum(per_key.values()) == 60
    for key, limit in (("k1", 5), ("k2", 3)):
        starts = [at for at, lease in world.sent if lease.deployment.key == key]
        assert all(b - a >= 60.0 for a, b in zip(starts, starts[limit:], strict=False))
        assert all(a <= b for a, b in pairwise(starts))


def test_a_ticket_that_nothing_can_serve_has_no_start(make_pool):
    """Its start is never, and it keeps nobody else from being looked at."""
    pool = make_pool([{"rpm": 1}])
    size = pool.lease(1.0).size
    hopeless = pool.manager.join(pool.route(), size, (pool.by("k1"),), 0, 2.0)
    waiting = pool.manager.join(pool.route(), size, (), 0, 2.0)
    assert hopeless.start == NEVER
    assert waiting.start == 61.0 + pool.by("k1").group.windows[0]._guard
