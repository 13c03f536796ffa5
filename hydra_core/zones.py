"""What a zone's clock shows: local times as instants, on days of 23 and 25 hours too.

One rule for both odd days: a local time begins at the first instant at which the zone's
clock shows it or has passed it. So a time that a day skips begins where the clock
jumps, and one that a day has twice begins the first time.

Instants are seconds since 1970; a zone of None is the machine's own.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

_RESOLUTION: Final = 0.001


def local_day(wall: float, zone: ZoneInfo | None) -> date:
    """The day that the zone's calendar shows at an instant."""
    return _clock(wall, zone).date()


def instant(day: date, minutes: int, zone: ZoneInfo | None) -> float:
    """When the zone's clock first shows `minutes` after midnight of a day, or has passed it."""
    shown = datetime.combine(day, datetime.min.time()) + timedelta(minutes=minutes)
    found = shown.replace(tzinfo=zone).timestamp()
    if _clock(found, zone) == shown:
        return found
    # The clock skips this time. Read with the offset from before the jump it lies after the
    # jump, and read with the later offset before it; between the two is the jump itself.
    before, after = shown.replace(tzinfo=zone, fold=1).timestamp(), found
    while after - before > _RESOLUTION:
        middle = (before + after) / 2.0
        if _clock(middle, zone) < shown:
            before = middle
        else:
            after = middle
    return float(round(after))


def next_midnight(wall: float, zone: ZoneInfo | None) -> float:
    """The instant, later than `wall`, at which the zone's next day begins."""
    return instant(local_day(wall, zone) + timedelta(days=1), 0, zone)


def _clock(wall: float, zone: ZoneInfo | None) -> datetime:
    """What the zone's clock shows, without its zone."""
    return datetime.fromtimestamp(wall, zone).replace(tzinfo=None, fold=0)
