"""The least makespan that any schedule can reach: a linear program over the whole batch.

Requests are split freely between keys and take no time, so no real schedule can
beat the bound; on unequal keys it is loose, because real requests do not split.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linprog

MINUTE = 60.0


@dataclass(frozen=True, slots=True)
class Key:
    """One key's limits per minute."""

    rpm: int
    tpm: int


def _capacity(limit: float, seconds: float, window: str) -> float:
    """What one limit lets through in `seconds` from a fresh start."""
    if window == "bucket":
        return limit * (1.0 + seconds / MINUTE)
    return limit * (int(seconds / MINUTE + 1e-9) + 1)


def feasible(keys: Sequence[Key], sizes: Sequence[int], seconds: float, window: str) -> bool:
    """True when the batch fits into the keys' quotas within `seconds`."""
    kinds = sorted(Counter(sizes).items())
    columns = [(j, k) for j, (size, _) in enumerate(kinds) for k, key in enumerate(keys)
               if size <= key.tpm]
    rows, limits = [], []
    for k, key in enumerate(keys):
        rows.append([1.0 if k == at else 0.0 for _, at in columns])
        limits.append(_capacity(key.rpm, seconds, window))
        rows.append([float(kinds[j][0]) if k == at else 0.0 for j, at in columns])
        limits.append(_capacity(key.tpm, seconds, window))
    equal = [[1.0 if j == of else 0.0 for of, _ in columns] for j in range(len(kinds))]
    found = linprog(
        np.zeros(len(columns)), A_ub=np.array(rows), b_ub=np.array(limits),
        A_eq=np.array(equal), b_eq=np.array([float(count) for _, count in kinds]),
        bounds=(0, None),
    )
    return bool(found.success)


def bound(keys: Sequence[Key], sizes: Sequence[int], window: str) -> float:
    """The least makespan in provider seconds."""
    low, high = 0.0, MINUTE
    if feasible(keys, sizes, low, window):
        return 0.0
    while not feasible(keys, sizes, high, window):
        low, high = high, high * 2
    while high - low > 0.01 * MINUTE / 60:
        middle = (low + high) / 2
        low, high = (low, middle) if feasible(keys, sizes, middle, window) else (middle, high)
    return high
