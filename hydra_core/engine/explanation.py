"""Who would serve a request now, and what keeps the others: for `explain()`, reports, errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from hydra_core.engine.choice import allowed_at, disallowed, expected_at, need_of, start_of
from hydra_core.engine.durations import duration
from hydra_core.engine.exclusion import avoids, kept_from
from hydra_core.engine.reasons import reason
from hydra_core.engine.size import size_of
from hydra_core.engine.windows import NEVER
from hydra_core.wire import DAY, HOUR, MINUTE

if TYPE_CHECKING:
    from hydra_core.engine.deployment import Deployment
    from hydra_core.engine.exclusion import Avoid
    from hydra_core.engine.key_manager import KeyManager
    from hydra_core.engine.quota import QuotaGroup
    from hydra_core.engine.routing import Route
    from hydra_core.engine.size import Size
    from hydra_core.messages import ChatRequest

Row = dict[str, Any]
READY: Final = "ready"
DISABLED: Final = "disabled in the configuration"
_SPANS: Final = {MINUTE: "minute", HOUR: "hour", DAY: "day"}


def foreseen(
    manager: KeyManager, request: ChatRequest, now: float, *, falling_back: bool, max_wait: float
) -> list[Row]:
    """Whoever would be sent a request that came now, then all others by their start.

    When nobody of its route can start within `max_wait` seconds, `falling_back` requests
    go on to the smaller models of the same providers. Last come those whom nothing but a
    lane keeps away. Raises RequestRejected when nobody serves such a request at all.
    """
    provider, model, lane = request.provider, request.model, request.lane
    route = manager.routes.find(provider=provider, model=model, lane=lane)
    size = size_of(request)
    met = manager.foresight(route, size, now, priority=request.priority)
    chosen = met.chosen(now, max_wait)
    rows = explanation(route, size, now, chosen, turn=met.turn)
    if falling_back and chosen is None and not met.waits(now, max_wait):
        smaller = manager.routes.find(provider=provider, model=model, lane=lane, smaller=True)
        met = manager.foresight(smaller, size, now, priority=request.priority)
        chosen, first = met.chosen(now, max_wait), len(route.tiers)
        rows += explanation(smaller, size, now, chosen, turn=met.turn, first_tier=first)
        rows.sort(key=_standing)
    for deployment, why in manager.routes.kept_out(provider=provider, model=model, lane=lane):
        rows.append(_row(deployment, None, NEVER, now, why, chosen=False))
    return rows


def explanation(
    route: Route,
    size: Size,
    now: float,
    chosen: Deployment | None = None,
    *,
    turn: float = 0.0,
    first_tier: int = 0,
) -> list[Row]:
    """Each deployment of a route, `chosen` first, then by start; and why it is not chosen.

    Before `turn` others go who wait already.
    """
    rows: list[Row] = []
    avoid = kept_from(route, size, now)
    for tier, members in enumerate(route.tiers, start=first_tier):
        for deployment in members.deployments:
            start = begins(deployment, size, now)
            why = hindrance(deployment, size, start, now) or _after(chosen, deployment)
            if deployment is chosen and start > now:
                start, why = now, f"{why}; asked all the same, since waiting is of no use"
            elif start < turn and now < turn < NEVER:
                behind = f"others wait before it, for {duration(turn - now)} more"
                start, why = turn, behind if start <= now else f"{why}; {behind}"
            if avoids(avoid, deployment):
                start, why = NEVER, _too_small(deployment, route, avoid, now)
            rows.append(_row(deployment, tier, start, now, why, chosen=deployment is chosen))
    return sorted(rows, key=_standing)


def begins(deployment: Deployment, size: Size, now: float) -> float:
    """When it may serve such a request: the end of all that keeps it, not of the first."""
    return max(start_of(deployment, size, now), expected_at(deployment, size, now))


def _too_small(deployment: Deployment, route: Route, avoid: Avoid, now: float) -> str:
    if deployment.model in avoid:
        window = deployment.model.context_window
        return f"the request is longer than its context window of {window} tokens"
    return route.credit.told(deployment.group, now)


def _row(
    deployment: Deployment, tier: int | None, start: float, now: float, why: str, *, chosen: bool
) -> Row:
    return {
        "provider": deployment.provider,
        "model": deployment.model.name,
        "key": deployment.key,
        "tier": tier,
        "chosen": chosen,
        "starts_in": None if start == NEVER else round(max(0.0, start - now), 3),
        "why": why,
        "score": round(deployment.score.value(now), 4),
    }


def _standing(row: Row) -> tuple[bool, bool, float, int]:
    start = row["starts_in"]
    return not row["chosen"], start is None, start or 0.0, row["tier"]


def _after(chosen: Deployment | None, deployment: Deployment) -> str:
    if chosen is None or chosen is deployment:
        return READY
    if chosen.priority < deployment.priority:
        return f"{READY}: {chosen.name} has the better priority"
    return f"{READY}: {chosen.name} is preferred"


def hindrance(deployment: Deployment, size: Size, start: float, now: float) -> str | None:
    """What keeps a deployment from such a request until `start`; None: nothing does."""
    if allowed_at(deployment, size, now) > max(now, deployment.hard_until, deployment.soft_until):
        return disallowed(deployment, size, now) or "its owner does not allow it"
    resting, group, need = reason(deployment, now), deployment.group, need_of(deployment, size)
    rested = max(now, deployment.hard_until, deployment.soft_until)
    if start <= now or (resting is not None and group.earliest(need, now) <= rested):
        return resting
    if group.full:
        return "as many calls in flight as the account allows"
    if group.held(now):
        return "slow start: its limits are not known yet, so few calls go out at once"
    return _quota(group, need, now)


def _quota(group: QuotaGroup, tokens: float, now: float) -> str:
    """The limit that holds a request of these tokens back the longest."""
    needs = [(window, tokens if window.kind == "tokens" else 1.0) for window in group.windows]
    if not needs:
        return f"quota: no room for {tokens:.0f} tokens yet"
    window, need = max(needs, key=lambda pair: pair[0].earliest(pair[1], now))
    span = _SPANS.get(window.length) or duration(window.length)
    used, wait = window.used(now), window.earliest(need, now) - now
    return (
        f"quota: {used:.0f} of {window.limit:.0f} {window.kind} per {span} used, this may take "
        f"{need:.0f}" + (f"; room in {duration(wait)}" if wait < NEVER else "")
    )
