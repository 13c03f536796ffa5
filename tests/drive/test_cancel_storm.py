"""Thousands of calls cancelled at random moments: nothing leaks, and the pool serves at once.

`HYDRA_STORM` sets the number of calls (2,000 unless said otherwise).
"""

from __future__ import annotations

import asyncio
import gc
import os
import random
import sys
from collections import Counter

import pytest

from hydra_core import Hydra

CALLS = int(os.environ.get("HYDRA_STORM", "2000"))
ALIVE = 250  # tasks at once: many more than the slots, so that most of them wait in line
KEYS, SLOTS = 4, 8
LATENCY = 0.02
# A call waits about ALIVE / (KEYS * SLOTS) latencies for its turn: cancel before, in and after it.
MOMENTS = 2.0 * LATENCY * ALIVE / (KEYS * SLOTS)
LIMITS = {"rpd": 10_000_000, "tpd": 10_000_000_000, "concurrency": SLOTS}
ROOM = 40  # max_tokens: what each call books for its answer


@pytest.fixture
def noise(monkeypatch):
    """What nobody caught: in finalizers, and what the event loop complains of."""
    heard = []
    monkeypatch.setattr(sys, "unraisablehook", heard.append)
    return heard


async def ask(hydra, question, *, stream):
    """One call; a stream is read to its end."""
    if not stream:
        return await hydra.achat(question, max_tokens=ROOM)
    async for chunk in hydra.astream(question, max_tokens=ROOM):
        last = chunk
    return last


async def struck(hydra, number, rng, free):
    """Cancel one call at a random moment of its life, every second one twice; how it ended."""
    async with free:
        task = asyncio.create_task(ask(hydra, f"question {number}", stream=rng.random() < 0.4))
        await asyncio.sleep(rng.random() * MOMENTS)
        task.cancel()
        if rng.random() < 0.5:
            for _ in range(rng.randrange(3)):
                await asyncio.sleep(0)
            task.cancel()
        await asyncio.wait([task])
    return "cancelled" if task.cancelled() else task.result().kind


async def storm(hydra, calls, seed):
    """Let the storm pass; how many calls ended in which way."""
    rng, free = random.Random(seed), asyncio.Semaphore(ALIVE)
    ends = (struck(hydra, number, rng, free) for number in range(calls))
    return Counter(await asyncio.gather(*ends))


def rows(hydra):
    """The rows of all keys."""
    return [key for p in hydra.health()["providers"].values() for key in p["keys"]]


def booked(hydra, name):
    """What is charged on all keys against one limit."""
    return sum(row["limits"][name]["used"] for row in rows(hydra))


@pytest.mark.timeout(60 + CALLS / 20)
@pytest.mark.parametrize("transport", ["pyreqwest", "httpx2"])
async def test_a_storm_of_cancellations_leaks_nothing(serve, noise, transport):
    """No lease, no place in line, no connection and no quota is lost; nothing is left unheard."""
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: noise.append(context))
    fake = serve([f"key-canary-{n}" for n in range(KEYS)], latency=LATENCY, chunk_delay=0.002)
    (provider,) = fake.config()["providers"]
    provider["keys"] = [{**key, "limits": LIMITS} for key in provider["keys"]]
    settings = {"providers": [provider], "cache": False, "transport": transport}
    async with Hydra(fake.config(**settings)) as hydra:
        ends = await storm(hydra, CALLS, seed=7)
        assert ends["full"] > 0
        assert ends["cancelled"] > CALLS // 5
        gc.collect()
        await asyncio.sleep(0)
        await asyncio.to_thread(fake.wait_idle)

        assert [row["in_flight"] for row in rows(hydra)] == [0] * KEYS
        assert (hydra._gate.waiting, len(hydra._gate._open)) == (0, 0)
        seen, total = len(fake.log), fake.total
        tokens = total.prompt_tokens + total.completion_tokens
        assert total.broken > 0
        assert seen <= booked(hydra, "rpd") <= seen + ends["cancelled"]
        assert tokens <= booked(hydra, "tpd") <= tokens + ends["cancelled"] * 2 * ROOM

        calls = (hydra.achat("hello", max_wait=0.0) for _ in range(KEYS * SLOTS + 1))
        kinds = Counter(reply.kind for reply in await asyncio.gather(*calls))
        assert kinds == {"full": KEYS * SLOTS, "wait": 1}
    gc.collect()
    await asyncio.sleep(0)
    assert noise == []
