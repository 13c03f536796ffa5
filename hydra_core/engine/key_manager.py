"""KeyManager: lease and settle, the only state of the engine that changes.

Law 1: charge, then send; settle exactly once.
Law 2: first come, first served within a priority; whoever could start earliest in a
       group holds a claim on it, so a large request is not starved by small ones.
Law 3: capacity that returns wakes those who can use it, not all who wait.

It has no lock and reads no clock: `hydra_core.drive.gate` guards it and tells the time.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from hydra_core.engine.blame import blame
from hydra_core.engine.choice import Chooser
from hydra_core.engine.deployment import Deployment, Lease, Size
from hydra_core.engine.learning import observe
from hydra_core.engine.queue import Ticket
from hydra_core.engine.windows import NEVER

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hydra_core.engine.choice import Avoid, Choice
    from hydra_core.engine.health import Breaker, Rest
    from hydra_core.engine.quota import QuotaGroup
    from hydra_core.engine.routing import Route, RouteBook
    from hydra_core.wire import LimitReading, Verdict

# How many waiting tickets may start out of turn in groups that nobody before them claims.
_LOOKAHEAD: Final = 16
# All of a limit, and the rounding of many additions.
_FULL: Final = 1.0 + 1e-9
# A park that ends this much after the next start is still in time, in seconds.
_SLACK: Final = 0.001


@dataclass(frozen=True, slots=True)
class Settings:
    """How the manager chooses and waits.

    `rotate_at` is the share of a limit from which a key is used only when no other
    can serve. `scale` shortens our own waits (the configured time scale). `windows`
    gives the shape of limits learned from a provider.
    """

    strategy: str = "adaptive"
    rotate_at: float = 0.95
    scale: float = 1.0
    windows: Mapping[str, str] | None = None


class KeyManager:
    """Every deployment, quota group and waiting line of one pool."""

    def __init__(
        self, deployments: Sequence[Deployment], routes: RouteBook, settings: Settings
    ) -> None:
        self.deployments = tuple(deployments)
        self.routes = routes
        self._settings = settings
        self._chooser = Chooser(
            deployments, strategy=settings.strategy, rotate_at=settings.rotate_at
        )
        self._sequence = 0
        self._members: dict[Rest, list[Deployment]] = defaultdict(list)
        self._sharers: dict[QuotaGroup, list[Deployment]] = defaultdict(list)
        self._waiting: dict[Route, None] = {}
        self._rung: list[Ticket] = []
        for deployment in self.deployments:
            self._sharers[deployment.group].append(deployment)
            for rest in deployment.rests:
                self._members[rest].append(deployment)

    def lease(
        self, route: Route, size: Size, avoid: Avoid, now: float, *, desperate: bool = False
    ) -> Lease | None:
        """A lease that may be used now, charged; None when nothing can start.

        `avoid` holds deployments, models and groups that this request must not use.
        `desperate` also probes deployments that we only believe to be ill.
        """
        choice = self._chooser.choose(route, size, avoid, now)
        if choice is None and desperate:
            choice = self._chooser.probe(route, size, avoid, now)
        return None if choice is None else self._grant(choice, size, now)

    def _grant(self, choice: Choice, size: Size, now: float) -> Lease:
        deployment = choice.deployment
        charges = deployment.group.charge(choice.tokens, now)
        deployment.in_flight += 1
        deployment.calls += 1
        self._sequence += 1
        deployment.last_used = self._sequence
        probes: list[Breaker | Deployment] = []
        if deployment.model.breaker.open_until:
            probes.append(deployment.model.breaker)
        if choice.probe:
            probes.append(deployment)
        for probed in probes:
            probed.probing = True
        return Lease(deployment, size, choice.tokens, charges, now, probes=tuple(probes))

    def earliest(self, route: Route, size: Size, avoid: Avoid, now: float) -> float:
        """When a request of this size could start; `NEVER` when nothing known allows it."""
        return self._chooser.earliest(route, size, avoid, now)[0]

    def join(self, route: Route, size: Size, avoid: Avoid, priority: int, now: float) -> Ticket:
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
        """Take the lease that was granted, charged as of now: the wire is reached only now.

        One that can no longer be used goes back, and the ticket stands where it stood.
        """
        lease, ticket.lease = ticket.lease, None
        if lease is None or self._renewed(lease, now):
            return lease
        ticket.route.line.join(ticket)
        self._waiting[ticket.route] = None
        self.settle(lease, now, requests=0.0, tokens=0.0)
        lease, ticket.lease = ticket.lease, None
        return lease

    @staticmethod
    def _renewed(lease: Lease, now: float) -> bool:
        """Charge it anew; False when it can no longer be used.

        Its deployment may have come to rest, or its booking expired and others used that room.
        """
        group = lease.group
        group.settle(lease.charges, requests=0.0, tokens=0.0, now=now)
        usable = not lease.deployment.rests_at(now) and group.pressure(lease.tokens, now) <= _FULL
        lease.charges = group.charge(lease.tokens, now)
        lease.granted = now
        return usable

    def serve(self, now: float) -> None:
        """Grant leases to whoever can start now; `take_rung` tells whom to wake."""
        for route in list(self._waiting):
            self._serve_route(route, now)

    def _serve_route(self, route: Route, now: float) -> None:
        line = route.line
        while line and self._serve_front(route, now):
            pass
        if line:
            self._keep_watch(line.first(_LOOKAHEAD))
        else:
            self._waiting.pop(route, None)

    def _serve_front(self, route: Route, now: float) -> bool:
        """One look at those in front, in their order; True when somebody was served."""
        granted = False
        claimed: set[QuotaGroup] = set()
        for ticket in route.line.first(_LOOKAHEAD):
            ticket.start = NEVER
            if len(claimed) == route.groups:
                continue  # those before it wait for all there is
            choice, group = self._look(route, ticket, now, claimed)
            if choice is not None:
                ticket.lease = self._grant(choice, ticket.size, now)
                route.line.leave(ticket)
                self._rung.append(ticket)
                granted = True
            elif group is not None:
                claimed.add(group)
        return granted

    def _look(
        self, route: Route, ticket: Ticket, now: float, claimed: set[QuotaGroup]
    ) -> tuple[Choice | None, QuotaGroup | None]:
        """Who may serve this ticket now, else the group in which it will start."""
        chooser = self._chooser
        choice = chooser.choose(route, ticket.size, ticket.avoid, now, claimed)
        if choice is not None:
            return choice, None
        ticket.start, group = chooser.earliest(route, ticket.size, ticket.avoid, now, claimed)
        if ticket.start <= now:
            choice = chooser.choose(route, ticket.size, ticket.avoid, now, claimed)
        return choice, group

    def _keep_watch(self, front: list[Ticket]) -> None:
        """Somebody must be awake when the next start comes; else wake whose start it is."""
        first = min(front, key=lambda ticket: ticket.start)
        due = first.start
        if due < NEVER and all(ticket.parked_until > due + _SLACK for ticket in front):
            first.parked_until = due  # it is awake from now on: once rung is enough
            self._rung.append(first)

    def take_rung(self) -> list[Ticket]:
        """The tickets to wake, once each. Ring them after the lock is released."""
        if not self._rung:
            return []
        rung, self._rung = self._rung, []
        return rung

    def settle(
        self,
        lease: Lease,
        now: float,
        *,
        requests: float = 1.0,
        tokens: float | None = None,
        readings: Sequence[LimitReading] = (),
    ) -> None:
        """End a lease: book what was used (`tokens` None: keep the estimate). Twice is harmless.

        `readings` are the limits that the reply stated. They are the last word, heard
        before anybody is served from what this lease gives back.
        """
        if lease.settled:
            return
        lease.settled = True
        used = lease.tokens if tokens is None else tokens
        lease.group.settle(lease.charges, requests=requests, tokens=used, now=now)
        deployment = lease.deployment
        deployment.in_flight -= 1
        if readings:
            self._learn(deployment, readings, now)
        self._chooser.stir(self._sharers[lease.group])
        if lease.probes:
            for probed in lease.probes:
                probed.probing = False
            self._chooser.stir(self._members[deployment.model.rest])
        if self._waiting:
            self.serve(now)

    def passed(self, lease: Lease, latency: float) -> None:
        """The call went well after `latency` seconds: our doubts about it are over."""
        deployment = lease.deployment
        deployment.score.passed(latency)
        for rest in deployment.rests:
            if rest.strikes:
                rest.recover()
                self._refresh(rest)
        deployment.model.refused_by.discard(deployment.account)
        if deployment.model.breaker.passed():
            self._refresh(deployment.model.rest)

    def failed(
        self, lease: Lease, verdict: Verdict, now: float, *, hurried: bool = False
    ) -> None:
        """Blame whom the fault table blames, and let it rest.

        `hurried`: it was the caller's deadline that ended the attempt, so it says little.
        """
        for rest in blame(lease, verdict, now, self._settings.scale, hurried=hurried):
            self._refresh(rest)

    def _learn(self, deployment: Deployment, readings: Sequence[LimitReading], now: float) -> None:
        shape = (self._settings.windows or {}).get(deployment.provider, "sliding")
        observe(deployment.group, readings, shape=shape, scale=self._settings.scale, now=now)

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
        self._chooser.stir(members)
