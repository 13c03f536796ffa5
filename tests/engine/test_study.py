"""What is remembered of a group whose limits nobody told must not make its calls dearer."""

from __future__ import annotations

import math

import pytest

from hydra_core.engine import key_manager
from hydra_core.engine.deployment import Lease
from hydra_core.engine.steps import Patience
from hydra_core.messages import Fault
from hydra_core.testing import FakeLimits
from hydra_core.testing.limits import Quota

CALLS = 3000
# 60 requests a minute, looked back at 64 times in it, two limits at a time.
FEW = 128


class WatchedLease(Lease):
    """Counts how often somebody asks any lease when it was granted."""

    __slots__ = ("_granted",)
    asked = 0

    @property
    def granted(self):
        WatchedLease.asked += 1
        return self._granted

    @granted.setter
    def granted(self, moment):
        self._granted = moment


@pytest.fixture
def watched(monkeypatch):
    WatchedLease.asked = 0
    monkeypatch.setattr(key_manager, "Lease", WatchedLease)
    return WatchedLease


@pytest.mark.parametrize("window", ["sliding", "bucket"])
def test_a_call_looks_at_few_of_the_calls_before_it(
    make_pool, make_world, ok, refuse, watched, window
):
    """With thousands of calls remembered, one more looks at no more than a minute's worth."""
    quota = Quota(FakeLimits(rpm=60, window=window), scale=1.0)

    def judge(lease, now):
        refusal = quota.refusal(100, now)
        if refusal is None:
            quota.enter(100, now)
            return 0.2, ok(100)
        return 0.1, refuse(
            Fault.RATE_LIMIT_MINUTE, status=429, retry_after=float(math.ceil(refusal.wait))
        )

    pool = make_pool([{"name": "k", "shape": window, "untold": True}], windows={"acme": window})
    world = make_world(pool, judge)
    for _ in range(CALLS):
        world.ask(0.0, 100.0, patience=Patience(max_wait=1e5, timeout=1e5))
    world.run()
    assert len(world.replies) == CALLS
    assert watched.asked <= FEW * CALLS
