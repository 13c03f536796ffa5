"""The laws that are checked against the oracle's notes: books, leases, explanations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hydra_core.engine.bucket import Bucket
from hydra_core.errors import PoolExhausted, RequestRejected
from hydra_core.messages import Fault
from hydra_core.testing.simulation.ledger import NAMES, NEVER
from hydra_core.wire import MINUTE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hydra_core.engine.deployment import Deployment
    from hydra_core.errors import HydraError
    from hydra_core.testing.simulation.caller import Caller
    from hydra_core.testing.simulation.faults import Trouble
    from hydra_core.testing.simulation.oracle import Oracle
    from hydra_core.testing.simulation.process import Process
    from hydra_core.testing.simulation.provider import Sent

_SLACK: Final = 2.0
_NO_TIME: Final = 0.006
_ENDS_THE_CALL: Final = frozenset({Fault.CONTENT_FILTER, Fault.BAD_REQUEST})
_TOO_LARGE: Final = frozenset({Fault.CONTEXT_TOO_LONG, Fault.REQUEST_TOO_LARGE})


class Audit:
    """Compares what the engine holds and says with what the oracles know."""

    def __init__(self, process: Process, oracles: Mapping[str, Oracle], *, exact: bool) -> None:
        """`exact`: no request takes more tokens than its caller said."""
        self.oracles = oracles
        self._exact = exact
        self._process = process
        self._looked = 0

    def books(self, now: float, provider_now: float, *, waiting: int) -> Iterator[tuple[str, str]]:
        """Look at one deployment's windows, another at each look: (law, what) for each wrong.

        A window must hold at least what the provider counts, and at most what was booked.
        """
        deployments = self._process.manager.deployments
        deployment = deployments[self._looked % len(deployments)]
        self._looked += 1
        oracle = self.oracles[deployment.provider]
        key = oracle.key(deployment.key)
        if not oracle.provider.knows(key.account):
            return
        place, group = (key.account, deployment.model.name), deployment.group
        ledger = oracle.ledger
        if group.in_flight != ledger.open_at(place):
            what = f"{group.in_flight} in flight by the engine's count, not {ledger.open_at(place)}"
            if not waiting:  # else it may be a lease with which its waiter has not sent yet
                yield "leak", f"{deployment.name}: {what}"
            return
        quota = oracle.provider.quota(*place)
        for window in group.windows:
            name = NAMES.get((window.kind, window.length))
            gauge = quota.gauge(name, provider_now) if name else None
            if name is None or gauge is None:
                continue
            used, grain = window.used(now), 1e-6 * gauge.limit
            # A bucket's gauge is rounded to whole units.
            counted = gauge.limit - gauge.remaining - isinstance(window, Bucket)
            sure = self._exact or window.kind == "requests"
            if sure and used < counted - grain:
                told = f"{used:.3f} of {name} used by the engine's books, the provider counts"
                yield "undercharge", f"{deployment.name}: {told} {counted}"
            most = ledger.booked(place, name, now)
            plan = oracle.provider.plan
            words = plan.states_limits or plan.manners == "openai"  # they may raise the count
            # What was remembered over a restart is dated late.
            exact = not (words or self._process.restarts)
            if exact and used > most + grain:
                told = f"{used:.3f} of {name} used by the engine's books, {most:.3f} was booked"
                yield "double_charge", f"{deployment.name}: {told}"

    def left_open(self) -> Iterator[str]:
        """What is still held when every call has ended."""
        for deployment in self._process.manager.deployments:
            if deployment.in_flight or deployment.group.in_flight:
                yield f"{deployment.name} is still in flight"

    def unexplained(
        self, caller: Caller, error: HydraError, now: float, *, waiting: int, awake_since: float
    ) -> str | None:
        """What speaks against this error, or None where there is a reason for it."""
        heard = {fault for fault, _ in caller.refusals}
        if heard & _ENDS_THE_CALL:
            return None
        if isinstance(error, RequestRejected):
            fits = None if heard & _TOO_LARGE else self._free(caller, now, before=NEVER)
            return f"{fits[0]} could hold it" if fits else None
        if not isinstance(error, PoolExhausted):
            return "no such error is the user's to see"
        if now > caller.due - _NO_TIME:
            if not caller.was_waiting:
                return None
            if awake_since > now - _SLACK:
                return None  # nobody could act
            free = self._free(caller, now, before=now - _SLACK)
            if len(free) > waiting:
                return f"{free[0]} had long been free"
            return self._idle(caller, now)
        free = self._free(caller, now, before=now)
        if len(free) > waiting:
            return f"{free[0]} was free, and {waiting} waited"
        if awake_since <= now - _SLACK and (idle := self._idle(caller, now)):
            return idle
        soon = self._free(caller, now, before=caller.patience() - _SLACK)
        return f"{soon[0]} would have been free in time" if soon and not waiting else None

    def _idle(self, caller: Caller, now: float) -> str | None:
        """A deployment that nobody used, though whoever waits could have."""
        idle = self._free(caller, now, before=now - _SLACK, idle=True)
        return f"{idle[0]} had long been idle" if idle else None

    def _free(self, caller: Caller, now: float, *, before: float, idle: bool = False) -> list[str]:
        """One deployment of each quota group that is surely free for this call before then."""
        if self._may_be_offline(now):
            return []
        found: dict[tuple[str, str, str], str] = {}
        for deployment in caller.route.deployments:
            oracle = self.oracles[deployment.provider]
            key, model = oracle.key(deployment.key), oracle.model(deployment.model.name)
            if _ruled_out(caller, deployment):
                continue
            moment = oracle.free_from(key, model, caller.call, now, idle=idle)
            if moment < NEVER and moment <= before:
                found.setdefault((deployment.provider, key.account, model.name), deployment.name)
        return list(found.values())

    def _may_be_offline(self, now: float) -> bool:
        """True when no provider was reached lately, so that the machine itself is in doubt."""
        oracles = self.oracles.values()
        reached = any(o.unreached_at is None and now - o.answered_at < MINUTE for o in oracles)
        return not reached and any(o.unreached_at is not None for o in oracles)


def _ruled_out(caller: Caller, deployment: Deployment) -> bool:
    """The call is, or was told to be, too large for it."""
    window = deployment.model.context_window
    if window is not None and caller.call.most_tokens() > window:
        return True
    return any(_tells(fault, sent, deployment) for fault, sent in caller.refusals)


def _tells(fault: Trouble | None, sent: Sent, deployment: Deployment) -> bool:
    """A refusal shows that the call is too large there: a prompt, for each window as small."""
    if fault in _TOO_LARGE and sent.plan.name == deployment.provider:
        return True
    refused, window = sent.model.context_window, deployment.model.context_window
    if fault is not Fault.CONTEXT_TOO_LONG or refused is None or window is None:
        return False
    return window <= refused
