"""Choosing among deployments that could start now.

A strategy is one function that gives each candidate a rank; the smallest rank is
chosen, ties go to the one used longest ago. What may be chosen at all (quota,
cooldown, breaker, tiers) was settled before and no strategy can widen it.

A strategy that goes by what it has learned would never look again at a key that was slow
or failed for a while. So each 32nd choice goes to the one used longest ago, whatever is
thought of it. By turns and not by chance: the same history makes the same choices.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from hydra_core.engine.deployment import Deployment
    from hydra_core.engine.size import Size

Rank = Callable[["Deployment", "Size", float, float], float]
"""(deployment, size, strain on its limits, now) -> rank, smaller is better."""


# What a call under way counts for: of two keys far from their limits the idler is better.
_CROWDING: Final = 0.001


def _priority(deployment: Deployment, size: Size, strain: float, now: float) -> float:  # noqa: ARG001
    return deployment.order


def _round_robin(deployment: Deployment, size: Size, strain: float, now: float) -> float:  # noqa: ARG001
    return 0.0  # the tie rule alone: whoever was used longest ago


def _least_used(deployment: Deployment, size: Size, strain: float, now: float) -> float:  # noqa: ARG001
    return deployment.calls


def _least_busy(deployment: Deployment, size: Size, strain: float, now: float) -> float:  # noqa: ARG001
    return deployment.in_flight


def _fastest(deployment: Deployment, size: Size, strain: float, now: float) -> float:  # noqa: ARG001
    return deployment.score.latency or 0.0  # unseen ones first: how else to learn


def _cheapest(deployment: Deployment, size: Size, strain: float, now: float) -> float:  # noqa: ARG001
    cost = deployment.model.usual_usd(size)
    return float("inf") if cost is None else cost


def _score(deployment: Deployment, size: Size, strain: float, now: float) -> float:  # noqa: ARG001
    return -deployment.score.grade(now)


def _adaptive(deployment: Deployment, size: Size, strain: float, now: float) -> float:  # noqa: ARG001
    """The learned score times the headroom: what is left when the request strains the limits.

    A good key is preferred, no key is drained, or crowded where no limit is known, while
    another idles, and a request goes where its size does the least harm to those to come.
    """
    score = deployment.score
    grade = score.steady_grade if score.troubled_at is None else score.grade(now)
    return grade * (strain - 1.0) / (1.0 + _CROWDING * deployment.in_flight)


# One choice in so many explores: a poor key costs at most 3 % of the calls.
EXPLORE_EVERY: Final = 32
# Who fails is explored half as often with each failure in a row, up to this many halvings.
_HALVINGS: Final = 3


def exploring(turn: int) -> Rank:
    """The rank of a choice that explores, `turn` being its number."""

    def rank(deployment: Deployment, size: Size, strain: float, now: float) -> float:  # noqa: ARG001
        halvings = min(deployment.own_rest.strikes, _HALVINGS)
        return float(turn % (EXPLORE_EVERY << halvings) > 0)

    return rank


EXPLORERS: Final = frozenset({"fastest", "score", "adaptive"})
"""The strategies that go by what they have learned."""

STRATEGIES: Final[dict[str, Rank]] = {
    "priority": _priority,
    "round_robin": _round_robin,
    "least_used": _least_used,
    "least_busy": _least_busy,
    "fastest": _fastest,
    "cheapest": _cheapest,
    "score": _score,
    "adaptive": _adaptive,
}
"""The rank function of every configured name."""
