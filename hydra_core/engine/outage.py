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

from hydra_core.engine.barred import Bar, barred_notice, is_bar
from hydra_core.engine.blame import blame
from hydra_core.engine.faults import FAULTS
from hydra_core.engine.health import Breaker, Rest
from hydra_core.engine.reasons import (
    gone_notice,
    offline_notice,
    online_notice,
    refused_notice,
    sign_in_notice,
    signed_in_notice,
    spent_notice,
)
from hydra_core.engine.site import Alike, Site, enough_keys, free_of, had_worked, in_question
from hydra_core.messages import Fault

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from hydra_core.engine.deployment import Deployment, Lease
    from hydra_core.engine.model_facts import ModelFacts
    from hydra_core.engine.notices import Notice
    from hydra_core.wire import Verdict

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


class Outages:
    """Tells one key's fault from its provider's, and a provider's from this machine's.

    `machine` is the rest in whose name all deployments wait while nothing can be reached;
    `alert` is False while nobody has failed lately, and then `passed` need not be called.
    What people should be told is added to `notices`.
    `scale` shortens our own waits. Its methods yield each rest whose members changed.
    """

    def __init__(
        self, deployments: Iterable[Deployment], notices: list[Notice], *, scale: float
    ) -> None:
        self.machine = Rest("this machine")
        self.alert = False
        self._notices = notices
        self._scale = scale
        self._sites: dict[str, Site] = {}
        self._alike: dict[ModelFacts, Alike] = {}
        self._offline = self._unreachable(self.machine)
        for deployment in deployments:
            site = self._sites.get(deployment.provider)
            if site is None:
                site = self._sites[deployment.provider] = Site(deployment.scopes.provider)
            site.deployments.append(deployment)
            site.models.setdefault(deployment.model, []).append(deployment)

    @staticmethod
    def _unreachable(over: Rest) -> Breaker:
        rule = FAULTS[Fault.UNREACHABLE]
        return Breaker(over, first=rule.rest, cap=rule.cap)

    @property
    def offline(self) -> bool:
        """True while no provider can be reached, and no probe has passed since."""
        return self._offline.open_until > 0.0

    def failed(
        self,
        lease: Lease,
        verdict: Verdict,
        now: float,
        *,
        hurried: bool = False,
        supposed: float | None = None,
    ) -> Iterator[Rest]:
        """Blame the fault on whom it befell, or on what they share."""
        self.alert = True
        fault = verdict.fault or Fault.UNKNOWN
        site = self._sites[lease.deployment.provider]
        if verdict.status is not None:
            lease.deployment.model.answered_at = now
            yield from self._reached(site, barred=is_bar(verdict))
        if is_bar(verdict):
            yield from self._barred(site, lease, verdict, now)
        elif fault is Fault.UNREACHABLE:
            if site.answered_since(lease.granted):
                yield from blame(lease, verdict, now, self._scale)  # of one connection's trouble
            else:
                yield from self._unreached(site, lease, now)
        elif fault is Fault.AUTH:
            yield from self._refused(site, lease, verdict, now)
        elif fault in ILL:
            yield from self._ill(site, lease, verdict, now, hurried=hurried)
        else:
            yield from blame(
                lease, verdict, now, self._scale, hurried=hurried, supposed=supposed
            )
        if fault is Fault.AUTH and lease.deployment.scopes.key.dead:
            self._notices.append(refused_notice(lease.deployment.provider, site.dead()))
        elif fault is Fault.QUOTA_EXHAUSTED_BILLING:
            self._notices.append(spent_notice(lease.deployment, verdict.message))
        elif fault is Fault.MODEL_UNAVAILABLE:
            self._notices.append(gone_notice(lease.deployment, verdict.message))

    def passed(self, lease: Lease) -> Iterator[Rest]:
        """A call went well: what that disproves is over."""
        deployment = lease.deployment
        site = self._sites[deployment.provider]
        yield from self._reached(site)
        self._alike.pop(deployment.model, None)
        if site.accused and lease.granted > max(site.accused.values()):
            site.accused.clear()
        if site.breaker.open_until and lease.granted >= site.breaker.opened_at:
            if site.breaker.fault is Fault.AUTH:
                self._notices.append(signed_in_notice(deployment.provider))
            site.close()
            yield site.rest
        self.alert = bool(self._alike) or any(
            other.accused or other.unreached or other.breaker.open_until or self.offline
            for other in self._sites.values()
        )

    def _barred(self, site: Site, lease: Lease, verdict: Verdict, now: float) -> Iterator[Rest]:
        """It does not serve this place: no key of it is asked but by one probe at a time."""
        lease.deployment.failures += 1
        if site.breaker.open_until:
            yield from self._still(site.breaker, lease, now)
        else:
            self._notices.append(barred_notice(lease.deployment.provider, verdict.message))
            site.open(Bar(site.rest), Fault.UNREACHABLE, now, self._scale)
            yield site.rest

    def _reached(self, site: Site, *, barred: bool = False) -> Iterator[Rest]:
        """Something answered: the machine is online, and this provider can be reached."""
        for other in self._sites.values():
            other.unreached = False
        if self.offline:
            self._notices.append(online_notice())
            self._offline.close()
            for other in self._sites.values():
                other.rest.breaker = other.breaker
            yield self.machine
        elif not barred and site.breaker.fault is Fault.UNREACHABLE and site.breaker.open_until:
            site.breaker.close()
            yield site.rest

    def _unreached(self, site: Site, lease: Lease, now: float) -> Iterator[Rest]:
        lease.deployment.failures += 1
        site.unreached = True
        if self.offline:
            yield from self._still(self._offline, lease, now)
        elif all(
            other.unreached or not (in_question(other, now) or other.answered_since(lease.granted))
            for other in self._sites.values()
        ):
            self._notices.append(offline_notice(list(self._sites)))
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

    def _refused(self, site: Site, lease: Lease, verdict: Verdict, now: float) -> Iterator[Rest]:
        """A key is refused: it is dead, and asking again would not mend it.

        Unless others are refused as well, with no success between, and one of them had
        worked: then the provider is suspect, its sign-in or the address that we have of
        it, and they live. Keys of which none ever worked were never right.
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
        enough = len(accused) >= enough_keys(site.deployments, accused, now)
        if enough and any(had_worked(site, key) for key in accused):
            for key in accused:
                key.revive(now)
            site.accused = {}
            self._notices.append(sign_in_notice(deployment.provider))
            breaker = Breaker(site.rest, first=_SIGN_IN_FIRST, cap=_SIGN_IN_CAP)
            site.open(breaker, Fault.AUTH, now, self._scale)
            yield site.rest

    def _ill(
        self, site: Site, lease: Lease, verdict: Verdict, now: float, *, hurried: bool
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
        site: Site,
        deployment: Deployment,
        fault: Fault,
        before: tuple[float, float | None],
        now: float,
    ) -> bool:
        """True when enough keys of this model failed alike with no success between."""
        alike = self._alike.get(deployment.model)
        if alike is None or alike.fault is not fault or now - alike.last > self._moments:
            alike = self._alike[deployment.model] = Alike(fault)
        alike.last = now
        alike.before.setdefault(deployment, before)
        keys = {witness.scopes.key for witness in alike.before}
        return len(keys) >= enough_keys(site.models[deployment.model], keys, now)

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
        if any(d is not deployment and free_of(d, site, due) for d in others):
            breaker.outlast(mine, due + due - now)
        yield breaker.over
