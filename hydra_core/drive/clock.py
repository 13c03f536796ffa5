"""The engine's clock: it never runs backwards, and it runs on while the machine sleeps.

`time.monotonic` stands still during a suspend on Linux and macOS. A cooldown of an hour
would then end an hour of wakefulness later, long after the provider had forgotten it.
"""

from __future__ import annotations

import sys
import time
from functools import partial
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable


def _clock() -> Callable[[], float]:
    # On macOS, unlike on Linux, this one counts sleep; Windows' own clock always does.
    name = "CLOCK_MONOTONIC" if sys.platform == "darwin" else "CLOCK_BOOTTIME"
    number = getattr(time, name, None)
    return time.monotonic if number is None else partial(time.clock_gettime, number)


uptime: Final = _clock()
"""Seconds since some moment in the past, sleep included."""
