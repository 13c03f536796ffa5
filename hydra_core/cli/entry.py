"""The entry point: run one command, and turn however it ends into an exit status."""

from __future__ import annotations

import os
import sys
import traceback
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final

from hydra_core.cli import exits
from hydra_core.cli.parser import parser
from hydra_core.cli.terminal import Terminal
from hydra_core.errors import HydraError, PoolExhausted, StreamBroken

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping, Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run `hydra-llm` with these arguments (None: the process's own); gives the exit status."""
    args = parser().parse_args(argv)
    terminal = Terminal(sys.stdout, sys.stderr)
    try:
        with terminal.telling_warnings():
            status = _command(args.command)(args, terminal)
        terminal.flush()
    except BrokenPipeError:
        _leave_output()
        return exits.BROKEN_PIPE
    except KeyboardInterrupt:
        terminal.say("interrupted")
        return exits.INTERRUPTED
    except HydraError as error:
        return _refused(error, args, terminal)
    except OSError as error:
        told = f"{error.filename or 'error'}: {error.strerror or error}"
        return _failed(error, told, args, terminal)
    except Exception as error:  # a user is never shown a traceback
        told = f"this is a fault of Hydra's own: {_where(error)}"
        return _failed(error, told, args, terminal)
    return status


def _refused(error: HydraError, args: argparse.Namespace, terminal: Terminal) -> int:
    """Say what Hydra could not do; the status says whether asking again later helps."""
    status = _failed(error, str(error), args, terminal)
    if isinstance(error, StreamBroken):
        return exits.PARTIAL
    if isinstance(error, PoolExhausted) and error.eta is not None:
        return exits.WAIT
    return status


def _failed(error: Exception, told: str, args: argparse.Namespace, terminal: Terminal) -> int:
    """Say what went wrong, in the form that was asked for."""
    if args.json:
        from hydra_core.cli import as_json

        try:
            terminal.give(as_json.text(as_json.of_error(error, told)))
            terminal.flush()
        except OSError:  # the output may be what went wrong
            _leave_output()
    terminal.say(f"hydra-llm: {told}")
    return exits.ERROR


def _leave_output() -> None:
    """Nobody takes the output; the interpreter must not try to flush it again."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _where(error: Exception) -> str:
    """The kind of an unforeseen error and where it arose; its words may hold a secret."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{place}"


# Where each command lives; it is imported when it is called for, so that --help stays quick.
_HOMES: Final[Mapping[str, str]] = {
    "demo": "demo",
    "ask": "ask",
    "plan": "ask",
    "chat": "chat",
    "status": "status",
    "simulate": "simulate",
}


def _command(name: str) -> Callable[[argparse.Namespace, Terminal], int]:
    command: Callable[[argparse.Namespace, Terminal], int] = getattr(
        import_module(f"hydra_core.cli.{_HOMES[name]}"), name
    )
    return command
