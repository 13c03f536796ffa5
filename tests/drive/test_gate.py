"""The gate: who waits is woken, who leaves leaves at once, and who closes leaves nobody behind."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import threading

import pytest

from hydra_core import Hydra
from hydra_core.errors import HydraClosed
from hydra_core.testing import FakeKey, FakeLimits

ONE = FakeLimits(concurrency=1)


@pytest.fixture
def narrow(serve):
    """A Hydra with one key that takes one call at a time, and its provider."""
    fake = serve([FakeKey("key-canary-1", limits=ONE)], latency=0.2)
    with Hydra(fake.config(cache=False, max_wait=30.0)) as hydra:
        yield hydra, fake


def in_flight(hydra):
    """Calls in flight by Hydra's own count."""
    return sum(key["in_flight"] for p in hydra.health()["providers"].values() for key in p["keys"])


def test_closing_wakes_waiting_threads(narrow, until):
    """A thread that waits for a slot gets HydraClosed when Hydra is closed, not its timeout."""
    hydra, _ = narrow
    ends = []

    def wait():
        try:
            with hydra.lease():
                ends.append("served")
        except HydraClosed:
            ends.append("closed")

    with hydra.lease():
        threads = [threading.Thread(target=wait) for _ in range(3)]
        for thread in threads:
            thread.start()
        until(lambda: hydra._gate.waiting == 3)
        hydra.close()
        for thread in threads:
            thread.join()
    assert ends == ["closed"] * 3


async def test_closing_wakes_waiting_tasks(narrow, until):
    """A task that waits for a slot gets HydraClosed; what was on its way ends as well."""
    hydra, _ = narrow
    async with hydra.lease():
        waiting = [asyncio.create_task(hydra.achat("hello")) for _ in range(3)]
        waiting.append(asyncio.create_task(anext(hydra.astream("hello"))))
        await asyncio.to_thread(until, lambda: hydra._gate.waiting == 4)
        await hydra.aclose()
        ends = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(end) for end in ends] == [HydraClosed] * 4


@pytest.mark.parametrize("transport", ["pyreqwest", "httpx2"])
async def test_closing_ends_calls_in_flight(serve, transport, until):
    """A call whose answer has not come when Hydra is closed ends with HydraClosed."""
    fake = serve(latency=0.5)
    hydra = Hydra(fake.config(cache=False, transport=transport))
    tasks = [asyncio.create_task(hydra.achat("hello")) for _ in range(2)]
    threads = [asyncio.create_task(asyncio.to_thread(hydra.chat, "hello")) for _ in range(2)]
    await asyncio.to_thread(until, lambda: fake.in_flight == 4)
    await hydra.aclose()
    ends = await asyncio.gather(*tasks, *threads, return_exceptions=True)
    assert [type(end) for end in ends] == [HydraClosed] * 4
    assert len(fake.log) == 4


def test_a_finalizer_inside_the_gate_does_not_lock_it(narrow):
    """The collector may end a forgotten stream while the gate is held: that is no deadlock."""
    hydra, fake = narrow
    fake._house.answerer._text = "one two three four"
    stream = hydra.stream("hello")
    next(stream)
    loop = [stream]
    loop.append(loop)
    del stream, loop
    hydra._gate.ask(lambda _manager, _now: gc.collect())
    assert in_flight(hydra) == 0
    assert hydra.chat("hello again").kind == "full"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_fork_leaves_the_parents_calls_to_the_parent(narrow, until):
    """The child counts no call and no waiter of its parent, and is served at once."""
    hydra, fake = narrow
    with hydra.lease():
        waiter = threading.Thread(target=hydra.chat, args=("parent",))
        waiter.start()
        until(lambda: hydra._gate.waiting == 1)
        child = os.fork()
        if child == 0:
            signal.alarm(20)
            good = in_flight(hydra) == 0 and hydra.chat("child", max_wait=0.0).kind == "full"
            os._exit(0 if good else 1)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        assert in_flight(hydra) == 1
    waiter.join()
    assert fake.served == 2
