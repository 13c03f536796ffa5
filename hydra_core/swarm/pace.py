"""How a swarm paces itself: by these rules it is planned, and by the same it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hydra_core.engine.capacity import GroupCapacity

MOST_OUTSTANDING: Final = 64
LANES_UNKNOWN: Final = 8
"""Calls kept outstanding at a group whose concurrency nobody stated."""

RESERVE_SHARE: Final = 0.2
"""Share of the deadline kept for the synthesis until call latencies are known."""

RESERVE_MOST: Final = 20.0
RESERVE_LATENCIES: Final = 1.5
"""The synthesis is given this many of the slowest map calls seen: its output is longer."""

GRACE: Final = 0.1
"""Share of the reserve that calls in flight may overrun the close of the map."""

PREPARING: Final = 0.5e-6
"""Seconds a character takes to be loaded, planned, cut and ranked before the first call."""


def outstanding(capacity: Sequence[GroupCapacity]) -> int:
    """How many calls to keep outstanding: what the groups take at once, and one in line each."""
    lanes = sum((group.concurrency or LANES_UNKNOWN) + 1 for group in capacity)
    return max(1, min(lanes, MOST_OUTSTANDING))


def reserve(deadline: float, slowest: float) -> float:
    """Seconds before the deadline at which the map closes; `slowest` is the longest call seen."""
    learned = RESERVE_LATENCIES * slowest
    guess = min(RESERVE_SHARE * deadline, RESERVE_MOST)
    return min(max(learned, guess), deadline / 2)
