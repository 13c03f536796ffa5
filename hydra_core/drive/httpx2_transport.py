"""HTTP by httpx2, at the level of its transports.

The client above them (redirects, cookies, authentication, hooks, a log line with
the URL) offers nothing that is wanted here, and would cost a third of a call.
"""

# ruff: noqa: ASYNC109 - a timeout that is an argument is the contract of a transport

from __future__ import annotations

import asyncio
import contextlib
from functools import lru_cache
from typing import TYPE_CHECKING

import httpx2

from hydra_core.drive import transport as common
from hydra_core.drive.proxies import Proxies, from_environment
from hydra_core.errors import HydraClosed
from hydra_core.messages import Fault
from hydra_core.wire import Failed, Replied

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from hydra_core.vault import Secret
    from hydra_core.wire import WireRequest

# httpcore2 asks the socket of every idle connection, at every request, whether it still
# lives, which takes about 20 us each: the 16 that a burst left made each later call half as
# dear again. What is in flight does not count: calls that are made at once need none idle.
_MAX_IDLE = 4
_LIMITS = httpx2.Limits(
    max_connections=None,
    max_keepalive_connections=_MAX_IDLE,
    keepalive_expiry=common.KEEP_ALIVE,
)
_OWN_HEADERS = (("user-agent", common.USER_AGENT), ("accept-encoding", "identity"))
_NEVER_SENT = (
    httpx2.ConnectError,
    httpx2.ProxyError,
    httpx2.LocalProtocolError,
    httpx2.UnsupportedProtocol,
)


class _Progress:
    """How far one request got, as httpcore2 tells it: what a failure cannot say."""

    __slots__ = ("fresh", "written")

    def __init__(self) -> None:
        self.fresh = False
        self.written = False

    async def __call__(self, event: str, _info: object) -> None:
        if event == "http11.send_request_headers.started":
            self.written = True
        elif event == "connection.connect_tcp.started":
            self.fresh = True


class Httpx2Transport:
    """An `AsyncTransport` for one event loop."""

    name = "httpx2"

    def __init__(
        self, *, proxies: Proxies | None = None, connect_timeout: float = common.CONNECT_TIMEOUT
    ) -> None:
        """`proxies` None: those of the environment, whose ConfigError passes through."""
        common.quiet("httpx2", "httpcore2")
        self._generation = common.generation()
        self._closed = False
        self._timeouts = {"connect": connect_timeout}
        self._proxies = proxies or from_environment()
        self._tls = httpx2.create_ssl_context()
        self._routes: dict[str | None, httpx2.AsyncHTTPTransport] = {}

    async def send(
        self, wire: WireRequest, secret: Secret | None, *, timeout: float
    ) -> Replied | Failed:
        """See `AsyncTransport.send`."""
        progress = _Progress()
        try:
            async with asyncio.timeout(timeout):
                response = await self._begin(wire, secret, progress)
                if isinstance(response, Failed):
                    return response
                try:
                    return await _whole(response, wire.url)
                finally:
                    await response.aclose()
        except httpx2.TransportError as error:
            return _failed(error, wire.url, progress)
        except TimeoutError:
            cause = "no whole answer in time"
            return common.failed(wire.url, Fault.TIMEOUT, cause, written=progress.written)

    async def open(
        self, wire: WireRequest, secret: Secret | None, *, timeout: float
    ) -> Httpx2Stream | Failed:
        """See `AsyncTransport.open`."""
        progress = _Progress()
        try:
            async with asyncio.timeout(timeout):
                response = await self._begin(wire, secret, progress)
        except httpx2.TransportError as error:
            return _failed(error, wire.url, progress)
        except TimeoutError:
            cause = "no answer in time"
            return common.failed(wire.url, Fault.TIMEOUT, cause, written=progress.written)
        if isinstance(response, Failed):
            return response
        stream = Httpx2Stream(response, wire.url, progress)
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
                for route in self._routes.values():
                    await route.aclose()

    async def _begin(
        self, wire: WireRequest, secret: Secret | None, progress: _Progress
    ) -> httpx2.Response | Failed:
        """Send the request and wait for the headers."""
        if self._closed:
            raise HydraClosed("the transport was closed; build a new one")
        if self._generation != common.generation():
            return common.inherited(wire.url)
        try:
            route = self._route(_url(wire.url))
            request = self._request(wire, secret, progress)
        except (httpx2.InvalidURL, ValueError):
            return common.unsendable(wire.url)
        try:
            return await route.handle_async_request(request)
        except (httpx2.NetworkError, httpx2.RemoteProtocolError) as error:
            if not _stale(error, progress):
                raise
        # The server had closed the idle connection before it could see this request.
        return await route.handle_async_request(self._request(wire, secret, progress))

    def _request(
        self, wire: WireRequest, secret: Secret | None, progress: _Progress
    ) -> httpx2.Request:
        # Apart from the awaiting frames: the key is in no local variable while anything waits.
        given = {name for name, _ in wire.headers}
        headers = [own for own in _OWN_HEADERS if own[0] not in given]
        headers += wire.headers
        if secret is not None:
            headers.append((wire.auth_header, wire.auth_prefix + secret.get_secret_value()))
        return httpx2.Request(
            wire.method,
            _url(wire.url),
            headers=headers,
            content=wire.body,
            extensions={"timeout": self._timeouts, "trace": progress},
        )

    def _route(self, url: httpx2.URL) -> httpx2.AsyncHTTPTransport:
        proxy = self._proxies.lead_to(url.scheme, url.host)
        route = self._routes.get(proxy)
        if route is None:
            route = httpx2.AsyncHTTPTransport(
                verify=self._tls, trust_env=False, limits=_LIMITS, proxy=proxy
            )
            self._routes[proxy] = route
        return route


class Httpx2Stream:
    """An `AsyncOpenStream`."""

    def __init__(self, response: httpx2.Response, url: str, progress: _Progress) -> None:
        self.status: int = response.status_code
        self.headers: Mapping[str, str] = _headers(response)
        self._response = response
        self._pieces = _pieces(response)
        self._url = url
        self._progress = progress
        self._loop = asyncio.get_running_loop()
        self._end: Failed | None = None
        self._closed = False

    async def read(self, timeout: float) -> bytes | Failed | None:
        """See `AsyncOpenStream.read`."""
        if self._closed:
            return self._end
        try:
            async with asyncio.timeout(timeout):
                return await anext(self._pieces)
        except StopAsyncIteration:
            pass
        except httpx2.TransportError as error:
            self._end = _failed(error, self._url, self._progress)
        except TimeoutError:
            self._end = common.failed(self._url, Fault.TIMEOUT, "nothing more came in time")
        await self.aclose()
        return self._end

    async def aclose(self) -> None:
        """See `AsyncOpenStream.aclose`."""
        if not self._closed:
            self._closed = True
            await _leave(self._response)

    def __del__(self) -> None:
        if not self._closed:
            with contextlib.suppress(RuntimeError):  # the loop has ended, its sockets with it
                self._loop.call_soon_threadsafe(_leave_soon, self._response)


@lru_cache(maxsize=256)
def _url(text: str) -> httpx2.URL:
    return httpx2.URL(text)


def _pieces(response: httpx2.Response) -> AsyncIterator[bytes]:
    # The bytes as received: the response's own iterators would decode and regroup them.
    stream = response.stream
    if not isinstance(stream, httpx2.AsyncByteStream):
        raise TypeError("an asynchronous transport gave a blocking body")
    return aiter(stream)


async def _leave(response: httpx2.Response) -> None:
    with contextlib.suppress(httpx2.TransportError):
        await response.aclose()


_leaving: set[asyncio.Task[None]] = set()  # a loop keeps no task alive by itself


def _leave_soon(response: httpx2.Response) -> None:
    task = asyncio.get_running_loop().create_task(_leave(response))
    _leaving.add(task)
    task.add_done_callback(_leaving.discard)


async def _whole(response: httpx2.Response, url: str) -> Replied | Failed:
    headers = _headers(response)
    refusal = common.refusal(url, response.status_code, headers)
    if refusal is not None:
        return refusal
    room = common.MAX_BODY
    if (common.declared_length(headers) or 0) > room:
        return common.too_long(url)
    pieces: list[bytes] = []
    async for piece in _pieces(response):
        pieces.append(piece)
        room -= len(piece)
        if room < 0:
            return common.too_long(url)
    body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
    return Replied(response.status_code, headers, body)


def _headers(response: httpx2.Response) -> dict[str, str]:
    """One value per name, in lower case; repeats are joined by ", "."""
    raw = [(n.lower().decode("latin-1"), v.decode("latin-1")) for n, v in response.headers.raw]
    together = dict(raw)
    if len(together) < len(raw):
        for name in together:
            together[name] = ", ".join(value for other, value in raw if other == name)
    return together


def _stale(error: httpx2.TransportError, progress: _Progress) -> bool:
    if progress.fresh or not progress.written:
        return False
    return not isinstance(error, httpx2.RemoteProtocolError) or "without sending" in str(error)


def _failed(error: httpx2.TransportError, url: str, progress: _Progress) -> Failed:
    if isinstance(error, httpx2.LocalProtocolError):  # its text holds the header's value
        return common.unsendable(url)
    if isinstance(error, _NEVER_SENT):
        return common.unconnected(url, str(error))
    if isinstance(error, httpx2.TimeoutException):  # only the connecting one is set
        cause = "no connection in time"
        return common.failed(url, Fault.UNREACHABLE, cause, written=progress.written)
    if isinstance(error, httpx2.ReadError | httpx2.WriteError | httpx2.CloseError):
        return common.broken(url, "connection closed")
    return common.broken(url, str(error))
