"""`demo`: a book nobody has read, three keys, one of which dies on the way.

With no key in the environment everything runs on this machine: a provider on
loopback with real limits, its minutes shortened, and the built-in extractive
model. With keys, the same command reads a smaller book with them.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

from hydra_core.cli import as_json, exits
from hydra_core.cli.files import writable
from hydra_core.cli.keys import key_rows, table
from hydra_core.cli.progress import shown
from hydra_core.cli.session import configured, opened
from hydra_core.cli.showing import show_answer
from hydra_core.config import HydraConfig
from hydra_core.swarm.loaders import load
from hydra_core.testing.embedded import LIMITS, MODEL, TIME_SCALE, embedded_provider
from hydra_core.testing.ships_log import ships_log

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

    from hydra_core.cli.terminal import Terminal
    from hydra_core.swarm.progress import SwarmProgress
    from hydra_core.swarm.values import SwarmPlan, SwarmResult
    from hydra_core.testing.provider import FakeProvider

PAGES: Final = 300
PAGES_WITH_KEYS: Final = 20
"""Short, because real keys cost money and quota."""

QUESTION: Final = "How many casks of water were taken aboard in all?"

_WINDOW: Final = 6_000
"""Tokens of the model's context: small, so that the book takes more than a minute's requests."""

_LATENCY: Final = 0.4
_DIES: Final = 1
_DIES_AT: Final = 0.3


@dataclass(frozen=True, slots=True)
class _Run:
    """Everything that the demonstration has to show at its end."""

    plan: SwarmPlan
    result: SwarmResult
    health: dict[str, Any]


def demo(args: argparse.Namespace, terminal: Terminal) -> int:
    """Write a book, read it with every key, answer from it. Raises HydraError."""
    config = configured(args.config)
    pages = args.pages or (PAGES_WITH_KEYS if config.providers else PAGES)
    with _written(args.book, pages) as book:
        tell = _Teller(args, terminal)
        tell.book(book, pages)
        if config.providers:
            tell.real_keys(config)
            return tell.end(_read(config, book, tell), None)
        with embedded_provider(latency=_LATENCY) as provider:
            tell.embedded()
            return tell.end(_read(_small_window(provider), book, tell, provider), provider)


@contextmanager
def _written(kept: str | None, pages: int) -> Iterator[Path]:
    """The book as a file: the one that is named, else a temporary one. Raises ConfigError."""
    with TemporaryDirectory(prefix="hydra-demo-") as folder:
        text = ships_log(pages=pages).text
        title = text.partition("\n")[0]
        path = Path(folder) / "ships_log.md"
        if kept is not None:
            path = writable("--book", kept, lambda found: found.partition("\n")[0] == title)
        path.write_text(text, encoding="utf-8")
        yield path


def _small_window(provider: FakeProvider) -> HydraConfig:
    settings = provider.config(cache=False)
    settings["providers"][0]["models"] = [{"name": MODEL, "context_window": _WINDOW}]
    return HydraConfig.model_validate(settings)


def _read(
    config: HydraConfig, book: Path, tell: _Teller, provider: FakeProvider | None = None
) -> _Run:
    with opened(config) as session:
        hydra = session.hydra
        if provider is not None:
            session.warm_up()
        documents = load(book)
        plan = hydra.plan(documents, QUESTION)
        tell.plan(plan)
        with shown(hydra, tell.terminal) as listener:
            on_progress = listener if provider is None else _killing(provider, listener)
            result = session.run(hydra.aswarm(QUESTION, documents, on_progress=on_progress))
        return _Run(plan, result, hydra.health())


def _killing(
    provider: FakeProvider, listener: Callable[[SwarmProgress], None]
) -> Callable[[SwarmProgress], None]:
    """A listener that has one key revoked when a part of the book has been read."""

    def heard(progress: SwarmProgress) -> None:
        if progress.coverage >= _DIES_AT:
            provider.kill(_DIES)
        listener(progress)

    return heard


class _Teller:
    """The demonstration's words; with --json they go to stderr."""

    def __init__(self, args: argparse.Namespace, terminal: Terminal) -> None:
        self.terminal = terminal
        self._json = args.json
        self._kept = args.book

    def _tell(self, text: str = "", *, style: str = "", wrap: bool = True) -> None:
        if self._json:
            self.terminal.say(text)
        else:
            self.terminal.show(text, style=style, wrap=wrap)

    def _title(self, text: str) -> None:
        self._tell()
        self._tell(text, style="bold")

    def book(self, path: Path, pages: int) -> None:
        self._tell("Hydra's demonstration", style="bold")
        kept = path if self._kept else "a temporary file (--book FILE keeps it)"
        self._tell(f"The book: a ship's log of {pages} pages, written just now to {kept}.")
        self._tell(f"The question: {QUESTION} Every part of the book has to be read for it.")

    def embedded(self) -> None:
        self._tell(
            "The model: the built-in extractive one, for no API key was found. It finds and "
            "quotes sentences and invents nothing. It is served over real HTTP on this machine."
        )
        self._tell(
            f"The keys: three, each allowed {LIMITS.rpm} requests a minute. Time is scaled: a "
            f"minute lasts {60 * TIME_SCALE:g} s. On the way the provider revokes the second key."
        )

    def real_keys(self, config: HydraConfig) -> None:
        names = ", ".join(provider.name for provider in config.providers)
        self._tell(
            f"The keys: your own ({names}). They are used as they are, so the book is short "
            "and no key is made to die."
        )

    def plan(self, plan: SwarmPlan) -> None:
        self._title("Plan")
        self._tell(str(plan), wrap=False)
        self._title("Reading")
        self.terminal.flush()

    def end(self, run: _Run, provider: FakeProvider | None) -> int:
        """Show how it ended; gives the exit status."""
        if self._json:
            self.terminal.give(as_json.text(_document(run, provider)))
            return exits.of_result(run.result)
        self._tell()
        show_answer(run.result, self.terminal)
        self._title("Keys at the end")
        self._tell(table(key_rows(run.health)), wrap=False)
        if provider is not None:
            self._title("What the provider says of Hydra (from its own log)")
            self._tell(provider.summary(), wrap=False)
            self._tell(_verdict(provider))
        return exits.of_result(run.result)


def _verdict(provider: FakeProvider) -> str:
    counts = f"{provider.served} requests served, {provider.refused} refused"
    wrongs = provider.violations
    if wrongs:
        return "\n".join([f"{counts}, {len(wrongs)} violations:", *map(str, wrongs)])
    revoked = provider.by_key[provider.key_names[_DIES]].refused
    return (
        f"{counts} ({revoked} of them on their way when the key was revoked), 0 violations: no "
        "key was used after it had said wait, and no limit was passed."
    )


def _document(run: _Run, provider: FakeProvider | None) -> dict[str, Any]:
    judged = None
    if provider is not None:
        judged = {
            "served": provider.served,
            "refused": provider.refused,
            "violations": len(provider.violations),
        }
    return {
        "question": QUESTION,
        "embedded": provider is not None,
        "result": run.result,
        "health": run.health,
        "provider": judged,
    }
