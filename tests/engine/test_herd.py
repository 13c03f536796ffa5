"""Two thousand who wait: nobody is woken for nothing, nothing is sent before it returns."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from hydra_core.drive.gate import Gate, LoopBell
from hydra_core.engine.steps import Park, Send
from hydra_core.engine.waiting import WaitingRoom
from hydra_core.messages import Fault

PATIENT = {"max_wait": 3000.0, "deadline": 3000.0}
WAITERS = 2000


def test_sends_follow_the_refill_and_not_the_crowd(make_pool, make_world, ok):
    """A hundred buckets, drained one after the other: no tenth of a second sends twice its refill.

    They refill 10 requests a second together.
    """
    pool = make_pool([{"rpm": 6, "shape": "bucket"} for _ in range(100)])
    for place, deployment in enumerate(pool.deployments):
        deployment.group.windows[0].charge(6.0, place / 10)
    world = make_world(pool, lambda *_: (0.5, ok()))
    for _ in range(WAITERS):
        world.ask(10.0, **PATIENT)
    world.run(100.0)
    sent = Counter(int(at * 10) for at, _ in world.sent if at > 11.0)
    assert sum(sent.values()) == pytest.approx(10.0 * 89.0, rel=0.05)
    assert max(sent.values()) <= 2


def test_each_grant_wakes_two_at_most(make_pool, make_world, ok):
    """The one that is served, and the one that looks next; the others sleep on."""
    pool = make_pool([{"rpm": 6, "shape": "bucket"} for _ in range(100)])
    for place, deployment in enumerate(pool.deployments):
        deployment.group.windows[0].charge(6.0, place / 10)
    world = make_world(pool, lambda *_: (0.5, ok()))
    for _ in range(WAITERS):
        world.ask(10.0, **PATIENT)
    world.run(10.0)
    rings, take = [], pool.manager.take_rung

    def counted():
        rung = take()
        rings.extend(rung)
        return rung

    pool.manager.take_rung = counted
    before = len(world.sent)
    world.run(60.0)
    assert len(rings) <= 2 * (len(world.sent) - before) + 2


def test_a_breaker_is_probed_by_one_of_two_thousand(make_pool, make_world, ok, refuse):
    """When an outage may be over, one request finds out while the others wait."""
    down = {"until": 60.0}

    def judge(_, now):
        return (0.5, ok()) if now > down["until"] else (0.5, refuse(Fault.OVERLOADED))

    pool = make_pool([{"concurrency": 2} for _ in range(100)])
    world = make_world(pool, judge)
    for _ in range(WAITERS):
        world.ask(1.0, **PATIENT)
    world.run(down["until"])
    probed = Counter(round(at, 3) for at, _ in world.sent if at > 3.0)
    assert probed
    assert max(probed.values()) == 1


async def test_two_thousand_tasks_of_a_real_loop_wake_once_or_twice_each(
    make_pool, ok, monkeypatch
):
    """Each is woken to be served, at most once more to look; serving costs no look at the rest."""
    pool = make_pool([{"concurrency": 4}])
    gate, count = Gate(pool.manager), Counter()
    look = WaitingRoom._look

    def counted(self, *args):
        count["looks"] += 1
        return look(self, *args)

    async def call():
        journey = pool.journey(gate.clock(), **PATIENT)
        while isinstance(step := gate.step(journey, LoopBell), Park):
            await LoopBell.wait(step)
            count["wakes"] += 1
        assert isinstance(step, Send)
        await asyncio.sleep(0)
        gate.report(journey, ok())

    monkeypatch.setattr(WaitingRoom, "_look", counted)
    await asyncio.gather(*(call() for _ in range(WAITERS)))
    assert gate.waiting == 0
    assert count["wakes"] <= 3 * WAITERS
    assert count["looks"] <= 8 * WAITERS
