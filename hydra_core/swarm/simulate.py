"""Play a swarm many times with noisy calls, to say how long it will really take.

A nominal plan is too good: latencies vary, some calls are ten times slow, and the
end waits for the last. The noise here is an assumption until calls were seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from heapq import heapify, heapreplace
from typing import TYPE_CHECKING, Final

from hydra_core.swarm.virtual import NEVER, GroupClock

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

    from hydra_core.engine.capacity import GroupCapacity

RUNS: Final = 200
_SIGMA: Final = 0.5
_SLOW_SHARE, _SLOW_FACTOR = 0.02, 10.0
_HEDGE_AFTER: Final = 3.0
_FEWEST_RUNS: Final = 40
_CALLS_IN_ALL: Final = 80_000


@dataclass(frozen=True, slots=True)
class Run:
    """One simulated run: its seconds and the share read (0..1) when it had to stop."""

    seconds: float
    coverage: float


def simulated_runs(
    calls: int,
    tokens: int,
    groups: Sequence[GroupCapacity],
    latency: Callable[[GroupCapacity, int], float],
    *,
    rng: random.Random,
    deadline: float | None = None,
) -> list[Run]:
    """Play `calls` equal calls and the final one; 200 runs, fewer above 400 calls.

    Latencies are lognormal (sigma 0.5) around the mean, 2 % of them ten times as
    long; a second call is sent after three means where there is room for one. At
    the `deadline` only what ended in time for the final call counts as read.
    """
    count = max(_FEWEST_RUNS, min(RUNS, _CALLS_IN_ALL // max(1, calls)))
    means = [latency(group, tokens) for group in groups]
    final = min(means)
    runs = []
    for _ in range(count):
        ends = _ends(calls, tokens, groups, means, rng)
        last = _noisy(final, rng, hedged=False)
        in_time = calls if deadline is None else sum(end + last <= deadline for end in ends)
        runs.append(Run(max(ends, default=0.0) + last, in_time / calls if calls else 1.0))
    return runs


def _ends(
    calls: int,
    tokens: int,
    groups: Sequence[GroupCapacity],
    means: Sequence[float],
    rng: random.Random,
) -> list[float]:
    """When each call ends if each goes where it is expected to end first."""
    clocks = [GroupClock(group) for group in groups]
    hedged = len(groups) > 1 or any(group.concurrency != 1 for group in groups)
    queue = [
        (start + means[index], start, index)
        for index, clock in enumerate(clocks)
        if (start := clock.earliest(tokens)) < NEVER
    ]
    heapify(queue)
    ends: list[float] = []
    while len(ends) < calls and queue:
        _, start, index = queue[0]
        end = start + _noisy(means[index], rng, hedged=hedged)
        clocks[index].charge(tokens, start, end)
        ends.append(end)
        start = clocks[index].earliest(tokens)
        heapreplace(queue, (start + means[index], start, index))
    return ends


def _noisy(mean: float, rng: random.Random, *, hedged: bool) -> float:
    # A lognormal's mean is exp(mu + sigma^2 / 2); mu is set so that it is `mean`.
    factor = rng.lognormvariate(-_SIGMA * _SIGMA / 2, _SIGMA)
    if rng.random() < _SLOW_SHARE:
        factor *= _SLOW_FACTOR
    if hedged and factor > _HEDGE_AFTER:
        factor = min(factor, _HEDGE_AFTER + rng.lognormvariate(-_SIGMA * _SIGMA / 2, _SIGMA))
    return mean * factor
