"""What a call costs: CPU per call of Hydra over bare clients, and its growth with the keys.

    python benchmarks/overhead.py [--calls 2000] [--rounds 5]

Client and provider run in two processes on two processors, where there are two.
CPU is `process_time` of the client: all its threads. Contenders take turns within
each round, so that a noisy machine disturbs all alike; medians are printed, and
ratios compare medians of one run.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress

import httpx
import httpx2
from loopback import loopback
from rich.console import Console
from rich.table import Table

from hydra_core import Hydra

PROMPT = "Who was blind and came to the inn? Answer in one sentence. " * 4
Call = Callable[[], Awaitable[object]]


def config(url: str, keys: int, transport: str) -> dict[str, object]:
    """A pool of so many keys of one provider, with limits that are never reached."""
    return {
        "store": "memory",
        "transport": transport,
        "providers": [
            {
                "name": "bench",
                "base_url": url,
                "models": ["m"],
                "keys": [
                    {"name": f"k{n}", "value": f"bench-key-value-{n:06d}",
                     "limits": {"rpm": 1_000_000, "tpm": 100_000_000}}
                    for n in range(keys)
                ],
            }
        ],
    }  # fmt: skip


async def contenders(stack: AsyncExitStack, url: str) -> dict[str, Call]:
    """Every client, warm."""
    body = {"model": "m", "messages": [{"role": "user", "content": PROMPT}]}
    headers = {"authorization": "Bearer bench-key-value-000000"}
    found: dict[str, Call] = {}
    for name, module in (("httpx", httpx), ("httpx2", httpx2)):
        client = await stack.enter_async_context(module.AsyncClient())

        async def bare(client: httpx.AsyncClient = client) -> object:
            response = await client.post(f"{url}/chat/completions", json=body, headers=headers)
            return response.json()

        found[f"bare {name}"] = bare
    for transport in ("pyreqwest", "httpx2"):
        for keys in (1, 8, 1000):
            pool = await stack.enter_async_context(Hydra(config(url, keys, transport)))

            async def ask(pool: Hydra = pool) -> object:
                return await pool.achat(PROMPT)

            found[f"hydra {transport}, {keys} keys"] = ask
    return found


async def cost(call: Call, calls: int, at_once: int) -> float:
    """CPU microseconds per call."""
    begun = time.process_time()
    if at_once == 1:
        for _ in range(calls):
            await call()
    else:
        places = asyncio.Semaphore(at_once)

        async def one() -> None:
            async with places:
                await call()

        await asyncio.gather(*(one() for _ in range(calls)))
    return (time.process_time() - begun) / calls * 1e6


async def measure(url: str, calls: int, rounds: int) -> Table:
    """Turn by turn, `rounds` times."""
    table = Table(title=f"CPU per call, microseconds (median of {rounds} rounds of {calls} calls)")
    for column in ("client", "one at a time", "over bare httpx", "64 at once", "over bare httpx"):
        table.add_column(column, justify="left" if column == "client" else "right")
    async with AsyncExitStack() as stack:
        clients = await contenders(stack, url)
        seen: dict[tuple[str, int], list[float]] = {}
        for name, call in clients.items():
            await cost(call, 50, 1)
        for _ in range(rounds):
            for name, call in clients.items():
                for at_once in (1, 64):
                    seen.setdefault((name, at_once), []).append(await cost(call, calls, at_once))
        medians = {which: statistics.median(values) for which, values in seen.items()}
        for name in clients:
            cells = []
            for at_once in (1, 64):
                mine, bare = medians[name, at_once], medians["bare httpx", at_once]
                cells += [f"{mine:.0f}", f"{mine / bare:.2f}"]
            table.add_row(name, *cells)
        for transport in ("pyreqwest", "httpx2"):
            few, many = (medians[f"hydra {transport}, {n} keys", 1] for n in (8, 1000))
            table.add_row(f"{transport}: 1000 keys over 8 keys", f"{many / few:.2f}", "", "", "")
    return table


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    told = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0]
    server_cpu = cores[-1] if len(cores) > 1 else None
    with loopback(server_cpu) as url:
        if server_cpu is not None:
            with suppress(OSError):
                os.sched_setaffinity(0, {cores[0]})
        Console(width=110).print(asyncio.run(measure(url, told.calls, told.rounds)))


if __name__ == "__main__":
    main()
