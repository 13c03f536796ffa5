"""What each budget's day has spent, as stored rows: processes that share a store spend it together.

A row tells the sum, `used`, and what of it the writer itself spent, `own`. Rows are of one
day when they end together; `ends` and `at` are seconds since 1970.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from hydra_core.engine.counts import plain_number
from hydra_core.engine.deployment_row import NONSENSE
from hydra_core.engine.windows import NEVER

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hydra_core.engine.key_manager import KeyManager

_MOST: Final = 1e12  # tokens of a day; more is damage
_SAME_DAY: Final = 60.0  # days that end within so many seconds of each other are one


def rows(manager: KeyManager, now: float, wall: float) -> dict[str, Any]:
    """What each budget's day has spent, as JSON data: the section "budgets" of a snapshot."""
    return {
        name: {
            "at": wall,
            "used": budget.used(now),
            "own": budget.own(now),
            "ends": budget.ends,
        }
        for name, budget in manager.budgets.items()
    }


def recall(manager: KeyManager, stored: object, now: float, wall: float) -> None:
    """At the start: a day that still runs has spent what its budget's row says."""
    for name, budget in manager.budgets.items():
        row = stored.get(name) if isinstance(stored, dict) else None
        if row is None:
            continue
        try:
            if row["ends"] > max(plain_number(row["at"], 0.0, NEVER), wall):
                budget.hear(plain_number(row["used"], 0.0, _MOST), now)
        except NONSENSE:
            continue


def merged(
    theirs: Mapping[str, Any], ours: dict[str, Any], *, before: Mapping[str, Any]
) -> dict[str, Any]:
    """A budget's row of processes that spend it together: what is stored, and what we added.

    `before` is our own row when we stored last; empty: we never did.
    """
    try:
        if not _same_day(theirs, ours):
            return ours
        stored = plain_number(theirs["used"], 0.0, _MOST)
        added = ours["own"] - (before["own"] if before and _same_day(before, ours) else 0.0)
    except NONSENSE:
        return ours
    return {**ours, "used": max(0.0, stored + added)}


def hear(
    manager: KeyManager, ours: Mapping[str, Any], kept: Mapping[str, Any], now: float
) -> None:
    """Tell the budgets what others have spent: `ours` is what we wrote, `kept` the store's sum."""
    less = False
    for name, budget in manager.budgets.items():
        row, sum_of_all = ours.get(name), kept.get(name)
        if row is None or sum_of_all is None:
            continue
        budget.used(now)  # the day may have turned since
        if _same_day(row, {"ends": budget.ends}):
            less = budget.hear(max(0.0, sum_of_all["used"] - row["own"]), now) or less
    if less:  # what others had booked and did not use is there for those who wait
        manager.reconsider(now)


def _same_day(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    ends = [plain_number(row["ends"], 0.0, NEVER) for row in (one, other)]
    return abs(ends[0] - ends[1]) < _SAME_DAY
