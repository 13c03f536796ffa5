"""How the fake provider counts: three kinds of window, and one account's quota.

Pure: `now` is an argument, in seconds since the server's start. Requests are
counted when they arrive; refused ones are not counted.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from hydra_core.wire import DAY, MINUTE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hydra_core.testing.keys import FakeLimits, LimitName, WindowKind

WINDOW_SECONDS: Final[Mapping[LimitName, float]] = {
    "rpm": MINUTE,
    "tpm": MINUTE,
    "rpd": DAY,
    "tpd": DAY,
}
COUNTS_TOKENS: Final = frozenset({"tpm", "tpd"})

# A caller who waits exactly as long as he was told must not be refused for the
# last bit of a floating-point sum.
_GRAIN = 1e-9


class Meter(Protocol):
    """One limit over one kind of window. Amounts are requests or tokens, times seconds."""

    limit: int

    def used(self, now: float) -> float:
        """What counts against the limit at `now`."""
        ...

    def wait(self, amount: float, now: float) -> float:
        """Seconds until `amount` fits: 0 if it fits now, infinity if it never can."""
        ...

    def charge(self, amount: float, now: float) -> None:
        """Count `amount` as of `now`."""
        ...

    def full_in(self, now: float) -> float:
        """Seconds until the whole limit is free again, if nothing more is charged."""
        ...


class SlidingMeter:
    """Looks back over exactly one window: an exact log of what was charged."""

    def __init__(self, limit: int, length: float) -> None:
        self.limit = limit
        self._length = length
        self._charges: deque[tuple[float, float]] = deque()
        self._total = 0.0

    def used(self, now: float) -> float:
        while self._charges and self._charges[0][0] + self._length <= now + _GRAIN:
            self._total -= self._charges.popleft()[1]
        return self._total

    def wait(self, amount: float, now: float) -> float:
        if amount > self.limit:
            return math.inf
        excess = self.used(now) + amount - self.limit
        for at, charged in self._charges:
            if excess <= 0:
                break
            excess -= charged
            if excess <= 0:
                return at + self._length - now
        return 0.0

    def charge(self, amount: float, now: float) -> None:
        self._charges.append((now, amount))
        self._total += amount

    def full_in(self, now: float) -> float:
        self.used(now)
        return self._charges[-1][0] + self._length - now if self._charges else 0.0


class BucketMeter:
    """A bucket that starts full and refills continuously, one limit per window."""

    def __init__(self, limit: int, length: float) -> None:
        self.limit = limit
        self._rate = limit / length
        self._used = 0.0
        self._at = 0.0

    def used(self, now: float) -> float:
        self._used = max(0.0, self._used - (now - self._at) * self._rate)
        self._at = now
        return self._used

    def wait(self, amount: float, now: float) -> float:
        if amount > self.limit:
            return math.inf
        excess = self.used(now) + amount - self.limit
        return excess / self._rate if excess > _GRAIN * self.limit else 0.0

    def charge(self, amount: float, now: float) -> None:
        self._used = self.used(now) + amount

    def full_in(self, now: float) -> float:
        return self.used(now) / self._rate


class FixedMeter:
    """Counts anew in every window; windows are aligned to the server's start."""

    def __init__(self, limit: int, length: float) -> None:
        self.limit = limit
        self._length = length
        self._window = 0
        self._used = 0.0

    def used(self, now: float) -> float:
        window = int((now + _GRAIN) // self._length)
        if window != self._window:
            self._window, self._used = window, 0.0
        return self._used

    def wait(self, amount: float, now: float) -> float:
        if amount > self.limit:
            return math.inf
        return self.full_in(now) if self.used(now) + amount > self.limit else 0.0

    def charge(self, amount: float, now: float) -> None:
        self._used = self.used(now) + amount

    def full_in(self, now: float) -> float:
        return (self._window + 1) * self._length - now if self.used(now) else 0.0


METERS: Final[Mapping[WindowKind, type[SlidingMeter | BucketMeter | FixedMeter]]] = {
    "sliding": SlidingMeter,
    "bucket": BucketMeter,
    "fixed": FixedMeter,
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request was not admitted: the limit, its numbers, and the true wait in seconds.

    `wait` None: nobody can know (concurrency); infinity: it can never fit.
    """

    name: LimitName
    limit: int
    used: int
    requested: int
    wait: float | None

    @property
    def never(self) -> bool:
        """The request alone is larger than the limit."""
        return self.wait == math.inf


@dataclass(frozen=True, slots=True)
class Gauge:
    """One limit as reply headers state it; `reset` is the seconds until it is whole."""

    limit: int
    remaining: int
    reset: float


class Quota:
    """What one account has used of one model."""

    def __init__(self, limits: FakeLimits, *, scale: float) -> None:
        self.limits = limits
        self.in_flight = 0
        self._meters: dict[LimitName, Meter] = {
            name: METERS[limits.window](limit, WINDOW_SECONDS[name] * scale)
            for name, limit in limits.stated().items()
            if name in WINDOW_SECONDS
        }

    def refusal(self, tokens: int, now: float) -> Refusal | None:
        """Why a request of `tokens` cannot start now, or None if it can.

        Of several limits that refuse, the one with the longest wait is named:
        whoever obeys it is not refused again for another.
        """
        found = [
            Refusal(name, meter.limit, round(meter.used(now)), amount, wait)
            for name, meter in self._meters.items()
            for amount in (tokens if name in COUNTS_TOKENS else 1,)
            if (wait := meter.wait(amount, now)) > 0
        ]
        if found:
            return max(found, key=lambda refusal: refusal.wait or 0.0)
        ceiling = self.limits.concurrency
        if ceiling is not None and self.in_flight >= ceiling:
            return Refusal("concurrency", ceiling, self.in_flight, 1, None)
        return None

    def enter(self, tokens: int, now: float) -> None:
        """Charge a request that starts now."""
        self.in_flight += 1
        for name, meter in self._meters.items():
            meter.charge(tokens if name in COUNTS_TOKENS else 1, now)

    def leave(self) -> None:
        """A request that had entered is over."""
        self.in_flight -= 1

    def gauge(self, name: LimitName, now: float) -> Gauge | None:
        """The state of one limit for the reply's headers; None if it is not limited."""
        meter = self._meters.get(name)
        if meter is None:
            return None
        remaining = max(0, math.floor(meter.limit - meter.used(now) + _GRAIN))
        return Gauge(meter.limit, remaining, meter.full_in(now))
