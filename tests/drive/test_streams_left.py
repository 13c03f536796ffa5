"""Leaving a stream early, in every way there is: the lease and the connection go back."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import threading

import pytest

from hydra_core import Hydra, HydraClosed
from hydra_core.testing import FakeKey, FakeLimits

ONE = [FakeKey("key-canary-1", limits=FakeLimits(concurrency=1))]
TRANSPORT = pytest.mark.parametrize("transport", ["pyreqwest", "httpx2"])


class Left(Exception):
    """The reader's own trouble."""


def close(stream):
    next(stream)
    stream.close()


def leave(stream):
    for _chunk in stream:
        break


def fail(stream):
    with contextlib.suppress(Left):
        for _chunk in stream:
            raise Left


def forget(stream):
    next(stream)
    ring = [stream]
    ring.append(ring)


async def aclose(stream):
    await anext(stream)
    await stream.aclose()


async def aleave(stream):
    async for _chunk in stream:
        break


async def afail(stream):
    with contextlib.suppress(Left):
        async for _chunk in stream:
            raise Left


async def aforget(stream):
    await anext(stream)
    ring = [stream]
    ring.append(ring)


async def cancel(stream):
    """Cancel the reader while it waits for a piece that never comes."""
    shown = asyncio.Event()

    async def read():
        async for _chunk in stream:
            shown.set()

    reader = asyncio.create_task(read())
    await shown.wait()
    reader.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await reader


async def time_out(stream):
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.1):
            async for _chunk in stream:
                pass


@pytest.fixture
def silent(serve):
    """A provider with one slot whose streams stop after the first piece, for ever."""
    fake = serve(ONE)
    fake.fail("stall", times=1, after_chunks=1)
    return fake


@TRANSPORT
@pytest.mark.parametrize("way", [close, leave, fail, forget], ids=lambda way: way.__name__)
def test_a_thread_that_leaves_gives_everything_back(silent, transport, way):
    """The provider sees the connection close, and its only slot serves the next call at once."""
    with Hydra(silent.config(cache=False, transport=transport)) as hydra:
        way(hydra.stream("one two three four five six"))
        gc.collect()
        silent.wait_idle()
        assert hydra.chat("hello", max_wait=0.0).kind == "full"
    assert [call.finished for call in silent.log] == [False, True]


@TRANSPORT
@pytest.mark.parametrize(
    "way", [aclose, aleave, afail, aforget, cancel, time_out], ids=lambda way: way.__name__
)
async def test_a_task_that_leaves_gives_everything_back(silent, transport, way):
    """As for threads; a forgotten stream is closed by its event loop."""
    async with Hydra(silent.config(cache=False, transport=transport)) as hydra:
        await way(hydra.astream("one two three four five six"))
        gc.collect()
        await asyncio.to_thread(silent.wait_idle)
        assert (await hydra.achat("hello", max_wait=0.0)).kind == "full"
    assert [call.finished for call in silent.log] == [False, True]


@TRANSPORT
def test_a_stream_never_begun_holds_nothing(silent, transport):
    """A stream that nobody reads from sends nothing."""
    with Hydra(silent.config(cache=False, transport=transport)) as hydra:
        stream = hydra.stream("hello")
        del stream
    assert silent.log == ()


def test_the_tokens_of_a_left_stream_stay_charged(serve):
    """What was shown and the prompt were used: the quota does not come back in full."""
    keys = [FakeKey("key-canary-1", limits=FakeLimits(tpm=100_000))]
    fake = serve(keys)
    fake.fail("stall", times=1, after_chunks=2)
    with Hydra(fake.config(cache=False)) as hydra:
        leave(hydra.stream("word " * 400))
        (key,) = hydra.health()["providers"]["fake"]["keys"]
        fake.wait_idle()
        (call,) = fake.log
        assert call.prompt_tokens <= key["limits"]["tpm"]["used"] <= 2 * call.prompt_tokens


async def test_leaving_before_an_answer_keeps_the_whole_booking(serve, until):
    """Of a second attempt nothing is known yet, whatever the first one had shown."""
    limits = FakeLimits(tpm=100_000)
    fake = serve([FakeKey(f"key-canary-{n}", limits=limits) for n in (1, 2)])
    fake.fail("role_then_cut", key=0)
    fake.fail("hang", key=1)
    async with Hydra(fake.config(cache=False, strategy="priority")) as hydra:
        reader = asyncio.create_task(anext(hydra.astream("hello", max_tokens=900)))
        await asyncio.to_thread(until, lambda: len(fake.log) == 2)
        reader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reader
        _, second = hydra.health()["providers"]["fake"]["keys"]
        assert second["limits"]["tpm"]["used"] >= 900


@TRANSPORT
def test_closing_ends_a_stream_of_another_thread(serve, pool, transport):
    """It ends with HydraClosed and not as a broken stream, and no key is blamed for it."""
    fake = serve(ONE, chunk_delay=0.02)
    hydra = pool(fake, transport=transport)
    shown, ends = threading.Event(), []

    def read():
        try:
            for _chunk in hydra.stream("word " * 500):
                shown.set()
        except Exception as error:
            ends.append(type(error))

    reader = threading.Thread(target=read)
    reader.start()
    shown.wait()
    hydra.close()
    reader.join(10)
    assert ends == [HydraClosed]
    assert hydra.stats()["faults"] == {}


@TRANSPORT
async def test_closing_ends_a_stream_of_another_task(serve, pool, transport):
    """`aclose` ends the streams of its loop at their next piece, with HydraClosed."""
    hydra = pool(serve(ONE, chunk_delay=0.02), transport=transport)
    shown = asyncio.Event()

    async def read():
        async for _chunk in hydra.astream("word " * 500):
            shown.set()

    reading = asyncio.create_task(read())
    await shown.wait()
    await hydra.aclose()
    with pytest.raises(HydraClosed):
        await asyncio.wait_for(reading, 5)
