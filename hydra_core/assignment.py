"""Which variant a unit gets: a stable draw that leaves most units where they are."""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


def nearest(name: str, unit: str, weights: Mapping[str, float]) -> str:
    """The variant of a unit in the experiment of this name; `weights` are above 0, by variant.

    Rendezvous hashing (Thaler and Ravishankar, IEEE/ACM Transactions on Networking 6, 1998),
    by exponential draws whose rate is the weight: a variant that is added later takes its
    share of the units, and nobody else moves.
    """
    return min(weights, key=lambda each: _draw(name, unit, each) / weights[each])


def _draw(name: str, unit: str, variant: str) -> float:
    words = f"{name}\0{variant}\0{unit}".encode("utf-8", "surrogatepass")
    place = int.from_bytes(hashlib.sha256(words).digest()[:8], "big") >> 12
    return -math.log((place + 0.5) / 2**52)
