"""Plan calls over quota groups: the largest first, each to where it ends first.

A `GroupClock` replays one group's limits in virtual time, from what is already
charged; nothing here looks at a real clock. All times are seconds from now.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import deque
from dataclasses import dataclass
from heapq import heapify, heapreplace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from hydra_core.engine.capacity import GroupCapacity, WindowCapacity

NEVER: Final = math.inf
_ROUNDING: Final = 1e-9


@dataclass(frozen=True, slots=True)
class PlannedCall:
    """One call of one shard: indices into the shards and groups given, and its times."""

    shard: int
    group: int
    start: float
    end: float


def schedule(
    tokens: Sequence[int],
    groups: Sequence[GroupCapacity],
    latency: Callable[[GroupCapacity, int], float],
) -> tuple[PlannedCall, ...]:
    """Give each shard to the group that ends it first, the largest shard first.

    `tokens[j]` is what the j-th call charges; `latency` its seconds on a group.
    Shards that no group can ever take are left out. For equal shards the last end
    is the least that the limits allow (see `bound.least_makespan`).
    """
    clocks = [GroupClock(group) for group in groups]
    planned = [0] * len(groups)
    calls = []
    for shard in sorted(range(len(tokens)), key=lambda index: -tokens[index]):
        size = tokens[shard]
        ends = [
            (start + latency(group, size), planned[index], index, start)
            for index, (group, clock) in enumerate(zip(groups, clocks, strict=True))
            if (start := clock.earliest(size)) < NEVER
        ]
        if ends:
            # Among equals the group with the fewest calls, so that no key is left out.
            end, _, index, start = min(ends)
            planned[index] += 1
            clocks[index].charge(size, start, end)
            calls.append(PlannedCall(shard, index, start, end))
    return tuple(calls)


class GroupClock:
    """When one group can take its next call, given all calls charged so far.

    Starts never go back in time: each is at or after the one before it.
    """

    def __init__(self, group: GroupCapacity) -> None:
        self._limits = [_limit(window) for window in group.windows if window.kind != "concurrency"]
        self._now = group.available_in
        self._lanes = lane_ends(group)

    def earliest(self, tokens: int) -> float:
        """The first time at which a call of this many tokens may start, or `NEVER`."""
        at = self._now
        if self._lanes is not None:
            at = max(at, self._lanes[0]) if self._lanes else NEVER
        while at < NEVER:
            later = max((limit.earliest(tokens, at) for limit in self._limits), default=at)
            if later <= at:
                break
            at = later
        return at

    def charge(self, tokens: int, start: float, end: float) -> None:
        """Book a call of this many tokens from `start` to `end`."""
        self._now = start
        if self._lanes:
            heapreplace(self._lanes, end)
        for limit in self._limits:
            limit.charge(tokens, start)


def lane_ends(group: GroupCapacity) -> list[float] | None:
    """When each lane of a group is free, as a heap; None when lanes are not limited.

    A call under way is taken to need one more mean latency: that it may end at any
    moment would let every plan start with an idle lane.
    """
    if group.concurrency is None:
        return None
    busy = min(group.in_flight, group.concurrency)
    ends = [group.latency or 0.0] * busy + [0.0] * (group.concurrency - busy)
    heapify(ends)
    return ends


def charges(window: WindowCapacity) -> Iterator[tuple[float, float]]:
    """When the permits taken so far come back: (seconds from now, permits).

    What `frees` does not explain is taken to come back last, after a whole window.
    """
    yield from window.frees
    rest = window.used - sum(amount for _, amount in window.frees)
    if rest > _ROUNDING:
        yield window.window, rest


def boundary_after(at: float, boundary: float, window: float) -> float:
    """The first of the times `boundary + i * window`, i >= 0, that lies after `at`."""
    while boundary <= at:
        boundary += window * max(1, math.floor((at - boundary) / window))
    return boundary


class _Limit(ABC):
    """One limit in virtual time; the shapes differ in when permits come back."""

    def __init__(self, window: WindowCapacity) -> None:
        self._requests = window.kind == "requests"
        self._limit = window.limit
        self._window = window.window

    def earliest(self, tokens: int, at: float) -> float:
        """The first time from `at` on at which this many tokens may be charged."""
        need = 1 if self._requests else tokens
        return NEVER if need > self._limit else self._free_at(need, at)

    def charge(self, tokens: int, start: float) -> None:
        """Take the permits of one call at `start`."""
        self._take(1 if self._requests else tokens, start)

    @abstractmethod
    def _free_at(self, need: float, at: float) -> float: ...

    @abstractmethod
    def _take(self, need: float, start: float) -> None: ...


class _Sliding(_Limit):
    """At most `limit` permits in any `window` seconds."""

    def __init__(self, window: WindowCapacity) -> None:
        super().__init__(window)
        self._taken = deque(sorted(charges(window)))
        self._used = sum(amount for _, amount in self._taken)

    def _free_at(self, need: float, at: float) -> float:
        excess = self._used + need - self._limit
        for back, amount in self._taken:
            if excess <= _ROUNDING:
                break
            excess -= amount
            at = max(at, back)
        return at

    def _take(self, need: float, start: float) -> None:
        while self._taken and self._taken[0][0] <= start:
            self._used -= self._taken.popleft()[1]
        self._taken.append((start + self._window, need))
        self._used += need


class _Fixed(_Limit):
    """At most `limit` permits between two boundaries, `window` seconds apart."""

    def __init__(self, window: WindowCapacity) -> None:
        super().__init__(window)
        self._boundary = window.frees[0][0] if window.frees else window.window
        self._used = window.used

    def _free_at(self, need: float, at: float) -> float:
        fits = self._used + need <= self._limit + _ROUNDING
        return at if fits or at >= self._boundary else self._boundary

    def _take(self, need: float, start: float) -> None:
        if start >= self._boundary:
            self._boundary = boundary_after(start, self._boundary, self._window)
            self._used = 0.0
        self._used += need


class _Bucket(_Limit):
    """`limit` permits at most, refilled at `limit / window` a second."""

    def __init__(self, window: WindowCapacity) -> None:
        super().__init__(window)
        self._level, self._at = window.limit - window.used, 0.0

    def _level_at(self, at: float) -> float:
        return min(self._limit, self._level + (at - self._at) * self._limit / self._window)

    def _free_at(self, need: float, at: float) -> float:
        missing = need - self._level_at(at)
        return at if missing <= _ROUNDING * need else at + missing * self._window / self._limit

    def _take(self, need: float, start: float) -> None:
        self._level, self._at = self._level_at(start) - need, start


_SHAPES: Final[Mapping[str, Callable[[WindowCapacity], _Limit]]] = {
    "sliding": _Sliding,
    "fixed": _Fixed,
    "bucket": _Bucket,
}


def _limit(window: WindowCapacity) -> _Limit:
    return _SHAPES[window.shape](window)
