"""When a key may be used: a span of the day in a zone."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

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
        return cls(start, end, _zone(match[5]))

    def is_open(self, wall: float) -> bool:
        """True when the span covers this moment (seconds since 1970)."""
        return self._covers(datetime.fromtimestamp(wall, self.zone))

    def opens_in(self, wall: float) -> float:
        """Seconds from this moment until the span begins; 0 while it is open.

        Counted on the zone's own clock, so a day of 23 or 25 hours comes out right.
        """
        now = datetime.fromtimestamp(wall, self.zone)
        if self._covers(now):
            return 0.0
        opening = now.replace(
            hour=self.start // 60, minute=self.start % 60, second=0, microsecond=0
        )
        if opening.timestamp() <= wall:
            opening = opening + timedelta(days=1)
        return max(0.0, opening.timestamp() - wall)

    def _covers(self, at: datetime) -> bool:
        minute = at.hour * 60 + at.minute
        if self.start < self.end:
            return self.start <= minute < self.end
        return minute >= self.start or minute < self.end


def _zone(name: str | None) -> ZoneInfo | None:
    if name is None:
        return None
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        pass
    raise ValueError(f"names an unknown time zone; {_REMEDY}")
