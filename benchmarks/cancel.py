"""Cancellation: thousands of calls cut off at random over real sockets; then all must be well.

    python benchmarks/cancel.py [--calls 2000] [--transport pyreqwest|httpx2] [--strict]

Each call is cancelled at a random moment of its life: before it is sent, on the wire,
while it waits for capacity, between two pieces of a stream. Afterwards nothing may be
in flight in the ledger, a burst as wide as the pool must be served all at once, and
every call that the provider charged must still be booked. With `--strict` the provider
refuses whoever has too many calls at once: a transport that cannot stop a request
whose caller left shows there. `--calls 10000` takes about a minute for each transport.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import time
from dataclasses import dataclass

from judged import ANSWER_TOKENS, Judge, Stage, judged, prompt_of
from machine import describe, pin, split_cores
from rich.console import Console
from rich.table import Table

from hydra_core import Hydra
from hydra_core.testing import FakeKey, FakeLimits

_KEYS = 4
_SLOTS = 8
_WIDTH = _KEYS * _SLOTS
_LATENCY = 0.02
_AT_ONCE = 96
_LONGEST = 0.3
_SIZE = 60
_COLUMNS = (
    "transport", "cut off", "ended first", "in flight after", "burst served", "burst ms",
    "least ms", "refused", "violations", "ledger",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Aftermath:
    """What is left after the storm. `burst` is the seconds for one call on every slot."""

    cut: int
    ended: int
    in_flight: int
    served: int
    burst: float
    refused: int
    violations: int
    missing: int

    @property
    def well(self) -> bool:
        """True when no lease and no slot was lost and the ledger balances."""
        return self.in_flight == 0 and self.served == _WIDTH and self.missing == 0

    def cells(self) -> list[str]:
        """From `cut off` on."""
        ledger = "balances" if self.missing == 0 else f"{self.missing} calls not booked"
        return [
            str(self.cut), str(self.ended), str(self.in_flight), f"{self.served}/{_WIDTH}",
            f"{self.burst * 1e3:.0f}", f"{_LATENCY * 1e3:.0f}", str(self.refused),
            str(self.violations), ledger,
        ]  # fmt: skip


async def _storm(pool: Hydra, calls: int, rng: random.Random) -> tuple[int, int]:
    """Cut most calls off; how many were cut, and how many were quicker."""
    places = asyncio.Semaphore(_AT_ONCE)
    cut = ended = 0

    async def read() -> None:
        async for _ in pool.astream(prompt_of(_SIZE), max_tokens=ANSWER_TOKENS):
            pass

    async def one(life: float, *, stream: bool) -> None:
        nonlocal cut, ended
        async with places:
            asked = read() if stream else pool.achat(prompt_of(_SIZE), max_tokens=ANSWER_TOKENS)
            task = asyncio.ensure_future(asked)
            await asyncio.wait({task}, timeout=life)
            if task.cancel():
                cut += 1
            else:
                ended += 1
            await asyncio.gather(task, return_exceptions=True)

    await asyncio.gather(
        *(
            one(rng.uniform(0.0, _LONGEST), stream=rng.random() < 0.4)
            for _ in range(calls)
        )
    )
    return cut, ended


async def _burst(pool: Hydra) -> tuple[int, float]:
    """One call for every slot at once: how many were served, and in how many seconds."""
    begun = time.monotonic()
    replies = await asyncio.gather(
        *(pool.achat(prompt_of(_SIZE), max_tokens=ANSWER_TOKENS) for _ in range(_WIDTH)),
        return_exceptions=True,
    )
    took = time.monotonic() - begun
    return sum(getattr(reply, "kind", None) == "full" for reply in replies), took


def _missing(pool: Hydra, judge: Judge) -> int:
    """Calls that the provider charged and the ledger does not hold (a long window: none expire)."""
    booked = sum(
        window.used
        for group in pool.capacity()
        for window in group.windows
        if window.kind == "requests"
    )
    charged = sum(record.admitted for record in judge.log)
    return max(0, charged - round(booked))


async def _weather(judge: Judge, transport: str, calls: int, seed: int) -> Aftermath:
    config = judge.config(transport=transport, cache=False, max_wait=30.0)
    for key in config["providers"][0]["keys"]:
        key["limits"]["concurrency"] = _SLOTS
    async with Hydra(config) as pool:
        cut, ended = await _storm(pool, calls, random.Random(seed))
        left = sum(group.in_flight for group in pool.capacity())
        await asyncio.sleep(5 * _LATENCY)  # the provider finishes what nobody listens to
        await _burst(pool)
        served, took = await _burst(pool)
        missing = _missing(pool, judge)
    refused = sum(record.status == 429 for record in judge.log)
    return Aftermath(cut, ended, left, served, took, refused, len(judge.violations), missing)


def run(transport: str, calls: int, seed: int, *, strict: bool) -> Aftermath:
    """One storm over one transport; a `strict` provider refuses more than its slots at once."""
    limits = FakeLimits(rpd=10_000_000, concurrency=_SLOTS if strict else None)
    keys = tuple(FakeKey(f"bench-key-{number}", limits=limits) for number in range(_KEYS))
    with judged(Stage(keys, latency=_LATENCY, chunk_delay=0.001)) as judge:
        return asyncio.run(_weather(judge, transport, calls, seed))


def main() -> int:
    """Print one table; the exit status is 1 when anything was lost."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--calls", type=int, default=2000)
    parser.add_argument("--transport", choices=("pyreqwest", "httpx2"), action="append")
    parser.add_argument(
        "--strict", action="store_true", help="the provider enforces the slots, not Hydra alone"
    )
    parser.add_argument("--seed", type=int, default=1)
    told = parser.parse_args()
    caption = describe("pyreqwest", "httpx2")
    pin(split_cores()[0])
    table = Table(title=f"{told.calls} calls cut off at random", caption=caption)
    for column in _COLUMNS:
        table.add_column(column, justify="left" if column == "transport" else "right")
    well = True
    for transport in told.transport or ("pyreqwest", "httpx2"):
        aftermath = run(transport, told.calls, told.seed, strict=told.strict)
        well = well and aftermath.well
        table.add_row(transport, *aftermath.cells())
    Console(width=130).print(table)
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
