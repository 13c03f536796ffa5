"""One client in a process of its own, measured when it is told to."""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import statistics
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from clients import ALL
from machine import pin, split_cores

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from clients import Work

_WARM = 40


@dataclass(frozen=True, slots=True)
class Cost:
    """What one call took: CPU of all threads of its process, and until its first piece.

    Both are microseconds; `first` is the median over the calls.
    """

    cpu: float
    first: float


async def measure(work: Work, calls: int, at_once: int) -> Cost:
    """So many calls, so many at once."""
    firsts: list[float] = []
    left = iter(range(calls))

    async def carry() -> None:
        for _ in left:
            first = await work()
            firsts.append(first)

    gc.collect()
    begun = time.process_time()
    if at_once == 1:
        await carry()
    else:
        await asyncio.gather(*(carry() for _ in range(at_once)))
    cpu = (time.process_time() - begun) / calls
    return Cost(cpu * 1e6, statistics.median(firsts) * 1e6)


async def _obey(line: Connection, name: str, url: str) -> None:
    async with AsyncExitStack() as stack:
        work = await ALL[name](url, stack)
        await measure(work, _WARM, 1)
        line.send(None)
        while (asked := line.recv()) is not None:
            line.send(await measure(work, *asked))


def _enter(line: Connection, name: str, url: str) -> None:
    pin(split_cores()[0])
    asyncio.run(_obey(line, name, url))


class Worker:
    """A client that waits in its own process, until `close`."""

    def __init__(self, name: str, url: str) -> None:
        """Raises EOFError when the client cannot be built; its own words are on stderr."""
        context = multiprocessing.get_context("spawn")
        self._line, there = context.Pipe()
        self._process = context.Process(target=_enter, args=(there, name, url), daemon=True)
        self._process.start()
        there.close()
        self._line.recv()

    def measure(self, calls: int, at_once: int) -> Cost:
        """One round."""
        self._line.send((calls, at_once))
        cost: Cost = self._line.recv()
        return cost

    def close(self) -> None:
        """End the process."""
        self._line.send(None)
        self._process.join(5.0)
        self._process.terminate()
        self._line.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()
