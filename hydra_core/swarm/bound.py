"""The least time in which a pool can serve a number of calls, whatever the schedule.

For equal calls of known latency the bound is exact: a schedule reaches it. The
cheap bound holds for unequal ones as well and costs almost nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from heapq import heapreplace, merge
from itertools import islice
from typing import TYPE_CHECKING, Final

from hydra_core.swarm.virtual import NEVER, boundary_after, charges, lane_ends

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hydra_core.engine.capacity import GroupCapacity, WindowCapacity

_BISECTIONS: Final = 60
_ROUNDING: Final = 1e-9

_Rule = Callable[[Sequence[float]], float]
"""What one limit says of the next start, given all starts before it."""


def least_makespan(
    calls: int,
    tokens: int,
    groups: Sequence[GroupCapacity],
    latency: Callable[[GroupCapacity], float],
) -> float:
    """Seconds until the last of `calls` equal calls can end at the earliest, or `inf`.

    Each call charges `tokens`. The i-th start on a group cannot come before e_i,
    the largest of what each limit allows given the starts before it; the least
    makespan is the `calls`-th smallest of all e_i + latency over all groups.
    """
    if calls < 1:
        return 0.0
    ends = merge(*(_ends(group, tokens, latency(group)) for group in groups))
    return next(islice(ends, calls - 1, None), NEVER)


def _ends(group: GroupCapacity, tokens: int, latency: float) -> Iterator[float]:
    return (start + latency for start in earliest_starts(group, tokens, latency))


def earliest_starts(group: GroupCapacity, tokens: int, latency: float) -> Iterator[float]:
    """The earliest times e_0 <= e_1 <= ... at which a group can start equal calls."""
    rules = [
        _RULES[window.shape](window, 1 if window.kind == "requests" else tokens)
        for window in group.windows
        if window.kind != "concurrency"
    ]
    lanes = lane_ends(group)
    starts: list[float] = []
    at = group.available_in
    while lanes is None or lanes:
        at = max(at, lanes[0] if lanes else 0.0, *(rule(starts) for rule in rules))
        if at == NEVER:
            return
        starts.append(at)
        if lanes:
            heapreplace(lanes, at + latency)
        yield at


def _sliding(window: WindowCapacity, need: float) -> _Rule:
    """One window after the start `per` calls back; before that, what is free now."""
    taken = sorted(charges(window))
    per = math.floor(window.limit / need + _ROUNDING)

    def rule(starts: Sequence[float]) -> float:
        if len(starts) >= per:
            return starts[-per] + window.window if per else NEVER
        excess = sum(amount for _, amount in taken) + need * (len(starts) + 1) - window.limit
        at = 0.0
        for back, amount in taken:
            if excess <= _ROUNDING:
                break
            excess -= amount
            at = back
        return at

    return rule


def _fixed(window: WindowCapacity, need: float) -> _Rule:
    """The boundary after the window that holds the start `per` calls back."""
    per = math.floor(window.limit / need + _ROUNDING)
    first = math.floor((window.limit - window.used) / need + _ROUNDING)
    boundary = window.frees[0][0] if window.frees else window.window

    def rule(starts: Sequence[float]) -> float:
        if not per:
            return NEVER
        at = boundary if len(starts) >= first else 0.0
        if len(starts) >= per:
            at = max(at, boundary_after(starts[-per], boundary, window.window))
        return at

    return rule


def _bucket(window: WindowCapacity, need: float) -> _Rule:
    """When the level has risen to the need, after each start took its own."""
    rate = window.limit / window.window
    levels = [(0.0, window.limit - window.used)]

    def rule(starts: Sequence[float]) -> float:
        if need > window.limit:
            return NEVER
        since, level = levels[-1]
        if len(starts) >= len(levels):
            level = min(window.limit, level + rate * (starts[-1] - since)) - need
            since = starts[-1]
            levels.append((since, level))
        return since + max(0.0, need - level) / rate

    return rule


_RULES: Final = {"sliding": _sliding, "fixed": _fixed, "bucket": _bucket}


def cheap_bound(
    tokens: Sequence[int],
    groups: Sequence[GroupCapacity],
    latency: Callable[[GroupCapacity, int], float],
) -> float:
    """Seconds that no schedule of these calls can beat; not always reachable.

    The largest of four: all groups' token windows hold the sum of tokens, their
    request windows the number of calls, their lanes the sum of latencies, and
    the slowest call its own latency where it is fastest.
    """
    fastest = [
        min((latency(group, size) for group in groups if _fits(group, size)), default=NEVER)
        for size in tokens
    ]
    if not tokens or NEVER in fastest:
        return NEVER if tokens else 0.0
    shortest = min(fastest)
    return max(
        max(fastest),
        _pooled(sum(tokens), "tokens", groups) + shortest,
        _pooled(len(tokens), "requests", groups) + shortest,
        _lane_area(sum(fastest), groups),
    )


def _fits(group: GroupCapacity, tokens: int) -> bool:
    return all(
        window.limit >= (1 if window.kind == "requests" else tokens)
        for window in group.windows
        if window.kind != "concurrency"
    )


def _lane_area(seconds: float, groups: Sequence[GroupCapacity]) -> float:
    lanes = 0
    for group in groups:
        if group.concurrency is None:
            return 0.0
        lanes += group.concurrency
    return seconds / lanes if lanes else NEVER


def _pooled(need: float, kind: str, groups: Sequence[GroupCapacity]) -> float:
    """The least t at which all groups together may have started this much."""

    def held(at: float) -> float:
        return sum(_held(group, kind, at) for group in groups)

    if held(0.0) >= need:
        return 0.0
    low, high = 0.0, 1.0
    while held(high) < need:
        low, high = high, 2 * high
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (low, middle) if held(middle) >= need else (middle, high)
    return low


def _held(group: GroupCapacity, kind: str, at: float) -> float:
    """The most that a group's windows of a kind let start in `at` seconds."""
    most = [
        window.limit * (1 + at / window.window)
        if window.shape == "bucket"
        # A fixed window may end right after now and begin again right before `at`.
        else window.limit * (math.floor(at / window.window) + 1 + (window.shape == "fixed"))
        for window in group.windows
        if window.kind == kind
    ]
    return min(most, default=math.inf)
