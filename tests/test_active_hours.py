"""The hours of a day in which a key may be used."""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

import pytest

from hydra_core.active_hours import ActiveHours
from hydra_core.zones import next_midnight

MADRID = ZoneInfo("Europe/Madrid")


def at(text: str) -> float:
    return dt.datetime.fromisoformat(text).replace(tzinfo=MADRID).timestamp()


@pytest.mark.parametrize(
    ("span", "moment", "opens_in"),
    [
        ("08:00-20:00", "2026-11-21T07:59:00", 60.0),
        ("08:00-20:00", "2026-11-21T08:00:00", 0.0),
        ("08:00-20:00", "2026-11-21T19:59:59", 0.0),
        ("08:00-20:00", "2026-11-21T20:00:00", 12 * 3600.0),
        ("22:00-06:00", "2026-11-21T23:00:00", 0.0),
        ("22:00-06:00", "2026-11-21T05:59:00", 0.0),
        ("22:00-06:00", "2026-11-21T06:00:00", 16 * 3600.0),
        ("00:00-24:00", "2026-11-21T12:00:00", 0.0),
        ("08:00-00:00", "2026-11-21T23:59:59", 0.0),
        ("08:00-20:00", "2026-03-28T20:00:00", 11 * 3600.0),  # the night that lacks an hour
        ("08:00-20:00", "2026-10-24T20:00:00", 13 * 3600.0),  # the night that has one more
    ],
)
def test_a_key_opens_on_its_zones_clock(span, moment, opens_in):
    """The wait is counted on the zone's own clock, over midnight and summer time too."""
    opens, closes = ActiveHours.parse(f"{span} Europe/Madrid").span(at(moment))
    assert max(0.0, opens - at(moment)) == opens_in
    assert opens < closes
    assert closes > at(moment)


@pytest.mark.parametrize(
    ("span", "day", "opens", "closes"),
    [
        # 29 March: the clock jumps from 02:00 to 03:00, at 01:00 UTC.
        ("01:00-05:00", "2026-03-29", "2026-03-29T00:00Z", "2026-03-29T03:00Z"),
        ("02:30-05:00", "2026-03-29", "2026-03-29T01:00Z", "2026-03-29T03:00Z"),
        ("22:00-02:30", "2026-03-28", "2026-03-28T21:00Z", "2026-03-29T01:00Z"),
        # Nothing of this span is left on that day: the next one counts.
        ("02:10-02:50", "2026-03-29", "2026-03-30T00:10Z", "2026-03-30T00:50Z"),
        # 25 October: the clock shows 02:00 to 03:00 twice, from 00:00 UTC on.
        ("01:00-05:00", "2026-10-25", "2026-10-24T23:00Z", "2026-10-25T04:00Z"),
        ("02:30-05:00", "2026-10-25", "2026-10-25T00:30Z", "2026-10-25T04:00Z"),
        ("00:30-02:30", "2026-10-25", "2026-10-24T22:30Z", "2026-10-25T00:30Z"),
    ],
)
def test_the_odd_days_of_the_year_have_one_rule(span, day, opens, closes):
    """A time begins when the clock first shows it or has passed it; so it ends, too."""
    found = ActiveHours.parse(f"{span} Europe/Madrid").span(at(f"{day}T00:00:00"))
    if span == "22:00-02:30":
        found = ActiveHours.parse(f"{span} Europe/Madrid").span(at(f"{day}T12:00:00"))
    assert found == tuple(dt.datetime.fromisoformat(text).timestamp() for text in (opens, closes))


def test_midnight_may_be_an_hour_that_a_day_lacks():
    """Where summer time begins at midnight, the day begins at one o'clock."""
    beirut = ZoneInfo("Asia/Beirut")
    eve = dt.datetime(2026, 3, 28, 12, tzinfo=beirut).timestamp()
    begins = dt.datetime(2026, 3, 29, 1, tzinfo=beirut).timestamp()
    assert next_midnight(eve, beirut) == begins
    assert next_midnight(begins, beirut) == begins + 23 * 3600.0


@pytest.mark.parametrize(
    "text",
    ["", "8-20", "08:00", "08:60-09:00", "24:00-25:00", "08:00-08:00", "08:00-09:00 Nowhere/X"],
)
def test_what_is_no_span_is_refused_with_the_remedy(text):
    """An error shows how to write it."""
    with pytest.raises(ValueError, match="08:00-20:00 Europe/Madrid"):
        ActiveHours.parse(text)


def test_without_a_zone_the_machines_own_counts():
    """A span without a zone follows the clock on the wall."""
    hours = ActiveHours.parse("00:00-24:00")
    assert hours.zone is None
    opens, closes = hours.span(at("2026-11-21T12:00:00"))
    assert opens <= at("2026-11-21T12:00:00") < closes
