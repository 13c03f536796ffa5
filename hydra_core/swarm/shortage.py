"""When missing capacity returns, and when waiting for it is no use any more."""

from __future__ import annotations

from dataclasses import dataclass, replace
from heapq import merge
from itertools import islice
from math import inf
from typing import TYPE_CHECKING, Final

from hydra_core.swarm.bound import earliest_starts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hydra_core.engine.capacity import GroupCapacity

PATIENCE: Final = 120.0
"""Seconds without any reply after which a swarm without a deadline stops waiting for capacity.

Two windows of a limit per minute: what is still refused then is a daily limit or an outage.
"""

FIRST_PAUSE: Final = 0.25
LONGEST_PAUSE: Final = 30.0
"""Bounds of the pause between two tries when the engine promises capacity at once, in seconds."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """How many map calls the quota allows, one being kept for the synthesis.

    `until` is when more can start, in seconds from the swarm's start.
    """

    calls: float
    until: float | None

    def changed(self, by: int) -> Allowance:
        """The allowance after a call was started (-1) or came back unserved (1)."""
        return replace(self, calls=self.calls + by)


def allowance_of(
    capacity: Sequence[GroupCapacity], *, calls: int, tokens: int, horizon: float
) -> Allowance | None:
    """What of `calls` equal calls the quota allows before `horizon`; None when all and one more.

    Without this a map that takes the last permit leaves facts that nobody can turn
    into an answer. Concurrency is left out: a lane comes back, a permit does not.
    """
    starts = merge(*(earliest_starts(group, tokens, 0.0) for group in capacity))
    first = list(islice(starts, calls + 1))
    possible = sum(start < horizon for start in first)
    if possible > calls:
        return None
    later = first[possible] if possible < len(first) else None
    return Allowance(max(1, possible - 1), later)


class Shortage:
    """What is known of missing capacity: since when, how often, and when it ends.

    `over_at` is when calls may start again, `until` when the provider's limits say
    that capacity returns; None when nobody knows.
    """

    def __init__(self, *, patience: float) -> None:
        self.over_at = 0.0
        self.until: float | None = None
        self._patience = patience
        self._rounds = 0
        self._progress_at = 0.0

    def seen(self, eta: float | None, now: float) -> None:
        """A call found no capacity; refusals of one round count once."""
        if now >= self.over_at:
            self._rounds += 1
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0**self._rounds)
        self.until = None if eta is None else now + eta
        self.over_at = inf if eta is None else now + max(eta, pause)

    def ended(self, now: float) -> None:
        """A call was served: whatever was missing is there again."""
        self.over_at, self.until = 0.0, None
        self._rounds, self._progress_at = 0, now

    def hopeless(self, now: float, close_at: float) -> bool:
        """Whether capacity comes back too late, or nothing has been served for too long."""
        if not self._rounds:
            return False
        late = self.over_at >= close_at or self.over_at - now > self._patience
        return late or now - self._progress_at > self._patience + LONGEST_PAUSE
