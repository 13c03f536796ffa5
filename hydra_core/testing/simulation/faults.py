"""What goes wrong in a world: troubles that begin and end, and bad luck with single calls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from hydra_core.messages import Fault

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from random import Random

    from hydra_core.testing.simulation.world import KeyPlan, ProviderPlan, World

HANG: Final = "hang"
"""Besides the engine's own faults: the provider counts the request and never answers."""

Trouble = Fault | str

CHARGED: Final[frozenset[Trouble]] = frozenset(
    {
        Fault.INVALID_RESPONSE,
        Fault.STREAM_BROKEN,
        Fault.UNKNOWN,
        Fault.CONTENT_FILTER,
        Fault.TIMEOUT,
        Fault.CANCELLED,
        HANG,
    }
)
"""What a provider may bill although the caller has nothing of it. Refusals are free."""

# (weight, fault): the bad luck of single calls. Nine in ten are a provider's ordinary day.
_LUCK: Final[Sequence[tuple[int, Trouble]]] = (
    (300, Fault.OVERLOADED),
    (220, Fault.RATE_LIMIT_MINUTE),
    (120, Fault.INVALID_RESPONSE),
    (120, Fault.STREAM_BROKEN),
    (80, Fault.UNREACHABLE),
    (60, HANG),
    (40, Fault.UNKNOWN),
    (20, Fault.CONTENT_FILTER),
    (15, Fault.BAD_REQUEST),
    (12, Fault.CONTEXT_TOO_LONG),
    (12, Fault.REQUEST_TOO_LARGE),
    (1, Fault.RATE_LIMIT_DAY),
)
_WEIGHTS: Final = tuple(weight for weight, _ in _LUCK)
_KINDS: Final = tuple(kind for _, kind in _LUCK)


def bad_luck(rng: Random) -> Trouble:
    """What spoils one call."""
    return rng.choices(_KINDS, _WEIGHTS)[0]


@dataclass(frozen=True, slots=True)
class Spell:
    """A trouble from `begins` to `ends` (seconds) at a provider.

    None for `key`, `account` or `model`: at all of them. An `ends` of infinity: for good.
    """

    kind: Trouble
    provider: str
    begins: float
    ends: float
    key: str | None = None
    account: str | None = None
    model: str | None = None

    def meets(self, key: KeyPlan, model: str) -> bool:
        """True when a call with this key to this model is met by it."""
        return (
            self.key in (None, key.name)
            and self.account in (None, key.account)
            and self.model in (None, model)
        )


FOR_GOOD: Final = float("inf")


def make_spells(world: World, span: float, rng: Random) -> tuple[Spell, ...]:
    """The troubles of a world whose requests come within `span` seconds."""
    spells: list[Spell] = []
    for plan in world.providers:
        if rng.random() < 0.5:
            spells.append(_outage(plan, span, rng))
        if rng.random() < 0.3:
            spells += _clog(plan, span, rng)
        spells += _losses(plan, span, rng)
    if rng.random() < 0.3:
        begins, lasts = rng.uniform(0.2, 0.8) * span, min(120.0, 0.05 * span)
        spells += [
            Spell(Fault.UNREACHABLE, plan.name, begins, begins + lasts) for plan in world.providers
        ]
    return tuple(spells)


def _outage(plan: ProviderPlan, span: float, rng: Random) -> Spell:
    """The whole provider fails in one of the ways in which providers do."""
    kind = rng.choice([Fault.OVERLOADED, Fault.OVERLOADED, Fault.UNREACHABLE, HANG])
    begins = rng.uniform(0.0, 0.9) * span
    return Spell(kind, plan.name, begins, begins + rng.uniform(0.01, 0.15) * span)


def _clog(plan: ProviderPlan, span: float, rng: Random) -> Iterator[Spell]:
    """A part of the keys stops, one by one, and heals in another order."""
    stopped = rng.sample(plan.keys, k=max(1, len(plan.keys) // 2))
    begins, step = rng.uniform(0.0, 0.5) * span, 0.02 * span
    healing = rng.sample(range(len(stopped)), k=len(stopped))
    for place, key in enumerate(stopped):
        ends = begins + step * (len(stopped) + 1 + healing[place])
        kind = rng.choice([Fault.OVERLOADED, HANG])
        yield Spell(kind, plan.name, begins + step * place, ends, key=key.name)


def _losses(plan: ProviderPlan, span: float, rng: Random) -> Iterator[Spell]:
    """A key revoked, an account without money, a model taken away, a quota others use."""

    def within() -> tuple[float, float]:
        begins = rng.uniform(0.0, 0.9) * span
        return begins, begins + rng.uniform(0.02, 0.2) * span

    key = rng.choice(plan.keys)
    if len(plan.keys) > 1 and rng.random() < 0.3:
        yield Spell(Fault.AUTH, plan.name, within()[0], FOR_GOOD, key=key.name)
    if rng.random() < 0.1:
        yield Spell(Fault.QUOTA_EXHAUSTED_BILLING, plan.name, *within(), account=key.account)
    if rng.random() < 0.1:
        model = rng.choice(plan.models).name
        yield Spell(
            Fault.MODEL_UNAVAILABLE, plan.name, *within(), account=key.account, model=model
        )
    if rng.random() < 0.05:
        model = plan.models[-1].name
        yield Spell(Fault.MODEL_UNAVAILABLE, plan.name, within()[0], FOR_GOOD, model=model)
    if rng.random() < 0.3:
        yield Spell(Fault.RATE_LIMIT_MINUTE, plan.name, *within(), account=key.account)
