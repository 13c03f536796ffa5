"""Many seeds, over several processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
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
        initializer=_begin_work,
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


def _begin_work() -> None:
    """In a worker: leave Ctrl-C, which reaches all processes, to the parent, and end with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, name="hydra-parent", daemon=True).start()


def _end_with_parent() -> None:
    """A parent that was killed sends no word of it, and its pool would be waited for for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
