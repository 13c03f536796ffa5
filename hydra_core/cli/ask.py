"""`ask` and `plan`: a whole text, read by every key at once."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from hydra_core.cli import as_json, exits
from hydra_core.cli.files import writable
from hydra_core.cli.progress import shown
from hydra_core.cli.report import is_report, report
from hydra_core.cli.session import configured, opened
from hydra_core.cli.showing import show_answer
from hydra_core.errors import ConfigError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from hydra_core.cli.session import Session
    from hydra_core.cli.terminal import Terminal
    from hydra_core.swarm.document import Document


def ask(args: argparse.Namespace, terminal: Terminal) -> int:
    """Read a file and answer a question from it. Raises HydraError."""
    documents = _loaded(args.file)
    _check_writable(args.report, args.file)
    with _ready(args) as session:
        hydra = session.hydra
        plan = hydra.plan(
            documents, args.question, deadline=args.deadline, model=args.model, lane=args.lane
        )
        terminal.say(f"{plan}\n")
        with shown(hydra, terminal) as listener:
            result = session.run(
                hydra.aswarm(
                    args.question,
                    documents,
                    deadline=args.deadline,
                    model=args.model,
                    lane=args.lane,
                    on_progress=listener,
                )
            )
        health = hydra.health()
    if args.json:
        terminal.give(as_json.text(result))
    else:
        terminal.say("")
        show_answer(result, terminal)
    if args.report and not _written(
        args.report, report(args.question, args.file, result, health), terminal
    ):
        return exits.ERROR
    return exits.of_result(result)


def plan(args: argparse.Namespace, terminal: Terminal) -> int:
    """Say what `ask` would do now: calls, seconds, tokens, cost. Raises HydraError."""
    documents = _loaded(args.file)
    with _ready(args) as session:
        planned = session.hydra.plan(
            documents, args.question, deadline=args.deadline, model=args.model, lane=args.lane
        )
    if args.json:
        terminal.give(as_json.text(planned))
    else:
        terminal.show(str(planned), wrap=False)
    return exits.WAIT if planned.seconds_p50 is None else exits.FULL


@contextmanager
def _ready(args: argparse.Namespace) -> Iterator[Session]:
    """A session whose plans are to be trusted; no provider but the built-in one is called."""
    with opened(configured(args.config)) as session:
        if session.hydra.embedded:
            session.warm_up()
        yield session


def _loaded(file: str) -> tuple[Document, ...]:
    """The file as documents; only a path is meant here, never the text itself."""
    from hydra_core.swarm.loaders import load

    return load(Path(file).expanduser())


def _check_writable(report: str | None, file: str) -> None:
    """Fail before the first call, not after the last, where the report cannot be written.

    Raises ConfigError and OSError.
    """
    if report is None:
        return
    path = Path(report).expanduser()
    if path.exists() and path.samefile(Path(file).expanduser()):
        raise ConfigError(f"--report {report!r}: this is the text to be read; name another file")
    path = writable("--report", report, is_report)
    if path.is_file() or not path.exists():  # no pipe: its reader would take it for the end
        path.open("a").close()


def _written(path: str, report: str, terminal: Terminal) -> bool:
    """Write the report; False, and words for it, where a disk would not take it after all."""
    try:
        Path(path).expanduser().write_text(report, encoding="utf-8")
    except OSError as error:
        terminal.say(f"hydra-llm: the report was not written: {path}: {error.strerror or error}")
        return False
    terminal.say(f"report written to {path}")
    return True
