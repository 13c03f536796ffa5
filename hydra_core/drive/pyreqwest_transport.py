"""HTTP by pyreqwest, a binding of Rust's reqwest: the cheaper client, measured in CPU per call.

What its behaviour asks of this module:

- Its own thread carries on with a request whose caller was cancelled while no
  headers had come, and closing the client does not end it. Only its own clocks
  do: each request gets a limit of its own, so that such an orphan ends with the
  call's limit at the latest; and streams, whose limit is a long one, have a client
  that bears no longer silence than their readers do.
- Pieces are held back until a buffer is full, unless that buffer's size is zero.
- A response dropped without its exit keeps the connection; `PyreqwestStream`
  closes it when it is collected.
- Its blocking client does not see Ctrl-C, and aborts the process when an error
  follows one; threads use this module through `blocking` instead.
- It cannot run in a process forked after it ran.
- The thread that loads it must never end; see `loading`.
- Its thread still holds the interpreter for a moment after it delivered a result;
  an interpreter that ends in that moment aborts (seen in 1 to 6 of 100 scripts
  whose last act is a call). `_settle` lets it finish.
- It says nothing of reused connections, but itself sends again a request whose
  connection turned out to be closed before anything was written.
"""

# ruff: noqa: ASYNC109 - a timeout that is an argument is the contract of a transport

from __future__ import annotations

import asyncio
import atexit
import contextlib
import time
from datetime import timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from pyreqwest.exceptions import (
    BuilderError,
    ClientClosedError,
    PyreqwestError,
    RequestPanicError,
)
from pyreqwest.request import RequestBody, StreamRequest

from hydra_core.drafts import drafted
from hydra_core.drive import transport as common
from hydra_core.drive.proxies import Proxies, from_environment
from hydra_core.drive.pyreqwest_client import make_client
from hydra_core.errors import HydraClosed
from hydra_core.messages import Fault
from hydra_core.wire import Failed, Replied

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyreqwest.client import Client
    from pyreqwest.response import Response

    from hydra_core.vault import Secret
    from hydra_core.wire import WireRequest

# Bytes of a body that are read together with the headers: most replies whole.
_FIRST_READ = 256 * 1024
_LATER_READ = 1024 * 1024
# Seconds; the longest life of a stream, and so of one that was abandoned before its headers.
_STREAM_LIFE = 1800.0
# Seconds; so much later than its reader, who gives up first and says why, a silent stream ends.
_GRACE = 0.5
# Seconds; what its thread gets at the interpreter's end to let go of it.
_SETTLING = 0.02
# Requests kept without key and body: a pool's calls are to few addresses, with few limits.
_BLANKS = 256
# hyper's mark of a failure before the request was put on the wire.
_CONNECTING = "(connect)"
_replied = drafted(Replied)


def _settle() -> None:
    time.sleep(_SETTLING)


atexit.register(_settle)


class PyreqwestTransport:
    """An `AsyncTransport`; unlike others it may serve several event loops."""

    name = "pyreqwest"

    def __init__(
        self,
        *,
        proxies: Proxies | None = None,
        connect_timeout: float = common.CONNECT_TIMEOUT,
        longest_pause: float | None = None,
    ) -> None:
        """`proxies` None: those of the environment.

        `longest_pause` is the most seconds that any reader waits for a piece of a stream, its
        headers included; None: nobody knows. Raises ConfigError in a forked process.
        """
        common.quiet("pyreqwest")
        self._generation = common.generation()
        self._closed = False
        self._proxies = proxies or from_environment()
        self._connect_timeout = connect_timeout
        self._client = make_client(self._proxies, connect_timeout)
        self._longest_pause = longest_pause
        self._streams: Client | None = None
        self._blank = lru_cache(maxsize=_BLANKS)(_blank)

    async def send(
        self, wire: WireRequest, secret: Secret | None, *, timeout: float
    ) -> Replied | Failed:
        """See `AsyncTransport.send`."""
        if self._inherited():
            return common.inherited(wire.url)
        try:
            async with self._request(self._client, wire, secret, timeout, _FIRST_READ) as response:
                return await _whole(response, wire.url)
        except PyreqwestError as error:
            return _failed(error, wire.url)

    async def open(
        self, wire: WireRequest, secret: Secret | None, *, timeout: float
    ) -> PyreqwestStream | Failed:
        """See `AsyncTransport.open`."""
        if self._inherited():
            return common.inherited(wire.url)
        limit = timeout + _STREAM_LIFE
        try:
            opening = _Opening(self._request(self._for_streams(), wire, secret, limit, 0))
            async with asyncio.timeout(timeout):
                stream = await opening.stream(wire.url)
        except PyreqwestError as error:
            return _failed(error, wire.url)
        except TimeoutError:
            return common.failed(wire.url, Fault.TIMEOUT, "no answer in time")
        refusal = common.refusal(wire.url, stream.status, stream.headers)
        if refusal is not None:
            await stream.aclose()
            return refusal
        return stream

    async def aclose(self) -> None:
        """See `AsyncTransport.aclose`."""
        if not self._closed:
            self._closed = True
            if self._generation == common.generation():
                await self._client.close()
                if self._streams is not None:
                    await self._streams.close()

    def _for_streams(self) -> Client:
        """The client of streams; two loops may both come here first, and one is dropped unused."""
        if self._longest_pause is None:
            return self._client
        if self._streams is None:
            silence = self._longest_pause + _GRACE
            self._streams = make_client(self._proxies, self._connect_timeout, silence)
        return self._streams

    def _inherited(self) -> bool:
        if self._closed:
            raise HydraClosed("the transport was closed; build a new one")
        return self._generation != common.generation()

    def _request(
        self, client: Client, wire: WireRequest, secret: Secret | None, limit: float, buffer: int
    ) -> StreamRequest:
        # Apart from the awaiting frames: the key is in no local variable while anything waits.
        try:
            blank = self._blank(client, wire.method, wire.url, wire.headers, limit, buffer)
            request = StreamRequest.from_request_and_body(blank, RequestBody.from_bytes(wire.body))
            if secret is not None:
                value = wire.auth_prefix + secret.get_secret_value()
                request.headers.append(wire.auth_header, value, is_sensitive=True)
        except ValueError:  # its message holds the header's value
            raise BuilderError("malformed", {"causes": None}) from None
        return request


class _Opening:
    """Holds a request that is on its way: the bare object cannot be printed once it was sent."""

    __slots__ = ("_request",)

    def __init__(self, request: StreamRequest) -> None:
        self._request = request

    async def stream(self, url: str) -> PyreqwestStream:
        return PyreqwestStream(self._request, await self._request.__aenter__(), url)


class PyreqwestStream:
    """An `AsyncOpenStream`."""

    def __init__(self, request: StreamRequest, response: Response, url: str) -> None:
        self.status: int = response.status
        self.headers: Mapping[str, str] = _headers(response)
        self._request = request
        self._reader = response.body_reader
        self._url = url
        self._end: Failed | None = None
        self._closed = False

    async def read(self, timeout: float) -> bytes | Failed | None:
        """See `AsyncOpenStream.read`."""
        if self._closed:
            return self._end
        try:
            async with asyncio.timeout(timeout):
                piece = await self._reader.read_chunk()
            if piece is not None:
                return piece.to_bytes()
        except PyreqwestError as error:
            self._end = _failed(error, self._url)
        except TimeoutError:
            self._end = common.failed(self._url, Fault.TIMEOUT, "nothing more came in time")
        await self.aclose()
        return self._end

    async def aclose(self) -> None:
        """See `AsyncOpenStream.aclose`."""
        if not self._closed:
            self._closed = True
            await self._request.__aexit__(None, None, None)

    def __del__(self) -> None:
        if not self._closed:
            # Leaving takes a single step and no event loop, so it can be taken here.
            with contextlib.suppress(StopIteration, PyreqwestError, RuntimeError):
                self._request.__aexit__(None, None, None).send(None)


async def _whole(response: Response, url: str) -> Replied | Failed:
    status = response.status
    headers = _headers(response)
    refusal = common.refusal(url, status, headers)
    if refusal is not None:
        return refusal
    length = common.declared_length(headers)
    if length is not None:
        if length > common.MAX_BODY:
            return common.too_long(url)
        return _replied(status, headers, (await response.bytes()).to_bytes())
    reader = response.body_reader
    pieces: list[bytes] = []
    room = common.MAX_BODY
    while (piece := await reader.read(_LATER_READ if pieces else _FIRST_READ)) is not None:
        pieces.append(piece.to_bytes())
        room -= len(piece)
        if room < 0:
            return common.too_long(url)
    return _replied(status, headers, b"".join(pieces))


def _blank(
    client: Client,
    method: str,
    url: str,
    headers: tuple[tuple[str, str], ...],
    limit: float,
    buffer: int,
) -> StreamRequest:
    return (
        client.request(method, url)
        .headers(headers)
        .timeout(timedelta(seconds=max(limit, 0.0)))
        .streamed_read_buffer_limit(buffer)
        .build_streamed()
    )


def _headers(response: Response) -> dict[str, str]:
    headers = response.headers
    try:
        found: dict[str, Any] = headers.dict_multi_value()
    except ValueError:  # one value is not ASCII; the others still count
        readable = {}
        for name in headers:
            with contextlib.suppress(ValueError):
                readable[name] = ", ".join(response.get_header_all(name))
        return readable
    if len(found) < len(headers):
        return {n: of if isinstance(of, str) else ", ".join(of) for n, of in found.items()}
    return found


def _failed(error: PyreqwestError, url: str) -> Failed:
    if isinstance(error, BuilderError):
        return common.unsendable(url)
    said = _words(error)
    if _CONNECTING in said:
        if isinstance(error, TimeoutError):
            return common.failed(url, Fault.UNREACHABLE, "no connection in time", written=False)
        return common.unconnected(url, said)
    if isinstance(error, TimeoutError):
        return common.failed(url, Fault.TIMEOUT, "no whole answer in time")
    if isinstance(error, ClientClosedError):
        return common.failed(url, Fault.CANCELLED, "the transport was closed during the call")
    if isinstance(error, RequestPanicError):
        return common.failed(url, Fault.UNKNOWN, "the HTTP client failed")
    return common.broken(url, said)


def _words(error: PyreqwestError) -> str:
    # The causes that quote the request's URL are left out: a path may hold any word.
    details = getattr(error, "details", None) or {}
    causes = [cause["message"] for cause in details.get("causes") or ()]
    return " ".join(text for text in causes if " url (" not in text).lower()
