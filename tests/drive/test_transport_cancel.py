"""What cancelled calls leave behind, and what loops and threads may share."""

from __future__ import annotations

import asyncio
import random
import threading
import traceback
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from hydra_core.drive.transport import make_async_transport, make_transport
from hydra_core.errors import HydraClosed
from hydra_core.vault import Secret
from hydra_core.wire import Failed, Replied, WireRequest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

KEY = "sk-CANARY0123456789abcdefghijklmnop"
KEPT = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
CLOSING = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok"
PATIENCE = 10.0
CLIENTS = ["pyreqwest", "httpx2"]


class Site:
    """A fast server on the running loop; `/silent` never answers, `/stream` never ends."""

    def __init__(self) -> None:
        self.arrived: asyncio.Queue[str] = asyncio.Queue()
        self.left: asyncio.Queue[str] = asyncio.Queue()
        self.base = ""
        self._served = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                path = head.split()[1].decode()
                if path == "/fast":
                    self._served += 1
                    closing = self._served % 2 == 0
                    writer.write(CLOSING if closing else KEPT)
                    if closing:
                        return
                    continue
                if path == "/stream":
                    writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n")
                self.arrived.put_nowait(path)
                await reader.read()
                self.left.put_nowait(path)
                return
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            pass
        finally:
            writer.close()

    def wire(self, path: str) -> WireRequest:
        return WireRequest("GET", self.base + path, (), b"")


@asynccontextmanager
async def site() -> AsyncIterator[Site]:
    made = Site()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0, backlog=512)
    made.base = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield made
    finally:
        server.close()


async def cancel(task: asyncio.Task[object]) -> asyncio.CancelledError:
    task.cancel()
    with pytest.raises(asyncio.CancelledError) as caught:
        await task
    return caught.value


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("seed", [1, 2])
async def test_cancelled_calls_lose_no_slot(client, seed):
    """After 200 calls cancelled anywhere on a fast server, 64 at once all succeed."""
    rng = random.Random(seed)
    transport = make_async_transport(client)
    async with site() as fast:

        async def call() -> Replied | Failed:
            return await transport.send(fast.wire("/fast"), Secret(KEY), timeout=PATIENCE)

        cancelled = 0
        while cancelled < 200:
            batch = [asyncio.create_task(call()) for _ in range(20)]
            for task in batch:
                for _ in range(rng.randrange(4)):
                    await asyncio.sleep(rng.choice([0, 0, 0.0005]))
                task.cancel()
            results = await asyncio.gather(*batch, return_exceptions=True)
            cancelled += sum(isinstance(result, asyncio.CancelledError) for result in results)
        replies = await asyncio.gather(*(call() for _ in range(64)))
        assert [type(reply) for reply in replies] == [Replied] * 64
    await transport.aclose()


@pytest.mark.parametrize("client", CLIENTS)
async def test_a_cancelled_call_closes_its_connection_at_once(client, request):
    """The server sees the client leave when the caller is cancelled, long before the limit."""
    if client == "pyreqwest":
        reason = "its own thread carries on until the request's time limit"
        request.applymarker(pytest.mark.xfail(reason=reason, strict=True, raises=TimeoutError))
    transport = make_async_transport(client)
    async with site() as silent:
        call = transport.send(silent.wire("/silent"), Secret(KEY), timeout=PATIENCE)
        task = asyncio.create_task(call)
        await silent.arrived.get()
        await cancel(task)
        try:
            async with asyncio.timeout(1.0):
                await silent.left.get()
        finally:
            await transport.aclose()


@pytest.mark.parametrize("client", CLIENTS)
async def test_a_cancelled_call_does_not_outlive_its_time_limit(client):
    """Whatever the client does with it, the exchange ends when its time is over."""
    transport = make_async_transport(client)
    async with site() as silent:
        call = transport.send(silent.wire("/silent"), Secret(KEY), timeout=0.5)
        task = asyncio.create_task(call)
        await silent.arrived.get()
        await cancel(task)
        async with asyncio.timeout(PATIENCE):
            assert await silent.left.get() == "/silent"
    await transport.aclose()


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("how", ["given up", "cancelled"])
async def test_a_silent_stream_ends_at_the_provider_soon_after_its_reader(client, how):
    """Before its headers too: no stream outlives the longest silence that a reader bears."""
    transport = make_async_transport(client, longest_pause=0.3)
    async with site() as silent:
        patience = 0.1 if how == "given up" else PATIENCE
        call = transport.open(silent.wire("/silent"), Secret(KEY), timeout=patience)
        task = asyncio.create_task(call)
        await silent.arrived.get()
        if how == "cancelled":
            await cancel(task)
        else:
            assert isinstance(await task, Failed)
        async with asyncio.timeout(PATIENCE):
            assert await silent.left.get() == "/silent"
    await transport.aclose()


@pytest.mark.parametrize("client", CLIENTS)
async def test_a_cancelled_read_leaves_a_stream_that_can_be_closed(client):
    """Cancelling passes through `read`; `aclose` then closes the connection."""
    transport = make_async_transport(client)
    async with site() as endless:
        stream = await transport.open(endless.wire("/stream"), Secret(KEY), timeout=PATIENCE)
        assert not isinstance(stream, Failed)
        assert await stream.read(PATIENCE) == b"a"
        reading = asyncio.create_task(stream.read(PATIENCE))
        await asyncio.sleep(0.02)
        await cancel(reading)
        await stream.aclose()
        async with asyncio.timeout(PATIENCE):
            assert await endless.left.get() == "/stream"
    await transport.aclose()


@pytest.mark.parametrize("client", CLIENTS)
async def test_a_cancelled_call_shows_no_key_in_its_traceback(client):
    """Even with every local variable printed, the key is not there."""
    transport = make_async_transport(client)
    async with site() as silent:
        secret = Secret(KEY)
        for call in (transport.send, transport.open):
            task = asyncio.create_task(call(silent.wire("/silent"), secret, timeout=PATIENCE))
            await silent.arrived.get()
            error = await cancel(task)
            shown = traceback.TracebackException.from_exception(error, capture_locals=True)
            assert "CANARY" not in "".join(shown.format()).replace(f"KEY = {KEY!r}", "")
    await transport.aclose()


@pytest.mark.parametrize("client", CLIENTS)
def test_each_loop_has_a_transport_of_its_own(client):
    """Two `asyncio.run` in turn, a transport for each, work alike."""

    async def once() -> Replied | Failed:
        transport = make_async_transport(client)
        async with site() as fast:
            reply = await transport.send(fast.wire("/fast"), Secret(KEY), timeout=PATIENCE)
        await transport.aclose()
        return reply

    assert [type(asyncio.run(once())) for _ in range(2)] == [Replied, Replied]


@pytest.mark.parametrize("client", CLIENTS)
async def test_threads_share_one_transport(client):
    """Eight threads, ten calls each, over one transport: all succeed."""
    transport = make_transport(client)
    replies: list[Replied | Failed] = []
    async with site() as fast:

        def work() -> None:
            wire = fast.wire("/fast")
            replies.extend(transport.send(wire, None, timeout=PATIENCE) for _ in range(10))

        await asyncio.gather(*(asyncio.to_thread(work) for _ in range(8)))
        await asyncio.to_thread(transport.close)
    assert [type(reply) for reply in replies] == [Replied] * 80


@pytest.mark.parametrize("client", CLIENTS)
async def test_closing_ends_the_calls_of_other_threads(client):
    """A thread that waits in a call is let go when the transport is closed."""
    transport = make_transport(client)
    ends: list[object] = []
    async with site() as silent:

        def work() -> None:
            try:
                ends.append(transport.send(silent.wire("/silent"), None, timeout=PATIENCE))
            except HydraClosed as closed:
                ends.append(closed)

        thread = threading.Thread(target=work)
        thread.start()
        await silent.arrived.get()
        await asyncio.to_thread(transport.close)
        await asyncio.to_thread(thread.join, PATIENCE)
    assert isinstance(ends[0], Failed | HydraClosed)
