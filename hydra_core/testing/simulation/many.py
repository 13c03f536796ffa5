"""Many seeds, over several processes."""

from __future__ import annotations

import multiprocessing
import signal
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import closing
from typing import TYPE_CHECKING

from hydra_core.testing.simulation.report import SeedResult, SimulationReport
from hydra_core.testing.simulation.run import run_seed

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence


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
    with closing(_played(seeds, requests, workers)) as played:
        for result in played:
            results.append(result)
            if told is not None:
                told(result)
    return SimulationReport.of(results, seconds=time.perf_counter() - begun)


def _played(
    seeds: Sequence[int], requests: int, workers: int
) -> Generator[SeedResult, None, None]:
    if workers <= 1 or len(seeds) <= 1:
        for seed in seeds:
            yield run_seed(seed, requests)
        return
    others = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(
        min(workers, len(seeds)),
        # Spawned, not forked: a child must not inherit its parent's threads and locks.
        mp_context=multiprocessing.get_context("spawn"),
        # Ctrl-C reaches the whole group of processes: the parent alone answers it.
        initializer=signal.signal,
        initargs=(signal.SIGINT, signal.SIG_IGN),
    )
    try:
        for ended in as_completed([pool.submit(run_seed, seed, requests) for seed in seeds]):
            yield ended.result()
    except BaseException:  # an interrupt, or a caller who leaves: no world is played on
        pool.shutdown(wait=False, cancel_futures=True)
        for worker in set(multiprocessing.active_children()) - others:
            worker.terminate()
        raise
    pool.shutdown()
