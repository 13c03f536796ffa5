"""Limits that nobody configured: learned from what replies say of them.

The provider's word on its limits beats our estimate. A configured limit is a
ceiling that a larger stated one does not lift, because its owner may share it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hydra_core.engine.fixed_window import FixedWindow
from hydra_core.engine.windows import Bucket, SlidingWindow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hydra_core.engine.quota import QuotaGroup
    from hydra_core.engine.windows import Window
    from hydra_core.wire import LimitReading


def observe(
    group: QuotaGroup, readings: Sequence[LimitReading], *, shape: str, scale: float, now: float
) -> None:
    """Correct a group's limits and counts by one reply's readings.

    `shape` is the provider's kind of window; `scale` shortens the stated lengths.
    """
    for reading in readings:
        length = reading.window * scale
        window = group.window(reading.kind, length)
        if window is None:
            if not reading.limit:
                continue
            window = _learned(reading, shape, length, now)
            group.windows.append(window)
        if reading.limit and (reading.limit < window.limit or not window.configured):
            window.limit = reading.limit
        if reading.remaining is not None:
            # Of a larger limit than ours, only what falls short of ours concerns us.
            window.observe(window.limit - reading.remaining, reading.reset, now)


def _learned(reading: LimitReading, shape: str, length: float, now: float) -> Window:
    limit = reading.limit or 0.0
    if shape == "bucket":
        return Bucket(reading.kind, limit, length, configured=False)
    if shape == "fixed" and reading.reset is not None:
        resets_at = now + reading.reset
        return FixedWindow(reading.kind, limit, length, resets_at=resets_at, configured=False)
    return SlidingWindow(reading.kind, limit, length, configured=False)
