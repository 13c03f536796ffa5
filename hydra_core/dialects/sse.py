"""Server-sent events out of raw bytes, the same for every way the bytes are cut.

Lines end at CR, LF or CRLF only: other separators that Unicode knows are legal
inside JSON. Lines stay bytes until they are whole, so a character cut in two
is no problem.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

LINE_CAP: Final = 1 << 20  # bytes of one line, and of one event's data
STRAY_CAP: Final = 1 << 16  # bytes kept of a body that turns out to be no event stream

_ENDS: Final = b"\r\n"
_BOM: Final = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """One event: its data lines joined by LF, and its name (empty: a message)."""

    data: bytes
    name: bytes = b""


class SseSplitter:
    """Cuts a byte stream into events. Comments are skipped.

    `overflow` is True once a line or an event exceeded `LINE_CAP`; nothing is
    read after that. `stray` holds lines that belong to no event stream, such
    as a plain JSON body sent in place of one.
    """

    __slots__ = ("_after_cr", "_data", "_first", "_name", "_partial", "_size", "overflow", "stray")

    def __init__(self) -> None:
        self._partial = bytearray()
        self._data: list[bytes] = []
        self._size = 0
        self._name = b""
        self._first = True
        self._after_cr = False
        self.overflow = False
        self.stray = bytearray()

    def feed(self, data: bytes) -> list[ServerEvent]:
        """The events that these bytes complete."""
        if self._after_cr and data:
            self._after_cr = False
            data = data.removeprefix(b"\n")
        events: list[ServerEvent] = []
        for piece in data.splitlines(keepends=True):
            if self.overflow:
                break
            line = piece.rstrip(_ENDS)
            if self._partial or len(line) == len(piece):
                self._partial += line
                if len(self._partial) > LINE_CAP:
                    self.overflow = True
                if len(line) == len(piece):
                    break
                line = bytes(self._partial)
                self._partial.clear()
            event = self._line(line)
            if event is not None:
                events.append(event)
        self._after_cr = self._after_cr or data[-1:] == b"\r"
        return events

    def finish(self) -> ServerEvent | None:
        """The last event, if the body ended without the blank line that closes it."""
        if self._partial:
            self._line(bytes(self._partial))
            self._partial.clear()
        return None if self.overflow else self._dispatch()

    def _line(self, line: bytes) -> ServerEvent | None:
        if self._first:
            self._first = False
            line = line.removeprefix(_BOM)
        if len(line) > LINE_CAP:
            self.overflow = True
        if self.overflow:
            return None
        if not line:
            return self._dispatch()
        name, colon, value = line.partition(b":")
        if colon and value[:1] == b" ":
            value = value[1:]
        if name == b"data":
            self._data.append(value)
            self._size += len(value)
            self.overflow = self._size > LINE_CAP
        elif name == b"event":
            self._name = value
        elif name not in (b"", b"id", b"retry") and len(self.stray) < STRAY_CAP:
            self.stray += line[:STRAY_CAP] + b"\n"
        return None

    def _dispatch(self) -> ServerEvent | None:
        data, name = self._data, self._name
        self._name = b""
        if not data:
            return None
        self._data = []
        self._size = 0
        return ServerEvent(data[0] if len(data) == 1 else b"\n".join(data), name)
