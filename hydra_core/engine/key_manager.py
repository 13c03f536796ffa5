"""KeyManager: lease and settle, the only state of the engine that changes.

Law 1: charge, then send; settle exactly once.
Law 2: a hard rest is never bypassed; a soft one is probed by one request at a time.
Law 3: first come, first served within a priority; whoever could start earliest in a
       group holds a claim on it, so a large request is not starved by small ones.
Law 4: no method looks at all keys on the path of a call.

It has no lock and reads no clock: `hydra_core.drive.gate` guards it and tells the time.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Final

from hydra_core.engine.deployment import Deployment, Lease, ModelFacts, Size
from hydra_core.engine.faults import FAULTS, Blame
from hydra_core.engine.health import LONGEST_WAIT
from hydra_core.engine.queue import Ticket
from hydra_core.engine.quota import NEVER, Bucket, FixedWindow, SlidingWindow
from hydra_core.engine.strategy import STRATEGIES
from hydra_core.messages import Fault

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from hydra_core.engine.health import Rest
    from hydra_core.engine.quota import QuotaGroup, Window
    from hydra_core.engine.roster import Roster
    from hydra_core.engine.routing import Route, RouteBook
    from hydra_core.wire import LimitReading, Verdict

# A choice looks at this many ready deployments, those used longest ago. Power of two
# choices already comes close to looking at all; eight make small pools exact.
_SAMPLE: Final = 8
# How many waiting tickets may start out of turn in groups that nobody before them claims.
_LOOKAHEAD: Final = 16
# A wait of zero still means "not at once".
_LEAST_WAIT: Final = 1.0
_NOBODY: Final[frozenset[QuotaGroup]] = frozenset()

_ILL: Final = frozenset(
    {
        Fault.OVERLOADED,
        Fault.TIMEOUT,
        Fault.UNREACHABLE,
        Fault.INVALID_RESPONSE,
        Fault.STREAM_BROKEN,
        Fault.UNKNOWN,
    }
)
"""Faults from which a breaker infers an outage."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How the manager chooses. `scale` shortens default waits (the configured time scale)."""

    strategy: str = "adaptive"
    rotate_at: float = 0.95
    scale: float = 1.0


class KeyManager:
    """Every deployment, quota group and waiting line of one pool."""

    def __init__(
        self,
        deployments: Sequence[Deployment],
        routes: RouteBook,
        settings: Settings,
        *,
        windows: dict[str, str],
    ) -> None:
        """`windows` maps a provider to the shape of limits learned from it."""
        self.deployments = tuple(deployments)
        self.routes = routes
        self._settings = settings
        self._rank = STRATEGIES[settings.strategy]
        self._windows = windows
        self._sequence = 0
        self._members: dict[Rest, list[Deployment]] = defaultdict(list)
        self._sharers: dict[QuotaGroup, list[Deployment]] = defaultdict(list)
        self._rosters: dict[Deployment, list[Roster]] = {d: [] for d in self.deployments}
        self._waiting: dict[Route, None] = {}
        self._rung: list[Ticket] = []
        for deployment in self.deployments:
            self._sharers[deployment.group].append(deployment)
            for rest in deployment.rests:
                self._members[rest].append(deployment)

    def lease(
        self, route: Route, size: Size, avoid: set[object], now: float, *, desperate: bool = False
    ) -> Lease | None:
        """A lease that may be used now, charged; None when nothing can start.

        `avoid` holds deployments, models and groups that this request must not use.
        `desperate` also probes deployments that we only believe to be ill.
        """
        lease = self._choose(route, size, avoid, _NOBODY, now)
        if lease is None and desperate:
            lease = self._probe(route, size, avoid, now)
        return lease

    def _choose(
        self,
        route: Route,
        size: Size,
        avoid: Collection[object],
        claimed: Collection[QuotaGroup],
        now: float,
    ) -> Lease | None:
        for tier in route.tiers:
            roster, made = tier.roster(size)
            if made:
                for deployment in tier.deployments:
                    self._rosters[deployment].append(roster)
            chosen = self._best(roster, size, avoid, claimed, now)
            if chosen is not None:
                return chosen
        return None

    def _best(
        self,
        roster: Roster,
        size: Size,
        avoid: Collection[object],
        claimed: Collection[QuotaGroup],
        now: float,
    ) -> Lease | None:
        """The best ready deployment of a roster; those that cannot start are sent to rest."""
        roster.wake(now)
        passed_over = 0
        best: Deployment | None = None
        best_rank: tuple[bool, float, int] | None = None
        best_tokens = usual = 0.0
        model: ModelFacts | None = None
        rotate_at = self._settings.rotate_at
        while best is None:
            sample = list(islice(roster.ready, passed_over, passed_over + _SAMPLE))
            for deployment in sample:
                if deployment.group in claimed or (avoid and _avoided(deployment, avoid)):
                    passed_over += 1
                    continue
                if deployment.model is not model:
                    model = deployment.model
                    usual = model.tokens(size)
                tokens, pressure = usual, deployment.group.pressure(usual, now)
                if pressure > 1.0 or not self._may_start(deployment, now):
                    tokens = self.need_of(deployment, size)
                    start = self._start(deployment, tokens, now)
                    if start > now:
                        roster.rest(deployment, start)
                        continue
                    pressure = deployment.group.pressure(tokens, now)
                rank = (
                    pressure > rotate_at,
                    self._rank(deployment, tokens, pressure, now),
                    deployment.last_used,
                )
                if best_rank is None or rank < best_rank:
                    best, best_rank, best_tokens = deployment, rank, tokens
            if len(sample) < _SAMPLE:
                break
        if best is None:
            return None
        roster.ready.move_to_end(best)
        return self._grant(best, size, best_tokens, now)

    def need_of(self, deployment: Deployment, size: Size) -> float:
        """Tokens to book for a request of this size at this deployment."""
        model = deployment.model
        tokens = model.tokens(size)
        for window in deployment.group.windows:
            if window.kind == "tokens" and tokens > window.limit:
                return deployment.group.reserve(model.prompt_tokens(size), tokens)
        return tokens

    @staticmethod
    def _may_start(deployment: Deployment, now: float) -> bool:
        """Nothing but its quota could keep it from starting now."""
        return (
            deployment.hard_until <= now
            and deployment.soft_until <= now
            and not deployment.model.breaker.probing
            and not deployment.group.full
        )

    def _start(self, deployment: Deployment, tokens: float, now: float) -> float:
        """When this deployment may start such a request; `NEVER`: when something changes."""
        if deployment.hard_until > now:
            return deployment.hard_until
        if deployment.soft_until > now:
            return deployment.soft_until
        if deployment.group.full:
            return NEVER
        breaker = deployment.model.breaker
        if breaker.open_until and breaker.probing:
            return NEVER
        return deployment.group.earliest(tokens, now)

    def _probe(
        self, route: Route, size: Size, avoid: Collection[object], now: float
    ) -> Lease | None:
        """One call to a deployment that rests by our inference alone."""
        for tier in route.tiers:
            roster, _ = tier.roster(size)
            for deployment in islice(roster.resting(), _SAMPLE):
                ill = deployment.soft_until > now >= deployment.hard_until
                busy = deployment.probing or deployment.model.breaker.probing
                if not ill or busy or deployment.group.full or _avoided(deployment, avoid):
                    continue
                tokens = self.need_of(deployment, size)
                if deployment.group.earliest(tokens, now) <= now:
                    return self._grant(deployment, size, tokens, now, probe=True)
        return None

    def _grant(
        self, deployment: Deployment, size: Size, tokens: float, now: float, *, probe: bool = False
    ) -> Lease:
        charges = deployment.group.charge(tokens, now)
        deployment.in_flight += 1
        deployment.calls += 1
        self._sequence += 1
        deployment.last_used = self._sequence
        if deployment.model.breaker.open_until:
            probe = True
            deployment.model.breaker.probing = True
        if probe:
            deployment.probing = True
        return Lease(deployment, size, tokens, charges, now, probe=probe)

    def earliest(
        self,
        route: Route,
        size: Size,
        avoid: Collection[object],
        now: float,
        claimed: Collection[QuotaGroup] = _NOBODY,
    ) -> tuple[float, QuotaGroup | None]:
        """When, and in which group, a request of this size could start next.

        The same arithmetic that leases: health, dashboard and ETA come from it. A
        group whose slots are all taken is expected back after half a usual call.
        """
        soonest, where = NEVER, None
        for tier in route.tiers:
            roster, _ = tier.roster(size)
            for deployment in islice(roster.resting(), _SAMPLE):
                if deployment.group in claimed or _avoided(deployment, avoid):
                    continue
                tokens = self.need_of(deployment, size)
                rest = max(now, deployment.hard_until, deployment.soft_until)
                start = deployment.group.earliest(tokens, rest)
                if start < soonest:
                    soonest, where = start, deployment.group
        if where is None or soonest == NEVER:
            return self._when_busy(route, size, avoid, now, claimed)
        return soonest, where

    def _when_busy(
        self,
        route: Route,
        size: Size,
        avoid: Collection[object],
        now: float,
        claimed: Collection[QuotaGroup],
    ) -> tuple[float, QuotaGroup | None]:
        """The first of those that wait for a call to end rather than for a moment."""
        soonest, where = NEVER, None
        for deployment in islice(route.deployments, 4 * _SAMPLE):
            if deployment.group in claimed or _avoided(deployment, avoid):
                continue
            start = max(now, deployment.hard_until, deployment.soft_until)
            start = max(start, deployment.group.earliest(self.need_of(deployment, size), start))
            if deployment.group.full:
                start += (deployment.score.latency or 1.0) / 2
            if start < soonest:
                soonest, where = start, deployment.group
        return soonest, where

    def join(
        self, route: Route, size: Size, avoid: set[object], priority: int, now: float
    ) -> Ticket:
        """Stand in line; the ticket may hold its lease at once."""
        self._sequence += 1
        ticket = Ticket(route, size, avoid, priority, self._sequence)
        route.line.join(ticket)
        self._waiting[route] = None
        if route.line.ahead(ticket) < _LOOKAHEAD:
            self._serve_route(route, now)
        return ticket

    def leave(self, ticket: Ticket, now: float) -> None:
        """Stop waiting. A lease that was granted and not claimed goes back unused."""
        lease, ticket.lease = ticket.lease, None
        ticket.route.line.leave(ticket)
        if lease is not None:
            self.settle(lease, now, requests=0.0, tokens=0.0)
        else:
            self.serve(now)

    def claim(self, ticket: Ticket, now: float) -> Lease | None:
        """Take the lease that was granted, dated from now: the wire is reached only now."""
        lease, ticket.lease = ticket.lease, None
        if lease is not None:
            lease.group.redate(lease.charges, now)
            lease.granted = now
        return lease

    def serve(self, now: float) -> None:
        """Grant leases to whoever can start now; `take_rung` tells whom to wake."""
        for route in list(self._waiting):
            self._serve_route(route, now)

    def _serve_route(self, route: Route, now: float) -> None:
        line = route.line
        granted = True
        while granted and line:
            granted = False
            claimed: set[QuotaGroup] = set()
            for ticket in line.first(_LOOKAHEAD):
                lease = self._choose(route, ticket.size, ticket.avoid, claimed, now)
                if lease is not None:
                    ticket.lease = lease
                    line.leave(ticket)
                    self._rung.append(ticket)
                    granted = True
                    continue
                ticket.start, group = self.earliest(route, ticket.size, ticket.avoid, now, claimed)
                if group is None:
                    break
                claimed.add(group)
        if not line:
            self._waiting.pop(route, None)
            return
        self._keep_watch(line.first(_LOOKAHEAD))

    def _keep_watch(self, front: list[Ticket]) -> None:
        """Somebody must be awake when the next start comes; else wake the first in line."""
        due = min(ticket.start for ticket in front)
        if due < NEVER and all(ticket.parked_until > due + 0.001 for ticket in front):
            self._rung.append(front[0])

    def take_rung(self) -> list[Ticket]:
        """The tickets to wake, once each. Ring them after the lock is released."""
        rung, self._rung = self._rung, []
        return rung

    def settle(
        self, lease: Lease, now: float, *, requests: float = 1.0, tokens: float | None = None
    ) -> None:
        """End a lease: book what was used (`tokens` None: keep the estimate). Twice is harmless."""
        if lease.settled:
            return
        lease.settled = True
        used = lease.tokens if tokens is None else tokens
        lease.group.settle(lease.charges, requests=requests, tokens=used, now=now)
        deployment = lease.deployment
        deployment.in_flight -= 1
        if lease.probe:
            deployment.probing = False
            deployment.model.breaker.probing = False
            self._stir(self._members[deployment.model.rest])
        else:
            self._stir(self._sharers[lease.group])
        if self._waiting:
            self.serve(now)

    def passed(self, lease: Lease, latency: float) -> None:
        """The call went well: our doubts about it are over."""
        deployment = lease.deployment
        deployment.score.passed(latency)
        changed: list[Rest] = []
        for rest in (deployment.own_rest, deployment.scopes.provider, deployment.scopes.group):
            if rest.strikes:
                rest.recover()
                changed.append(rest)
        if deployment.model.breaker.passed():
            changed.append(deployment.model.rest)
        for rest in changed:
            self._refresh(rest)

    def failed(self, lease: Lease, verdict: Verdict, now: float) -> None:
        """Blame whom the fault table blames, and let it rest."""
        fault = verdict.fault or Fault.UNKNOWN
        deployment = lease.deployment
        rule = FAULTS[fault]
        if rule.blame in (Blame.NOBODY, Blame.REQUEST):
            return
        deployment.failures += 1
        deployment.score.failed(now)
        if fault is Fault.MODEL_UNAVAILABLE:
            self._model_refused(deployment.model, deployment.account, now)
        if verdict.concurrency_limit is not None or verdict.kind == "concurrency":
            self._cap_concurrency(deployment.group, verdict.concurrency_limit)
        rest = self._blamed(deployment, rule.blame, whole_account=verdict.whole_account)
        self._let_rest(rest, fault, verdict, lease.granted, now)
        if fault in _ILL and deployment.model.breaker.failed(now, self._settings.scale):
            self._refresh(deployment.model.rest)

    def _let_rest(
        self, rest: Rest, fault: Fault, verdict: Verdict, begun: float, now: float
    ) -> None:
        rule = FAULTS[fault]
        scale = self._settings.scale
        first = _LEAST_WAIT if verdict.kind == "concurrency" else rule.rest or 0.0
        wait = rest.backoff(first * scale, max(first, rule.cap) * scale, begun=begun, now=now)
        if rule.forever:
            rest.cool(NEVER, fault)
        elif verdict.retry_after is not None:
            told = min(LONGEST_WAIT, verdict.retry_after)
            rest.cool(now + max(told, _LEAST_WAIT * scale), fault)
        elif rule.hard:
            rest.cool(now + wait, fault)
        else:
            rest.doubt(now + wait, fault)
        self._refresh(rest)

    @staticmethod
    def _blamed(deployment: Deployment, blame: Blame, *, whole_account: bool) -> Rest:
        scopes = deployment.scopes
        if whole_account:
            return scopes.account
        return {
            Blame.KEY: scopes.key,
            Blame.ACCOUNT: scopes.account,
            Blame.GROUP: scopes.group,
            Blame.PROVIDER: scopes.provider,
        }.get(blame, deployment.own_rest)

    def _model_refused(self, model: ModelFacts, account: str, now: float) -> None:
        """Two accounts that agree rest the model for the whole provider."""
        model.refused_by.add(account)
        if len(model.refused_by) > 1:
            rule = FAULTS[Fault.MODEL_UNAVAILABLE]
            model.rest.cool(now + (rule.rest or 0.0) * self._settings.scale, Fault.MODEL_UNAVAILABLE)
            self._refresh(model.rest)

    @staticmethod
    def _cap_concurrency(group: QuotaGroup, stated: int | None) -> None:
        # The refused call is still counted in flight; one fewer is what was bearable.
        bearable = max(1, group.in_flight - 1)
        wanted = bearable if stated is None else max(1, min(stated, bearable))
        group.concurrency = min(wanted, group.concurrency or wanted)

    def observe(self, deployment: Deployment, readings: Sequence[LimitReading], now: float) -> None:
        """The provider's word on its limits beats our estimate."""
        group = deployment.group
        for reading in readings:
            length = reading.window * self._settings.scale
            window = group.window(reading.kind, length)
            if window is None and reading.limit:
                window = self._learned(deployment.provider, reading, length, now)
                group.windows.append(window)
            if window is None:
                continue
            if reading.limit and (reading.limit < window.limit or not window.configured):
                window.limit = reading.limit
            if reading.remaining is not None and reading.limit:
                window.observe(reading.limit - reading.remaining, reading.reset, now)

    def _learned(
        self, provider: str, reading: LimitReading, length: float, now: float
    ) -> Window:
        limit = reading.limit or 0.0
        shape = self._windows.get(provider, "sliding")
        if shape == "bucket":
            return Bucket(reading.kind, limit, length, configured=False)
        if shape == "fixed" and reading.reset is not None:
            return FixedWindow(
                reading.kind, limit, length, resets_at=now + reading.reset, configured=False
            )
        return SlidingWindow(reading.kind, limit, length, configured=False)

    def start_of(self, deployment: Deployment, size: Size, now: float) -> float:
        """When this deployment may serve such a request; `NEVER` until something changes."""
        return self._start(deployment, self.need_of(deployment, size), now)

    def score_of(self, deployment: Deployment, now: float) -> float:
        """The learned opinion of a deployment, 0..1."""
        return deployment.score.value(now)

    def judged(
        self, provider: str | None, model: str | None, key: str | None, quality: float
    ) -> None:
        """A reader's opinion of a reply of this deployment."""
        for deployment in self.deployments:
            here = (deployment.provider, deployment.model.name, deployment.key)
            if here == (provider, model, key):
                deployment.score.judged(quality)

    def revive(self, provider: str, key: str) -> None:
        """The key was changed or proved well: its own rest ends."""
        for deployment in self.deployments:
            if deployment.provider == provider and deployment.key == key:
                deployment.scopes.key.revive()
                self._refresh(deployment.scopes.key)

    def _refresh(self, rest: Rest) -> None:
        members = self._members[rest]
        for deployment in members:
            deployment.refresh()
        self._stir(members)

    def _stir(self, deployments: list[Deployment]) -> None:
        for deployment in deployments:
            for roster in self._rosters[deployment]:
                roster.stir(deployment)


def _avoided(deployment: Deployment, avoid: Collection[object]) -> bool:
    return bool(avoid) and (
        deployment in avoid or deployment.model in avoid or deployment.group in avoid
    )
