"""A provider's calendar days, on the monotonic clock: they follow the wall clock when it is set."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hydra_core.engine.fixed_window import FixedWindow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from hydra_core.engine.deployment import Deployment
    from hydra_core.engine.quota import QuotaGroup

# A clock that is corrected by less, in seconds, moves no midnight: windows have their guards.
_SLIGHT: Final = 0.5


class Midnights:
    """Monotonic seconds -> when the next day begins, on the same clock.

    `day_end` tells it in wall seconds; `offset` is how far these are ahead.
    """

    __slots__ = ("_day_end", "_offset")

    def __init__(self, day_end: Callable[[float], float], *, offset: float) -> None:
        self._day_end = day_end
        self._offset = offset

    def __call__(self, instant: float) -> float:
        """The first midnight after the instant."""
        return self._day_end(instant + self._offset) - self._offset

    def reanchor(self, offset: float) -> float:
        """The wall clock is so far ahead now; the result is by how much more than before."""
        shift = offset - self._offset
        if abs(shift) < _SLIGHT:
            return 0.0
        self._offset = offset
        return shift


def follow(
    days: Mapping[str, Midnights],
    groups: Mapping[QuotaGroup, Sequence[Deployment]],
    offset: float,
    now: float,
) -> Iterable[Deployment]:
    """Let the calendar days of providers follow the wall clock; yields whom that concerns."""
    shifts = {provider: shift for provider, d in days.items() if (shift := d.reanchor(offset))}
    return _followed(shifts, groups, now) if shifts else ()


def _followed(
    shifts: Mapping[str, float], groups: Mapping[QuotaGroup, Sequence[Deployment]], now: float
) -> Iterator[Deployment]:
    for group, deployments in groups.items():
        shift = shifts.get(deployments[0].provider, 0.0)
        for window in group.windows if shift else ():
            if isinstance(window, FixedWindow):
                window.follow(shift, now)
        if shift:
            yield from deployments
