"""Time that moves only when told to: simulations of hours run in milliseconds.

Pure code takes `now` as an argument; a simulation reads it here, plans what
happens later with `call_at`, and lets `run` play the events in order of time.
Events of the same instant run in the order in which they were planned, so a run
is a function of its seed alone.
"""

from __future__ import annotations

import heapq
import itertools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class VirtualClock:
    """A clock in seconds and a single-threaded scheduler on it.

    `VirtualClock().now` fits wherever `time.monotonic` is expected. Reading the
    time is safe from any thread; planning and running belong to one.
    """

    def __init__(self, start: float = 0.0) -> None:
        self._now = start
        self._order = itertools.count()
        self._events: list[tuple[float, int, Callable[[], object]]] = []

    def now(self) -> float:
        """The present, in seconds."""
        return self._now

    def call_at(self, when: float, function: Callable[[], object]) -> None:
        """Plan `function` for the instant `when`; one in the past runs at the present."""
        heapq.heappush(self._events, (max(when, self._now), next(self._order), function))

    def call_later(self, delay: float, function: Callable[[], object]) -> None:
        """Plan `function` for `delay` seconds from now."""
        self.call_at(self._now + delay, function)

    def advance(self, seconds: float) -> None:
        """Move time on by `seconds`, playing on the way what falls due.

        Raises ValueError for a negative step: time does not run backwards here.
        """
        if seconds < 0:
            raise ValueError(f"a clock cannot be advanced by {seconds} s; pass zero or more")
        self.run(until=self._now + seconds)

    def run(self, until: float | None = None) -> float:
        """Play events in order until none is left, or none up to `until`; return the time.

        With `until` the clock stands there afterwards, even if nothing happened.
        Without it, events that plan each other for ever are played for ever.
        """
        while self._events and (until is None or self._events[0][0] <= until):
            when, _, function = heapq.heappop(self._events)
            self._now = when
            function()
        if until is not None:
            self._now = max(self._now, until)
        return self._now

    @property
    def pending(self) -> int:
        """How many events are planned and not yet played."""
        return len(self._events)

    def __repr__(self) -> str:
        return f"<VirtualClock at {self._now:g} s [{self.pending} pending]>"
