"""The least makespan that any schedule can reach: a linear program over the whole batch.

Requests are split freely between accounts and take no time, so no real schedule can
beat the bound; on unequal accounts it is loose, because real requests do not split.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import linprog

if TYPE_CHECKING:
    from collections.abc import Sequence

MINUTE = 60.0
_EXACT = 0.01
"""Provider seconds within which the bound is found; it errs upwards by at most this."""


@dataclass(frozen=True, slots=True)
class Limits:
    """One account's limits: requests and tokens a minute, requests a day (None: no limit)."""

    rpm: int
    tpm: int
    rpd: int | None = None


def _capacity(limit: float, seconds: float, window: str) -> float:
    """What one limit lets through in `seconds` from a fresh start, both ends included."""
    if window == "bucket":
        return limit * (1.0 + seconds / MINUTE)
    return limit * (int(seconds / MINUTE + 1e-9) + 1)


def feasible(accounts: Sequence[Limits], sizes: Sequence[int], seconds: float, window: str) -> bool:
    """True when the batch fits into the accounts' minute quotas within `seconds`.

    `sizes` are the tokens of each request; `window` is "sliding" or "bucket".
    """
    kinds = sorted(Counter(sizes).items())
    columns = [
        (kind, place)
        for kind, (size, _) in enumerate(kinds)
        for place, account in enumerate(accounts)
        if size <= account.tpm
    ]
    if {kind for kind, _ in columns} != set(range(len(kinds))):
        return False
    rows, limits = [], []
    for place, account in enumerate(accounts):
        rows.append([1.0 if place == at else 0.0 for _, at in columns])
        limits.append(_capacity(account.rpm, seconds, window))
        rows.append([float(kinds[kind][0]) if place == at else 0.0 for kind, at in columns])
        limits.append(_capacity(account.tpm, seconds, window))
    equal = [[1.0 if kind == of else 0.0 for of, _ in columns] for kind in range(len(kinds))]
    found = linprog(
        np.zeros(len(columns)),
        A_ub=np.array(rows),
        b_ub=np.array(limits),
        A_eq=np.array(equal),
        b_eq=np.array([float(count) for _, count in kinds]),
        bounds=(0, None),
    )
    return bool(found.success)


def bound(accounts: Sequence[Limits], sizes: Sequence[int], window: str) -> float:
    """The least makespan in provider seconds.

    Raises ValueError when a request is larger than every account's token limit, for
    then no schedule exists.
    """
    largest = max(account.tpm for account in accounts)
    if sizes and max(sizes) > largest:
        raise ValueError(f"a request of {max(sizes)} tokens fits no account (most: {largest})")
    low, high = 0.0, MINUTE
    if feasible(accounts, sizes, low, window):
        return 0.0
    while not feasible(accounts, sizes, high, window):
        low, high = high, high * 2
    while high - low > _EXACT:
        middle = (low + high) / 2
        low, high = (low, middle) if feasible(accounts, sizes, middle, window) else (middle, high)
    return high


def served_today(accounts: Sequence[Limits], count: int) -> int:
    """How many of `count` requests the day limits allow before the day's end."""
    if any(account.rpd is None for account in accounts):
        return count
    return min(count, sum(account.rpd or 0 for account in accounts))
