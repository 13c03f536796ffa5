"""What the server will do with one connection: a reply as a value, played by `server.py`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable

    from hydra_core.testing.sayings import Headers

Ending = Literal["end", "cut", "stall", "hang", "reset"]


@dataclass(frozen=True, slots=True)
class Script:
    """One reply to be sent. Times are real seconds.

    `delay` passes before the headers and `gap` between two pieces; `length` None
    means a chunked body. `ending`: `end` closes the reply properly; `cut` closes
    the connection after the pieces; `stall` sends the pieces and then nothing for
    ever; `hang` never sends anything; `reset` resets the connection at once.
    """

    status: int
    headers: Headers
    pieces: tuple[bytes, ...] = ()
    length: int | None = None
    delay: float = 0.0
    gap: float = 0.0
    ending: Ending = "end"


@dataclass(frozen=True, slots=True)
class Received:
    """One whole HTTP request. Header names are lower case.

    `lag` is for how many real seconds it may have lain unread: a busy server
    comes late to what has arrived.
    """

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    lag: float


@dataclass(frozen=True, slots=True)
class Exchange:
    """A script and who wants to know how it went, both called on the server's thread.

    `on_head` just before the reply's head leaves; `on_end` just before its last
    byte leaves (True), or when it is clear that it never will (False). The first
    call of `on_end` counts.
    """

    script: Script
    on_head: Callable[[], None]
    on_end: Callable[[bool], None]


JSON_TYPE = (("content-type", "application/json"),)
STREAM_TYPE = (("content-type", "text/event-stream; charset=utf-8"), ("cache-control", "no-cache"))


def whole(status: int, body: bytes, headers: Headers = ()) -> Script:
    """A reply in one piece."""
    return Script(status, JSON_TYPE + headers, (body,), length=len(body))
