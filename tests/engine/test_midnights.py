"""Days of a provider's calendar: which clock moves them, and which windows they move."""

from __future__ import annotations

from hydra_core.engine.counts import group_of, group_row, recount
from hydra_core.engine.fixed_window import FixedWindow
from hydra_core.engine.midnights import Midnights
from hydra_core.engine.quota import QuotaGroup
from hydra_core.wire import DAY, MINUTE

WALL = 1_790_000_000.0


def day_end(wall):
    """The end of a day without summer time."""
    return DAY * (wall // DAY + 1.0)


def test_a_slight_correction_moves_no_midnight_until_they_add_up():
    """Clocks are corrected all the time; it is a shift from half a second on, either way."""
    midnights = Midnights(day_end, offset=0.0)
    for offset in (0.3, -0.3, 0.4):
        assert midnights.reanchor(offset) == 0.0
        assert midnights(1.0) == DAY
    for offset, shift in ((0.6, 0.6), (-1.0, -1.6)):
        assert abs(midnights.reanchor(offset) - shift) < 1e-9
        assert midnights(1.0) == DAY - offset


def test_a_clock_that_is_set_moves_days_and_nothing_else(make_pool):
    """Of a provider with calendar days, limits by the minute run on as they did."""
    midnights = Midnights(day_end, offset=0.0)
    pool = make_pool([{"rpm": 5}], days={"acme": midnights})
    group = pool.deployments[0].group
    minute = FixedWindow("tokens", 100.0, MINUTE, resets_at=40.0)
    day = FixedWindow("requests", 9.0, DAY, resets_at=DAY, next_reset=midnights)
    group.windows += [minute, day]
    pool.lease(1.0)
    pool.manager.reanchor(3600.0, 10.0)
    assert (minute.resets_at, day.resets_at) == (40.0, DAY - 3600.0)
    assert [window.used(11.0) for window in group.windows] == [1.0, 1.0, 1.0]


def test_a_learned_minute_does_not_become_a_day():
    """What is remembered of a provider with calendar days keeps its own length."""
    group, heir = QuotaGroup("a", []), QuotaGroup("a", [])
    group.windows.append(
        FixedWindow("requests", 10.0, MINUTE, resets_at=40.0, configured=False)
    )
    known = group_of(group_row(group, 0.0, WALL), WALL, WALL)
    recount(heir, [known], 1.0, 5.0, day_end=lambda now: day_end(now))
    assert heir.window("requests", MINUTE).resets_at == 45.0
