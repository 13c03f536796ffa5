"""An independent recount of what was served, from the log alone.

The provider enforces its limits with running meters; here the same limits are
checked afterwards over the whole log, so that a bug in a meter cannot hide
itself. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Final, NamedTuple

from hydra_core.testing.limits import COUNTS_TOKENS, WINDOW_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from hydra_core.testing.keys import FakeLimits, LimitName, WindowKind

# Float sums of arrival times: a call exactly one window after another is outside its window.
_EDGE = 1e-6
_INSTANT = 1e-9


class Charge(NamedTuple):
    """One admitted call. Times in seconds since the start; `ended` None: still in flight."""

    at: float
    tokens: int
    ended: float | None


@dataclass(frozen=True, slots=True)
class Recount:
    """The most that was served against one limit.

    `rolling` is the largest sum in any span of one window's length; `counted` is
    the largest count in the way the provider says it counts (`window`). Only
    `counted` may not exceed `limit`: a bucket or a fixed window lets up to twice
    the limit through in a rolling one, and that is no fault of the caller.
    """

    account: str
    model: str
    name: LimitName
    limit: int
    window: WindowKind
    counted: float
    rolling: float

    @property
    def passed(self) -> bool:
        """More was served than the limit allows."""
        return self.counted > self.limit + _EDGE


def recount(
    account: str, model: str, limits: FakeLimits, charges: Sequence[Charge], *, scale: float
) -> list[Recount]:
    """Check every stated limit of one account and model against its admitted calls."""
    ordered = sorted(charges)
    found = []
    for name, limit in limits.stated().items():
        if name not in WINDOW_SECONDS:
            peak = _at_once(ordered)
            counted = rolling = float(peak)
        else:
            amounts = [
                (charge.at, charge.tokens if name in COUNTS_TOKENS else 1) for charge in ordered
            ]
            length = WINDOW_SECONDS[name] * scale
            rolling = _rolling(amounts, length, limit)
            counted = _COUNT[limits.window](amounts, length, limit)
        found.append(Recount(account, model, name, limit, limits.window, counted, rolling))
    return found


def _rolling(amounts: Sequence[tuple[float, int]], length: float, _limit: int) -> float:
    """The largest sum over any span shorter than `length`."""
    peak = total = first = 0
    for at, amount in amounts:
        total += amount
        while at - amounts[first][0] >= length - _EDGE:
            total -= amounts[first][1]
            first += 1
        peak = max(peak, total)
    return peak


def _by_window(amounts: Sequence[tuple[float, int]], length: float, _limit: int) -> float:
    """The largest sum in one of the windows that begin at whole multiples of `length`."""
    windows = groupby(amounts, key=lambda item: (item[0] + _INSTANT) // length)
    return max((sum(amount for _, amount in group) for _, group in windows), default=0)


def _beyond_refill(amounts: Sequence[tuple[float, int]], length: float, limit: int) -> float:
    """The largest sum between any two calls, less what had been refilled between them."""
    peak = run = 0.0
    last = 0.0
    for at, amount in amounts:
        run = max(0.0, run - (at - last) * limit / length) + amount
        last = at
        peak = max(peak, run)
    return peak


def _at_once(charges: Sequence[Charge]) -> int:
    """The largest number of calls in flight; one that ends as another begins is over."""
    steps = [(charge.at, 1) for charge in charges]
    steps += [(charge.ended, -1) for charge in charges if charge.ended is not None]
    peak = level = 0
    for _, step in sorted(steps):
        level += step
        peak = max(peak, level)
    return peak


_COUNT: Final[Mapping[WindowKind, Callable[[Sequence[tuple[float, int]], float, int], float]]] = {
    "sliding": _rolling,
    "fixed": _by_window,
    "bucket": _beyond_refill,
}
