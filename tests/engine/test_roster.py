"""Who is ready, who rests until when, and how both are kept without looking at everybody."""

from __future__ import annotations

from itertools import islice
from random import Random

import pytest

from hydra_core.engine.roster import Roster
from hydra_core.engine.windows import NEVER


@pytest.fixture
def three(make_pool):
    """Three deployments."""
    return make_pool([{}, {}, {}]).deployments


def test_a_resting_one_wakes_at_its_moment_and_stands_last(three):
    """Who rested was used longest ago no more: it stands behind those that were ready."""
    a, b, c = three
    roster = Roster(three)
    roster.rest(a, 10.0)
    roster.wake(9.9)
    assert list(roster.ready) == [b, c]
    roster.wake(10.0)
    assert list(roster.ready) == [b, c, a]


def test_a_held_one_wakes_only_when_something_changes(three):
    """No moment ends the wait for a call or for a mended key."""
    roster = Roster(three)
    roster.rest(three[0], NEVER)
    roster.wake(1e12)
    assert three[0] not in roster.ready
    assert list(roster.held) == [three[0]]
    roster.stir(three[0])
    assert three[0] in roster.ready
    assert not roster.held


def test_stirring_the_ready_changes_nothing(three):
    """Only who rests is brought back."""
    roster = Roster(three)
    roster.stir(three[0])
    assert list(roster.ready) == three


def test_another_comes_into_view_with_each_choice(make_pool):
    """Of more than a choice looks at, the chosen one stays and all others pass by in turn."""
    ready = make_pool([{} for _ in range(20)]).deployments
    roster = Roster(ready)
    seen = set(islice(roster.ready, 8))
    for _ in range(13):
        roster.served(ready[3], 8)
        assert next(iter(roster.ready)) is ready[3]
        seen |= set(islice(roster.ready, 8))
    assert seen == set(ready)


def test_an_outdated_rest_wakes_nobody(three):
    """Who was stirred and rests anew wakes at the new moment, not at the old one."""
    a = three[0]
    roster = Roster(three)
    roster.rest(a, 10.0)
    roster.stir(a)
    roster.rest(a, 30.0)
    roster.wake(20.0)
    assert a not in roster.ready
    assert list(roster.resting()) == [a]
    roster.wake(30.0)
    assert a in roster.ready


def test_the_earliest_is_the_first_of_the_resting(three):
    """The resting are met with the earliest at their head, and the held are none of them."""
    a, b, c = three
    roster = Roster(three)
    for deployment, at in ((a, 30.0), (b, 10.0), (c, NEVER)):
        roster.rest(deployment, at)
    assert next(roster.resting()) is b
    assert set(roster.resting()) == {a, b}


def test_a_long_history_takes_no_room(three):
    """Ten thousand rests and stirs leave a heap of the size of the pool, not of its past."""
    rng, roster = Random(1), Roster(three)
    for _ in range(10_000):
        deployment = rng.choice(three)
        roster.stir(deployment)
        roster.rest(deployment, 1000.0 + rng.random())
    assert len(roster._heap) < 200
    assert set(roster.resting()) <= set(three)
    roster.wake(2000.0)
    assert set(roster.ready) == set(three)
