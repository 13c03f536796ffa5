"""Windows: how a provider counts one limit; the sliding one, and what all have in common.

Law 1: `earliest` never promises a start at which the provider would still count
       enough to refuse: a charge is dated late (see `GUARD`), never early.
Law 2: `now` never runs backwards, and no method is asked about a later moment than
       `now`: looking forgets what has expired.

All times are monotonic seconds.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from itertools import takewhile
from typing import TYPE_CHECKING, ClassVar, Final, Self

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hydra_core.wire import LimitKind, WindowShape

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


def latest_of(length: float) -> float:
    """How late, in seconds, a rolling window of this length dates what is not answered yet."""
    return min(LATEST, length * _LATEST_SHARE)


class Window(ABC):
    """One limit of a group: at most `limit` units of `kind` per `length` seconds.

    `configured`: by its owner, so what the provider says does not lift it above what was
    `told` at first.
    `tentative`: it is a guess, so a request that is larger than it may be tried alone.

    Until `steady_until` it is `spent` units that count, unless a booking changes that: who
    looks at many windows need not ask those of which time alone has taken nothing away.
    """

    __slots__ = (
        "configured",
        "kind",
        "length",
        "limit",
        "spent",
        "steady_until",
        "tentative",
        "told",
    )

    shape: ClassVar[WindowShape]

    def __init__(
        self, kind: LimitKind, limit: float, length: float, *, configured: bool = True
    ) -> None:
        self.kind = kind
        self.limit = self.told = limit
        self.length = length
        self.configured = configured
        self.tentative = False
        self.spent = 0.0
        self.steady_until = -NEVER  # that is, not at all

    @property
    def ceiling(self) -> float:
        """The most that the limit may be, whatever the provider states."""
        return self.told if self.configured else NEVER

    @abstractmethod
    def used(self, now: float) -> float:
        """Units that count at `now`."""

    def room(self, now: float) -> float:
        """Units that fit at `now`."""
        return self.limit - self.used(now)

    @abstractmethod
    def earliest(self, need: float, now: float) -> float:
        """The first moment from `now` on at which `need` more units fit; `NEVER` if never."""

    @abstractmethod
    def charge(self, amount: float, now: float) -> Charge:
        """Book `amount`; the result is what `settle` takes."""

    @abstractmethod
    def settle(
        self, charge: Charge, amount: float, now: float, *, answered: bool = True
    ) -> None:
        """Correct a booking to what was really used; `now` is when the call ended.

        `answered`: by an answer of the provider, so it had arrived. A call that was given
        up may still arrive, and is dated as late as before.
        """

    @abstractmethod
    def observe(self, used: float, reset: float | None, now: float) -> None:
        """The provider says that at least `used` units are gone; never lowers our count."""

    def restate(self, limit: float, now: float) -> None:  # noqa: ARG002 - a count needs no time
        """The limit is another than was thought at `now`; what counts against it stays."""
        self.limit = limit

    @abstractmethod
    def absorb(self, other: Self, bookings: Iterable[Charge], now: float) -> None:
        """Count all that `other` counts: they prove to be one limit, the smaller of the two.

        `bookings` are those in `other` that are still to be settled: from now on here. What
        the provider said that others used may have been used through the other window, so
        of that no more is kept than makes the larger count.
        """

    @abstractmethod
    def frees(self, now: float, most: int) -> list[tuple[float, float]]:
        """The next moments (seconds from now) at which units return, and how many."""

    @abstractmethod
    def others(self, now: float) -> float:
        """Those of the used units that we did not send ourselves, but were told of."""

    def _unite(self, other: Self) -> None:
        """Both are one limit: the smaller of the two."""
        self.limit = min(self.limit, other.limit)
        self.told = min(self.ceiling, other.ceiling)
        self.configured = self.configured or other.configured


class SlidingWindow(Window):
    """Exactly the last `length` seconds count.

    Also right, if cautious, for fixed windows whose edges are unknown: a rolling count
    under the limit is under it in every window.
    """

    __slots__ = ("_charges", "_guard")

    shape = "sliding"

    def __init__(
        self, kind: LimitKind, limit: float, length: float, *, configured: bool = True
    ) -> None:
        super().__init__(kind, limit, length, configured=configured)
        self._guard = latest_of(length)
        self._charges: deque[Charge] = deque()  # steady until the first of them expires

    def used(self, now: float) -> float:
        """Units that count at `now`."""
        if now < self.steady_until:
            return self.spent
        charges, length = self._charges, self.length
        while charges and charges[0][DATE] + length <= now:  # as `earliest` adds, to the last bit
            gone = charges.popleft()
            gone[LIVE] = 0.0
            self.spent -= gone[AMOUNT]
        if charges:
            self.steady_until = charges[0][DATE] + length
        else:
            self.steady_until = NEVER
            self.spent = 0.0  # sheds the rounding of a day of additions
        return self.spent

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
        date = now + self._guard
        charge = [date, amount, OURS]
        self._charges.append(charge)
        self.spent += amount
        if date + self.length < self.steady_until:
            self.steady_until = date + self.length
        return charge

    def settle(
        self, charge: Charge, amount: float, now: float, *, answered: bool = True
    ) -> None:
        """Correct a booking. What was answered arrived by `now`, so it is dated no later."""
        if charge[LIVE]:
            self.spent += amount - charge[AMOUNT]
            charge[AMOUNT] = amount
            if answered and now < charge[DATE]:
                charge[DATE] = now
                if now + self.length < self.steady_until:
                    self.steady_until = now + self.length

    def observe(self, used: float, reset: float | None, now: float) -> None:
        """Book what others used. It returns after `reset` seconds, at the latest a window."""
        missing = min(used, self.limit) - self.used(now)
        if missing <= 0.0:
            return
        date = now if reset is None else min(now, now + reset - self.length)
        # In its place among the dates: behind a later one it would count until that expires.
        earlier = sum(1 for _ in takewhile(lambda charge: charge[DATE] < date, self._charges))
        self._charges.insert(earlier, [date, missing, OTHERS])
        self.spent += missing
        self.steady_until = min(self.steady_until, date + self.length)

    def absorb(self, other: Self, bookings: Iterable[Charge], now: float) -> None:  # noqa: ARG002 -
        # a booking is the same object in both
        """Count all that `other` counts, each booking with its own date."""
        mine, theirs = self.used(now), other.used(now)
        fuller = self._charges if mine >= theirs else other._charges
        charges = [c for c in (*self._charges, *other._charges) if c[LIVE] == OURS]
        self.spent = sum(charge[AMOUNT] for charge in charges)
        for charge in reversed(fuller):  # of what others used, the latest is kept
            unseen = max(mine, theirs) - self.spent
            if charge[LIVE] == OTHERS and unseen > 0.0:
                charge[AMOUNT] = min(charge[AMOUNT], unseen)
                self.spent += charge[AMOUNT]
                charges.append(charge)
        self._charges = deque(sorted(charges))
        self.steady_until = -NEVER
        self._unite(other)

    def others(self, now: float) -> float:
        """Those of the used units that we did not send ourselves, but were told of."""
        self.used(now)
        return sum(charge[AMOUNT] for charge in self._charges if charge[LIVE] == OTHERS)

    def frees(self, now: float, most: int) -> list[tuple[float, float]]:
        """When units return, in seconds from now, and how many."""
        self.used(now)
        return [
            (max(0.0, charge[DATE] + self.length - now), charge[AMOUNT])
            for charge, _ in zip(self._charges, range(most), strict=False)
        ]
