"""Play a swarm many times with noisy calls, to say how long it will really take.

A nominal plan is too good: latencies vary, some calls are ten times slow, and the
end waits for the last. The noise here is an assumption until calls were seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from heapq import heapify, heapreplace
from math import inf
from typing import TYPE_CHECKING, Final

from hydra_core.swarm.pace import GRACE, reserve
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


@dataclass(frozen=True, slots=True)
class Game:
    """What is played: `calls` equal calls of so many `tokens` each, and the final one.

    `latency` is a call's mean seconds. The first call starts after `begin` seconds, and at
    most `width` are outstanding at once. Of a quota that does not suffice until the
    `deadline` only `allowed` calls are made, the rest being kept for the final one.
    """

    calls: int
    tokens: int
    groups: Sequence[GroupCapacity]
    latency: Callable[[GroupCapacity, int], float]
    begin: float = 0.0
    width: int = 64
    allowed: float = inf
    deadline: float | None = None


def simulated_runs(game: Game, rng: random.Random) -> list[Run]:
    """Play it 200 times; fewer above 400 calls.

    Latencies are lognormal (sigma 0.5) around the mean, 2 % of them ten times as
    long; a second call is sent after three means where there is room for one. Before
    the `deadline` the map closes as that of a real run does, and only what ended by
    then counts as read, if the final call is in time as well.
    """
    count = max(_FEWEST_RUNS, min(RUNS, _CALLS_IN_ALL // max(1, game.calls)))
    means = [game.latency(group, game.tokens) for group in game.groups]
    final = min(means)
    runs = []
    for _ in range(count):
        ends = _ends(game, means, rng)
        last = _noisy(final, rng, hedged=False)
        seconds = max((end for end, _ in ends), default=0.0) + last
        runs.append(Run(seconds, _read(game, ends, last) / game.calls if game.calls else 1.0))
    return runs


def _read(game: Game, ends: Sequence[tuple[float, float]], last: float) -> int:
    """How many calls end before the map closes; it closes earlier the slower they prove."""
    if game.deadline is None:
        return game.calls
    read, slowest = 0, 0.0
    for end, seconds in sorted(ends):
        kept = reserve(game.deadline, slowest)
        over = end > game.deadline - reserve(game.deadline, 0.0)  # its own time was up
        over = over or end > game.deadline - (1.0 - GRACE) * kept
        if over or read >= game.allowed or end + last > game.deadline:
            break
        read, slowest = read + 1, max(slowest, seconds)
    return read


def _ends(game: Game, means: Sequence[float], rng: random.Random) -> list[tuple[float, float]]:
    """When each call ends, and its seconds, if each goes where it is expected to end first."""
    tokens, groups = game.tokens, game.groups
    clocks = [GroupClock(group) for group in groups]
    hedged = len(groups) > 1 or any(group.concurrency != 1 for group in groups)
    queue = [
        (start + means[index], start, index)
        for index, clock in enumerate(clocks)
        if (start := clock.earliest(tokens)) < NEVER
    ]
    heapify(queue)
    under_way = [game.begin] * min(game.width, game.calls)  # when each may be followed by another
    ends: list[tuple[float, float]] = []
    while len(ends) < game.calls and queue:
        _, start, index = queue[0]
        start = max(start, under_way[0])
        seconds = _noisy(means[index], rng, hedged=hedged)
        clocks[index].charge(tokens, start, start + seconds)
        heapreplace(under_way, start + seconds)
        ends.append((start + seconds, seconds))
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
