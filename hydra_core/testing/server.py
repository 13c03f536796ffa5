"""HTTP/1.1 on loopback: one event loop in its own thread, its wire protocol by h11.

The server knows nothing of language models: it reads whole requests, asks its
application for an `Exchange`, and plays the script. Nothing of the callers'
event loops is touched, so it serves threads, loops and other processes alike.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
import time
from typing import TYPE_CHECKING

import h11

from hydra_core.testing.looks import Looks
from hydra_core.testing.script import Received

if TYPE_CHECKING:
    from collections.abc import Callable

    from hydra_core.testing.script import Exchange, Script

_BACKLOG = 4096  # a swarm opens its connections all at once
_LINGER_NONE = struct.pack("ii", 1, 0)  # closing then resets the connection instead of ending it
_MAX_HEAD = 64 * 1024


class _Connection(asyncio.Protocol):
    """One caller. Requests of one connection are answered in turn."""

    def __init__(
        self, app: Callable[[Received], Exchange], peers: set[_Connection], looks: Looks
    ) -> None:
        self._app = app
        self._peers = peers
        self._looks = looks
        self._since = 0.0
        self._new = True
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=_MAX_HEAD)
        self._request: h11.Request | None = None
        self._body: list[bytes] = []
        self.playing: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - TCP servers pass no other
        self._transport = transport
        self._since = self._looks.since(new=True)
        self._peers.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._peers.discard(self)
        if self.playing:
            self.playing.cancel()

    def abort(self) -> None:
        """Drop the caller and what is being played to him."""
        if self.playing:
            self.playing.cancel()
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._http.receive_data(data)
        self._advance()

    def _advance(self) -> None:
        """Take requests from what has arrived, until one has to be waited for or played slowly."""
        while self.playing is None and not self._transport.is_closing():
            try:
                event = self._http.next_event()
            except h11.RemoteProtocolError:  # it does not speak HTTP
                self._transport.close()
                return
            if isinstance(event, h11.Request):
                self._request = event
                self._body = []
                self._since = self._since if self._new else self._looks.since(new=False)
                self._new = False
                if self._http.they_are_waiting_for_100_continue:
                    self._send(h11.InformationalResponse(status_code=100, headers=[]))
            elif isinstance(event, h11.Data):
                self._body.append(bytes(event.data))
            elif isinstance(event, h11.EndOfMessage):
                self._answer()
            else:  # more data is needed, or the caller will send none
                return

    def _answer(self) -> None:
        request = self._request
        if request is None:
            return
        exchange = self._app(
            Received(
                request.method.decode(),
                request.target.decode(),
                {name.decode(): value.decode("latin-1") for name, value in request.headers},
                b"".join(self._body),
                time.monotonic() - self._since,
            )
        )
        script = exchange.script
        if script.ending == "end" and not script.delay and not script.gap:
            # The log is written before the reply: whoever has the reply finds it there.
            exchange.on_head()
            exchange.on_end(True)
            self._send(_head(script), *map(_data, script.pieces), h11.EndOfMessage())
            self._next_request()
            return
        task = asyncio.get_running_loop().create_task(self._play(exchange))
        # Not in `_play`: a task that is cancelled before its first step never enters its body.
        task.add_done_callback(lambda task: self._played(task, exchange))
        self.playing = task

    async def _play(self, exchange: Exchange) -> None:
        """Send a reply that takes its time or goes wrong; returning means all of it was sent."""
        script = exchange.script
        if script.delay:
            await asyncio.sleep(script.delay)
        if script.ending == "reset":
            exchange.on_end(False)
            self._reset()
        if script.ending in ("reset", "hang"):
            await _for_ever()
        exchange.on_head()
        self._send(_head(script))
        for number, piece in enumerate(script.pieces, 1):
            if number > 1 and script.gap:
                await asyncio.sleep(script.gap)
            if number < len(script.pieces) or script.ending != "end":
                self._send(_data(piece))
                continue
            exchange.on_end(True)
            self._send(_data(piece), h11.EndOfMessage())
            return
        if script.ending == "cut":
            exchange.on_end(False)
            self._transport.close()
        await _for_ever()

    def _played(self, task: asyncio.Task[None], exchange: Exchange) -> None:
        self.playing = None
        if task.cancelled() or task.exception() is not None:
            exchange.on_end(False)
            self._transport.abort()
            return
        self._next_request()
        self._advance()

    def _next_request(self) -> None:
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
        else:
            self._transport.close()

    def _send(self, *events: h11.Event) -> None:
        # One write for what belongs together: a packet and a system call less for each piece.
        sent = b"".join(self._http.send(event) or b"" for event in events)
        self._transport.write(sent)

    def _reset(self) -> None:
        raw = self._transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NONE)
        self._transport.abort()


def _head(script: Script) -> h11.Response:
    framing = (
        ("transfer-encoding", "chunked")
        if script.length is None
        else ("content-length", str(script.length))
    )
    return h11.Response(status_code=script.status, headers=[*script.headers, framing])


def _data(piece: bytes) -> h11.Data:
    return h11.Data(data=piece)


async def _for_ever() -> None:
    await asyncio.get_running_loop().create_future()


class Server:
    """A listening socket and the thread that serves it.

    A stopped server may be started again; it keeps its port, so that a provider
    which went away comes back at the same address.
    """

    def __init__(self, app: Callable[[Received], Exchange], *, host: str, port: int) -> None:
        self._app = app
        self._host = host
        self.port = port
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None

    @property
    def running(self) -> bool:
        return self._thread is not None

    @property
    def address(self) -> str:
        """`host:port`."""
        return f"{self._host}:{self.port}"

    def start(self) -> None:
        """Listen and serve; raises OSError when the port is taken. Twice is once."""
        if self._thread:
            return
        listening = socket.create_server((self._host, self.port), backlog=_BACKLOG)
        self.port = listening.getsockname()[1]
        ready = threading.Event()
        self._thread = threading.Thread(
            target=lambda: self._run(listening, ready),
            name=f"fake-provider-{self.port}",
            daemon=True,
        )
        self._thread.start()
        ready.wait()

    def stop(self) -> None:
        """Drop every caller and wait for the thread to end. Twice is once."""
        if self._thread is None or self._loop is None or self._stopping is None:
            return
        with contextlib.suppress(RuntimeError):  # the loop has ended by itself
            self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join()
        self._thread = None

    def _run(self, listening: socket.socket, ready: threading.Event) -> None:
        looks = Looks()
        with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(looks)) as runner:
            runner.run(self._serve(listening, ready, looks))

    async def _serve(self, listening: socket.socket, ready: threading.Event, looks: Looks) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        peers: set[_Connection] = set()
        server = await self._loop.create_server(
            lambda: _Connection(self._app, peers, looks), sock=listening, backlog=_BACKLOG
        )
        ready.set()
        await self._stopping.wait()
        server.close()
        for peer in peers:
            peer.abort()
        # Cancelling what is still being played tells the log that it was not finished.
        playing = [peer.playing for peer in peers if peer.playing]
        await asyncio.gather(*playing, return_exceptions=True)
