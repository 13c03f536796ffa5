"""Goodput under limits: one batch of mixed requests over keys that cannot take it at once.

    python benchmarks/goodput.py [--pool NAME] [--window sliding|bucket] [--scale 0.05]

The judge is the fake provider: its log says what was refused, which key was used
while it had said wait, and whether any limit was passed. Makespan is given over
the bound of `bound.py`. Beside Hydra runs a naive round-robin over the same keys.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import httpx2
from bound import Key, bound
from rich.console import Console
from rich.table import Table

from hydra_core import Hydra
from hydra_core.testing import FakeAnswer, FakeKey, FakeLimits, FakeProvider

POOLS: dict[str, tuple[tuple[Key, ...], int]] = {
    "3 equal": ((Key(30, 15_000),) * 3, 240),
    "8 equal": ((Key(30, 15_000),) * 8, 600),
    "32 equal": ((Key(30, 15_000),) * 32, 2000),
    "3 unequal": ((Key(30, 6_000), Key(15, 12_000), Key(5, 20_000)), 150),
    "8 unequal": (
        (Key(30, 6_000), Key(15, 12_000), Key(5, 20_000), Key(60, 10_000),
         Key(10, 40_000), Key(20, 8_000), Key(30, 30_000), Key(3, 15_000)),
        600,
    ),
}  # fmt: skip
SIZES = (100, 400, 1500)
SHARES = (50, 35, 15)
ANSWER_TOKENS = 20
AT_ONCE = 64


class Terse:
    """Answers every request with the same number of tokens, so that sizes are exact."""

    def answer(self, body: dict[str, Any]) -> FakeAnswer:
        """The prompt's size is what the benchmark put in it."""
        prompt = len(body["messages"][0]["content"]) // 4
        return FakeAnswer("x" * 4 * ANSWER_TOKENS, (), "stop", prompt, ANSWER_TOKENS)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the judge saw of one contender."""

    name: str
    makespan: float
    done: int
    failed: int
    refused: int
    violations: int


def batch(count: int, seed: int) -> list[int]:
    """Token sizes of a mixed batch, in arrival order."""
    return random.Random(seed).choices(SIZES, SHARES, k=count)


async def hydra(fake: FakeProvider, sizes: Sequence[int], at_once: int) -> int:
    """Hydra on its defaults, told the limits; patience as long as the batch."""
    config = fake.config(max_wait=600.0, timeout=600.0, cache=False)
    failed = 0
    async with Hydra(config) as pool:
        async def one(size: int) -> None:
            nonlocal failed
            text = "x" * 4 * (size - ANSWER_TOKENS)
            reply = await pool.achat(text, max_tokens=ANSWER_TOKENS)
            failed += reply.kind != "full"

        await _crowd(sizes, one, at_once)
    return failed


async def round_robin(fake: FakeProvider, sizes: Sequence[int], at_once: int) -> int:
    """The next key for every try, and at once the next one after a refusal."""
    keys = [key["value"] for key in fake.config()["providers"][0]["keys"]]
    turn = 0
    async with httpx2.AsyncClient(timeout=60.0) as client:
        async def one(size: int) -> None:
            nonlocal turn
            text = "x" * 4 * (size - ANSWER_TOKENS)
            body = {"model": "fake-model", "max_tokens": ANSWER_TOKENS,
                    "messages": [{"role": "user", "content": text}]}  # fmt: skip
            while True:
                turn += 1
                response = await client.post(
                    f"{fake.base_url}/chat/completions", json=body,
                    headers={"authorization": f"Bearer {keys[turn % len(keys)]}"},
                )
                if response.status_code == 200:
                    return

        await _crowd(sizes, one, at_once)
    return 0


async def _crowd(
    sizes: Sequence[int], one: Callable[[int], Awaitable[None]], at_once: int
) -> None:
    places = asyncio.Semaphore(at_once)

    async def placed(size: int) -> None:
        async with places:
            await one(size)

    await asyncio.gather(*map(placed, sizes))


def run(
    name: str, contender: Callable[[FakeProvider, Sequence[int], int], Awaitable[int]],
    keys: Sequence[Key], sizes: Sequence[int], window: str, scale: float, at_once: int,
) -> Outcome:
    """One contender on a fresh provider."""
    limits = [FakeLimits(rpm=key.rpm, tpm=key.tpm, window=window) for key in keys]
    fake_keys = [
        FakeKey(f"bench-key-{number:04d}-{os.getpid()}", account=f"account-{number}", limits=limit)
        for number, limit in enumerate(limits)
    ]
    with FakeProvider(fake_keys, answer=Terse(), time_scale=scale, latency=0.01) as fake:
        begun = time.monotonic()
        failed = asyncio.run(contender(fake, sizes, at_once))
        makespan = (time.monotonic() - begun) / scale
        served = sum(1 for record in fake.log if record.status == 200)
        refused = sum(1 for record in fake.log if record.status == 429)
        return Outcome(name, makespan, served, failed, refused, len(fake.violations))


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pool", action="append", choices=list(POOLS), help="default: all")
    parser.add_argument("--window", choices=("sliding", "bucket"), action="append")
    parser.add_argument("--scale", type=float, default=0.05, help="a minute lasts 60 x this")
    parser.add_argument("--at-once", type=int, default=AT_ONCE)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--alone", action="store_true", help="Hydra only")
    told = parser.parse_args()
    table = Table(title=f"Goodput, a minute lasting {60 * told.scale:g} s")
    for column in ("pool", "window", "who", "served", "failed", "refused", "violations",
                   "makespan s", "over bound"):  # fmt: skip
        table.add_column(column, justify="right" if column not in ("pool", "who") else "left")
    for pool in told.pool or POOLS:
        keys, count = POOLS[pool]
        sizes = batch(count, told.seed)
        for window in told.window or ("sliding", "bucket"):
            least = bound(keys, sizes, window)
            table.add_row(pool, window, "lower bound", str(count), "", "", "", f"{least:.1f}", "1")
            contenders = [("hydra", hydra)] + ([] if told.alone else [("round-robin", round_robin)])
            for name, contender in contenders:
                out = run(name, contender, keys, sizes, window, told.scale, told.at_once)
                table.add_row(
                    pool, window, name, f"{out.done}/{count}", str(out.failed), str(out.refused),
                    str(out.violations), f"{out.makespan:.1f}", f"{out.makespan / least:.3f}",
                )
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
