"""KeyManager: lease and settle, the only state of the engine that changes.

Law 1: charge, then send; settle exactly once.
Law 2: capacity that returns goes to those who wait (hydra_core.engine.waiting).

It has no lock and reads no clock: `hydra_core.drive.gate` guards it and tells the time.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hydra_core.engine.accounts import Accounts
from hydra_core.engine.allowance import Allowances
from hydra_core.engine.choice import Chooser
from hydra_core.engine.deployment import Deployment, Lease
from hydra_core.engine.exclusion import kept_from
from hydra_core.engine.foresight import foresight
from hydra_core.engine.learning import observe, refused, served
from hydra_core.engine.lesson import Lesson
from hydra_core.engine.merging import Ledger
from hydra_core.engine.midnights import follow
from hydra_core.engine.outage import Outages
from hydra_core.engine.waiting import WaitingRoom
from hydra_core.engine.windows import NEVER

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from hydra_core.engine.budget import Budget
    from hydra_core.engine.choice import Choice
    from hydra_core.engine.exclusion import Avoid
    from hydra_core.engine.foresight import Foresight
    from hydra_core.engine.health import Breaker, Rest
    from hydra_core.engine.midnights import Midnights
    from hydra_core.engine.queue import Ticket
    from hydra_core.engine.quota import QuotaGroup
    from hydra_core.engine.routing import Route, RouteBook
    from hydra_core.engine.size import Size
    from hydra_core.wire import LimitReading, Verdict


@dataclass(frozen=True, slots=True)
class Settings:
    """How the manager chooses and waits.

    `strategy` is a name in `engine.strategy`. `rotate_at` is the share of a limit from which
    a key is used only when no other can serve. `scale` is the configured time scale: what
    providers' minutes and days, and our own waits, are shortened by. `windows` gives the
    shape of limits learned from a provider, `days` when its day ends where that is one of the
    calendar. `named` are the accounts, as (provider, account), that the configuration names;
    `credible` tells the names that providers give to accounts from nonsense. `max_waiting`
    requests may wait at once; None: any number.
    """

    strategy: str = "adaptive"
    rotate_at: float = 0.95
    scale: float = 1.0
    windows: Mapping[str, str] | None = None
    days: Mapping[str, Midnights] | None = None
    named: frozenset[tuple[str, str]] = frozenset()
    credible: Callable[[str], bool] | None = None
    max_waiting: int | None = None


class KeyManager:
    """Every deployment, quota group and waiting line of one pool."""

    def __init__(
        self, deployments: Sequence[Deployment], routes: RouteBook, settings: Settings
    ) -> None:
        self.deployments = tuple(deployments)
        self.routes = routes
        self._settings = settings
        self.days = settings.days or {}
        self._chooser = Chooser(
            deployments, strategy=settings.strategy, rotate_at=settings.rotate_at
        )
        self.allowances = Allowances(self.deployments)
        self._sequence = 0
        self._members: dict[Rest, list[Deployment]] = defaultdict(list)
        self._sharers: dict[QuotaGroup, list[Deployment]] = defaultdict(list)
        self.room = WaitingRoom(
            self._chooser,
            self._sharers,
            grant=self._grant,
            refund=self.refund,
            most=settings.max_waiting,
        )
        for deployment in self.deployments:
            self._sharers[deployment.group].append(deployment)
            for rest in deployment.rests:
                self._members[rest].append(deployment)
        self.leases: set[Lease] = set()
        ledger = Ledger(self._members, self._sharers, self.leases, self._chooser.stir)
        self.accounts = Accounts(
            self.deployments,
            ledger,
            scale=settings.scale,
            named=settings.named,
            credible=settings.credible,
        )
        self.outages = Outages(self.deployments, self.accounts.notices, scale=settings.scale)
        self._members[self.outages.machine].extend(self.deployments)

    def lease(
        self, route: Route, size: Size, avoid: Avoid, now: float, *, desperate: bool = False
    ) -> Lease | None:
        """A lease that may be used now, charged; None when nothing can start.

        `avoid` holds deployments, models and groups that this request must not use.
        `desperate` also probes deployments that we only believe to be ill, and takes
        nothing that somebody waits for.
        """
        choice = None
        if not (desperate and self.room):
            choice = self._chooser.choose(route, size, avoid, now)
        if choice is None and desperate:
            choice = self._chooser.probe(route, size, avoid, now)
        return None if choice is None else self._grant(choice, size, now)

    def foresight(self, route: Route, size: Size, now: float, *, priority: int = 0) -> Foresight:
        """What a request that came now would meet on a route."""
        avoid = kept_from(route, size, now)
        turn = self.room.turn(route, size, avoid, priority, now)
        return foresight(self._chooser, route, size, avoid, now, turn=turn)

    def _grant(self, choice: Choice, size: Size, now: float) -> Lease:
        deployment = choice.deployment
        charges = deployment.group.charge(choice.tokens, now)
        self._chooser.stirred.add(deployment.group)
        deployment.in_flight += 1
        deployment.calls += 1
        self._sequence += 1
        deployment.last_used = self._sequence
        probes: list[Breaker | Deployment] = []
        if deployment.breaker.open_until:
            probes.append(deployment.breaker)
        if choice.probe:
            probes.append(deployment)
        for probed in probes:
            probed.probing = True
        allowance = deployment.allowance
        spend = None if allowance is None else allowance.book(deployment.model, size, now)
        lease = Lease(
            deployment, size, choice.tokens, charges, now, probes=tuple(probes), spend=spend
        )
        self.leases.add(lease)
        study = deployment.group.study
        if study is not None:
            study.enter(lease)
            if deployment.group.slow_start is not None:
                deployment.group.slow_start.sent(now, deployment.model.echo)
        return lease

    def earliest(self, route: Route, size: Size, avoid: Avoid, now: float) -> float:
        """When a request of this size could start; `NEVER` when nothing known allows it."""
        return self._chooser.earliest(route, size, avoid, now)[0]

    def join(self, route: Route, size: Size, avoid: Avoid, priority: int, now: float) -> Ticket:
        """Stand in line; the ticket may hold its lease at once."""
        return self.room.join(route, size, avoid, priority, now)

    def leave(self, ticket: Ticket, now: float) -> None:
        """Stop waiting. A lease that was granted and not claimed goes back unused."""
        self.room.leave(ticket, now)

    def claim(self, ticket: Ticket, now: float) -> Lease | None:
        """The lease that was granted, charged as of now; None while there is none."""
        return self.room.claim(ticket, now)

    def serve(self, now: float) -> None:
        """Grant leases to whoever can start now; `take_rung` tells whom to wake."""
        self.room.serve(now)

    def take_rung(self) -> list[Ticket]:
        """The tickets to wake, once each. Ring them after the lock is released."""
        return self.room.take_rung()

    def settle(
        self,
        lease: Lease,
        now: float,
        *,
        requests: float = 1.0,
        tokens: float | None = None,
        usd: float | None = None,
        readings: Sequence[LimitReading] = (),
        answered: bool = True,
    ) -> None:
        """End a lease: book what was used (`tokens` None: keep the estimate). Twice is harmless.

        `usd` is what that cost; None: the estimate's price of as many tokens.
        `readings` are the limits that the reply stated. They are the last word, heard
        before anybody is served from what this lease gives back. `answered`: the provider
        did; what was given up or never answered may arrive there later than now.
        """
        if lease.settled:
            return
        lease.settled = True
        self.leases.discard(lease)
        used = lease.tokens if tokens is None else tokens
        lease.group.settle(
            lease.charges, requests=requests, tokens=used, now=now, answered=answered
        )
        lease.used, lease.ended = used, now if answered else NEVER
        deployment = lease.deployment
        deployment.in_flight -= 1
        if readings:
            self._learn(deployment, readings, now)
        self._chooser.stir(self._sharers[lease.group])
        if lease.spend is not None:
            for budget in lease.spend.settle(tokens=tokens, usd=usd, now=now):
                self._chooser.stir(self.allowances.on(budget))
        if lease.probes:
            for probed in lease.probes:
                probed.probing = False
                self._chooser.stir(self._members[_rest_of(probed)])
        if self.room:
            self.room.serve(now)

    def refund(self, lease: Lease, now: float) -> None:
        """End a lease that was never used."""
        self.settle(lease, now, requests=0.0, tokens=0.0)

    def passed(self, lease: Lease, latency: float) -> None:
        """The call went well after `latency` seconds: our doubts about it are over."""
        deployment = lease.deployment
        deployment.score.passed(latency)
        deployment.model.answered_at = answered_at = lease.granted + latency
        deployment.scopes.key.proved(lease.granted)  # a key is looked at before the answer
        group = lease.group
        if group.study is not None or group.ceiling is not None:
            served(lease, answered_at)
        for rest in deployment.rests:
            if rest.strikes:
                rest.recover()
                self._refresh(rest)
        deployment.model.refused_by.discard(deployment.account)
        if deployment.model.breaker.passed():
            self._refresh(deployment.model.rest)
        if self.outages.alert:
            for rest in self.outages.passed(lease):
                self._refresh(rest)

    def failed(
        self, lease: Lease, verdict: Verdict, now: float, *, hurried: bool = False
    ) -> None:
        """Blame whom the fault table blames, and let it rest.

        `hurried`: it was the caller's deadline that ended the attempt, so it says little.
        """
        wait = refused(lease, verdict, self._learned_at(lease.deployment, now))
        for rest in self.outages.failed(lease, verdict, now, hurried=hurried, supposed=wait):
            self._refresh(rest)
        if verdict.affordable_tokens is not None:
            credit, scale = self.routes.credit, self._settings.scale
            credit.heard(lease.group, verdict.affordable_tokens, now, scale)

    def _learned_at(self, deployment: Deployment, now: float) -> Lesson:
        shape = (self._settings.windows or {}).get(deployment.provider, "sliding")
        day_end = self.days.get(deployment.provider)
        return Lesson(shape, self._settings.scale, now, day_end)

    def _learn(self, deployment: Deployment, readings: Sequence[LimitReading], now: float) -> None:
        observe(deployment.group, readings, self._learned_at(deployment, now))

    def judged(
        self, provider: str | None, model: str | None, key: str | None, quality: float
    ) -> None:
        """A reader's opinion of a reply of this deployment."""
        for deployment in self.deployments:
            if deployment.key == key and (deployment.provider, deployment.model.name) == (
                provider,
                model,
            ):
                deployment.score.judged(quality)

    @property
    def budgets(self) -> Mapping[str, Budget]:
        """Every budget by its name, which is the same in each process of one configuration."""
        return self.allowances.budgets

    def reanchor(self, offset: float, now: float) -> None:
        """The wall clock is now `offset` ahead: budgets, hours and providers' days follow it."""
        self._chooser.stir(self.allowances.reanchor(offset, now))
        self._chooser.stir(follow(self.days, self._sharers, offset, now))
        self.serve(now)

    @property
    def scale(self) -> float:
        """What the provider's minutes and days are shortened by."""
        return self._settings.scale

    def reconsider(self, now: float) -> None:
        """Much was changed from outside (a restored memory): look at everybody anew."""
        for deployment in self.deployments:
            deployment.refresh()
        self._chooser.stir(self.deployments)
        self.serve(now)

    def _refresh(self, rest: Rest) -> None:
        members = self._members[rest]
        for deployment in members:
            deployment.refresh()
        self._chooser.stir(members)


def _rest_of(probed: Breaker | Deployment) -> Rest:
    """The rest whose members may be used again when this probe has ended."""
    return probed.own_rest if isinstance(probed, Deployment) else probed.over
