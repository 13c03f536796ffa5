"""Where the command line writes: results to stdout, what happens on the way to stderr.

rich is imported only for a terminal; a pipe or a file gets plain text, unwrapped.
"""

from __future__ import annotations

import io
import logging
import os
import textwrap
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, TextIO

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

WIDEST: Final = 100
"""Columns used at most: longer lines are hard to read."""

# What a book or a model says is shown, never obeyed: no escape sequences, and no
# marks that turn the direction of the text round.
_CONTROLS: Final = dict.fromkeys(
    [
        *(code for code in range(0x20) if chr(code) not in "\n\t"),
        *range(0x7F, 0xA0),
        *range(0x202A, 0x202F),
        *range(0x2066, 0x206A),
    ]
)


def printable(text: str) -> str:
    """The text without control characters; lines and tabs stay."""
    return text.translate(_CONTROLS)


class Terminal:
    """The two streams of a command, and what is known of the terminal behind each."""

    def __init__(self, out: TextIO | None, err: TextIO | None) -> None:
        """None is a stream that was closed before the process began: nobody listens."""
        self._out = _lenient(out)
        self._err = _lenient(err)

    @cached_property
    def console(self) -> Console | None:
        """The stderr as a rich console, or None where nothing may move or be coloured."""
        return _console(self._err)

    @cached_property
    def _pages(self) -> Console | None:
        return _console(self._out)

    @property
    def _columns(self) -> int | None:
        return None if self._pages is None else min(self._pages.width, WIDEST)

    def show(
        self, text: str = "", *, indent: int = 0, style: str = "", wrap: bool = True
    ) -> None:
        """Write a part of the result, wrapped to the terminal if there is one."""
        columns = self._columns if wrap else None
        text = laid_out(printable(text), columns=columns, indent=indent)
        if self._pages is None or not style:
            self._out.write(f"{text}\n")
            return
        self._pages.print(text, style=style, markup=False, highlight=False)

    def give(self, document: str) -> None:
        """Write a document for a program: as it is, whatever the terminal."""
        self._out.write(f"{document}\n")

    def show_as_it_comes(self, text: str) -> None:
        """Write a piece of a stream at once, without a line end."""
        self._out.write(printable(text))
        self._out.flush()

    def say(self, text: str) -> None:
        """Tell what happens on the way; above a live display if one is running."""
        text = printable(text)
        if self.console is None:
            self._err.write(f"{text}\n")
            self._err.flush()
            return
        self.console.print(text, markup=False, highlight=False)

    def flush(self) -> None:
        """Write out what is still held back; raises BrokenPipeError where nobody reads."""
        self._out.flush()
        self._err.flush()

    @contextmanager
    def telling_warnings(self) -> Iterator[None]:
        """Show what is logged as one plain line each, never with a traceback."""
        handler = _Saying(self)
        root = logging.getLogger()
        root.addHandler(handler)
        try:
            yield
        finally:
            root.removeHandler(handler)


class _Saying(logging.Handler):
    def __init__(self, terminal: Terminal) -> None:
        super().__init__(logging.WARNING)
        self._terminal = terminal

    def emit(self, record: logging.LogRecord) -> None:
        self._terminal.say(record.getMessage())


def laid_out(text: str, *, columns: int | None, indent: int) -> str:
    """The text indented, and wrapped line by line to so many columns (None: not at all)."""
    margin = " " * indent
    if columns is None:
        return textwrap.indent(text, margin)
    wrapped: list[str] = []
    for line in text.splitlines() or [""]:
        # A list's own indentation is kept on the lines that follow.
        own = margin + " " * (len(line) - len(line.lstrip()))
        wrapped += textwrap.wrap(
            line.strip(),
            width=columns,
            initial_indent=own,
            subsequent_indent=own,
            break_on_hyphens=False,
        ) or [""]
    return "\n".join(wrapped)


def _console(stream: TextIO) -> Console | None:
    if not stream.isatty() or os.environ.get("TERM") == "dumb":
        return None
    from rich.console import Console

    return Console(file=stream)


def _lenient(stream: TextIO | None) -> TextIO:
    """A stream that replaces what its encoding cannot write, rather than fail."""
    if stream is None:
        return io.StringIO()
    reconfigure: Any = getattr(stream, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="replace")
    return stream
