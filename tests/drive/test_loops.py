"""One Hydra for all threads, all event loops and both sides of a fork."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import subprocess
import sys
import textwrap
import threading
import weakref
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from hydra_core import Hydra
from hydra_core.errors import HydraClosed
from hydra_core.testing import FakeKey, FakeLimits

TRANSPORT = pytest.mark.parametrize("transport", ["pyreqwest", "httpx2"])
FORK = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


async def gathered(hydra, count):
    """Whole replies and streams at once, in one loop."""

    async def streamed():
        return [chunk async for chunk in hydra.astream("hello")][-1]

    calls = [hydra.achat("hello") if n % 2 else streamed() for n in range(count)]
    return [end.kind for end in await asyncio.gather(*calls)]


@TRANSPORT
def test_threads_and_loops_share_one_hydra(serve, transport):
    """16 threads and 3 event loops at once stay within the limits: all served, none refused."""
    limits = FakeLimits(concurrency=4)
    fake = serve(
        [FakeKey(f"key-canary-{n}", limits=limits) for n in range(4)],
        latency=0.005,
    )
    start = threading.Barrier(19)
    with Hydra(fake.config(cache=False, transport=transport)) as hydra:

        def calls():
            start.wait()
            return [hydra.chat("hello").kind for _ in range(20)]

        def loop():
            start.wait()
            return asyncio.run(gathered(hydra, 40))

        with ThreadPoolExecutor(19) as threads:
            ends = [threads.submit(calls) for _ in range(16)]
            ends += [threads.submit(loop) for _ in range(3)]
            kinds = Counter(kind for end in ends for kind in end.result())
    assert kinds == {"full": 16 * 20 + 3 * 40}
    assert (fake.served, fake.refused) == (16 * 20 + 3 * 40, 0)


@TRANSPORT
def test_one_loop_after_another(serve, transport):
    """`asyncio.run` again and again, as notebooks and scripts do, with one Hydra."""
    fake = serve()
    with Hydra(fake.config(cache=False, transport=transport)) as hydra:
        assert [asyncio.run(gathered(hydra, 6)) for _ in range(3)] == [["full"] * 6] * 3
    assert fake.served == 18


@TRANSPORT
def test_a_loop_that_ended_is_kept_by_nobody(serve, transport):
    """A script may call `asyncio.run` for each question: no connection outlives its loop."""
    fake, ended = serve(), []

    async def asked():
        ended.append(weakref.ref(asyncio.get_running_loop()))
        return (await hydra.achat("hello")).kind

    with Hydra(fake.config(cache=False, transport=transport)) as hydra:
        assert [asyncio.run(asked()) for _ in range(20)] == ["full"] * 20
        gc.collect()
    # pyreqwest drops what it held of a call when it is next used: the latest loops may wait for it
    assert [loop() for loop in ended[:10]] == [None] * 10


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_a_loop_that_was_merely_closed_is_forgotten_with_the_next(serve):
    """Who closes a loop without ending its generators loses that loop's connections alone."""
    with Hydra(serve().config(cache=False, transport="httpx2")) as hydra:
        for _ in range(3):
            loop = asyncio.new_event_loop()
            assert loop.run_until_complete(hydra.achat("hello")).kind == "full"
            loop.close()
        assert len(hydra._drivers._async._held) == 1


async def test_a_loop_goes_on_after_its_generators_were_ended(serve):
    """Its connections were closed then, and are made anew by the next call."""
    async with Hydra(serve().config(cache=False, transport="httpx2")) as hydra:
        assert (await hydra.achat("hello")).kind == "full"
        await hydra._drivers._async._held[asyncio.get_running_loop()].ending.aclose()
        assert (await hydra.achat("hello")).kind == "full"


@TRANSPORT
async def test_sync_calls_inside_a_running_loop(serve, transport):
    """A notebook's cell runs inside a loop: sync calls and streams need none of their own."""
    fake = serve()
    with Hydra(fake.config(cache=False, transport=transport)) as hydra:
        assert hydra.chat("hello").kind == "full"
        assert [chunk.kind for chunk in hydra.stream("hello")][-1] == "full"
        assert (await hydra.achat("hello")).kind == "full"
    assert fake.served == 3


@FORK
@pytest.mark.parametrize("transport", ["auto", "httpx2"])
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_both_sides_of_a_fork_answer(serve, transport):
    """Forked after it was used, Hydra serves parent and child, by both doors."""
    fake = serve()
    with Hydra(fake.config(cache=False, transport=transport)) as hydra:
        assert asked(hydra) == ["full"] * 3
        child = os.fork()
        if child == 0:
            signal.alarm(30)
            os._exit(0 if asked(hydra) == ["full"] * 3 else 1)
        assert asked(hydra) == ["full"] * 3
        _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert fake.served == 9


def asked(hydra):
    """What each door brings; an exception's name in its place."""
    try:
        kinds = [hydra.chat("hello").kind, asyncio.run(gathered(hydra, 1))[0]]
        return [*kinds, list(hydra.stream("hello"))[-1].kind]
    except Exception as error:  # in the child it must not reach pytest
        return [type(error).__name__]


async def test_two_thousand_waiters_on_one_instant(serve):
    """When a rest ends for 2,000 at once, none is lost and the provider is not stormed."""
    slots = 50
    fake = serve([FakeKey("key-canary-1", limits=FakeLimits(concurrency=slots))], time_scale=0.05)
    fake.saturate(seconds=1.0)
    async with Hydra(fake.config(cache=False, max_wait=60.0)) as hydra:
        replies = await asyncio.gather(*(hydra.achat("hello") for _ in range(2000)))
    assert Counter(reply.kind for reply in replies) == {"full": 2000}
    assert (fake.served, fake.refused) == (2000, slots)


DOORS = {
    "chat": lambda hydra: hydra.chat("hello"),
    "stream": lambda hydra: next(hydra.stream("hello")),
    "lease": lambda hydra: hydra.lease(),
    "plan": lambda hydra: hydra.plan("text"),
    "swarm": lambda hydra: hydra.swarm("why?", "text"),
    "explain": lambda hydra: hydra.explain("hello"),
    "capacity": lambda hydra: hydra.capacity(),
    "with": lambda hydra: hydra.__enter__(),
}


@pytest.mark.parametrize("door", DOORS)
def test_a_closed_hydra_says_so(serve, door):
    """Every door of a closed Hydra raises HydraClosed; closing again is harmless."""
    fake = serve()
    hydra = Hydra(fake.config(cache=False))
    hydra.close()
    hydra.close()
    with pytest.raises(HydraClosed):
        DOORS[door](hydra)
    assert (repr(hydra), hydra.closed, fake.log) == ("<Hydra [closed]>", True, ())


async def test_a_closed_hydra_says_so_in_loops(serve):
    """As for threads."""
    fake = serve()
    hydra = Hydra(fake.config(cache=False))
    await hydra.aclose()
    with pytest.raises(HydraClosed):
        await hydra.achat("hello")
    with pytest.raises(HydraClosed):
        await anext(hydra.astream("hello"))
    with pytest.raises(HydraClosed):
        await hydra.aswarm("why?", "text")
    await hydra.aclose()
    assert fake.log == ()


SCRIPTS = {
    "both doors": "hydra.chat('hello'); asyncio.run(ask(hydra)); asyncio.run(ask(hydra))",
    "left streams": "next(hydra.stream('one two three four')); asyncio.run(leave(hydra))",
    "held stream": "held = hydra.stream('one two three four'); next(held)",
    "dropped": "hydra.chat('hello'); del hydra; import gc; gc.collect()",
    "under way": "threading.Thread(target=hydra.chat, args=('x',), daemon=True).start()",
}


@pytest.mark.parametrize("what", SCRIPTS)
def test_a_script_that_never_closes_ends_without_a_word(serve, what, tmp_path):
    """An interpreter may end at any moment: no warning, no traceback, no hanging."""
    ended = run(serve, SCRIPTS[what], tmp_path, "-W", "error")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


@pytest.mark.parametrize("what", ["both doors", "held stream"])
def test_httpx2_ends_without_a_word_too(serve, what, tmp_path):
    """With Python's own sockets only Python's own ResourceWarning is left, which few see."""
    options = ("-W", "error", "-W", "ignore::ResourceWarning")
    ended = run(serve, SCRIPTS[what], tmp_path, *options, transport="httpx2")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


def run(serve, act, state, *options, transport="pyreqwest"):
    """Run a script in an interpreter of its own; `act` is what it does with a Hydra."""
    fake = serve(chunk_delay=0.02, latency=0.02)
    script = f"""
        import asyncio, threading
        from hydra_core import Hydra

        async def ask(hydra):
            await hydra.achat("hello")

        async def leave(hydra):
            async for chunk in hydra.astream("one two three four"):
                break

        hydra = Hydra({fake.config(transport=transport)!r})
        {act}
        """
    return subprocess.run(  # noqa: S603 - this very interpreter
        [sys.executable, *options, "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        timeout=40,
        check=False,
        env={**os.environ, "HYDRA_STATE_DIR": str(state)},
    )
