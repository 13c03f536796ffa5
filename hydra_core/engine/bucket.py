"""Buckets: limits that refill continuously, as Groq and OpenAI count them."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, Self

from hydra_core.engine.windows import AMOUNT, DATE, NEVER, OURS, Charge, Window, guard_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hydra_core.wire import LimitKind


class Bucket(Window):
    """`limit` units that refill continuously at `limit / length` a second.

    Groq and OpenAI state their waits as exactly this arithmetic:
    wait = (used + requested - limit) / (limit / length).

    A booking's date is its number. What was not used comes back only as far as the bucket
    had room for it ever since: the provider's bucket spilt the rest. `_peaks` are the
    levels just before a charge may have arrived, without those that a later and higher
    one outweighs.
    """

    __slots__ = ("_charged", "_guard", "_level", "_others", "_peaks", "_since")

    shape = "bucket"

    def __init__(
        self, kind: LimitKind, limit: float, length: float, *, configured: bool = True
    ) -> None:
        super().__init__(kind, limit, length, configured=configured)
        self._guard = guard_of(length)
        self._level = limit
        self._since = 0.0  # when `_level` was true; it may lie a guard ahead
        self._charged = 0.0  # the number of the last charge
        self._others = 0.0  # what of the missing units others took, at the last reading
        self._peaks: list[tuple[float, float]] = []

    def used(self, now: float) -> float:
        """Units missing from a full bucket."""
        if now > self._since:
            rate = self.limit / self.length
            self._level = min(self.limit, self._level + (now - self._since) * rate)
            self._since = now
        return self.limit - self._level

    def room(self, now: float) -> float:
        """What the bucket holds at `now`."""
        self.used(now)  # what came in since then
        return self._level

    def earliest(self, need: float, now: float) -> float:
        """The first moment from `now` on at which the bucket holds `need`."""
        lacking = need - self.room(now)
        if lacking <= 0.0:
            return now
        if need > self.limit:
            return NEVER
        return max(now, self._since) + lacking * self.length / self.limit

    def charge(self, amount: float, now: float) -> Charge:
        """Take `amount` out."""
        level = self.room(now)
        rate = self.limit / self.length
        arrival = now + self._guard
        peak = level + (arrival - self._since) * rate
        if peak > self.limit:
            # A bucket that is full before the request arrives there gains nothing more:
            # what ours would gain meanwhile, the provider's never had.
            self._since += (peak - self.limit) / rate
            peak = self.limit
        self._level -= amount
        self._charged += 1.0
        while self._peaks and self._peaks[-1][1] <= peak:
            self._peaks.pop()
        self._peaks.append((self._charged, peak))
        return [self._charged, amount, OURS]

    def settle(
        self,
        charge: Charge,
        amount: float,
        now: float,
        *,
        answered: bool = True,  # noqa: ARG002 - a bucket dates nothing anew
    ) -> None:
        """Put back what was not used and not spilt, or take what was used on top."""
        more = charge[AMOUNT] - amount
        charge[AMOUNT] = amount
        if more > 0.0:
            since = bisect_right(self._peaks, (charge[DATE], NEVER))
            later = self._peaks[since:]
            if later:  # else the bucket was never fuller since than it is now
                more = min(more, self.limit - max(level for _, level in later))
                self._peaks[since:] = [(number, level + more) for number, level in later]
        self._level = min(self.limit, self.room(now) + more)

    def observe(self, used: float, reset: float | None, now: float) -> None:  # noqa: ARG002 - the
        # reset of a bucket is when it is full, which its refill rate already says
        """The provider counts more than we do: believe it."""
        unseen = self.room(now) - (self.limit - used)
        if unseen > 0.0:
            self._others = min(self._others, self.limit - self._level) + unseen
            self._level -= unseen

    def restate(self, limit: float, now: float) -> None:
        """Another limit: a larger bucket lacks as much as before, a smaller one holds less."""
        grown = max(0.0, limit - self.limit)
        self._level = min(self.room(now) + grown, limit)
        self._peaks = [(number, min(level + grown, limit)) for number, level in self._peaks]
        self.limit = limit

    def absorb(self, other: Self, bookings: Iterable[Charge], now: float) -> None:
        """Count all that `other` counts, as one bucket that refills once."""
        mine, theirs = self.used(now), other.used(now)
        ours = mine - min(self._others, mine) + theirs - min(other._others, theirs)
        used = max(mine, theirs, ours)
        self._unite(other)
        self._level = self.limit - used
        self._since = max(self._since, other._since)
        self._others = used - ours
        self._peaks = [(number, min(level, self.limit)) for number, level in self._peaks]
        for booking in bookings:
            # Either of the two was fuller than the one bucket ever was: nothing was spilt.
            booking[DATE] = self._charged

    def others(self, now: float) -> float:
        """Those of the used units that we did not send ourselves, but were told of."""
        return min(self._others, self.used(now))

    def frees(self, now: float, most: int) -> list[tuple[float, float]]:  # noqa: ARG002 - one row
        """The whole bucket's return as one row: it comes back evenly until then.

        What it does not gain for as long as its level lies ahead is missing, too.
        """
        ahead = max(0.0, self._since - now) * self.limit / self.length
        missing = self.used(now) + ahead
        return [(missing * self.length / self.limit, missing)] if missing > 0.0 else []
