"""Both doors of Hydra behind one face, and pools whose provider judges them."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socketserver
import threading
from functools import partial

import pytest

from hydra_core import Hydra
from hydra_core.errors import HydraError
from hydra_core.testing import FakeProvider


class Caller:
    """Calls a Hydra through its sync or its async door; tests do not see which."""

    def __init__(self, door, runner, until):
        self.door = door
        self._runner = runner
        self._until = until

    def chat(self, hydra, *args, **kwargs):
        """One reply."""
        if self.door == "sync":
            return hydra.chat(*args, **kwargs)
        return self._runner.run(hydra.achat(*args, **kwargs))

    def stream(self, hydra, *args, **kwargs):
        """All chunks of one stream."""
        if self.door == "sync":
            return list(hydra.stream(*args, **kwargs))
        return self._runner.run(_collect(hydra.astream(*args, **kwargs)))

    def shown(self, hydra, *args, **kwargs):
        """The texts that a stream showed, and the error that ended it, if any."""
        if self.door == "sync":
            return _shown(hydra.stream(*args, **kwargs))
        return self._runner.run(_ashown(hydra.astream(*args, **kwargs)))

    def ask(self, hydra, *args, stream=False, **kwargs):
        """The text and kind of a reply, streamed or not."""
        if not stream:
            reply = self.chat(hydra, *args, **kwargs)
            return reply.text, reply.kind
        chunks = self.stream(hydra, *args, **kwargs)
        return "".join(chunk.text for chunk in chunks), chunks[-1].kind

    def chats(self, hydra, questions, **kwargs):
        """Replies to several questions at once."""
        if self.door == "async":
            return self._runner.run(_gather(hydra.achat(q, **kwargs) for q in questions))
        return self._runner.run(
            _gather(asyncio.to_thread(hydra.chat, q, **kwargs) for q in questions)
        )

    def queue(self, hydra, asks):
        """Replies to (question, priority) pairs, each asked when those before it wait."""
        return self._runner.run(self._queued(hydra, asks))

    async def _queued(self, hydra, asks):
        calls = []
        for already, (question, priority) in enumerate(asks):
            call = hydra.achat if self.door == "async" else partial(asyncio.to_thread, hydra.chat)
            calls.append(asyncio.create_task(call(question, priority=priority)))
            await asyncio.to_thread(self._until, lambda n=already: hydra._gate.waiting == n)
        return await asyncio.gather(*calls)

    def lease(self, hydra, use, **kwargs):
        """What `use` makes of a lease, inside its `with` block."""
        if self.door == "sync":
            with hydra.lease(**kwargs) as lease:
                return use(lease)

        async def inside():
            async with hydra.lease(**kwargs) as lease:
                return use(lease)

        return self._runner.run(inside())

    def rotated(self, hydra, function, **kwargs):
        """`function` decorated by `Hydra.rotate`; on the async door it becomes a coroutine."""
        if self.door == "sync":
            return hydra.rotate(**kwargs)(function)

        @hydra.rotate(**kwargs)
        async def asked(api_key, base_url=None, model=None):
            return function(api_key, base_url=base_url, model=model)

        return lambda: self._runner.run(asked())

    def close(self, hydra):
        """Close a Hydra by this door."""
        if self.door == "sync":
            hydra.close()
        else:
            self._runner.run(hydra.aclose())


class RawServer(socketserver.ThreadingTCPServer):
    """Says over HTTP whatever a test wants, and keeps the heads of the requests it got."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, pieces):
        """`pieces` makes of a request's head the bytes to send one after the other."""
        super().__init__(("127.0.0.1", 0), _RawHandler)
        self.pieces = pieces
        self.heads = []
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def provider(self, name="raw", keys=("key-canary-raw-1",), **more):
        """This server as a provider of a configuration."""
        url = f"http://127.0.0.1:{self.server_address[1]}/v1"
        rows = [{"name": f"{name}-{n}", "value": key} for n, key in enumerate(keys, 1)]
        return {"name": name, "base_url": url, "models": ["raw-model"], "keys": rows, **more}


class _RawHandler(socketserver.StreamRequestHandler):
    def handle(self):
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = self.rfile.readline()
            if not line:
                return
            head += line
        length = re.search(rb"content-length: (\d+)", head.lower())
        self.rfile.read(int(length[1]) if length else 0)
        self.server.heads.append(head.decode())
        with contextlib.suppress(OSError):  # the caller may leave at any moment
            for piece in self.server.pieces(head.decode()):
                self.wfile.write(piece)


async def _collect(stream):
    return [chunk async for chunk in stream]


def _shown(stream):
    texts = []
    try:
        for chunk in stream:
            texts.append(chunk.text)  # noqa: PERF401 - what came before an error counts
    except HydraError as error:
        return texts, error
    return texts, None


async def _ashown(stream):
    texts = []
    try:
        async for chunk in stream:
            texts.append(chunk.text)  # noqa: PERF401
    except HydraError as error:
        return texts, error
    return texts, None


async def _gather(calls):
    return await asyncio.gather(*calls)


@pytest.fixture(params=["sync", "async"])
def caller(request, until):
    """Each test that takes it runs through both doors."""
    with asyncio.Runner() as runner:
        yield Caller(request.param, runner, until)


@pytest.fixture
def raw():
    """Start a server that sends whatever bytes a test wants, then closes the connection."""
    servers = []

    def start(pieces):
        servers.append(RawServer(pieces))
        return servers[-1]

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def serve():
    """Start a FakeProvider; in the end nothing may be in flight, and nobody to blame."""
    with contextlib.ExitStack() as stack:
        started = []

        def start(keys=("key-canary-1", "key-canary-2"), *, judged=True, **how):
            fake = stack.enter_context(FakeProvider(list(keys), **how))
            if judged:
                started.append(fake)
            return fake

        yield start
        for fake in started:
            fake.wait_idle()
            assert fake.violations == ()


@pytest.fixture
def pool(serve, caller):
    """A Hydra over one or several providers, without a cache and closed in the end."""
    hydras = []

    def build(*fakes, **settings):
        fakes = fakes or (serve(),)
        config = {"strategy": "priority", "cache": False, "max_wait": 5.0, **settings}
        whole = fakes[0].config(**config)
        whole["providers"] = [row for fake in fakes for row in fake.config()["providers"]]
        if "providers" in settings:
            whole["providers"] = settings["providers"]
        hydras.append(Hydra(whole))
        return hydras[-1]

    yield build
    for hydra in hydras:
        caller.close(hydra)
