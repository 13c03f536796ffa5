import pytest

from hydra_core.testing import VirtualClock


def test_time_stands_still_until_it_is_moved():
    """The clock shows what it was told, and moves by exactly what it is advanced."""
    clock = VirtualClock(start=5.0)
    clock.advance(2.5)
    assert clock.now() == 7.5


def test_events_run_in_order_of_time_at_their_own_instant():
    """Events run by time, those of one instant in the order of planning, and see their own time."""
    clock, seen = VirtualClock(), []
    for name, when in (("late", 3.0), ("first", 1.0), ("second", 1.0)):
        clock.call_at(when, lambda name=name: seen.append((name, clock.now())))
    assert clock.run() == 3.0
    assert seen == [("first", 1.0), ("second", 1.0), ("late", 3.0)]


def test_an_event_may_plan_the_next():
    """What is planned while running is played in the same run, up to its end."""
    clock, ticks = VirtualClock(), []

    def tick() -> None:
        ticks.append(clock.now())
        clock.call_later(1.0, tick)

    clock.call_at(1.0, tick)
    clock.run(until=3.5)
    assert (ticks, clock.now(), clock.pending) == ([1.0, 2.0, 3.0], 3.5, 1)


def test_advancing_plays_what_falls_due():
    """Advancing is running: an event inside the step happens, one beyond it does not."""
    clock, seen = VirtualClock(), []
    clock.call_at(1.0, lambda: seen.append("due"))
    clock.call_at(2.0, lambda: seen.append("not yet"))
    clock.advance(1.5)
    assert seen == ["due"]


def test_a_past_instant_is_the_present():
    """An event planned for the past runs now; time never goes back."""
    clock, seen = VirtualClock(start=10.0), []
    clock.call_at(1.0, lambda: seen.append(clock.now()))
    clock.run()
    assert seen == [10.0]
    with pytest.raises(ValueError, match="cannot be advanced"):
        clock.advance(-1.0)
