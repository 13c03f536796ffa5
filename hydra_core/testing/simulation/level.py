"""A bucket as its callers may count it at worst."""

from __future__ import annotations


class Level:
    """The least that a careful caller may believe to be in a bucket. Times are seconds.

    `limit` permits come back evenly within `length`. Of what was booked nothing is ever
    put back, since a bucket that was full meanwhile takes nothing back; what the provider
    says to be left is believed where it is less.
    """

    __slots__ = ("_at", "_left", "_limit", "_rate")

    def __init__(self, limit: float, length: float) -> None:
        self._limit = limit
        self._rate = limit / length
        self._left = limit
        self._at = 0.0

    def take(self, amount: float, now: float) -> None:
        """Book so much."""
        self._left = self._now(now) - amount
        self._at = now

    def told(self, left: float, now: float) -> None:
        """The provider says that only so much is left."""
        self._left = min(self._now(now), left)
        self._at = now

    def fits(self, need: float) -> float:
        """Since or from when so much is in it, if nobody takes more; `need` is within its limit."""
        return self._at + max(0.0, need - self._left) / self._rate

    def used(self, now: float) -> float:
        """The most that may be gone from it."""
        return self._limit - self._now(now)

    def _now(self, now: float) -> float:
        return min(self._limit, self._left + (now - self._at) * self._rate)
