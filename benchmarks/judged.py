"""The fake provider in a process of its own, and the words in which it is spoken to.

It shares no interpreter with the client, so neither slows the other down by the
GIL; its log, which is the evidence, comes back over a pipe at the end.
"""

from __future__ import annotations

import multiprocessing
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from machine import pin, split_cores

from hydra_core.testing import CallRecord, FakeAnswer, FakeKey, FakeProvider, Violation

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection

ANSWER_TOKENS = 20
CHARS_PER_TOKEN = 4

VendorName = Literal["openai", "groq", "plain"]


class Terse:
    """Answers every request with the same number of tokens, so that sizes are exact."""

    def answer(self, body: dict[str, Any]) -> FakeAnswer:
        """The prompt's size is what the benchmark put in it."""
        prompt = len(body["messages"][0]["content"]) // CHARS_PER_TOKEN
        text = "word" * ANSWER_TOKENS
        return FakeAnswer(text, (), "stop", prompt, ANSWER_TOKENS)


def prompt_of(size: int) -> str:
    """A prompt such that prompt and answer together are `size` tokens."""
    return "x" * CHARS_PER_TOKEN * (size - ANSWER_TOKENS)


@dataclass(frozen=True, slots=True)
class Stage:
    """How one fake provider is furnished. `latency` and `chunk_delay` are real seconds."""

    keys: tuple[FakeKey, ...]
    vendor: VendorName = "openai"
    scale: float = 1.0
    latency: float = 0.01
    chunk_delay: float = 0.0


class Judge:
    """A running provider. Every method is one question over the pipe."""

    def __init__(self, line: Connection, stage: Stage) -> None:
        self._line = line
        self.stage = stage

    def _ask(self, what: str, *args: object, **named: object) -> Any:
        self._line.send((what, args, named))
        return self._line.recv()

    def config(self, *, tell: bool = True, **overrides: Any) -> dict[str, Any]:
        """A configuration for Hydra; without `tell` it names neither limits nor accounts."""
        config: dict[str, Any] = self._ask(
            "config", tell_limits=tell, tell_accounts=tell, **overrides
        )
        return config

    @property
    def base_url(self) -> str:
        """What an OpenAI client takes as `base_url`."""
        return str(self._ask("base_url"))

    def fail(self, fault: str, **named: object) -> None:
        """Script a fault (see `FakeProvider.fail`)."""
        self._ask("fail", fault, **named)

    def kill(self, key: int) -> None:
        """Refuse a key as invalid from now on."""
        self._ask("kill", key)

    def saturate(self, key: int, seconds: float) -> None:
        """Refuse a key's account for so many real seconds."""
        self._ask("saturate", key, seconds)

    def reset(self) -> None:
        """Forget log and usage, after warming up."""
        self._ask("reset")

    @property
    def log(self) -> tuple[CallRecord, ...]:
        """Every call that arrived, in order."""
        log: tuple[CallRecord, ...] = self._ask("log")
        return log

    @property
    def violations(self) -> tuple[Violation, ...]:
        """What the caller should not have done, and limits that were passed."""
        violations: tuple[Violation, ...] = self._ask("violations")
        return violations


def _serve(line: Connection, stage: Stage, cpu: int | None) -> None:
    pin(cpu)
    with FakeProvider(
        stage.keys,
        vendor=stage.vendor,
        answer=Terse(),
        time_scale=stage.scale,
        latency=stage.latency,
        chunk_delay=stage.chunk_delay,
    ) as fake:
        line.send(None)
        while (question := line.recv()) is not None:
            what, args, named = question
            found = getattr(fake, what)
            line.send(found(*args, **named) if callable(found) else found)


@contextmanager
def judged(stage: Stage) -> Iterator[Judge]:
    """A provider in another process, until the block ends."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(there, stage, split_cores()[1]), daemon=True)
    process.start()
    there.close()
    try:
        here.recv()
        yield Judge(here, stage)
        here.send(None)
        process.join(5.0)
    finally:
        process.terminate()
        process.join()
        here.close()
