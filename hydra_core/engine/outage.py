"""Outages: what befalls many alike is not each one's own fault.

Law 1: what k keys of a model suffer alike, with no success between, is the model's trouble
       at its provider; when two of its models are out, the provider's; when no provider can
       be reached, this machine's.
Law 2: one breaker rests all that an outage covers, and one request at a time probes it.
       From then on nobody is marked; who was marked before is absolved; when a probe
       passes, every doubt that the outage caused ends with it.
Law 3: the provider's word stays: a stated wait, and the refusal of one key among others.

k is three: two calls may fail by chance, and each further one is a request sent in vain.
Where a provider has two keys it is both of them; one key alone is judged by the share of
its failing calls (health.Breaker).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hydra_core.engine.blame import blame
from hydra_core.engine.faults import FAULTS
from hydra_core.engine.health import Breaker, Rest
from hydra_core.engine.windows import NEVER
from hydra_core.messages import Fault

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from hydra_core.engine.deployment import Deployment, Lease, ModelFacts
    from hydra_core.wire import Verdict

_WITNESSES: Final = 3
# Failures further apart than this, in seconds, are no longer one event.
_MOMENTS: Final = 60.0
# A provider that refuses keys which had worked is asked again after so many seconds, then
# after twice as many, up to the cap: whoever mends sign-in needs minutes, not hours.
_SIGN_IN_FIRST: Final = 30.0
_SIGN_IN_CAP: Final = 600.0

ILL: Final = frozenset(
    {
        Fault.OVERLOADED,
        Fault.TIMEOUT,
        Fault.INVALID_RESPONSE,
        Fault.STREAM_BROKEN,
        Fault.UNKNOWN,
    }
)
"""Faults from which an outage of a model is inferred."""


class _Alike:
    """The deployments of one model that failed alike in a row, and the opinions before that."""

    __slots__ = ("before", "fault", "last")

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self.last = 0.0
        self.before: dict[Deployment, tuple[float, float | None]] = {}


class _Site:
    """One provider: its deployments by model, and what was lately seen of it as a whole."""

    __slots__ = ("accused", "breaker", "deployments", "models", "rest", "unreached")

    def __init__(self, rest: Rest) -> None:
        self.rest = rest
        self.deployments: list[Deployment] = []
        self.models: dict[ModelFacts, list[Deployment]] = {}
        self.breaker = Breaker(rest)
        self.unreached = False
        self.accused: dict[Rest, float] = {}  # keys that had worked and were refused, and when

    def open(self, breaker: Breaker, fault: Fault, now: float, scale: float) -> None:
        """An outage of the whole provider begins."""
        self.breaker = self.rest.breaker = breaker
        breaker.trip(now, scale, fault)

    def close(self) -> None:
        """It is over, and with it that of each model."""
        self.breaker.close()
        for model in self.models:
            model.breaker.close()


class Outages:
    """Tells one key's fault from its provider's, and a provider's from this machine's.

    `machine` is the rest in whose name all deployments wait while nothing can be reached;
    `alert` is False while nobody has failed lately, and then `passed` need not be called.
    `scale` shortens our own waits. Its methods yield each rest whose members changed.
    """

    def __init__(self, deployments: Iterable[Deployment], scale: float) -> None:
        self.machine = Rest("this machine")
        self.alert = False
        self._scale = scale
        self._sites: dict[str, _Site] = {}
        self._alike: dict[ModelFacts, _Alike] = {}
        self._offline = self._unreachable(self.machine)
        for deployment in deployments:
            site = self._sites.get(deployment.provider)
            if site is None:
                site = self._sites[deployment.provider] = _Site(deployment.scopes.provider)
            site.deployments.append(deployment)
            site.models.setdefault(deployment.model, []).append(deployment)

    @staticmethod
    def _unreachable(over: Rest) -> Breaker:
        rule = FAULTS[Fault.UNREACHABLE]
        return Breaker(over, first=rule.rest or 0.0, cap=rule.cap)

    @property
    def offline(self) -> bool:
        """True while no provider can be reached, and no probe has passed since."""
        return self._offline.open_until > 0.0

    def failed(
        self, lease: Lease, verdict: Verdict, now: float, *, hurried: bool = False
    ) -> Iterator[Rest]:
        """Blame the fault on whom it befell, or on what they share."""
        self.alert = True
        fault = verdict.fault or Fault.UNKNOWN
        site = self._sites[lease.deployment.provider]
        if verdict.status is not None:
            yield from self._reached(site)
        if fault is Fault.UNREACHABLE:
            yield from self._unreached(site, lease, now)
        elif fault is Fault.AUTH and _had_worked(site, lease.deployment):
            yield from self._refused(site, lease, verdict, now)
        elif fault in ILL:
            yield from self._ill(site, lease, verdict, now, hurried=hurried)
        else:
            yield from blame(lease, verdict, now, self._scale, hurried=hurried)

    def passed(self, lease: Lease) -> Iterator[Rest]:
        """A call went well: what that disproves is over."""
        deployment = lease.deployment
        site = self._sites[deployment.provider]
        yield from self._reached(site)
        self._alike.pop(deployment.model, None)
        if site.accused and lease.granted > max(site.accused.values()):
            site.accused.clear()
        if site.breaker.open_until and lease.granted >= site.breaker.opened_at:
            site.close()
            yield site.rest
        self.alert = bool(self._alike) or any(
            other.accused or other.unreached or other.breaker.open_until or self.offline
            for other in self._sites.values()
        )

    def _reached(self, site: _Site) -> Iterator[Rest]:
        """Something answered: the machine is online, and this provider can be reached."""
        for other in self._sites.values():
            other.unreached = False
        if self.offline:
            self._offline.close()
            for other in self._sites.values():
                other.rest.breaker = other.breaker
            yield self.machine
        elif site.breaker.fault is Fault.UNREACHABLE and site.breaker.open_until:
            site.breaker.close()
            yield site.rest

    def _unreached(self, site: _Site, lease: Lease, now: float) -> Iterator[Rest]:
        lease.deployment.failures += 1
        site.unreached = True
        if self.offline:
            yield from self._still(self._offline, lease, now)
        elif all(other.unreached or not _in_question(other, now) for other in self._sites.values()):
            self._offline.trip(now, self._scale, Fault.UNREACHABLE)
            for other in self._sites.values():
                if other.breaker.fault is Fault.UNREACHABLE:
                    other.breaker.close()
                other.rest.breaker = self._offline
            yield self.machine
        elif site.breaker.open_until:
            yield from self._still(site.breaker, lease, now)
        else:
            site.open(self._unreachable(site.rest), Fault.UNREACHABLE, now, self._scale)
            yield site.rest

    def _refused(
        self, site: _Site, lease: Lease, verdict: Verdict, now: float
    ) -> Iterator[Rest]:
        """A key that had worked is refused: it is dead, and asking again would not mend it.

        Unless others that had worked are refused as well, with no success between: then the
        provider is suspect, its sign-in or the address that we have of it, and they live.
        """
        deployment = lease.deployment
        if site.breaker.open_until and site.breaker.fault is Fault.AUTH:
            deployment.failures += 1
            yield from self._still(site.breaker, lease, now)
            return
        accused = {key: at for key, at in site.accused.items() if now - at <= self._moments}
        accused[deployment.scopes.key] = now
        site.accused = accused
        yield from blame(lease, verdict, now, self._scale)
        if len(accused) >= _enough(site.deployments, accused, now):
            for key in accused:
                key.revive()
            site.accused = {}
            breaker = Breaker(site.rest, first=_SIGN_IN_FIRST, cap=_SIGN_IN_CAP)
            site.open(breaker, Fault.AUTH, now, self._scale)
            yield site.rest

    def _ill(
        self, site: _Site, lease: Lease, verdict: Verdict, now: float, *, hurried: bool
    ) -> Iterator[Rest]:
        deployment, model = lease.deployment, lease.deployment.model
        fault = verdict.fault or Fault.UNKNOWN
        known = deployment.breaker
        if known.open_until:
            yield from blame(lease, verdict, now, self._scale, hurried=hurried, spared=True)
            yield from self._still(known, lease, now)
            return
        before = deployment.score.opinion()
        yield from blame(lease, verdict, now, self._scale, hurried=hurried)
        out = model.breaker.failed(now, self._scale, fault)
        if not hurried and self._agreed(site, deployment, fault, before, now) and not out:
            model.breaker.trip(now, self._scale, fault)
            out = True
        if out:
            self._absolve(model)
            yield model.rest
            if sum(other.breaker.open_until > 0.0 for other in site.models) > 1:
                site.open(Breaker(site.rest), fault, now, self._scale)
                yield site.rest

    @property
    def _moments(self) -> float:
        return _MOMENTS * self._scale

    def _agreed(
        self,
        site: _Site,
        deployment: Deployment,
        fault: Fault,
        before: tuple[float, float | None],
        now: float,
    ) -> bool:
        """True when enough keys of this model failed alike with no success between."""
        alike = self._alike.get(deployment.model)
        if alike is None or alike.fault is not fault or now - alike.last > self._moments:
            alike = self._alike[deployment.model] = _Alike(fault)
        alike.last = now
        alike.before.setdefault(deployment, before)
        keys = {witness.scopes.key for witness in alike.before}
        return len(keys) >= _enough(site.models[deployment.model], keys, now)

    def _absolve(self, model: ModelFacts) -> None:
        """Those who failed alike were not to blame."""
        alike = self._alike.pop(model, None)
        if alike is not None:
            for deployment, opinion in alike.before.items():
                deployment.own_rest.recover()
                deployment.score.absolve(opinion)

    def _still(self, breaker: Breaker, lease: Lease, now: float) -> Iterator[Rest]:
        """A probe failed: the outage goes on, and the next probe goes elsewhere if it can."""
        if lease.granted < breaker.opened_at or now < breaker.open_until:
            return  # it was under way, or came too early: nothing new
        breaker.trip(now, self._scale, breaker.fault)
        deployment = lease.deployment
        site = self._sites[deployment.provider]
        mine = site.rest if breaker is self._offline else deployment.own_rest
        if breaker is self._offline:
            others = [d for s in self._sites.values() if s is not site for d in s.deployments]
        elif breaker is deployment.model.breaker:
            others = site.models[deployment.model]
        else:
            others = site.deployments
        due = breaker.open_until
        if any(d is not deployment and _free_of(d, site, due) for d in others):
            breaker.outlast(mine, due + due - now)
        yield breaker.over


def _had_worked(site: _Site, deployment: Deployment) -> bool:
    """True when the key has ever served, with any model."""
    key = deployment.scopes.key
    return any(d.scopes.key is key and d.score.latency is not None for d in site.deployments)


def _in_question(site: _Site, now: float) -> bool:
    """True when something of this provider may serve as far as the provider is concerned."""
    return any(deployment.hard_until <= now for deployment in site.deployments)


def _free_of(deployment: Deployment, site: _Site, due: float) -> bool:
    """True when nothing of its own keeps a deployment from probing at `due`."""
    provider = deployment.scopes.provider
    return (
        deployment.hard_until <= due
        and deployment.own_rest.soft_until <= due
        and (provider is site.rest or provider.soft_until <= due)
    )


def _enough(deployments: Iterable[Deployment], heard: Collection[Rest], now: float) -> float:
    """How many keys must agree: those that could still testify count, and one is never enough."""
    able: set[Rest] = set()
    for deployment in deployments:
        key = deployment.scopes.key
        if key in heard or deployment.hard_until <= now:
            able.add(key)
            if len(able) == _WITNESSES:
                break
    return len(able) if len(able) > 1 else NEVER
