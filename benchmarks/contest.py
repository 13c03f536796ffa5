"""One contender against one batch, in a process of its own."""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from contenders import CONTENDERS, HORIZON, Contender, Ending, Target
from machine import pin, split_cores

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from multiprocessing.connection import Connection

    from judged import Judge

_PAUSE = 1.0
"""Provider seconds between an error that surfaced and the caller's next try."""


@dataclass(frozen=True, slots=True)
class Terms:
    """How a batch is put to a contender.

    `resends` is how often a caller sends one request again before he counts it as
    lost; `every` the seconds between two arrivals (0: all at once, `at_once` of them
    under way); `stream` whether answers are streamed.
    """

    at_once: int = 64
    resends: int = 400
    scale: float = 1.0
    every: float = 0.0
    stream: bool = False


@dataclass(frozen=True, slots=True)
class Call:
    """One request as its caller lived it, in real seconds from the batch's begin."""

    begun: float
    took: float
    served: bool
    surfaced: int
    eta: float | None


@dataclass(frozen=True, slots=True)
class Result:
    """What the callers saw. `seconds` are real; `zero` is the clock's time at the begin."""

    seconds: float
    calls: tuple[Call, ...]
    cpu: float

    @property
    def served(self) -> int:
        """Requests that were answered."""
        return sum(call.served for call in self.calls)

    @property
    def surfaced(self) -> int:
        """Requests of which at least one try ended in an error that the caller saw."""
        return sum(call.surfaced > 0 for call in self.calls)

    @property
    def told_to_wait(self) -> tuple[Call, ...]:
        """Requests that were answered with a wait beyond the caller's horizon."""
        return tuple(call for call in self.calls if not call.served and call.eta is not None)

    @property
    def lost(self) -> int:
        """Requests with neither an answer nor a time at which to come back."""
        return len(self.calls) - self.served - len(self.told_to_wait)


class _Caller:
    """Sends each request until it is served, he is told to wait, or he has lost patience."""

    def __init__(self, contender: Contender, terms: Terms) -> None:
        self._contender = contender
        self._terms = terms
        self._zero = time.monotonic()

    async def ask(self, size: int) -> Call:
        begun = time.monotonic()
        surfaced = 0
        while True:
            ending = await self._contender.ask(size, stream=self._terms.stream)
            if ending.served or self._leaves(ending, surfaced):
                break
            surfaced += 1
            await asyncio.sleep(_PAUSE * self._terms.scale)
        ended = time.monotonic()
        eta = None if ending.eta is None else ending.eta + ended - self._zero
        return Call(begun - self._zero, ended - begun, ending.served, surfaced, eta)

    def _leaves(self, ending: Ending, surfaced: int) -> bool:
        far = ending.eta is not None and ending.eta > HORIZON * self._terms.scale
        return far or surfaced >= self._terms.resends

    async def all(self, sizes: Sequence[int]) -> tuple[Call, ...]:
        places = asyncio.Semaphore(self._terms.at_once)

        async def placed(number: int, size: int) -> Call:
            if self._terms.every:
                await asyncio.sleep(number * self._terms.every)
                return await self.ask(size)
            async with places:
                return await self.ask(size)

        return tuple(await asyncio.gather(*map(placed, range(len(sizes)), sizes)))


async def _compete(
    line: Connection, name: str, target: Target, sizes: Sequence[int], terms: Terms
) -> Result:
    contender = CONTENDERS[name](target)
    await contender.warm()
    line.send(None)
    line.recv()
    cpu, begun = time.process_time(), time.monotonic()
    calls = await _Caller(contender, terms).all(sizes)
    seconds, cpu = time.monotonic() - begun, time.process_time() - cpu
    await contender.aclose()
    return Result(seconds, calls, cpu)


def _enter(line: Connection, name: str, target: Target, sizes: Sequence[int], terms: Terms) -> None:
    pin(split_cores()[0])
    line.send(asyncio.run(_compete(line, name, target, sizes, terms)))


def contest(
    judge: Judge,
    name: str,
    target: Target,
    sizes: Sequence[int],
    terms: Terms,
    *,
    midway: tuple[float, Callable[[Judge], None]] | None = None,
    line_up: Callable[[], object] | None = None,
) -> Result:
    """Let `name` serve the batch.

    `midway` is what happens to the provider how many seconds after the begin;
    `line_up` is called when the contender is ready, and may wait for others. Raises
    EOFError when the contender's process died; its own words are on stderr.
    """
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    arguments = (there, name, target, tuple(sizes), terms)
    process = context.Process(target=_enter, args=arguments, daemon=True)
    process.start()
    there.close()
    try:
        here.recv()
        if line_up is not None:
            line_up()
        judge.reset()
        here.send(None)
        if midway is not None:
            time.sleep(midway[0])
            midway[1](judge)
        result: Result = here.recv()
    finally:
        here.close()
        process.join(10.0)
        process.terminate()
    return result
