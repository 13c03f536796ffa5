"""Durations and instants in the forms that providers write them.

Nothing here raises: what cannot be read, is negative or is not finite is None.
Epochs and durations are seconds.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, time, timedelta
from functools import cache
from typing import Final
from zoneinfo import ZoneInfo

# A bare number from here on is an instant, not a wait: no provider makes one wait 47 years.
_EPOCH_SECONDS_FROM: Final = 1.5e9
_EPOCH_MILLIS_FROM: Final = 1.5e12
_INFINITE: Final = float("inf")

_UNITS: Final = {
    **dict.fromkeys(("d", "day", "days"), 86_400.0),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), 3_600.0),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), 60.0),
    **dict.fromkeys(("", "s", "sec", "secs", "second", "seconds"), 1.0),
    **dict.fromkeys(("ms", "msec", "msecs", "millisecond", "milliseconds"), 1e-3),
    **dict.fromkeys(("us", "µs", "microsecond", "microseconds"), 1e-6),
    **dict.fromkeys(("ns", "nanosecond", "nanoseconds"), 1e-9),
}
_MONTHS: Final = (
    "jan",
    "feb",
    "mar",
    "apr",
    "may",
    "jun",
    "jul",
    "aug",
    "sep",
    "oct",
    "nov",
    "dec",
)


@cache
def _part_pattern() -> re.Pattern[str]:
    return re.compile(r"\s*(\d{1,18}(?:\.\d{0,18})?)\s*([a-zµ]*)", re.IGNORECASE)


@cache
def _date_pattern() -> re.Pattern[str]:
    return re.compile(
        r"(?:[a-z]+,\s*)?(\d{1,2})[ -]([a-z]{3})[ -](\d{4}|\d{2})\s+"
        r"(\d{2}):(\d{2}):(\d{2})\s*(?:gmt|utc|[+-]0000)?",
        re.IGNORECASE,
    )


@cache
def _asctime_pattern() -> re.Pattern[str]:
    return re.compile(r"[a-z]{3} ([a-z]{3}) +(\d{1,2}) (\d{2}:\d{2}:\d{2}) (\d{4})", re.IGNORECASE)


def number(text: str) -> float | None:
    """A plain number that is finite and not negative."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0.0 <= value < _INFINITE else None


def milliseconds(text: str) -> float | None:
    """A plain number of milliseconds, as seconds."""
    value = number(text)
    return None if value is None else value / 1_000.0


def duration(text: str) -> float | None:
    """A wait in any written form: `1h53m56.832s`, `644ms`, `20 seconds`, `48`."""
    text = text.strip()
    total, at = 0.0, 0
    while at < len(text):
        part = _part_pattern().match(text, at)
        unit = _UNITS.get(part.group(2).lower()) if part else None
        if part is None or unit is None:
            return number(text)
        total += float(part.group(1)) * unit
        at = part.end()
    return total if text else None


def go_duration(text: str) -> float | None:
    """A wait as Go prints it (`2m59.56s`, `130ms`); other forms are read by `duration`.

    Split by hand, because it is on the path of every good reply.
    """
    hours = minutes = 0.0
    rest = text
    try:
        if rest[-2:] == "ms":
            seconds = float(rest[:-2]) / 1_000.0
        elif rest[-1:] == "s":
            if "h" in rest:
                head, rest = rest.split("h", 1)
                hours = float(head)
            if "m" in rest:
                head, rest = rest.split("m", 1)
                minutes = float(head)
            seconds = float(rest[:-1])
        else:
            return duration(text)
    except ValueError:
        return duration(text)
    if hours < 0.0 or minutes < 0.0 or seconds < 0.0:
        return None
    total = hours * 3_600.0 + minutes * 60.0 + seconds
    return total if total < _INFINITE else None


def http_date(text: str) -> float | None:
    """The epoch of an HTTP date (RFC 9110: `Wed, 21 Oct 2026 07:28:00 GMT`, and its old forms)."""
    old = _asctime_pattern().fullmatch(text.strip())
    text = f"{old[2]} {old[1]} {old[4]} {old[3]}" if old else text.strip()
    match = _date_pattern().fullmatch(text)
    if match is None or match.group(2).lower() not in _MONTHS:
        return None
    day, month, year, hour, minute, second = match.groups()
    try:
        moment = datetime(
            int(year) if len(year) == 4 else 2000 + int(year),  # RFC 850 writes two digits
            _MONTHS.index(month.lower()) + 1,
            int(day),
            int(hour),
            int(minute),
            int(second),
            tzinfo=UTC,
        )
    except ValueError:
        return None
    return moment.timestamp()


def rfc3339(text: str) -> float | None:
    """The epoch of a date and time like `2026-10-01T00:00:00Z`; without a zone it is UTC."""
    text = text.strip()
    if len(text) < len("2026-10-01T00:00"):
        return None  # a shorter form is a bare number or a date alone
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return moment.timestamp()
    except (ValueError, OverflowError):
        return None


def ahead(epoch: float | None, reference: float) -> float | None:
    """Seconds from the reference to an instant; None when it is past."""
    if epoch is None:
        return None
    seconds = epoch - reference
    return seconds if 0.0 <= seconds < _INFINITE else None


def until_rfc3339(text: str, reference: float) -> float | None:
    """Seconds until an RFC 3339 instant; None when it is past."""
    return ahead(rfc3339(text), reference)


def until(text: str, reference: float) -> float | None:
    """Seconds until what the text states: a wait, an epoch in s or ms, or a date."""
    value = number(text)
    if value is not None:
        if value >= _EPOCH_MILLIS_FROM:
            return ahead(value / 1_000.0, reference)
        return ahead(value, reference) if value >= _EPOCH_SECONDS_FROM else value
    wait = duration(text)
    if wait is not None:
        return wait
    epoch = rfc3339(text)
    return ahead(http_date(text) if epoch is None else epoch, reference)


def until_structured(text: str, reference: float) -> float | None:
    """Seconds that a structured `ratelimit` header states: `"api";r=0;t=117`."""
    del reference
    for part in text.replace(",", ";").split(";"):
        name, _, value = part.strip().partition("=")
        if name == "t":
            return number(value)
    return None


def until_midnight(zone: str, reference: float) -> float | None:
    """Seconds until the next 00:00 in a zone; days of 23 and 25 hours are counted right."""
    place = ZoneInfo(zone)
    try:
        today = datetime.fromtimestamp(reference, place).date()
        midnight = datetime.combine(today + timedelta(days=1), time(), tzinfo=place)
        return midnight.timestamp() - reference
    except (ValueError, OverflowError, OSError):
        return None
