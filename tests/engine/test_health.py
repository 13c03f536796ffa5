"""Cooldowns and breakers: how long a rest is, and what ends it."""

from __future__ import annotations

import pytest

from hydra_core.engine.health import Breaker, Rest
from hydra_core.engine.windows import NEVER
from hydra_core.messages import Fault


def test_a_longer_cooldown_stays_and_keeps_its_reason():
    """A minute's refusal that comes in late neither shortens a day's rest nor renames it."""
    rest = Rest("group")
    rest.cool(3600.0, Fault.RATE_LIMIT_DAY)
    rest.cool(60.0, Fault.RATE_LIMIT_MINUTE)
    rest.doubt(30.0, Fault.TIMEOUT)
    assert (rest.hard_until, rest.soft_until) == (3600.0, 30.0)
    assert rest.fault is Fault.RATE_LIMIT_DAY
    rest.cool(7200.0, Fault.QUOTA_EXHAUSTED_BILLING)
    assert rest.fault is Fault.QUOTA_EXHAUSTED_BILLING


def test_a_guess_doubles_with_each_fault_up_to_its_cap():
    """First, twice, four times, then the cap."""
    rest = Rest("key")
    rests = [rest.backoff(5.0, 80.0, begun=now, now=now) for now in range(1, 8)]
    assert rests == [5.0, 10.0, 20.0, 40.0, 80.0, 80.0, 80.0]


def test_calls_that_fail_together_are_one_strike():
    """What was under way before the last strike tells nothing new."""
    rest = Rest("key")
    assert [rest.backoff(5.0, 80.0, begun=1.0, now=2.0 + n) for n in range(5)] == [5.0] * 5
    assert rest.backoff(5.0, 80.0, begun=7.0, now=8.0) == 10.0


def test_a_success_ends_our_guesses_and_no_cooldown():
    """After it the next fault, even of an older call, counts as the first one again."""
    rest = Rest("key")
    rest.backoff(5.0, 80.0, begun=1.0, now=10.0)
    rest.doubt(15.0, Fault.TIMEOUT)
    rest.cool(90.0, Fault.OVERLOADED)
    rest.recover()
    assert (rest.soft_until, rest.hard_until, rest.strikes) == (0.0, 90.0, 0)
    assert rest.backoff(5.0, 80.0, begun=9.0, now=11.0) == 5.0
    assert rest.strikes == 1


def test_only_a_revival_ends_a_death():
    """No timer and no success revives a dead key; that it was refused wrongly does."""
    rest = Rest("key")
    rest.cool(NEVER, Fault.AUTH)
    rest.recover()
    assert rest.dead
    rest.revive(5.0)
    assert not rest.dead
    assert rest.fault is None
    assert rest.alive_at == 5.0


def test_what_is_heard_late_moves_no_moment_back(make_pool):
    """Of deaths and of proofs the last one counts, in whatever order they are heard of."""
    pool = make_pool([{}])
    first, second = pool.lease(1.0), pool.lease(2.0)
    for lease in (second, first):
        pool.manager.passed(lease, 5.0)
    rest = pool.deployments[0].scopes.key
    for at in (9.0, 8.0):
        rest.die(Fault.AUTH, at)
    assert (rest.alive_at, rest.died_at) == (2.0, 9.0)


@pytest.mark.parametrize(
    ("outcomes", "state"),
    [
        ("f", "closed"),
        ("ffff", "closed"),
        ("fffff", "open"),
        ("ppppfffff", "open"),
        ("pppppff", "closed"),
        ("pfpfpfpf", "closed"),
        ("f" * 4 + "p" * 30 + "ff", "closed"),
    ],
)
def test_a_breaker_opens_when_most_of_at_least_five_recent_calls_failed(outcomes, state):
    """One failure of one call is no outage, and old failures fade."""
    breaker = Breaker(Rest("m"))
    for outcome in outcomes:
        if outcome == "p":
            breaker.passed()
        else:
            breaker.failed(1.0, 1.0)
    assert breaker.state(1.0) == state


def opened(now=1.0, scale=1.0):
    """A breaker that has just opened."""
    breaker = Breaker(Rest("m"))
    assert [breaker.failed(now, scale) for _ in range(5)] == [False] * 4 + [True]
    return breaker


@pytest.mark.parametrize(
    ("now", "state"), [(1.0, "open"), (5.9, "open"), (6.0, "half-open"), (1e6, "half-open")]
)
def test_an_open_breaker_turns_half_open(now, state):
    """Five seconds after it opened, one probe may decide."""
    assert opened().state(now) == state


def test_an_open_breaker_learns_nothing_from_calls_that_were_under_way():
    """They neither prolong it nor count towards the next opening."""
    breaker = opened()
    assert not breaker.failed(3.0, 1.0)
    assert breaker.open_until == 6.0


def test_a_failed_probe_opens_it_for_twice_as_long():
    """5, 10, 20, 40, 80 s and no longer, all scaled."""
    breaker, rests = opened(now=1.0, scale=0.1), []
    for _ in range(6):
        now = breaker.open_until
        assert breaker.failed(now, 0.1)
        rests.append(round(breaker.open_until - now, 6))
    assert rests == [1.0, 2.0, 4.0, 8.0, 8.0, 8.0]


def test_a_passed_probe_closes_it_and_forgets():
    """After the close it takes five new failures to open, for five seconds again."""
    breaker = opened()
    assert breaker.passed()
    assert not breaker.passed()
    assert breaker.state(7.0) == "closed"
    for _ in range(8):
        breaker.failed(10.0, 1.0)
    assert breaker.open_until == 15.0
