"""What people and planners see of a pool. It comes from the arithmetic that routes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hydra_core.engine.allowance import shared_budgets
from hydra_core.engine.capacity import GroupCapacity, WindowCapacity
from hydra_core.engine.choice import allowed_at
from hydra_core.engine.deployment import mean_latency
from hydra_core.engine.explanation import DISABLED, READY, begins, hindrance
from hydra_core.engine.size import Size
from hydra_core.engine.windows import NEVER
from hydra_core.wire import DAY, MINUTE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hydra_core.engine.deployment import Deployment
    from hydra_core.engine.key_manager import KeyManager
    from hydra_core.engine.model_facts import ModelFacts
    from hydra_core.engine.quota import QuotaGroup
    from hydra_core.engine.routing import Route
    from hydra_core.engine.windows import Window

_SMALL = Size(chars=0, messages=1, max_tokens=1)
_FREES = 64
_NAMES = {
    ("requests", MINUTE): "rpm",
    ("tokens", MINUTE): "tpm",
    ("requests", DAY): "rpd",
    ("tokens", DAY): "tpd",
}


def group_capacities(route: Route, now: float) -> tuple[GroupCapacity, ...]:
    """What each quota group of a route can still take. Those that never can are left out."""
    groups: dict[QuotaGroup, list[Deployment]] = {}
    alike: dict[ModelFacts, list[Deployment]] = {}
    for deployment in route.deployments:
        if _free_at(deployment, now) != NEVER:
            groups.setdefault(deployment.group, []).append(deployment)
            alike.setdefault(deployment.model, []).append(deployment)
    latencies = {model: mean_latency(members) for model, members in alike.items()}
    return tuple(
        _capacity(group, members, now, latencies[members[0].model])
        for group, members in groups.items()
    )


def _capacity(
    group: QuotaGroup, members: list[Deployment], now: float, usual: float | None
) -> GroupCapacity:
    """`usual` is the latency of the same model by any key: a key not yet used is no slower."""
    one, latency = members[0], mean_latency(members)
    return GroupCapacity(
        name=group.name,
        provider=one.provider,
        model=one.model.name,
        keys=tuple(d.key for d in members),
        windows=(*(_window(w, now) for w in group.windows), *_budgeted(members, now)),
        concurrency=group.concurrency,
        in_flight=group.in_flight,
        available_in=max(0.0, min(_free_at(d, now) for d in members) - now),
        context_window=one.model.context_window,
        max_output=one.model.max_output,
        latency=usual if latency is None else latency,
        input_usd=one.model.input_usd,
        output_usd=one.model.output_usd,
        tokens_per_char=one.model.tokens_per_char + one.model.deviation,
    )


def _free_at(deployment: Deployment, now: float) -> float:
    """When neither a rest nor its owner keeps even a small request away."""
    allowed = allowed_at(deployment, _SMALL, now)
    return max(allowed, deployment.hard_until, deployment.soft_until)


def _window(window: Window, now: float) -> WindowCapacity:
    return WindowCapacity(
        kind=window.kind,
        window=window.length,
        limit=window.limit,
        used=window.used(now),
        shape=window.shape,
        frees=tuple(window.frees(now, _FREES)),
    )


def _budgeted(members: list[Deployment], now: float) -> Iterator[WindowCapacity]:
    """What budgets leave to all of a group's keys, as limits in tokens.

    Never less than can be had: a sum that other groups draw on too is stated whole to
    each, and dollars become as many tokens as the cheaper price buys.
    """
    model = members[0].model
    price = min(model.input_usd or 0.0, model.output_usd or 0.0) / 1e6
    for budget in shared_budgets(members):
        each = price if budget.kind == "usd" else 1.0
        if each:
            used = budget.used(now) / each
            yield WindowCapacity(
                kind="tokens",
                window=budget.day_length,
                limit=budget.limit / each,
                used=used,
                shape="fixed",
                frees=((budget.turns_at - now, used),),
            )


def key_rows(manager: KeyManager, now: float, scale: float) -> dict[str, list[dict[str, Any]]]:
    """One row per key, by provider, over all its models: as the health report has them."""
    by_key: dict[tuple[str, str], list[Deployment]] = {}
    for deployment in manager.deployments:
        by_key.setdefault((deployment.provider, deployment.key), []).append(deployment)
    rows: dict[str, list[dict[str, Any]]] = {}
    since: dict[Deployment, float] = {}
    for lease in manager.leases:
        since[lease.deployment] = min(lease.granted, since.get(lease.deployment, now))
    for (provider, _), members in by_key.items():
        busy_for = now - min(since.get(member, now) for member in members)
        row = _key_row(members, now, scale, busy_for=round(busy_for, 3))
        rows.setdefault(provider, []).append(row)
    return rows


def _key_row(
    members: list[Deployment], now: float, scale: float, *, busy_for: float
) -> dict[str, Any]:
    """A key's row is that of its model which could start first; `models` tells each of several.

    `busy_for`: so many seconds ago the oldest of its calls in flight began.
    """
    starts = [begins(d, _SMALL, now) for d in members]
    start = min(starts)
    best = members[starts.index(start)]
    row = {
        "name": best.key,
        "account": best.account,
        **_plight(best, start, now, scale),
        "in_flight": sum(d.in_flight for d in members),
        "busy_for": busy_for,
        "consecutive_failures": max(_in_a_row(d) for d in members),
        "calls": sum(d.calls for d in members),
        "failures": sum(d.failures for d in members),
        "score": round(best.score.value(now), 4),
    }
    if len(members) > 1:
        each = zip(members, starts, strict=True)
        row["models"] = {d.model.name: _plight(d, begin, now, scale) for d, begin in each}
    return row


def _in_a_row(deployment: Deployment) -> int:
    """Its faults since its last success; of what it shares with other keys, only its own part."""
    scopes = deployment.scopes
    shared = max(scopes.account.strikes, scopes.group.strikes)
    own = max(deployment.own_rest.strikes, scopes.key.strikes)
    return max(own, min(shared, deployment.failures))


def _plight(deployment: Deployment, start: float, now: float, scale: float) -> dict[str, Any]:
    fault = next((rest.fault for rest in deployment.rests if rest.fault is not None), None)
    if fault is None and deployment.breaker.open_until:
        fault = deployment.breaker.fault
    return {
        "state": _state(deployment, start, now),
        "available_in": None if start == NEVER else round(max(0.0, start - now), 3),
        "last_fault": fault.value if fault is not None else None,
        "why": hindrance(deployment, _SMALL, start, now) or READY,
        "limits": _limits(deployment.group, now, scale) | _budgets(deployment, now),
    }


def disabled_row(name: str, account: str) -> dict[str, Any]:
    """The row of a key that the configuration switched off."""
    return {
        "name": name,
        "account": account,
        "state": "disabled",
        "available_in": None,
        "in_flight": 0,
        "busy_for": 0.0,
        "consecutive_failures": 0,
        "last_fault": None,
        "why": DISABLED,
        "calls": 0,
        "failures": 0,
        "limits": {},
        "score": 0.0,
    }


def _state(deployment: Deployment, start: float, now: float) -> str:
    if deployment.hard_until == NEVER:
        return "dead"
    if max(deployment.hard_until, deployment.soft_until) > now:
        return "resting"
    allowance = deployment.allowance
    if allowance is not None and allowance.closed(now):
        return "resting"
    return "active" if start <= now else "saturated"


def _limits(group: QuotaGroup, now: float, scale: float) -> dict[str, dict[str, Any]]:
    """The limits by name; `supposed` marks those that nobody stated."""
    limits: dict[str, dict[str, Any]] = {}
    for window in group.windows:
        name = _NAMES.get((window.kind, round(window.length / scale, 3)))
        limits[name or f"{window.kind} per {window.length / scale:.0f} s"] = {
            "limit": window.limit,
            "used": round(window.used(now), 1),
            # The limit is whole again when a request of all of it would fit.
            "resets_in": round(window.earliest(window.limit, now) - now, 3),
            **({"supposed": True} if window.tentative else {}),
        }
    if group.concurrency is not None:
        limits["concurrency"] = {
            "limit": group.concurrency,
            "used": group.in_flight,
            "resets_in": 0.0,
        }
    return limits


def _budgets(deployment: Deployment, now: float) -> dict[str, dict[str, Any]]:
    """What its budgets have left; of several of one kind, that which has least."""
    allowance = deployment.allowance
    budgets = () if allowance is None else allowance.budgets
    least = sorted(budgets, key=lambda budget: budget.used(now) - budget.limit)
    return {
        f"{budget.kind}_per_day": {
            "limit": budget.limit,
            "used": round(budget.used(now), 6),
            "resets_in": round(budget.turns_at - now, 3),
        }
        for budget in least
    }
