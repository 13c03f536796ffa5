"""How many calls go out at once where nobody said how many may."""

from __future__ import annotations

import pytest

from hydra_core.engine.ceiling import Ceiling, SlowStart
from hydra_core.engine.echo import Echo
from hydra_core.engine.learning import refused
from hydra_core.engine.lesson import Lesson
from hydra_core.messages import Fault
from hydra_core.wire import Verdict


def test_a_slow_start_lets_calls_out_one_after_another():
    """The first call goes at once, the next when it ended or a gap has passed."""
    start = SlowStart(gap=0.4)
    assert start.opens(0, 1.0) == 1.0
    start.sent(1.0)
    assert start.opens(1, 1.1) == pytest.approx(1.4, abs=0.001)
    assert start.opens(0, 1.1) == 1.1


def test_a_slow_start_quickens():
    """A key without limits is soon at full speed: 64 calls are out within seconds."""
    start, echo, now = SlowStart(), Echo(), 0.0
    echo.answered(0.05)
    for in_flight in range(64):
        now = start.opens(in_flight, now)
        start.sent(now, echo)
    assert now < 4.0
    assert start.allowed > 1


def test_any_number_of_calls_is_out_within_eighty_echoes():
    """A provider without limits is not held back for ever."""
    start, echo, now = SlowStart(), Echo(), 0.0
    echo.answered(0.05)
    for _ in range(4000):
        now = start.opens(1 << 30, now)
        start.sent(now, echo)
    assert now < 80 * 0.05


@pytest.mark.parametrize(
    ("answers", "refusals", "seconds"),
    [((), (), None), ((0.05,), (), 0.05), ((0.5, 0.3), (), 0.25), ((0.9,), (), 0.3),
     ((8.0,), (), 0.5), ((3.0,), (0.1,), 0.15), ((3.0,), (0.9, 0.1), 0.75)],
)  # fmt: skip
def test_a_refusal_is_expected_by_what_was_heard(answers, refusals, seconds):
    """No later than the quickest answer, sooner where that is slow, and as refusals came."""
    echo = Echo()
    for latency in answers:
        echo.answered(latency)
    for latency in refusals:
        echo.refused(latency)
    assert echo.seconds == (None if seconds is None else pytest.approx(seconds))


def test_a_ceiling_rises_only_in_use_and_after_a_pause():
    """One more at once is tried when all allowed were in flight and none was refused for long."""
    ceiling = Ceiling(4, 0.0, 1.0)
    assert not ceiling.served(3, 100.0)
    assert not ceiling.served(4, 5.0)
    assert ceiling.served(4, 11.0)
    assert ceiling.allowed == 5


def test_each_refusal_makes_a_ceiling_more_patient():
    """The pause before the next try doubles, so refusals become rare."""
    ceiling = Ceiling(4, 0.0, 1.0)
    ceiling.refused(3, 10.0)
    assert not ceiling.served(3, 25.0)
    assert ceiling.served(3, 31.0)


def test_a_learned_concurrency_rises_again(make_pool):
    """A moment of crowding does not cripple a key for ever."""
    pool = make_pool([{}])
    leases = [pool.lease(0.0) for _ in range(3)]
    group = pool.by("k1").group
    crowded = Verdict(fault=Fault.RATE_LIMIT_MINUTE, status=429, kind="concurrency")
    refused(leases[0], crowded, Lesson("sliding", 1.0, 0.0))
    assert group.concurrency == 2
    pool.manager.settle(leases[0], 1.0)
    pool.manager.passed(leases[1], 60.0)
    assert group.concurrency == 3


def test_a_stated_concurrency_is_never_passed(make_pool):
    """What the owner configured is a ceiling above our own."""
    pool = make_pool([{"concurrency": 2}])
    first, second = pool.lease(0.0), pool.lease(0.0)
    crowded = Verdict(fault=Fault.RATE_LIMIT_MINUTE, status=429, kind="concurrency")
    refused(first, crowded, Lesson("sliding", 1.0, 0.0))
    for moment in (100.0, 200.0, 300.0):
        pool.manager.passed(second, moment)
    assert pool.by("k1").group.concurrency == 2
