"""The process under test: its pool, its gate, and what a new one finds of the last one's memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import orjson

from hydra_core.assemble import assemble
from hydra_core.config import HydraConfig
from hydra_core.drive.gate import Gate
from hydra_core.engine import snapshot

if TYPE_CHECKING:
    from collections.abc import Callable

    from hydra_core.engine.key_manager import KeyManager
    from hydra_core.testing.simulation.world import World

_EPOCH: Final = 1_790_000_000.0
"""The time of day, in seconds since 1970, at which every world begins."""


class Process:
    """One run of the engine after another, all with the same configuration."""

    def __init__(self, world: World, clock: Callable[[], float]) -> None:
        """`clock` tells monotonic seconds."""
        self._config = HydraConfig.model_validate(world.config())
        self._clock = clock
        self.restarts = 0
        self.manager, self.gate = self._started()

    def _started(self) -> tuple[KeyManager, Gate]:
        manager = assemble(self._config, now=self._clock()).manager
        return manager, Gate(manager, clock=self._clock)

    def restart(self, provider_now: float) -> None:
        """End as a killed process does, and start anew from what was stored the moment before."""
        now, wall = self._clock(), _EPOCH + provider_now
        stored = orjson.dumps(snapshot.take(self.manager, now, wall))
        self.restarts += 1
        self.manager, self.gate = self._started()
        snapshot.restore(self.manager, orjson.loads(stored), now, wall)
