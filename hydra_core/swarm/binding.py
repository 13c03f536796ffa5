"""Which limit holds a swarm back: the one without which it would end soonest."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from hydra_core.swarm.bound import least_makespan

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hydra_core.engine.capacity import GroupCapacity, WindowCapacity
    from hydra_core.swarm.values import BoundBy

_HALF_DAY: Final = 43_200.0
_MANY: Final = 100
_BINDS: Final = 0.99


def bound_by(
    calls: int,
    tokens: int,
    groups: Sequence[GroupCapacity],
    latency: Callable[[GroupCapacity, int], float],
) -> BoundBy:
    """The limit without which the bound of so many equal calls would fall most.

    Each call takes `tokens`, and `latency(group, tokens)` seconds.

    When no single one matters, either two bind equally, and the scarcer is named,
    or nothing but the latency of one call does.
    """

    def seconds(pool: Sequence[GroupCapacity]) -> float:
        return least_makespan(calls, tokens, pool, lambda group: latency(group, tokens))

    bound = seconds(groups)
    relaxed = {name: seconds([lift(group) for group in groups]) for name, lift in _LIFTS.items()}
    name = min(relaxed, key=lambda each: relaxed[each])
    if relaxed[name] < _BINDS * bound:
        return name
    fastest = min(latency(group, tokens) for group in groups)
    if bound <= fastest / _BINDS:
        return "longest shard"
    alone = {
        name: seconds([_only(group, lift) for group in groups]) for name, lift in _LIFTS.items()
    }
    return max(alone, key=lambda each: alone[each])


def _only(group: GroupCapacity, lift: Callable[[GroupCapacity], GroupCapacity]) -> GroupCapacity:
    """A group with just the limits that `lift` would take away."""
    lifted = lift(group)
    windows = tuple(window for window in group.windows if window not in lifted.windows)
    lanes = group.concurrency if lifted.concurrency != group.concurrency else None
    return replace(group, windows=windows, concurrency=lanes)


def _is_daily(window: WindowCapacity, group: GroupCapacity) -> bool:
    """A window of a day, also when all windows are shortened by a time scale."""
    shortest = min(each.window for each in group.windows)
    return window.window >= _HALF_DAY or window.window >= _MANY * shortest


def _without(kind: str, group: GroupCapacity) -> GroupCapacity:
    kept = (w for w in group.windows if w.kind != kind or _is_daily(w, group))
    return replace(group, windows=tuple(kept))


def _without_daily(group: GroupCapacity) -> GroupCapacity:
    return replace(group, windows=tuple(w for w in group.windows if not _is_daily(w, group)))


def _without_lanes(group: GroupCapacity) -> GroupCapacity:
    return replace(group, concurrency=None)


_LIFTS: Final[dict[BoundBy, Callable[[GroupCapacity], GroupCapacity]]] = {
    "requests per minute": lambda group: _without("requests", group),
    "tokens per minute": lambda group: _without("tokens", group),
    "daily limit": _without_daily,
    "concurrency": _without_lanes,
}
