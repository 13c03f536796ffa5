"""Provider x model x key: what a request is sent to, and what is known of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hydra_core.engine.health import Breaker, Rest
from hydra_core.engine.score import Score
from hydra_core.engine.windows import NEVER

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hydra_core.engine.allowance import Allowance, Spend
    from hydra_core.engine.model_facts import ModelFacts
    from hydra_core.engine.quota import Booking, QuotaGroup
    from hydra_core.engine.score import ScoreWeights
    from hydra_core.engine.size import Size


@dataclass(frozen=True, slots=True)
class Scopes:
    """Whose rests a deployment shares with others; `pooled`: its quota is one of many models."""

    key: Rest
    account: Rest
    group: Rest
    provider: Rest
    pooled: bool = False


class Deployment:
    """One key of one provider for one model.

    `hard_until` and `soft_until` repeat the latest of all scopes this deployment
    stands in (itself, key, account, group, model, provider), so that choosing reads two
    numbers, and `breaker` is the one in force; `refresh` recomputes them when a scope
    changes, which is rare.
    `allowance` is what its owner allows it; None: everything.
    """

    __slots__ = (
        "account",
        "allowance",
        "breaker",
        "calls",
        "failures",
        "group",
        "hard_until",
        "in_flight",
        "key",
        "last_used",
        "model",
        "order",
        "own_rest",
        "priority",
        "probing",
        "provider",
        "rests",
        "scopes",
        "score",
        "soft_until",
    )

    def __init__(
        self,
        *,
        provider: str,
        model: ModelFacts,
        key: str,
        account: str,
        group: QuotaGroup,
        scopes: Scopes,
        weights: ScoreWeights,
        priority: int,
        order: int,
        allowance: Allowance | None = None,
        scale: float = 1.0,
    ) -> None:
        """`scale` is the configured time scale, by which its score forgets."""
        self.provider = provider
        self.model = model
        self.key = key
        self.account = account
        self.group = group
        self.allowance = allowance
        self.own_rest = Rest(self.name)
        self.stand_in(scopes)
        self.priority = priority
        self.order = order
        self.score = Score(weights, scale)
        self.calls = 0
        self.failures = 0
        self.in_flight = 0
        self.last_used = 0
        self.probing = False
        self.breaker = model.breaker
        self.hard_until = 0.0
        self.soft_until = 0.0

    @property
    def name(self) -> str:
        """`provider/model via key`, as messages show it."""
        return f"{self.provider}/{self.model.name} via {self.key}"

    def __repr__(self) -> str:
        return f"<Deployment {self.name}>"

    def stand_in(self, scopes: Scopes) -> None:
        """Share the rests of these scopes; `refresh` then takes them over."""
        self.scopes = scopes
        own = (self.own_rest, scopes.key, scopes.account, scopes.group)
        self.rests = (*own, self.model.rest, scopes.provider)

    def rests_at(self, now: float) -> bool:
        """True while the provider, or our doubt, keeps it from serving."""
        return self.hard_until > now or self.soft_until > now

    def refresh(self) -> None:
        """Take over the latest rest of all scopes, and the breaker that is open for longest."""
        self.hard_until = max(rest.hard_until for rest in self.rests)
        breaker = self.model.breaker
        wider = self.scopes.provider.breaker
        if wider is not None and 0.0 < wider.open_until >= breaker.open_until:
            breaker = wider
        self.breaker = breaker
        self.soft_until = max(breaker.open_until, *(rest.soft_until for rest in self.rests))


def mean_latency(deployments: Iterable[Deployment]) -> float | None:
    """The mean of what a call takes with each, in seconds; None while none has served."""
    seen = [d.score.latency for d in deployments if d.score.latency is not None]
    return sum(seen) / len(seen) if seen else None


class Lease:
    """The right to make one call, charged before it is sent and settled exactly once.

    `probes` are those whose one probe at a time this call is; `spend` is what it booked in
    budgets, None where there are none; `used` its tokens as far as is known; `ended` is when
    the provider's answer came, infinite where none did.
    """

    __slots__ = (
        "charges",
        "deployment",
        "ended",
        "granted",
        "group",
        "probes",
        "settled",
        "size",
        "spend",
        "tokens",
        "used",
    )

    def __init__(
        self,
        deployment: Deployment,
        size: Size,
        tokens: float,
        charges: Booking,
        granted: float,
        *,
        probes: tuple[Breaker | Deployment, ...] = (),
        spend: Spend | None = None,
    ) -> None:
        self.deployment = deployment
        self.group = deployment.group
        self.size = size
        self.tokens = tokens
        self.charges = charges
        self.granted = granted
        self.probes = probes
        self.spend = spend
        self.used = tokens
        self.ended = NEVER
        self.settled = False

    def __repr__(self) -> str:
        state = "settled" if self.settled else "open"
        return f"<Lease {self.deployment.name}: {self.tokens:.0f} tokens, {state}>"
