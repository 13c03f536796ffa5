"""Durations and instants are read in every form that providers write."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from hydra_core.dialects import times

NOON = datetime(2026, 10, 1, 12, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1h53m56.832s", 6_836.832),
        ("9m38.016s", 578.016),
        ("2m59.56s", 179.56),
        ("6m0s", 360.0),
        ("644ms", 0.644),
        ("130ms", 0.13),
        ("17.399999999s", 17.399999999),
        ("48s", 48.0),
        ("0s", 0.0),
        ("114h18m0s", 411_480.0),
        ("20 seconds", 20.0),
        ("1 second", 1.0),
        ("2 minutes 30 seconds", 150.0),
        ("33011.382867", 33_011.382867),
        ("1d2h", 93_600.0),
        ("250µs", 0.00025),
        ("15m17.136s", 917.136),
    ],
)
def test_durations_in_every_form(text, seconds):
    """Both readers of durations agree on every written form."""
    assert times.duration(text) == pytest.approx(seconds)
    assert times.go_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text", ["", "-1", "-5s", "nan", "inf", "abc", "soon", "3 parsecs", "1e999", "s", "h5m", "12,5"]
)
def test_what_is_no_duration_is_none(text):
    """Negative, infinite and unreadable durations are not stated at all."""
    assert times.duration(text) is None
    assert times.go_duration(text) is None
    assert times.until(text, NOON) is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30", 30.0),
        ("1000000000", 1e9),  # absurd, but a wait: the reader does not clamp
        (str(NOON + 90), 90.0),
        (str(int((NOON + 90) * 1000)), 90.0),
        ("2026-10-01T12:00:05Z", 5.0),
        ("2026-10-01T14:00:05+02:00", 5.0),
        ("Thu, 01 Oct 2026 12:01:00 GMT", 60.0),
        ("Thursday, 01-Oct-26 12:01:00 GMT", 60.0),
        ("Thu Oct  1 12:01:00 2026", 60.0),
        ("Thu, 01 Oct 2026 11:59:59 GMT", None),
        ("2026-10-01T11:59:59.5Z", None),
        (str(NOON - 1), None),
        ("Thu, 32 Oct 2026 12:00:00 GMT", None),
        ("Thu, 01 Foo 2026 12:00:00 GMT", None),
    ],
)
def test_instants_count_from_the_reply(text, seconds):
    """An instant is a wait from the reply's own time; one that is past is none."""
    assert times.until(text, NOON) == (None if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize(
    ("start", "hours"),
    [
        ("2026-03-08T08:00:00+00:00", 23),  # 00:00 PST on the day that loses an hour
        ("2026-11-01T07:00:00+00:00", 25),  # 00:00 PDT on the day that gains one
        ("2026-06-01T07:00:00+00:00", 24),
    ],
)
def test_midnight_knows_long_and_short_days(start, hours):
    """The next midnight in Los Angeles is 23 or 25 hours away when the clocks change."""
    epoch = datetime.fromisoformat(start).timestamp()
    assert times.until_midnight("America/Los_Angeles", epoch) == hours * 3600


@pytest.mark.parametrize("reference", [1e30, -1e30, float("nan"), float("inf")])
def test_an_impossible_clock_has_no_midnight(reference):
    """A reference outside the calendar gives no wait instead of an exception."""
    assert times.until_midnight("UTC", reference) is None


def test_the_structured_ratelimit_header():
    """The seconds of Hugging Face's `ratelimit` header are those after `t=`."""
    assert times.until_structured('"api";r=0;t=117', 0.0) == 117.0
    assert times.until_structured('"api";r=0', 0.0) is None
