"""Choosing for one request: who can start now, who is best among them, who could start next.

Law 1: a hard rest is never passed, nor is a spent budget or a key's hours; a soft rest is
       probed by one request at a time.
Law 2: no method looks at all keys on the path of a call.
Law 3: leasing, ETA and health come from the same arithmetic (`start_of`).
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple

from hydra_core.engine.allowance import affordable
from hydra_core.engine.exclusion import avoids
from hydra_core.engine.score import USUAL_LATENCY
from hydra_core.engine.strategy import EXPLORE_EVERY, EXPLORERS, STRATEGIES, exploring
from hydra_core.engine.windows import NEVER
from hydra_core.messages import Fault

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from hydra_core.engine.deployment import Deployment
    from hydra_core.engine.exclusion import Avoid
    from hydra_core.engine.model_facts import ModelFacts
    from hydra_core.engine.quota import QuotaGroup
    from hydra_core.engine.roster import Roster
    from hydra_core.engine.routing import Route, Tier
    from hydra_core.engine.size import Size
    from hydra_core.engine.strategy import Rank

# A choice looks at this many ready deployments: the one chosen last and others in turn. Power
# of two choices already comes close to looking at all; eight make small pools exact.
_SAMPLE: Final = 8
# A strategy that promises the first, the cheapest or the best owes a longer look.
_STRICT: Final = frozenset(STRATEGIES) - {"adaptive", "round_robin"}
_STRICT_SAMPLE: Final = 64
# Who waits for no moment stands in no order: among those a longer look is worth while.
_LONG_LOOK: Final = 48
_LAST: Final = (True, NEVER, NEVER)
NOBODY: Final[frozenset[QuotaGroup]] = frozenset()


class Choice(NamedTuple):
    """A deployment that may serve now, and the tokens to book for it."""

    deployment: Deployment
    tokens: float
    probe: bool = False


class Chooser:
    """Chooses by one strategy; keeps the rosters of who is ready."""

    def __init__(
        self, deployments: Iterable[Deployment], *, strategy: str, rotate_at: float
    ) -> None:
        self._rank = STRATEGIES[strategy]
        self._explores = strategy in EXPLORERS
        self._sample = _STRICT_SAMPLE if strategy in _STRICT else _SAMPLE
        self._seen = NEVER if strategy == "round_robin" else self._sample
        self._rotate_at = rotate_at
        self._rosters: dict[Deployment, list[Roster]] = {d: [] for d in deployments}
        self.stirred: set[QuotaGroup] = set()  # what changed since those who wait were served

    def stir(self, deployments: Iterable[Deployment]) -> None:
        """Something about them changed: look at them again."""
        for deployment in deployments:
            self.stirred.add(deployment.group)
            for roster in self._rosters[deployment]:
                roster.stir(deployment)

    def choose(
        self,
        route: Route,
        size: Size,
        avoid: Avoid,
        now: float,
        claimed: Collection[QuotaGroup] = NOBODY,
    ) -> Choice | None:
        """The best deployment of the first tier that can start now, outside of `claimed`."""
        for tier in route.tiers:
            if tier.budgets and not any(
                affordable(tier.budgets, model, size, now) for model in tier.models
            ):
                continue
            roster = self._roster(tier, size)
            choice = self._best(roster, size, avoid, claimed, now)
            if choice is not None:
                roster.served(choice.deployment, self._seen)
                return choice
        return None

    def peek(self, tier: Tier, size: Size, avoid: Avoid, now: float) -> Deployment | None:
        """Whom `choose` would choose of a tier now; no turn is taken."""
        roster = self._roster(tier, size)
        roster.wake(now)
        turn, choice, seen = roster.turn, None, -1
        while seen != len(roster.ready):  # who cannot start goes to rest: others come into view
            seen = len(roster.ready)
            choice = self._best(roster, size, avoid, NOBODY, now)
            roster.turn = turn
        return None if choice is None else choice.deployment

    def _roster(self, tier: Tier, size: Size) -> Roster:
        roster, made = tier.roster(size)
        if made:
            for deployment in tier.deployments:
                self._rosters[deployment].append(roster)
        return roster

    def _best(
        self,
        roster: Roster,
        size: Size,
        avoid: Avoid,
        claimed: Collection[QuotaGroup],
        now: float,
    ) -> Choice | None:
        """The best ready deployment of a roster."""
        roster.wake(now)
        rank_of = self._rank_for(roster) if self._explores else self._rank
        passed_over = 0
        while True:
            sample = able = list(islice(roster.ready, passed_over, passed_over + self._sample))
            if claimed or avoid:
                able = [d for d in sample if d.group not in claimed and not avoids(avoid, d)]
            choice = self._best_of(able, roster, rank_of, size, now)
            if choice is not None:
                return choice
            passed_over += len(sample) - len(able)
            if len(sample) < self._sample and not roster.roused(size, start_of, now):
                return None

    def _best_of(
        self, able: Iterable[Deployment], roster: Roster, rank_of: Rank, size: Size, now: float
    ) -> Choice | None:
        """The best of these; those that cannot start are sent to rest.

        Each call asks it about several candidates, so what hinders few of them is asked
        for in place, and in full only of those where there may be something.
        """
        best: Deployment | None = None
        booked, foremost, rotate_at = 0.0, _LAST, self._rotate_at
        model: ModelFacts | None = None
        usual = 0.0
        for deployment in able:
            if deployment.model is not model:
                model = deployment.model
                usual = model.tokens(size)
            group, allowance = deployment.group, deployment.allowance
            tokens = usual
            pressure, strain = group.weigh(tokens, now)
            if (
                pressure > 1.0
                or deployment.hard_until > now
                or deployment.soft_until > now
                or deployment.breaker.probing
                or (group.slow_start is not None and group.held(now))
                or (allowance is not None and allowance.earliest(model, size, now) > now)
            ):
                tokens = need_of(deployment, size)
                if _sent_to_rest(roster, deployment, size, tokens, now):
                    continue
                pressure, strain = group.weigh(tokens, now)
            rank = rank_of(deployment, size, strain, now)
            standing = pressure > rotate_at, rank, deployment.last_used
            if standing < foremost:
                best, booked, foremost = deployment, tokens, standing
        return None if best is None else Choice(best, booked)

    def _rank_for(self, roster: Roster) -> Rank:
        """The strategy's rank, or that of a choice which explores."""
        roster.turn += 1
        return self._rank if roster.turn % EXPLORE_EVERY else exploring(roster.turn)

    def probe(self, route: Route, size: Size, avoid: Avoid, now: float) -> Choice | None:
        """A deployment that rests by our inference alone, and that nobody probes now.

        Or one that only our own caution holds back: the pace at which a group of unknown
        limits is tried is no reason to give up. Keys that a provider refused all together
        wait for their turn: who signs in with them again and again may be locked out.
        """
        for tier in route.tiers:
            for deployment in islice(self._roster(tier, size).resting(), _LONG_LOOK):
                group = deployment.group
                busy = deployment.probing or deployment.breaker.probing
                ill = deployment.soft_until > now
                if deployment.hard_until > now or group.full or avoids(avoid, deployment):
                    continue
                if busy or not (ill or group.held(now)) or _refused(deployment, now):
                    continue
                tokens = need_of(deployment, size)
                allowed = allowed_at(deployment, size, now)
                if max(allowed, group.earliest(tokens, now, paced=False)) <= now:
                    return Choice(deployment, tokens, probe=ill)
        return None

    def earliest(
        self,
        route: Route,
        size: Size,
        avoid: Avoid,
        now: float,
        claimed: Collection[QuotaGroup] = NOBODY,
    ) -> tuple[float, Deployment | None]:
        """When, and where outside of the groups in `claimed`, such a request could start next.

        A start that is not later than `now` means that it may be chosen: whoever rested
        only for larger requests of its size class is ready again.
        """
        soonest, where = NEVER, None
        for tier in route.tiers:
            roster = self._roster(tier, size)
            for deployments, most in (
                (roster.resting(), _SAMPLE),
                (roster.held, _LONG_LOOK),
                (roster.ready, _SAMPLE),
            ):
                able = (d for d in deployments if _in_question(d, avoid, claimed))
                for deployment in islice(able, most):
                    start = expected_at(deployment, size, now)
                    if start < soonest:
                        soonest, where = start, deployment
            if where is not None and soonest <= now:
                roster.stir(where)
                break
        return soonest, where


def need_of(deployment: Deployment, size: Size) -> float:
    """Tokens to book for a request of this size at this deployment."""
    model = deployment.model
    return deployment.group.reserve(model.prompt_tokens(size), model.tokens(size))


def start_of(deployment: Deployment, size: Size, now: float) -> float:
    """When this deployment may serve such a request; `NEVER`: not until something changes."""
    return _start(deployment, size, need_of(deployment, size), now)


def allowed_at(deployment: Deployment, size: Size, now: float) -> float:
    """When its owner lets it serve such a request: budgets and active hours."""
    allowance = deployment.allowance
    return now if allowance is None else allowance.earliest(deployment.model, size, now)


def disallowed(deployment: Deployment, size: Size, now: float) -> str | None:
    """Why its owner does not let it serve such a request now; None: he does."""
    allowance = deployment.allowance
    return None if allowance is None else allowance.why(deployment.model, size, now)


def _in_question(deployment: Deployment, avoid: Avoid, claimed: Collection[QuotaGroup]) -> bool:
    """It may serve this request at some time."""
    return not (
        deployment.hard_until == NEVER or deployment.group in claimed or avoids(avoid, deployment)
    )


def expected_at(deployment: Deployment, size: Size, now: float) -> float:
    """When it could start, those included that wait for a call to end.

    Such a call is expected to end after half a usual latency. A quota is asked about
    `now` alone: what fits at some moment still fits when a later rest ends.
    """
    rested, booked = rested_at(deployment, size, now)
    group, breaker = deployment.group, deployment.breaker
    if booked or group.full or (breaker.open_until and breaker.probing):
        rested = max(rested, now + (deployment.score.latency or USUAL_LATENCY) / 2)
    return max(rested, group.earliest(need_of(deployment, size), now))


def rested_at(deployment: Deployment, size: Size, now: float) -> tuple[float, bool]:
    """When no rest and no owner's word keeps it, and whether only calls under way do till then."""
    allowed = allowed_at(deployment, size, now)
    booked = allowed > now and _only_booked(deployment, size, now)
    return max(now if booked else allowed, deployment.hard_until, deployment.soft_until), booked


def _refused(deployment: Deployment, now: float) -> bool:
    """True while a suspect sign-in rests, which no despair of ours cuts short."""
    breaker = deployment.breaker
    return breaker.fault is Fault.AUTH and breaker.open_until > now


def _only_booked(deployment: Deployment, size: Size, now: float) -> bool:
    """What its budgets lack is booked by calls under way, and may come back as they end."""
    allowance = deployment.allowance
    return allowance is not None and allowance.may_return(deployment.model, size, now)


def _sent_to_rest(
    roster: Roster, deployment: Deployment, size: Size, tokens: float, now: float
) -> bool:
    """True when it cannot start now; then it rests until it can."""
    start = _start(deployment, size, tokens, now)
    if start <= now:
        return False
    roster.rest(deployment, start, tokens=size.rough_tokens)
    if deployment.allowance is not None:
        deployment.allowance.turn_away(deployment.model, size, now)
    return True


def _start(deployment: Deployment, size: Size, tokens: float, now: float) -> float:
    if deployment.allowance is not None:
        allowed = allowed_at(deployment, size, now)
        if allowed > now:
            return max(allowed, deployment.hard_until, deployment.soft_until)
    if deployment.hard_until > now:
        return deployment.hard_until
    if deployment.soft_until > now:
        return deployment.soft_until
    breaker = deployment.breaker
    if deployment.group.full or (breaker.open_until and breaker.probing):
        return NEVER
    return deployment.group.earliest(tokens, now)
