"""Who rests after a fault, and for how long: the fault table applied to one verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hydra_core.engine.faults import FAULTS, Blame
from hydra_core.engine.health import LONGEST_WAIT
from hydra_core.messages import Fault

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hydra_core.engine.deployment import Deployment, Lease
    from hydra_core.engine.health import Rest
    from hydra_core.wire import Verdict

# A wait of zero still means "not at once", in seconds.
_LEAST_WAIT: Final = 1.0


def blame(
    lease: Lease,
    verdict: Verdict,
    now: float,
    scale: float,
    *,
    hurried: bool = False,
    spared: bool = False,
    supposed: float | None = None,
) -> Iterator[Rest]:
    """Let those rest whom the table blames; yields each rest that changed.

    `scale` shortens our own waits, never the provider's, which are real seconds.
    `hurried`: the caller's own deadline cut the attempt short. That is a light doubt,
    since one impatient caller must not put every key to a long rest.
    `spared`: an outage is known, so the deployment is neither doubted nor thought less of;
    it obeys a wait that the provider states.
    `supposed` is the wait, in seconds, after which the limit that explains a refusal has room
    again: where the provider states none, that is the first rest.
    """
    fault = verdict.fault or Fault.UNKNOWN
    deployment = lease.deployment
    rule = FAULTS[fault]
    if rule.blame in (Blame.NOBODY, Blame.REQUEST):
        return
    deployment.failures += 1
    if spared and verdict.retry_after is None:
        return
    if not spared:
        deployment.score.failed(now)
    rest = _blamed(deployment, rule.blame, verdict)
    first = _first_rest(verdict, scale, light=hurried, supposed=supposed)
    _let_rest(rest, fault, verdict, lease.granted, now, scale, first)
    yield rest
    model = deployment.model
    if fault is Fault.MODEL_UNAVAILABLE:
        # Two accounts that agree rest the model for the whole provider.
        model.refused_by.add(deployment.account)
        if len(model.refused_by) > 1:
            model.rest.cool(now + rule.rest * scale, fault)
            yield model.rest


def _blamed(deployment: Deployment, whom: Blame, verdict: Verdict) -> Rest:
    scopes = deployment.scopes
    if verdict.whole_account:
        return scopes.account
    if verdict.fault is Fault.MODEL_UNAVAILABLE and scopes.pooled:
        return deployment.own_rest  # the other models of the pool are there
    # An unreachable provider is for `outage` to rest: what comes here is one connection's trouble.
    return {
        Blame.KEY: scopes.key,
        Blame.ACCOUNT: scopes.account,
        Blame.GROUP: scopes.group,
    }.get(whom, deployment.own_rest)


def _first_rest(
    verdict: Verdict, scale: float, *, light: bool, supposed: float | None
) -> float:
    """The rest after the first fault in a row where the provider states no wait, in seconds."""
    least, usual = _LEAST_WAIT * scale, FAULTS[verdict.fault or Fault.UNKNOWN].rest * scale
    if light or verdict.kind == "concurrency":
        return least
    return usual if supposed is None else min(usual, max(least, supposed))


def _let_rest(
    rest: Rest,
    fault: Fault,
    verdict: Verdict,
    begun: float,
    now: float,
    scale: float,
    first: float,
) -> None:
    rule = FAULTS[fault]
    told = verdict.retry_after
    if told is not None:
        first = max(min(LONGEST_WAIT, told), _LEAST_WAIT * scale)
        if fault is Fault.RATE_LIMIT_MINUTE and begun < rest.hard_until:
            rest.cool(now + first, fault)  # nobody had told this call to wait: it kept none
            return
    wait = rest.backoff(first, max(first, rule.cap * scale), begun=begun, now=now)
    if rule.forever:
        rest.die(fault, now)
    elif told is not None:
        rest.cool(now + first, fault)
        if fault is Fault.RATE_LIMIT_MINUTE and wait > first:
            # Who waited as he was told and is refused again has company: he yields ever longer.
            # Nobody told him to, so who has no other key may try this one.
            rest.doubt(now + wait, fault)
    elif rule.hard:
        rest.cool(now + wait, fault)
    else:
        rest.doubt(now + wait, fault)
