"""The hours of a day in which a key may be used."""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

import pytest

from hydra_core.active_hours import ActiveHours

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
        ("08:00-20:00", "2026-03-28T20:00:00", 11 * 3600.0),  # the night that lacks an hour
        ("08:00-20:00", "2026-10-24T20:00:00", 13 * 3600.0),  # the night that has one more
    ],
)
def test_a_key_opens_on_its_zones_clock(span, moment, opens_in):
    """The wait is counted on the zone's own clock, over midnight and summer time too."""
    hours = ActiveHours.parse(f"{span} Europe/Madrid")
    assert hours.opens_in(at(moment)) == opens_in
    assert hours.is_open(at(moment)) == (opens_in == 0.0)


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
    assert hours.is_open(at("2026-11-21T12:00:00"))
