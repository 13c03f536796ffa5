"""What callers ask of a world: when, how much, how patiently, and when they change their mind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from hydra_core.engine.size import Size
from hydra_core.messages import ChatRequest, Usage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from random import Random

    from hydra_core.testing.simulation.world import KeyPlan, ModelPlan, ProviderPlan, World

_HERD: Final = 25
"""Callers who come in the same instant, now and then."""

_USUAL_ANSWER: Final = 400
_PER_MESSAGE: Final = 4


@dataclass(frozen=True, slots=True)
class Call:
    """One call of one user.

    `at` is the second at which it comes; `share` how much of the room it asked for its
    answer will really take; `leaves_after` the seconds after which its caller cancels it
    (None: never); `streams` that its caller reads the answer as it comes.
    """

    number: int
    at: float
    request: ChatRequest
    size: Size
    share: float
    falls_back: bool
    leaves_after: float | None
    streams: bool

    def usage(self, model: ModelPlan) -> Usage:
        """What the provider of this model will really count for it."""
        known = self.size.known_tokens
        if known is not None:
            prompt = int(0.6 * self.share * known)
            return Usage(prompt, max(1, int(self.share * known) - prompt))
        prompt = int(self.size.chars * model.ratio) + _PER_MESSAGE
        room = self.size.max_tokens or _USUAL_ANSWER
        return Usage(prompt, max(1, int(room * self.share)))

    def allows(self, plan: ProviderPlan, key: KeyPlan, model: ModelPlan) -> bool:
        """True when its caller's words let it go there: provider, lane and model."""
        asked = self.request
        if asked.provider not in (None, plan.name) or asked.lane != key.lane:
            return False
        if asked.model is None:
            return self.falls_back or model is plan.models[0]
        return asked.model in (model.name, f"{plan.name}/{model.name}")

    def most_tokens(self) -> float:
        """What the engine could think it needs at most, whatever it has learned."""
        if self.size.known_tokens is not None:
            return self.size.known_tokens
        return 0.6 * self.size.chars + (self.size.max_tokens or 4 * _USUAL_ANSWER)


def make_traffic(world: World, calls: int, rng: Random) -> Iterator[Call]:
    """The calls of a world in the order in which they come."""
    at = 1.0
    herd = 0
    for number in range(calls):
        if herd:
            herd -= 1
        elif rng.random() < 0.2 / _HERD:
            herd = rng.randint(2, _HERD)
        else:
            at += rng.expovariate(world.rate)
        yield _call(world, number, at, rng)


def _call(world: World, number: int, at: float, rng: Random) -> Call:
    asked = _asked(world, rng)
    falls_back = "model" not in asked and "lane" not in asked and rng.random() < 0.5
    patience = rng.choice([5.0, 30.0, 60.0, 120.0])
    request = ChatRequest(
        [],
        deadline=rng.choice([2.0, 20.0, 60.0, 120.0, 120.0, 300.0]),
        max_wait=rng.choice([0.0, 2.0, patience, patience]),
        priority=rng.choice([0, 0, 0, 0, 5]),
        **asked,
    )
    return Call(
        number=number,
        at=at,
        request=request,
        size=_size(world, rng),
        share=rng.choice([0.2, 0.5, 0.9, 1.0]),
        falls_back=falls_back,
        leaves_after=rng.expovariate(0.3) if rng.random() < 0.04 else None,
        streams=rng.random() < 0.3,
    )


def _asked(world: World, rng: Random) -> dict[str, Any]:
    """Which route: any provider's default, one provider, one model, or a reserved lane."""
    plan = rng.choice(world.providers)
    draw = rng.random()
    if draw < 0.55:
        return {}
    if draw < 0.7:
        return {"model": rng.choice(plan.models).name}
    if draw < 0.8:
        return {"provider": plan.name}
    if draw < 0.9:
        return {"model": f"{plan.name}/{rng.choice(plan.models).name}"}
    lanes = [(plan, key.lane) for plan in world.providers for key in plan.keys if key.lane]
    return {"lane": lanes[0][1]} if lanes else {}


def _size(world: World, rng: Random) -> Size:
    tokens = rng.choices([100, 400, 1_500, 5_000], [50, 32, 15, 3])[0] * rng.uniform(0.7, 1.3)
    if world.exact:
        return Size(0, 1, None, known_tokens=float(int(tokens)))
    room = rng.choice([None, 100, 400, 1_000])
    return Size(int(4 * tokens), 1, room)
