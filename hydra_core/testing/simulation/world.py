"""What a seed stands for: providers, keys, accounts, limits, and how busy they will be.

A world is plain data. The same seed always gives the same world, on every machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any, Final, Literal

from hydra_core.testing.keys import FakeLimits
from hydra_core.wire import MINUTE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hydra_core.testing.keys import WindowKind

Manners = Literal["openai", "plain", "silent"]
"""How a provider words its refusals: with every number, with `Retry-After` alone, not at all."""

_STRATEGIES: Final = (
    "adaptive",
    "adaptive",
    "adaptive",
    "score",
    "round_robin",
    "priority",
    "least_used",
    "least_busy",
    "fastest",
    "cheapest",
)
_MODELS: Final = ("large", "medium", "small")
_SHAPES: Final[tuple[WindowKind, ...]] = ("sliding", "bucket", "fixed")
# Tokens of an average request, from which token limits and the traffic are derived.
_TYPICAL_TOKENS: Final = 1_000
# Requests a second of one key without any limit: what a user would dare to send it.
_UNLIMITED_RATE: Final = 2.0


@dataclass(frozen=True, slots=True)
class ModelPlan:
    """One model. `latency` is the usual seconds of a reply, `ratio` its tokens a character."""

    name: str
    latency: float
    ratio: float
    context_window: int | None


@dataclass(frozen=True, slots=True)
class KeyPlan:
    """One key, who pays for it, and the lane that it is reserved for."""

    name: str
    account: str
    lane: str | None = None


@dataclass(frozen=True, slots=True)
class ProviderPlan:
    """One provider as it really is, and what the user's configuration tells of it.

    `limits` holds those of each account and model; `daily` the requests a day that an
    account may make over all its models, which no configuration can state. `delay` is
    the longest time in seconds that a request is under way before it is counted.
    """

    name: str
    priority: int
    manners: Manners
    window: WindowKind
    models: tuple[ModelPlan, ...]
    keys: tuple[KeyPlan, ...]
    limits: Mapping[tuple[str, str], FakeLimits]
    daily: int | None
    tells_limits: bool
    tells_accounts: bool
    states_limits: bool
    delay: float

    @property
    def accounts(self) -> tuple[str, ...]:
        """Who pays, in the order of the keys."""
        return tuple(dict.fromkeys(key.account for key in self.keys))


@dataclass(frozen=True, slots=True)
class World:
    """One seed's providers and traffic.

    `exact`: callers say how many tokens they need at most; otherwise the engine
    estimates them from characters. `fault_rate` is the share of requests that a
    provider spoils for no other reason; `rate` the requests a second that come.
    """

    seed: int
    providers: tuple[ProviderPlan, ...]
    strategy: str
    exact: bool
    fault_rate: float
    rate: float

    def config(self) -> dict[str, Any]:
        """The configuration of a Hydra for this world."""
        return {
            "providers": [_provider_config(plan) for plan in self.providers],
            "strategy": self.strategy,
            "store": "memory",
            "cache": False,
        }


def make_world(seed: int) -> World:
    """The world of a seed."""
    rng = Random(f"world {seed}")
    providers = tuple(_provider(rng, place) for place in range(rng.randint(1, 5)))
    load = rng.choice([0.2, 0.4, 0.7, 0.9, 1.3])
    return World(
        seed=seed,
        providers=providers,
        strategy=rng.choice(_STRATEGIES),
        exact=rng.random() < 0.7,
        fault_rate=rng.choice([0.0, 0.05, 0.15, 0.25, 0.35]),
        rate=load * sum(map(_capacity, providers)),
    )


def _provider(rng: Random, place: int) -> ProviderPlan:
    name = f"p{place + 1}"
    models = tuple(_model(rng, name) for name in _MODELS[: rng.randint(1, 3)])
    count = rng.choice([1, 2, 3, 5, 8, 13, 20])
    owners = max(1, round(count * rng.choice([0.3, 0.6, 1.0, 1.0])))
    keys = tuple(
        KeyPlan(
            name=f"{name}-{number}",
            account=f"{name}-account-{number % owners + 1}",
            lane="reserved" if count > 2 and number == count - 1 and rng.random() < 0.3 else None,
        )
        for number in range(count)
    )
    window = rng.choice(_SHAPES)
    limited = rng.random() < 0.9
    limits = {
        (account, model.name): _limits(rng, window) if limited else FakeLimits(window=window)
        for account in dict.fromkeys(key.account for key in keys)
        for model in models
    }
    return ProviderPlan(
        name=name,
        priority=rng.choice([0, 0, place]),
        manners=rng.choice(["openai", "plain", "silent"]),
        window=window,
        models=models,
        keys=keys,
        limits=limits,
        daily=rng.choice([None, None, None, None, 600]),
        tells_limits=rng.random() < 0.75,
        tells_accounts=rng.random() < 0.75,
        states_limits=rng.random() < 0.3,
        delay=rng.choice([0.0, 0.05, 0.2]),
    )


def _model(rng: Random, name: str) -> ModelPlan:
    return ModelPlan(
        name=name,
        latency=rng.choice([0.3, 1.0, 3.0, 8.0]),
        ratio=rng.uniform(0.2, 0.3),
        context_window=rng.choice([None, None, 8_000]),
    )


def _limits(rng: Random, window: WindowKind) -> FakeLimits:
    rpm = rng.choice([5, 10, 15, 30, 60])
    return FakeLimits(
        rpm=rpm if rng.random() < 0.9 else None,
        tpm=round(rpm * _TYPICAL_TOKENS * rng.choice([0.5, 1.0, 2.0]))
        if rng.random() < 0.6
        else None,
        rpd=rng.choice([rpm * 20, rpm * 100]) if rng.random() < 0.2 else None,
        tpd=rpm * 60 * _TYPICAL_TOKENS if rng.random() < 0.1 else None,
        concurrency=rng.choice([1, 2, 4]) if rng.random() < 0.25 else None,
        window=window,
    )


def _capacity(plan: ProviderPlan) -> float:
    """Requests a second that its first model can take, roughly."""
    total, model = 0.0, plan.models[0]
    for account in plan.accounts:
        limits = plan.limits[account, model.name]
        bounds = [_UNLIMITED_RATE]
        if limits.rpm is not None:
            bounds.append(limits.rpm / MINUTE)
        if limits.tpm is not None:
            bounds.append(limits.tpm / _TYPICAL_TOKENS / MINUTE)
        if limits.concurrency is not None:
            bounds.append(limits.concurrency / model.latency)
        total += min(bounds)
    return total


def _provider_config(plan: ProviderPlan) -> dict[str, Any]:
    return {
        "name": plan.name,
        "base_url": "http://localhost/v1",
        "priority": plan.priority,
        "window": plan.window,
        "models": [
            {"name": model.name, "context_window": model.context_window} for model in plan.models
        ],
        "keys": [_key_config(plan, key) for key in plan.keys],
    }


def _key_config(plan: ProviderPlan, key: KeyPlan) -> dict[str, Any]:
    told: dict[str, Any] = {"name": key.name, "value": f"simulated-{key.name}"}
    if plan.tells_accounts:
        told["account"] = key.account
    if key.lane is not None:
        told["lanes"] = [key.lane]
    if plan.tells_limits:
        told["model_limits"] = {
            model.name: plan.limits[key.account, model.name].stated() for model in plan.models
        }
    return told
