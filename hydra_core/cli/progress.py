"""What a reading looks like while it goes on: a live table, or a few plain lines."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from hydra_core.cli.keys import HEADER, NUMBERS, STYLES, KeyRow, counted, key_rows
from hydra_core.swarm.values import percent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import Console, RenderableType

    from hydra_core.cli.terminal import Terminal
    from hydra_core.hydra import Hydra
    from hydra_core.swarm.progress import SwarmProgress

_FRAMES_PER_SECOND: Final = 8
_OWN_LINES: Final = 8
"""Lines that the display needs beside the keys' own."""

_BAR: Final = 60
_STATE: Final = 16
"""Columns of the state, so that the table does not jump when a key begins to rest."""

_STEP: Final = 0.1
"""Share of the text between two plain lines."""


@contextmanager
def shown(hydra: Hydra, terminal: Terminal) -> Iterator[Callable[[SwarmProgress], None]]:
    """Show a swarm's progress while the block runs; gives the listener to hand to it."""
    console = terminal.console
    if console is None:
        yield Lines(hydra, terminal)
        return
    from rich.live import Live

    board = Board(hydra, console)
    with Live(
        get_renderable=board.drawn,
        console=console,
        refresh_per_second=_FRAMES_PER_SECOND,
        vertical_overflow="crop",
    ):
        yield board


class Lines:
    """Progress for logs and pipes: a line for each tenth of the text and each lost key."""

    def __init__(self, hydra: Hydra, terminal: Terminal) -> None:
        self._hydra = hydra
        self._terminal = terminal
        self._told = 0.0
        self._dead: set[str] = set()

    def __call__(self, progress: SwarmProgress) -> None:
        """Tell what is worth a line; called by the swarm."""
        if progress.event in ("started", "planned"):
            return
        for row in key_rows(self._hydra.health()):
            if row.state == "dead" and row.name not in self._dead:
                self._dead.add(row.name)
                self._terminal.say(f"{row.name} is {row.told}; the other keys go on")
        if progress.event == "failed":
            self._terminal.say(f"part {progress.shard} cannot be read")
        if progress.event in ("synthesis", "finished"):
            self._terminal.say(_WORDS[progress.event])
        elif progress.coverage >= self._told + _STEP or progress.shards_done == 1:
            self._told = progress.coverage
            self._terminal.say(_so_far(progress))


class Board:
    """The live display: one row for each key, and how far the reading has come."""

    def __init__(self, hydra: Hydra, console: Console) -> None:
        self._hydra = hydra
        self._console = console
        self._lock = threading.Lock()  # guards the latest event; rich draws in its own thread
        self._latest: SwarmProgress | None = None

    def __call__(self, progress: SwarmProgress) -> None:
        """Take note of an event; called by the swarm."""
        with self._lock:
            self._latest = progress

    def drawn(self) -> RenderableType:
        """The display as it is now."""
        from rich.console import Group
        from rich.text import Text

        with self._lock:
            latest = self._latest
        rows = key_rows(self._hydra.health())
        room = max(3, self._console.height - _OWN_LINES)
        parts: list[RenderableType] = [_key_table(rows[:room])]
        if len(rows) > room:
            parts.append(Text(f"and {len(rows) - room} more keys: {counted(rows[room:])}"))
        if latest is not None:
            parts += ["", _bar(latest), Text(_so_far(latest))]
        return Group(*parts)


_WORDS: Final = {"synthesis": "writing the answer", "finished": "done"}


def _so_far(progress: SwarmProgress) -> str:
    told = (
        f"{progress.shards_done} of {progress.shards_total} parts read, "
        f"{percent(progress.coverage)} of the text, {progress.seconds:.1f} s"
    )
    if progress.event in _WORDS:
        return f"{told}; {_WORDS[progress.event]}"
    if progress.eta and progress.shards_done < progress.shards_total:
        return f"{told}; about {progress.eta:.0f} s to go"
    return told


def _key_table(rows: list[KeyRow]) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for title in HEADER:
        table.add_column(
            title,
            justify="right" if title in NUMBERS else "left",
            no_wrap=True,
            min_width=_STATE if title == "state" else None,
        )
    for row in rows:
        name, told, *rest = row.cells
        table.add_row(Text(name), Text(told, STYLES.get(row.state, "")), *map(Text, rest))
    return table


def _bar(progress: SwarmProgress) -> RenderableType:
    from rich.progress_bar import ProgressBar
    from rich.table import Table

    line = Table.grid()  # a bar alone would not end its line
    line.add_row(ProgressBar(total=1.0, completed=progress.coverage, width=_BAR))
    return line
