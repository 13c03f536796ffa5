"""The pools of the goodput benchmark: who owns which limits, and how much is asked of them."""

from __future__ import annotations

import os
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bound import Limits

from hydra_core.testing import FakeKey, FakeLimits

if TYPE_CHECKING:
    from collections.abc import Mapping

_SIZES: Final = (100, 400, 1500)
_SHARES: Final = (50, 35, 15)


@dataclass(frozen=True, slots=True)
class Pool:
    """Accounts, each with `keys_each` keys, and the number of requests in the batch."""

    accounts: tuple[Limits, ...]
    requests: int
    keys_each: int = 1

    def batch(self, seed: int) -> list[int]:
        """The tokens of each request, in order of arrival."""
        return random.Random(seed).choices(_SIZES, _SHARES, k=self.requests)

    def keys(self, window: str) -> tuple[FakeKey, ...]:
        """The keys as the provider knows them, the accounts taking turns."""
        return tuple(
            FakeKey(
                f"bench-key-{place:03d}-{number}-{os.getpid()}",
                account=f"account-{place}",
                limits=FakeLimits(
                    rpm=owner.rpm,
                    tpm=owner.tpm,
                    rpd=owner.rpd,
                    window="bucket" if window == "bucket" else "sliding",
                ),
            )
            for number in range(self.keys_each)
            for place, owner in enumerate(self.accounts)
        )


def stated(key: FakeKey) -> dict[str, int]:
    """A key's limits by name, for those who are told of them."""
    limits = key.limits.stated() if key.limits else {}
    return {str(name): limit for name, limit in limits.items()}


_EQUAL = Limits(30, 15_000)

POOLS: Final[Mapping[str, Pool]] = {
    "3 equal": Pool((_EQUAL,) * 3, 240),
    "8 equal": Pool((_EQUAL,) * 8, 600),
    "32 equal": Pool((_EQUAL,) * 32, 2000),
    "3 unequal": Pool((Limits(30, 6_000), Limits(15, 12_000), Limits(5, 20_000)), 150),
    "8 unequal": Pool(
        (
            Limits(30, 6_000),
            Limits(15, 12_000),
            Limits(5, 20_000),
            Limits(60, 10_000),
            Limits(10, 40_000),
            Limits(20, 8_000),
            Limits(30, 30_000),
            Limits(3, 15_000),
        ),
        600,
    ),
    "8 keys, 4 accounts": Pool((_EQUAL,) * 4, 320, keys_each=2),
    "3 daily": Pool((Limits(60, 60_000, rpd=25),) * 3, 120),
}

USUAL: Final = (
    ("3 equal", "sliding"),
    ("8 equal", "bucket"),
    ("8 unequal", "sliding"),
    ("8 unequal", "bucket"),
    ("8 keys, 4 accounts", "sliding"),
    ("3 daily", "sliding"),
)
"""What is run when nothing is asked for: every kind of pool within four minutes."""
