"""Sliding windows and buckets: how a provider counts one limit.

Law 1: `earliest` never promises a start at which the provider would still count
       enough to refuse: a charge is dated late (see `GUARD`), never early.
Law 2: `now` never runs backwards, and no method is asked about a later moment than
       `now`: looking forgets what has expired.

All times are monotonic seconds.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from typing import TYPE_CHECKING, Final, Protocol, Self

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hydra_core.wire import LimitKind

NEVER: Final = float("inf")

# How long after sending the provider may date a request that has not been answered
# yet, in seconds (but at most 5 % of the window): until it is answered we cannot know
# when it arrived. Too small, and a window's edge earns a refusal; too large, and every
# window loses that much. An answer proves the arrival and ends the doubt.
GUARD: Final = 0.25
_GUARD_SHARE: Final = 0.05

# A rolling window forgets the doubt with the answer, so it can afford more of it: a
# starved process or a slow handshake puts a request on the wire this much later, in
# seconds (but at most a quarter of the window). Only calls that take longer pay for it.
LATEST: Final = 1.0
_LATEST_SHARE: Final = 0.25

Charge = list[float]
"""One booking: [date, amount, `OURS` or `OTHERS` (whose use it is; 0 when it counts no more)]."""
DATE, AMOUNT, LIVE = 0, 1, 2
OURS, OTHERS = 1.0, 2.0


def guard_of(length: float) -> float:
    """How late, in seconds, the provider may date what we send to a window of this length."""
    return min(GUARD, length * _GUARD_SHARE)


class Window(Protocol):
    """One limit of a group: at most `limit` units of `kind` per `length` seconds.

    `tentative`: it is a guess, so a request that is larger than it may be tried alone.
    """

    kind: LimitKind
    length: float
    limit: float
    configured: bool
    tentative: bool

    def used(self, now: float) -> float:
        """Units that count at `now`."""

    def room(self, now: float) -> float:
        """Units that fit at `now`."""

    def earliest(self, need: float, now: float) -> float:
        """The first moment from `now` on at which `need` more units fit; `NEVER` if never."""

    def charge(self, amount: float, now: float) -> Charge:
        """Book `amount`; the result is what `settle` takes."""

    def settle(self, charge: Charge, amount: float, now: float) -> None:
        """Correct a booking to what was really used; `now` is when the answer came."""

    def observe(self, used: float, reset: float | None, now: float) -> None:
        """The provider says that at least `used` units are gone; never lowers our count."""

    def absorb(self, other: Self, bookings: Iterable[Charge], now: float) -> None:
        """Count all that `other` counts: they prove to be one limit, the smaller of the two.

        `bookings` are those in `other` that are still to be settled: from now on here. What
        the provider said that others used may have been used through the other window, so
        of that no more is kept than makes the larger count.
        """

    def frees(self, now: float, most: int) -> list[tuple[float, float]]:
        """The next moments (seconds from now) at which units return, and how many."""


class SlidingWindow:
    """Exactly the last `length` seconds count.

    Also right, if cautious, for fixed windows whose edges are unknown: a rolling count
    under the limit is under it in every window.
    """

    __slots__ = (
        "_charges",
        "_guard",
        "_used",
        "configured",
        "kind",
        "length",
        "limit",
        "tentative",
    )

    def __init__(
        self, kind: LimitKind, limit: float, length: float, *, configured: bool = True
    ) -> None:
        self.kind = kind
        self.limit = limit
        self.length = length
        self.configured = configured
        self.tentative = False
        self._guard = min(LATEST, length * _LATEST_SHARE)
        self._charges: deque[Charge] = deque()
        self._used = 0.0

    def used(self, now: float) -> float:
        """Units that count at `now`."""
        charges = self._charges
        horizon = now - self.length
        while charges and charges[0][DATE] <= horizon:
            gone = charges.popleft()
            gone[LIVE] = 0.0
            self._used -= gone[AMOUNT]
        if not charges:
            self._used = 0.0  # sheds the rounding of a day of additions
        return self._used

    def room(self, now: float) -> float:
        """Units that fit at `now`."""
        charges = self._charges
        if charges and charges[0][DATE] <= now - self.length:
            return self.limit - self.used(now)
        return self.limit - self._used

    def earliest(self, need: float, now: float) -> float:
        """The first moment from `now` on at which `need` more units fit."""
        excess = self.used(now) + need - self.limit
        if excess <= 0.0:
            return now
        if need > self.limit:
            return NEVER
        latest = -NEVER
        for charge in self._charges:
            latest = max(latest, charge[DATE])
            excess -= charge[AMOUNT]
            if excess <= 0.0:
                break
        # The last one, too, when only the rounding of many additions is in excess.
        return latest + self.length

    def charge(self, amount: float, now: float) -> Charge:
        """Book `amount` as late as the provider may date it."""
        charge = [now + self._guard, amount, 1.0]
        self._charges.append(charge)
        self._used += amount
        return charge

    def settle(self, charge: Charge, amount: float, now: float) -> None:
        """Correct a booking. It arrived by `now`, so it is dated no later."""
        if charge[LIVE]:
            self._used += amount - charge[AMOUNT]
            charge[AMOUNT] = amount
            charge[DATE] = min(charge[DATE], now)

    def observe(self, used: float, reset: float | None, now: float) -> None:
        """Book what others used. It returns after `reset` seconds, at the latest a window."""
        missing = min(used, self.limit) - self.used(now)
        if missing <= 0.0:
            return
        date = now if reset is None else min(now, now + reset - self.length)
        charge = [date, missing, OTHERS]
        if self._charges and self._charges[0][DATE] >= date:
            self._charges.appendleft(charge)
        else:
            self._charges.append(charge)
        self._used += missing

    def absorb(self, other: Self, bookings: Iterable[Charge], now: float) -> None:  # noqa: ARG002 -
        # a booking is the same object in both
        """Count all that `other` counts, each booking with its own date."""
        mine, theirs = self.used(now), other.used(now)
        fuller = self._charges if mine >= theirs else other._charges
        charges = [c for c in (*self._charges, *other._charges) if c[LIVE] == OURS]
        self._used = sum(charge[AMOUNT] for charge in charges)
        for charge in reversed(fuller):  # of what others used, the latest is kept
            unseen = max(mine, theirs) - self._used
            if charge[LIVE] == OTHERS and unseen > 0.0:
                charge[AMOUNT] = min(charge[AMOUNT], unseen)
                self._used += charge[AMOUNT]
                charges.append(charge)
        self._charges = deque(sorted(charges))
        self.limit = min(self.limit, other.limit)
        self.configured = self.configured or other.configured

    def frees(self, now: float, most: int) -> list[tuple[float, float]]:
        """When units return, in seconds from now, and how many."""
        self.used(now)
        return [
            (max(0.0, charge[DATE] + self.length - now), charge[AMOUNT])
            for charge, _ in zip(self._charges, range(most), strict=False)
        ]


class Bucket:
    """`limit` units that refill continuously at `limit / length` a second.

    Groq and OpenAI state their waits as exactly this arithmetic:
    wait = (used + requested - limit) / (limit / length).

    A booking's date is its number. What was not used comes back only as far as the bucket
    had room for it ever since: the provider's bucket spilt the rest. `_peaks` are the
    levels just before a charge, without those that a later and higher one outweighs.
    """

    __slots__ = (
        "_charged",
        "_guard",
        "_level",
        "_others",
        "_peaks",
        "_since",
        "configured",
        "kind",
        "length",
        "limit",
        "tentative",
    )

    def __init__(
        self, kind: LimitKind, limit: float, length: float, *, configured: bool = True
    ) -> None:
        self.kind = kind
        self.limit = limit
        self.length = length
        self.configured = configured
        self.tentative = False
        self._guard = guard_of(length)
        self._level = limit
        self._since = 0.0  # when `_level` was true; it may lie a guard ahead
        self._charged = 0.0  # the number of the last charge
        self._others = 0.0  # what of the missing units others took, at the last reading
        self._peaks: list[tuple[float, float]] = []

    def room(self, now: float) -> float:
        """What the bucket holds at `now`."""
        if now > self._since:
            rate = self.limit / self.length
            self._level = min(self.limit, self._level + (now - self._since) * rate)
            self._since = now
        return self._level

    def used(self, now: float) -> float:
        """Units missing from a full bucket."""
        return self.limit - self.room(now)

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
        spilt = level + (arrival - self._since) * rate - self.limit
        if spilt > 0.0:
            # A bucket that is full before the request arrives there gains nothing more:
            # what ours would gain meanwhile, the provider's never had.
            self._since += spilt / rate
        self._level -= amount
        self._charged += 1.0
        while self._peaks and self._peaks[-1][1] <= level:
            self._peaks.pop()
        self._peaks.append((self._charged, level))
        return [self._charged, amount, 1.0]

    def settle(self, charge: Charge, amount: float, now: float) -> None:
        """Put back what was not used and not spilt, or take what was used on top."""
        more = charge[AMOUNT] - amount
        charge[AMOUNT] = amount
        if more > 0.0:
            since = bisect_right(self._peaks, (charge[DATE], NEVER))
            later = self._peaks[since:]
            more = min(more, self.limit - max((level for _, level in later), default=0.0))
            self._peaks[since:] = [(number, level + more) for number, level in later]
        self._level = min(self.limit, self.room(now) + more)

    def observe(self, used: float, reset: float | None, now: float) -> None:  # noqa: ARG002 - the
        # reset of a bucket is when it is full, which its refill rate already says
        """The provider counts more than we do: believe it."""
        unseen = self.room(now) - (self.limit - used)
        if unseen > 0.0:
            self._others = min(self._others, self.limit - self._level) + unseen
            self._level -= unseen

    def absorb(self, other: Self, bookings: Iterable[Charge], now: float) -> None:
        """Count all that `other` counts, as one bucket that refills once."""
        mine, theirs = self.used(now), other.used(now)
        ours = mine - min(self._others, mine) + theirs - min(other._others, theirs)
        used = max(mine, theirs, ours)
        self.limit = min(self.limit, other.limit)
        self.configured = self.configured or other.configured
        self._level = self.limit - used
        self._since = max(self._since, other._since)
        self._others = used - ours
        self._peaks = [(number, min(level, self.limit)) for number, level in self._peaks]
        for booking in bookings:
            # Either of the two was fuller than the one bucket ever was: nothing was spilt.
            booking[DATE] = self._charged

    def frees(self, now: float, most: int) -> list[tuple[float, float]]:  # noqa: ARG002 - one row
        """The whole bucket's return as one row: it comes back evenly until then."""
        missing = self.used(now)
        return [(missing * self.length / self.limit, missing)] if missing > 0.0 else []
