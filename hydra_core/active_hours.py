"""When a key may be used: a span of the day in a zone."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from hydra_core.zones import instant, local_day

if TYPE_CHECKING:
    from datetime import date

_FORM = re.compile(r"(\d{1,2}):(\d{2})\s*-\s*(\d{1,2}):(\d{2})(?:\s+(\S+))?")
_DAY = 24 * 60
_REMEDY = 'write it like "08:00-20:00 Europe/Madrid"'


@dataclass(frozen=True, slots=True)
class ActiveHours:
    """From `start` to `end`, minutes after midnight, in `zone` (None: the machine's own).

    A span that ends before it starts runs over midnight.
    """

    start: int
    end: int
    zone: ZoneInfo | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read "HH:MM-HH:MM [Zone]". Raises ValueError with the remedy, without the text."""
        match = _FORM.fullmatch(text.strip())
        if match is None:
            raise ValueError(f"is no span of hours; {_REMEDY}")
        hours = [int(part) for part in match.groups()[:4]]
        start, end = hours[0] * 60 + hours[1], hours[2] * 60 + hours[3]
        if max(hours[1], hours[3]) > 59 or start >= _DAY or end > _DAY or start == end:
            raise ValueError(f"names an hour that no day has, or no time at all; {_REMEDY}")
        zone = None if match[5] is None else zone_of(match[5])
        if match[5] is not None and zone is None:
            raise ValueError(f"names an unknown time zone; {_REMEDY}")
        return cls(start, end, zone)

    def span(self, wall: float) -> tuple[float, float]:
        """The span that covers an instant, else the next one: its beginning and its end.

        Instants are seconds since 1970. A span goes by the zone's own clock, so it is an
        hour shorter or longer where summer time begins or ends within it; a day on which
        the clock skips it has none.
        """
        day = local_day(wall, self.zone) - timedelta(days=1)
        opens, closes = self._of(day)
        while closes <= wall or closes <= opens:
            day += timedelta(days=1)
            opens, closes = self._of(day)
        return opens, closes

    def _of(self, day: date) -> tuple[float, float]:
        end = self.end if self.start < self.end else self.end + _DAY
        return instant(day, self.start, self.zone), instant(day, end, self.zone)


def zone_of(name: str) -> ZoneInfo | None:
    """The zone of a name such as "Europe/Madrid"; None when there is none of this name."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None
