"""The live display, the tables, and what a terminal is spared."""

import io

import pytest
from rich.console import Console

from hydra_core.cli.keys import counted, key_rows, table
from hydra_core.cli.progress import Board, Lines
from hydra_core.cli.terminal import Terminal, laid_out, printable
from hydra_core.swarm.progress import SwarmProgress


class Pool:
    """Something with a health report of so many keys, the second of which is dead."""

    def __init__(self, keys):
        states = ["active", "dead", "resting"]
        self.keys = [
            {
                "name": f"k-{number}",
                "state": states[number % 3],
                "available_in": (0.0, None, 2.5)[number % 3],
                "in_flight": 1,
                "last_fault": "auth" if number % 3 == 1 else None,
                "calls": 7,
                "failures": 2,
                "limits": {"rpm": {"limit": 15, "used": 7.0, "resets_in": 1.0}},
            }
            for number in range(keys)
        ]

    def health(self):
        return {"providers": {"p": {"keys": self.keys}}}


def progress(event="read", done=2, coverage=0.25):
    return SwarmProgress(event, 1, "k-0", done, 8, coverage, 1.5, 4.0)


def drawn(board, width=90, height=20):
    console = Console(file=io.StringIO(), force_terminal=True, width=width, height=height)
    board = board(console)
    board(progress())
    console.print(board.drawn())
    return console.file.getvalue()


def test_the_board_shows_every_key_and_how_far_it_is():
    """Name, state, calls, in flight and limits of each key; parts, coverage, time to go."""
    text = drawn(lambda console: Board(Pool(3), console))
    for words in ("k-0", "dead: auth", "resting 2.5 s", "rpm 7/15", "2 of 8 parts", "25 %", "4 s"):
        assert words in text


def test_the_board_fits_the_screen():
    """Of many keys some are shown and the others counted by state."""
    text = drawn(lambda console: Board(Pool(300), console))
    assert len(text.splitlines()) <= 20
    assert "and 288 more keys: 96 active, 96 resting, 96 dead" in text


def test_plain_lines_tell_each_tenth_and_each_lost_key_once():
    """A log is not flooded: a line for a tenth of the text, one for a dead key."""
    err = io.StringIO()
    lines = Lines(Pool(2), Terminal(io.StringIO(), err))
    for step in range(1, 97):
        lines(progress(done=step, coverage=step / 96))
    lines(progress("synthesis", done=96, coverage=1.0))
    told = err.getvalue().splitlines()
    assert 9 <= sum("parts read" in line for line in told) <= 11
    assert sum("k-1 is dead: auth" in line for line in told) == 1
    assert told[-1] == "writing the answer"


def test_a_key_table_has_aligned_columns():
    """Every row begins each column where the header does, or ends it there."""
    rows = key_rows(Pool(3).health())
    lines = table(rows).splitlines()
    assert lines[0].index("calls") + len("calls") == lines[1].index(" 7 ") + 2
    assert {line.index("rpm") for line in lines[1:]} == {lines[0].index("limits used")}
    assert counted(rows) == "1 active, 1 resting, 1 dead"


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("a\x1b[31mred\x1b]0;title\x07", "a[31mred]0;title"),
        ("one\n\ttwo\r\f", "one\n\ttwo"),
        ("\u202eevil\u2066 \x9b0m", "evil 0m"),
        ("¿Quién? “Pew”", "¿Quién? “Pew”"),
    ],
)
def test_control_characters_never_reach_the_terminal(given, shown):
    """Escape sequences and direction marks of a book or a model are never obeyed."""
    assert printable(given) == shown


def test_text_is_wrapped_for_a_terminal_only():
    """With columns every line fits and keeps its indentation; without, lines stay whole."""
    text = "one two three four five\n  six seven eight"
    wrapped = laid_out(text, columns=14, indent=2)
    assert wrapped == "  one two\n  three four\n  five\n    six seven\n    eight"
    assert laid_out(text, columns=None, indent=2) == (
        "  one two three four five\n    six seven eight"
    )


def test_what_a_stream_cannot_encode_is_replaced():
    """A terminal of an old encoding gets a question mark, not an error."""
    out = io.TextIOWrapper(io.BytesIO(), "ascii")
    Terminal(out, io.StringIO()).show_as_it_comes("“Pew”")
    assert out.buffer.getvalue() == b"?Pew?"
