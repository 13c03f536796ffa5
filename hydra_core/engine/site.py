"""A provider as a whole, and who of it failed alike: what outages are inferred from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hydra_core.engine.health import Breaker
from hydra_core.engine.windows import NEVER

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from hydra_core.engine.deployment import Deployment
    from hydra_core.engine.health import Rest
    from hydra_core.engine.model_facts import ModelFacts
    from hydra_core.messages import Fault

_WITNESSES: Final = 3  # the k of `outage`, which says why


class Alike:
    """The deployments of one model that failed alike in a row, and the opinions before that."""

    __slots__ = ("before", "fault", "last")

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self.last = 0.0
        self.before: dict[Deployment, tuple[float, float | None]] = {}


class Site:
    """One provider: its deployments by model, and what was lately seen of it as a whole."""

    __slots__ = ("accused", "breaker", "deployments", "models", "rest", "unreached")

    def __init__(self, rest: Rest) -> None:
        self.rest = rest
        self.deployments: list[Deployment] = []
        self.models: dict[ModelFacts, list[Deployment]] = {}
        self.breaker = Breaker(rest)
        self.unreached = False
        self.accused: dict[Rest, float] = {}  # keys that were refused, and when

    def open(self, breaker: Breaker, fault: Fault, now: float, scale: float) -> None:
        """An outage of the whole provider begins."""
        self.breaker = self.rest.breaker = breaker
        breaker.trip(now, scale, fault)

    def answered_since(self, moment: float) -> bool:
        """True when it can be reached, as far as anybody knows."""
        return any(model.answered_at > moment for model in self.models)

    def dead(self) -> tuple[list[str], int]:
        """The names of the keys that were refused for good, and how many keys there are."""
        dead = {d.key: d.scopes.key.dead for d in self.deployments}
        return [key for key, gone in dead.items() if gone], len(dead)

    def close(self) -> None:
        """It is over, and with it that of each model."""
        self.breaker.close()
        for model in self.models:
            model.breaker.close()


def had_worked(site: Site, key: Rest) -> bool:
    """True when the key has ever served, with any model."""
    return any(d.scopes.key is key and d.score.latency is not None for d in site.deployments)


def in_question(site: Site, now: float) -> bool:
    """True when something of this provider may serve as far as the provider is concerned."""
    return any(deployment.hard_until <= now for deployment in site.deployments)


def free_of(deployment: Deployment, site: Site, due: float) -> bool:
    """True when nothing of its own keeps a deployment from probing at `due`."""
    provider = deployment.scopes.provider
    return (
        deployment.hard_until <= due
        and deployment.own_rest.soft_until <= due
        and (provider is site.rest or provider.soft_until <= due)
    )


def enough_keys(deployments: Iterable[Deployment], heard: Collection[Rest], now: float) -> float:
    """How many keys must agree: those that could still testify count, and one is never enough."""
    able: set[Rest] = set()
    for deployment in deployments:
        key = deployment.scopes.key
        if key in heard or deployment.hard_until <= now:
            able.add(key)
            if len(able) == _WITNESSES:
                break
    return len(able) if len(able) > 1 else NEVER
