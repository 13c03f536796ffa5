"""Before a call gives up: what our own caution holds back is tried all the same."""

from __future__ import annotations

from hydra_core.engine.ceiling import SlowStart
from hydra_core.engine.study import Study


def unknown_limits(make_pool):
    """One key of whose limits nobody told."""
    pool = make_pool([{}])
    group = pool.by("k1").group
    group.study, group.slow_start = Study(), SlowStart()
    return pool


def test_who_cannot_wait_is_not_refused_for_the_pace_of_a_slow_start(make_pool, make_world, ok):
    """A key of unknown limits is tried step by step, but nobody is turned away for that."""
    world = make_world(unknown_limits(make_pool), lambda *_: (5.0, ok()))
    for _ in range(3):
        world.ask(1.0, max_wait=0.0)
    world.run()
    assert world.errors == []
    assert [at for at, _ in world.sent] == [1.0, 1.0, 1.0]


def test_who_can_wait_keeps_the_pace_of_a_slow_start(make_pool, make_world, ok):
    """With patience the second call leaves a moment after the first."""
    world = make_world(unknown_limits(make_pool), lambda *_: (5.0, ok()))
    for _ in range(2):
        world.ask(1.0, max_wait=10.0)
    world.run()
    assert world.errors == []
    (first, _), (second, _) = world.sent
    assert 0.01 < second - first < 1.0
