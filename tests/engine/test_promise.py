"""When those who wait will start: what is promised, and who is told at once not to wait."""

from __future__ import annotations

import pytest

from hydra_core.engine.steps import GiveUp, Park
from hydra_core.errors import PoolExhausted

PATIENT = {"max_wait": 5000.0, "deadline": 5000.0}
UNEQUAL = [
    {"rpm": rpm, "tpm": tpm} for rpm, tpm in ((30, 6000), (15, 12000), (5, 20000), (60, 3000))
]
MIXED = [100.0] * 10 + [400.0] * 7 + [1500.0] * 3


def saturate(world, count, sizes=(1.0,), **request):
    """So many callers at one instant; the promise to each who waits, by journey."""
    for place in range(count):
        world.ask(1.0, sizes[place * 7 % len(sizes)], **PATIENT, **request)
    world.run(1.0)
    room = world.pool.manager.room
    return {
        journey: room.promise(journey._ticket, world.now)
        for journey in world.begun
        if journey._lease is None
    }


def starts(world, promises):
    """When each of those who were promised something was sent."""
    begun = {}
    judge = world._judge

    def noting(lease, now):
        begun.update((j, now) for j in promises if j._lease is lease)
        return judge(lease, now)

    world._judge = noting
    world.run()
    return begun


@pytest.mark.parametrize("shape", ["sliding", "bucket", "fixed"])
@pytest.mark.parametrize(
    ("rows", "count", "sizes"),
    [
        ([{"rpm": 10}] * 3, 150, [1.0]),
        ([{"rpm": 10}] * 100, 2500, [1.0]),
        ([{"tpm": 1000}] * 3, 45, [300.0]),
        ([{"rpm": 30}, {"rpm": 10}, {"rpm": 3}], 150, [1.0]),
    ],
)
def test_the_promised_start_is_the_true_one(make_pool, make_world, ok, shape, rows, count, sizes):
    """With any number ahead, every promise holds within 15 % or a second."""
    pool = make_pool([{**row, "shape": shape} for row in rows])
    world = make_world(pool, lambda lease, _: (0.4, ok(lease.tokens)))
    promises = saturate(world, count, sizes)
    begun = starts(world, promises)
    assert len(promises) > count / 3
    for journey, promise in promises.items():
        assert promise - 1.0 == pytest.approx(begun[journey] - 1.0, rel=0.15, abs=1.0)


@pytest.mark.parametrize("shape", ["sliding", "bucket"])
def test_promises_to_mixed_sizes_on_unequal_keys_are_right_on_the_whole(
    make_pool, make_world, ok, shape
):
    """Who is small may slip through earlier; the promise to the last is the makespan."""
    pool = make_pool([{**row, "shape": shape} for row in UNEQUAL])
    world = make_world(pool, lambda lease, _: (0.4, ok(lease.tokens)))
    promises = saturate(world, 400, MIXED)
    begun = starts(world, promises)
    latest = max(promise for promise in promises.values())
    assert latest == pytest.approx(max(begun.values()), rel=0.2)
    off = sum(promises[journey] - at for journey, at in begun.items()) / len(begun)
    assert abs(off) < 0.1 * latest


@pytest.mark.parametrize("rows", [[{"rpm": 10}] * 3, UNEQUAL, [{"rpm": 30, "shape": "bucket"}]])
def test_what_is_surely_waited_is_never_too_much(make_pool, make_world, ok, rows):
    """Nobody starts before what he was surely to wait, so nobody is turned away in error.

    A second is how late a provider may date a request that it has not answered yet.
    """
    first, again = (
        make_world(make_pool(rows), lambda lease, _: (0.4, ok(lease.tokens))) for _ in range(2)
    )
    sizes = MIXED if rows is UNEQUAL else [1.0]
    begun = starts(first, saturate(first, 200, sizes))
    saturate(again, 200, sizes)
    room = again.pool.manager.room
    kept = {
        first.begun.index(journey): room.keeps(
            again.begun[first.begun.index(journey)]._ticket, at + 1.0, again.now
        )
        for journey, at in begun.items()
    }
    assert len(kept) > 100
    assert [place for place, keeps in kept.items() if not keeps] == []


def test_other_routes_on_the_same_keys_are_counted(make_pool, make_world, ok):
    """Who names a provider is promised what is left by those who name nothing before him."""
    pool = make_pool([{"rpm": 10, "shape": "bucket", "provider": name} for name in "abb"])
    world = make_world(pool, lambda *_: (0.4, ok()))
    for place in range(160):
        world.ask(1.0, **({"provider": "b"} if place % 2 else {}), **PATIENT)
    promises = saturate(world, 20, provider="b")
    last = list(promises)[-1]
    assert promises[last] == pytest.approx(starts(world, promises)[last], rel=0.15)


def test_a_swarm_delays_an_interactive_call_by_its_share_alone(make_pool, make_world, ok):
    """A thousand shards ahead are none for a call that goes before them."""
    world = make_world(make_pool([{"rpm": 60, "shape": "bucket"}]), lambda *_: (0.4, ok()))
    shards = saturate(world, 400, priority=-1)
    room, route = world.pool.manager.room, world.pool.route()
    came = room.ticket(route, next(iter(shards))._size, (), 0)
    assert room.promise(came, world.now) < world.now + 3.0
    late = room.ticket(route, next(iter(shards))._size, (), -1)
    assert room.promise(late, world.now) == pytest.approx(world.now + 340.0, rel=0.15)


def test_who_cannot_be_served_in_time_is_told_at_once(make_pool, make_world, ok):
    """Deep in the line a call ends when it comes, not at its deadline, and is told when."""
    world = make_world(make_pool([{"rpm": 10}] * 3), lambda *_: (0.4, ok()))
    saturate(world, 300)
    journey = world.pool.journey(1.0, max_wait=120.0)
    step = journey.next_step(world.pool.manager, 1.0)
    assert isinstance(step, GiveUp)
    assert isinstance(step.error, PoolExhausted)
    assert step.error.eta == pytest.approx(600.0, rel=0.15)
    patient = world.pool.journey(1.0, max_wait=700.0, deadline=900.0)
    assert isinstance(patient.next_step(world.pool.manager, 1.0), Park)


def test_a_line_with_one_patience_wastes_nobodys_time(make_pool, make_world, ok):
    """Of a crowd that would wait two minutes, two minutes' worth is served, the rest told."""
    world = make_world(make_pool([{"rpm": 10}] * 5), lambda *_: (0.4, ok()))
    for _ in range(500):
        world.ask(1.0, max_wait=125.0, deadline=200.0)
    world.run()
    assert len(world.replies) == 150
    told = [at for at, _ in world.errors]
    assert len([at for at in told if at == 1.0]) > 0.8 * len(told)


@pytest.mark.parametrize(("most", "parked"), [(None, 9), (3, 3), (0, 0)])
def test_no_more_wait_than_may(make_pool, make_world, ok, most, parked):
    """Newcomers beyond the cap end at once with their ETA; who waits already is served."""
    world = make_world(
        make_pool([{"concurrency": 1}], max_waiting=most), lambda *_: (1.0, ok())
    )
    for place in range(10):
        world.ask(1.0 + place / 100)
    world.run(1.5)
    assert len(world.pool.manager.room) == parked
    assert {at < 1.2 for at, _ in world.errors} <= {True}
    assert all(error.eta is not None for _, error in world.errors)
    world.run()
    assert len(world.replies) == parked + 1


def test_with_no_waiting_a_free_key_still_serves(make_pool):
    """Nobody waits where `max_waiting` is 0, and whoever can start at once does."""
    pool = make_pool([{"concurrency": 1}, {"concurrency": 1}], max_waiting=0)
    steps = [pool.journey(1.0).next_step(pool.manager, 1.0) for _ in range(3)]
    assert [isinstance(step, GiveUp) for step in steps] == [False, False, True]


def test_an_empty_room_is_asked_nothing(make_pool, monkeypatch):
    """A call that is served at once pays for no promise."""
    pool = make_pool([{"rpm": 10}])
    monkeypatch.setattr(type(pool.manager.room), "promise", None)
    assert pool.journey(1.0).next_step(pool.manager, 1.0).lease is not None
