"""A provider that costs almost nothing: one fixed chat completion, from a process of its own."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection

TEXT = "It was Pew, the blind beggar, who came to the inn. " * 6
BODY = (
    b'{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,'
    b'"message":{"role":"assistant","content":"' + TEXT.encode() + b'"},"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":20,"completion_tokens":70,"total_tokens":90}}'
)
REPLY = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-ratelimit-limit-requests: 1000000\r\n"
    b"x-ratelimit-remaining-requests: 999999\r\nx-ratelimit-reset-requests: 6ms\r\n"
    b"x-ratelimit-limit-tokens: 100000000\r\nx-ratelimit-remaining-tokens: 99999999\r\n"
    b"x-ratelimit-reset-tokens: 6ms\r\ncontent-length: " + str(len(BODY)).encode() + b"\r\n\r\n"
) + BODY
PIECES = 100
_EVENT = b'data: {"id":"c","object":"chat.completion.chunk","model":"m","choices":[%b]%b}\n\n'
_CHOICE = b'{"index":0,"delta":%b,"finish_reason":%b}'
_USAGE = b',"usage":{"prompt_tokens":20,"completion_tokens":100,"total_tokens":120}'
CHUNK = _EVENT % (_CHOICE % (b'{"content":"word "}', b"null"), b"")
LAST = (
    _EVENT % (_CHOICE % (b"{}", b'"stop"'), b"") + _EVENT % (b"", _USAGE) + b"data: [DONE]\n\n"
)
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


class _Answers(asyncio.Protocol):
    """Reads requests with a content-length and answers each at once."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._data = b""

    def data_received(self, data: bytes) -> None:
        self._data += data
        while True:
            head, mark, rest = self._data.partition(b"\r\n\r\n")
            if not mark:
                return
            length = 0
            for line in head.split(b"\r\n"):
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            if len(rest) < length:
                return
            self._answer(rest[:length])
            self._data = rest[length:]

    def _answer(self, body: bytes) -> None:
        if b'"stream":true' not in body.replace(b" ", b""):
            self._transport.write(REPLY)
            return
        framed = b"%x\r\n%b\r\n" % (len(CHUNK), CHUNK)
        self._transport.write(HEAD + framed * PIECES)
        self._transport.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(LAST), LAST))


def _serve(ready: Connection, cpu: int | None) -> None:
    if cpu is not None:
        with suppress(OSError):
            os.sched_setaffinity(0, {cpu})

    async def serve() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(_Answers, "127.0.0.1", 0, backlog=512)
        ready.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    with suppress(KeyboardInterrupt):
        asyncio.run(serve())


@contextmanager
def loopback(cpu: int | None = None) -> Iterator[str]:
    """The base URL of a server in another process, on a processor of its own if there is one."""
    here, there = multiprocessing.Pipe()
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=_serve, args=(there, cpu), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{here.recv()}/v1"
    finally:
        process.terminate()
        process.join()
