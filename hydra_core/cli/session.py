"""One Hydra and one event loop for the length of a command.

The asynchronous calls are used throughout: Ctrl-C cancels them, and nothing is
left waiting for an answer that nobody wants any more.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from hydra_core.config import HydraConfig, default_config_path
from hydra_core.hydra import Hydra
from hydra_core.testing.embedded import KEYS

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator

T = TypeVar("T")

_WARM_UP_CHARS: Final = 20_000
"""About half of the longest part that is read in one call."""


class Session:
    """A Hydra, and `run` to await its calls."""

    def __init__(self, hydra: Hydra, runner: asyncio.Runner) -> None:
        self.hydra = hydra
        self._runner = runner

    def run(self, call: Coroutine[object, object, T]) -> T:
        """Await one call. Raises KeyboardInterrupt after cancelling it."""
        return self._runner.run(call)

    def warm_up(self) -> None:
        """One call for each key of the built-in provider, so that plans know how fast it reads."""

        async def calls() -> None:
            text = "The sea was calm all day. " * (_WARM_UP_CHARS // 26)
            await asyncio.gather(
                *(self.hydra.achat(f"{text}\n\nReady?", max_tokens=8) for _ in range(KEYS))
            )

        self.run(calls())


def configured(path: str | None) -> HydraConfig:
    """The file that is named, else `HYDRA_CONFIG`, `./hydra.toml`, the environment.

    Raises ConfigError.
    """
    file = Path(path) if path else default_config_path()
    return HydraConfig.from_env() if file is None else HydraConfig.from_file(file)


@contextmanager
def opened(config: HydraConfig) -> Iterator[Session]:
    """A session that closes its Hydra at the end. Raises ConfigError."""
    with asyncio.Runner() as runner:
        hydra = Hydra(config)
        try:
            yield Session(hydra, runner)
        finally:
            runner.run(hydra.aclose())
