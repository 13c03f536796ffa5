"""One HTTP exchange at a time: what a transport promises, and which ones there are.

A transport sends exactly one request per call, with the key attached at the last
moment, and answers with a value: `Replied` for any whole HTTP response, whatever
its status, or `Failed`. It follows no redirect, so a key never travels to an
origin other than the one it was configured for; it never turns TLS verification
off; it asks for uncompressed bodies and refuses compressed ones, so that the size
cap holds for what is received; it retries nothing, save a request that met a
kept-alive connection which the server had just closed, before any answer.

Two clients implement it and pass the same tests. `AsyncTransport`s are written
against the client; the `Transport` for threads runs one of them on a thread of
its own (`blocking`), which keeps every wait bounded and open to Ctrl-C.
"""

# ruff: noqa: ASYNC109 - a timeout that is an argument is the contract of a transport

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import urlsplit

from hydra_core.errors import ConfigError
from hydra_core.messages import Fault
from hydra_core.wire import Failed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hydra_core.vault import Secret
    from hydra_core.wire import Replied, WireRequest

MAX_BODY: Final = 32 * 1024 * 1024
"""Bytes of a whole response body; a longer one is `Failed(INVALID_RESPONSE)`."""

CONNECT_TIMEOUT: Final = 10.0
"""Seconds for name, TCP and TLS together, within the caller's own limit."""

KEEP_ALIVE: Final = 20.0
"""Seconds an idle connection is kept: less than the load balancers in front of providers do."""

USER_AGENT: Final = "hydra-llm"
"""Who asks, where a request does not say it; a dialect's requests do, with the version."""


class OpenStream(Protocol):
    """A response whose body is still coming. For one reader at a time."""

    status: int
    headers: Mapping[str, str]

    def read(self, timeout: float) -> bytes | Failed | None:
        """The next piece as it arrives, None at a clean end, or why there is none.

        `timeout` is seconds for this piece. After an end, of either kind, the
        stream is closed and gives the same end again.
        """

    def close(self) -> None:
        """Let go of the response; an unfinished one closes its connection. Idempotent."""


class Transport(Protocol):
    """Exchanges over HTTP for threads. Safe to share between them."""

    name: str

    def send(self, wire: WireRequest, secret: Secret | None, *, timeout: float) -> Replied | Failed:
        """One whole exchange in at most `timeout` seconds, the body included.

        Raises HydraClosed after `close`.
        """

    def open(
        self, wire: WireRequest, secret: Secret | None, *, timeout: float
    ) -> OpenStream | Failed:
        """An exchange up to the response's headers, which must come within `timeout` seconds.

        Raises HydraClosed after `close`.
        """

    def close(self) -> None:
        """Close every connection. Idempotent."""


class AsyncOpenStream(Protocol):
    """`OpenStream` for an event loop."""

    status: int
    headers: Mapping[str, str]

    async def read(self, timeout: float) -> bytes | Failed | None:
        """As `OpenStream.read`. A cancelled read leaves the stream to be closed."""

    async def aclose(self) -> None:
        """As `OpenStream.close`."""


class AsyncTransport(Protocol):
    """`Transport` for one event loop; build one for each."""

    name: str

    async def send(
        self, wire: WireRequest, secret: Secret | None, *, timeout: float
    ) -> Replied | Failed:
        """As `Transport.send`. Cancelling passes through."""

    async def open(
        self, wire: WireRequest, secret: Secret | None, *, timeout: float
    ) -> AsyncOpenStream | Failed:
        """As `Transport.open`. Cancelling passes through."""

    async def aclose(self) -> None:
        """As `Transport.close`."""


def make_transport(name: str = "auto", *, longest_pause: float | None = None) -> Transport:
    """A transport for threads: `auto`, `pyreqwest` or `httpx2`.

    `longest_pause` is the most seconds for which a reader of a stream bears silence, so that
    one that was given up ends at the provider, too; None: not known.
    `auto` takes the first that is installed and can run in this process. Raises
    ConfigError for an unknown name, for a named one that is not installed, and for
    an unusable proxy in the environment.
    """
    from hydra_core.drive.blocking import BlockingTransport

    return BlockingTransport(make_async_transport(name, longest_pause=longest_pause))


def make_async_transport(
    name: str = "auto", *, longest_pause: float | None = None
) -> AsyncTransport:
    """A transport for one event loop; arguments and errors as for `make_transport`."""
    if name != "auto":
        make = _MAKERS.get(name)
        if make is None:
            known = ", ".join(("auto", *_MAKERS))
            raise ConfigError(f"transport = {name!r} is not known; use one of: {known}")
        return make(longest_pause)
    refusals: list[ConfigError] = []
    for make in _MAKERS.values():
        try:
            return make(longest_pause)
        except ConfigError as refusal:
            refusals.append(refusal)
    raise refusals[-1]


def _pyreqwest(longest_pause: float | None) -> AsyncTransport:
    from hydra_core.drive.loading import load_for_good

    try:
        load_for_good("pyreqwest")
        from hydra_core.drive.pyreqwest_transport import PyreqwestTransport
    except ImportError:
        raise _not_installed("pyreqwest") from None
    return PyreqwestTransport(longest_pause=longest_pause)


def _httpx2(longest_pause: float | None) -> AsyncTransport:  # noqa: ARG001 - it ends with its reader
    try:
        from hydra_core.drive.httpx2_transport import Httpx2Transport
    except ImportError:
        raise _not_installed("httpx2") from None
    return Httpx2Transport()


def _not_installed(name: str) -> ConfigError:
    return ConfigError(
        f"transport = {name!r}, but {name} cannot be imported; "
        f"`pip install {name}`, or use transport = 'auto'"
    )


# In the order of `auto`. pyreqwest costs a third of the CPU, but a request that is
# cancelled before its headers came goes on behind the caller's back, and an
# interpreter that ends right after a call may abort (see its module): whoever wants
# the speed names it.
_MAKERS: Final[Mapping[str, Callable[[float | None], AsyncTransport]]] = {
    "httpx2": _httpx2,
    "pyreqwest": _pyreqwest,
}


def quiet(*loggers: str) -> None:
    """Keep a client's own loggers at warnings: below that they print URLs and headers."""
    for name in loggers:
        logging.getLogger(name).setLevel(logging.WARNING)


class _Forks:
    count = 0


def _note_fork() -> None:
    _Forks.count += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_note_fork)


def generation() -> int:
    """How many forks lie between the first process and this one.

    A transport made in another generation must not be used: its sockets are shared
    with the parent, whose answers it would steal, and its threads did not survive.
    """
    return _Forks.count


def inherited(url: str) -> Failed:
    """The failure of a transport used in a process that was forked after it was made."""
    return failed(
        url, Fault.UNREACHABLE, "this transport belongs to the parent process", written=False
    )


# What a client's words mean in ours; the first match counts. Its own words are
# never handed on: they hold URLs, and some hold header values.
_CAUSES: Final = (
    ("certificate", "its TLS certificate was refused"),
    ("dns", "its name cannot be resolved"),
    ("name resolution", "its name cannot be resolved"),
    ("name or service", "its name cannot be resolved"),
    ("nodename", "its name cannot be resolved"),
    ("getaddrinfo", "its name cannot be resolved"),
    ("refused", "connection refused"),
    ("unreachable", "no route"),
    ("tls", "no TLS connection"),
    ("ssl", "no TLS connection"),
    ("proxy", "the proxy refused"),
    ("tunnel", "the proxy refused"),
)
_CUT: Final = (
    "end of file", "eof", "closed", "reset", "broken pipe", "disconnected", "incomplete",
)  # fmt: skip


def failed(url: str, fault: Fault, cause: str, *, written: bool = True) -> Failed:
    """A failure whose detail names the host and the kind of cause, and nothing else."""
    try:
        host = urlsplit(url).hostname
    except ValueError:
        host = None
    return Failed(fault, f"{host or 'the server'}: {cause}", written)


def unsendable(url: str) -> Failed:
    """The request that no client can put on the wire: its URL or one of its headers is malformed.

    The values are configuration (base_url, headers), so no detail is given of them.
    """
    return failed(url, Fault.UNREACHABLE, "the URL or a header is malformed", written=False)


def unconnected(url: str, said: str) -> Failed:
    """The failure of a connection that was never made; `said` holds the client's words."""
    words = said.lower()
    cause = next((ours for theirs, ours in _CAUSES if theirs in words), "could not connect")
    return failed(url, Fault.UNREACHABLE, cause, written=False)


def broken(url: str, said: str) -> Failed:
    """The failure of an exchange under way: cut off, or no HTTP at all."""
    words = said.lower()
    if any(mark in words for mark in _CUT):
        return failed(url, Fault.STREAM_BROKEN, "the connection broke before the answer's end")
    return failed(url, Fault.INVALID_RESPONSE, "the answer was no valid HTTP")


def refusal(url: str, status: int, headers: Mapping[str, str]) -> Failed | None:
    """Why a response with this head is not read, or None."""
    if status < 200:
        return failed(url, Fault.INVALID_RESPONSE, f"an answer of status {status}")
    if headers.get("content-encoding", "identity").lower() not in ("identity", ""):
        return failed(url, Fault.INVALID_RESPONSE, "a compressed answer, which was not asked for")
    return None


def too_long(url: str) -> Failed:
    """The failure of a body beyond `MAX_BODY`."""
    return failed(url, Fault.INVALID_RESPONSE, f"an answer of more than {MAX_BODY >> 20} MiB")


def declared_length(headers: Mapping[str, str]) -> int | None:
    """The body's length in bytes as the response states it, or None."""
    stated = headers.get("content-length", "")
    return int(stated) if stated.isascii() and stated.isdigit() and len(stated) < 20 else None
