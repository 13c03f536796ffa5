"""The arguments of every command."""

from __future__ import annotations

import argparse
import math
from importlib.metadata import PackageNotFoundError, version
from typing import Final

_EPILOG: Final = """\
configuration: --config FILE, else the file HYDRA_CONFIG names, else ./hydra.toml, else
the keys in the environment and .env; with no key at all, a built-in model answers.
exit status: 0 full answer, 3 partial answer, 4 wait, 1 error, 2 wrong usage."""

_MOST_PAGES: Final = 5_000
_MOST_REQUESTS: Final = 1_000_000


def parser() -> argparse.ArgumentParser:
    """The parser of `hydra-llm`; wrong usage ends with status 2."""
    top = argparse.ArgumentParser(
        prog="hydra-llm",
        description="Many API keys, providers and models as one dependable language model.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[_config(None), _json(default=False)],
    )
    top.add_argument("--version", action="version", version=f"%(prog)s {_version()}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    # What a command leaves out must not undo what was said before it.
    as_json = _json(default=argparse.SUPPRESS)
    common = argparse.ArgumentParser(
        add_help=False, parents=[_config(argparse.SUPPRESS), as_json]
    )
    _demo(commands.add_parser("demo", parents=[common], help="see a 300-page book being read"))
    _ask(commands.add_parser("ask", parents=[common], help="answer a question from a whole text"))
    _plan(commands.add_parser("plan", parents=[common], help="say what `ask` would do"))
    _chat(commands.add_parser("chat", parents=[common], help="ask the model itself"))
    commands.add_parser("status", parents=[common], help="show every key, its state and limits")
    _simulate(
        commands.add_parser(
            "simulate", parents=[as_json], help="try the engine in worlds full of faults"
        )
    )
    return top


def _config(default: str | None) -> argparse.ArgumentParser:
    part = argparse.ArgumentParser(add_help=False)
    part.add_argument(
        "--config", metavar="FILE", default=default, help="a TOML or JSON configuration"
    )
    return part


def _json(*, default: bool | str) -> argparse.ArgumentParser:
    part = argparse.ArgumentParser(add_help=False)
    part.add_argument(
        "--json", action="store_true", default=default, help="print one JSON object to stdout"
    )
    return part


def _demo(command: argparse.ArgumentParser) -> None:
    command.description = "Write a book, read it with every key at once, answer from it."
    command.add_argument(
        "--pages", type=_count, metavar="N", help="length of the book (default: 300; 20 with keys)"
    )
    command.add_argument("--book", metavar="FILE", help="keep the book in this file")


def _ask(command: argparse.ArgumentParser) -> None:
    command.description = "Read a text or Markdown file whole and answer from it, with citations."
    command.add_argument("file", metavar="FILE")
    command.add_argument("question", metavar="QUESTION", type=_words)
    _route(command)
    _deadline(command)
    command.add_argument("--report", metavar="FILE", help="write the whole run as Markdown")


def _plan(command: argparse.ArgumentParser) -> None:
    command.description = "Say what reading a file would take, without a single call."
    command.add_argument("file", metavar="FILE")
    command.add_argument("--question", type=_words, help="the question that will be asked")
    _route(command)
    _deadline(command)


def _chat(command: argparse.ArgumentParser) -> None:
    command.description = (
        "Ask once (the question as an argument or on stdin), or converse until Ctrl-D."
    )
    command.add_argument("question", metavar="QUESTION", nargs="?", type=_words)
    _route(command)
    _deadline(command)


def _simulate(command: argparse.ArgumentParser) -> None:
    command.description = (
        "Run the real engine in simulated worlds, in virtual time and without a network, against "
        "providers that count for themselves. Status 1 if a law was broken."
    )
    command.add_argument(
        "--seeds", type=_count, default=50, metavar="N", help="worlds to try (default: 50)"
    )
    command.add_argument(
        "--requests", type=_requests, default=2_000, metavar="M", help="per seed (default: 2000)"
    )
    command.add_argument("--seed", type=_seed, metavar="S", help="replay this world alone")
    command.add_argument("--log", metavar="FILE", help="write the event log of --seed here")
    command.add_argument(
        "--workers", type=_count, metavar="N", help="processes (default: one per core)"
    )


def _route(command: argparse.ArgumentParser) -> None:
    command.add_argument("--model", help="a model, provider/model or alias")
    command.add_argument("--lane", help="the lane whose keys are used")


def _deadline(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--deadline", type=_seconds, metavar="S", help="seconds for all of it, waiting included"
    )


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0.0 < seconds < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no positive number of seconds")
    return seconds


def _count(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) <= _MOST_PAGES:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 to {_MOST_PAGES}")
    return int(text)


def _requests(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) <= _MOST_REQUESTS:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 to {_MOST_REQUESTS}")
    return int(text)


def _seed(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no seed; it is a whole number from 0 on")
    return int(text)


def _words(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError("the question is empty")
    return text


def _version() -> str:
    try:
        return version("hydra-llm")
    except PackageNotFoundError:  # run from a checkout that is not installed
        from hydra_core import __version__

        return __version__
