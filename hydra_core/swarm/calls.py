"""The calls a swarm makes: through whom, with which limits, at whose expense."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

from hydra_core.swarm.job import SYNTHESIS_TOKENS

if TYPE_CHECKING:
    from collections.abc import Callable

    from hydra_core.engine.capacity import GroupCapacity
    from hydra_core.messages import Message, Reply
    from hydra_core.swarm.reading import MapTask

MAP_PRIORITY: Final = -1
"""Below everyone else's calls: a swarm of a hundred must not hold up a chat."""

SYNTHESIS_PRIORITY: Final = 0


class Settings(Protocol):
    """What a swarm needs to know of its caller's configuration."""

    @property
    def max_wait(self) -> float:
        """Seconds that one call may wait for capacity, and a swarm bears an outage."""


class Caller(Protocol):
    """Who makes the calls: it chooses keys, waits for them, and fails over."""

    @property
    def config(self) -> Settings:
        """The configuration in force."""

    def chat(
        self,
        messages: list[Message],
        *,
        model: str | None = None,
        lane: str | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
        response_format: dict[str, Any] | None = None,
        deadline: float | None = None,
        on_exhausted: Literal["answer", "raise"] | None = None,
        priority: int = 0,
        max_wait: float | None = None,
    ) -> Reply:
        """Answer, or raise what `hydra_core.errors` draws."""

    async def achat(
        self,
        messages: list[Message],
        *,
        model: str | None = None,
        lane: str | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
        response_format: dict[str, Any] | None = None,
        deadline: float | None = None,
        on_exhausted: Literal["answer", "raise"] | None = None,
        priority: int = 0,
        max_wait: float | None = None,
    ) -> Reply:
        """`chat` for event loops."""

    def capacity(
        self, *, model: str | None = None, lane: str | None = None
    ) -> tuple[GroupCapacity, ...]:
        """What each quota group can take now."""

    def feedback(self, reply: Reply, quality: float) -> None:
        """Learn how good a reply was, from 0 to 1."""


@dataclass(frozen=True, slots=True)
class Route:
    """Who is called, for which model and lane, and on whose clock (seconds since the start)."""

    caller: Caller
    model: str | None
    lane: str | None
    clock: Callable[[], float]

    @property
    def max_wait(self) -> float:
        """Seconds that a call without a deadline stands in line before it comes back unserved."""
        return self.caller.config.max_wait

    def capacity(self) -> tuple[GroupCapacity, ...]:
        """What the keys can take now."""
        return self.caller.capacity(model=self.model, lane=self.lane)

    def chat(self, messages: tuple[Message, ...], **limits: Any) -> Reply:
        return self.caller.chat(
            list(messages), model=self.model, lane=self.lane, on_exhausted="raise", **limits
        )

    async def achat(self, messages: tuple[Message, ...], **limits: Any) -> Reply:
        return await self.caller.achat(
            list(messages), model=self.model, lane=self.lane, on_exhausted="raise", **limits
        )


def map_limits(task: MapTask, max_wait: float) -> dict[str, Any]:
    return {
        "max_tokens": task.max_tokens,
        "deadline": task.timeout,
        "max_wait": max_wait if task.timeout is None else task.timeout,
        "priority": MAP_PRIORITY,
    }


def synthesis_limits(left: float | None, max_wait: float) -> dict[str, Any]:
    return {
        "max_tokens": SYNTHESIS_TOKENS,
        "deadline": left,
        "max_wait": max_wait if left is None else left,
        "priority": SYNTHESIS_PRIORITY,
    }
