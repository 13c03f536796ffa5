"""Many seeds, over several processes."""

from __future__ import annotations

import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import TYPE_CHECKING

from hydra_core.testing.simulation.report import SeedResult, SimulationReport
from hydra_core.testing.simulation.run import run_seed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


def run_seeds(
    seeds: Sequence[int],
    requests: int,
    *,
    workers: int = 1,
    told: Callable[[SeedResult], None] | None = None,
) -> SimulationReport:
    """Play each seed with so many requests and add up what was found.

    `workers` is the number of processes; the report does not depend on it. `told` hears
    of each seed as it ends.
    """
    begun = time.perf_counter()
    results = []
    for result in _played(seeds, requests, workers):
        results.append(result)
        if told is not None:
            told(result)
    return SimulationReport.of(results, seconds=time.perf_counter() - begun)


def _played(seeds: Sequence[int], requests: int, workers: int) -> Iterator[SeedResult]:
    if workers <= 1 or len(seeds) <= 1:
        for seed in seeds:
            yield run_seed(seed, requests)
        return
    # Spawned, not forked: a child must not inherit its parent's threads and locks.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(seeds)), mp_context=context) as pool:
        for ended in as_completed([pool.submit(run_seed, seed, requests) for seed in seeds]):
            yield ended.result()
