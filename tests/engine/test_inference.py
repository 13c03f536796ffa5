"""Which limit a refusal shows that names none."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hydra_core.engine.inference import Refused, bucket_limits, roundest, sliding_limits
from hydra_core.engine.study import Call
from hydra_core.testing import FakeLimits
from hydra_core.testing.limits import Quota

SHAPES = {"bucket": bucket_limits, "sliding": sliding_limits}


@pytest.mark.parametrize(
    ("low", "high", "number"),
    [(5100, 6200, 6000), (28.7, 30.2, 30), (29.2, 31, 30), (14.9, 15.1, 15), (950, 1100, 1000),
     (7.0, 8.0, 7), (11_900, 12_050, 12_000), (0.4, 0.9, 0.4), (0, 338, 200), (0, 0.5, 0.25)],
)  # fmt: skip
def test_limits_are_round_numbers(low, high, number):
    """Of all numbers that fit the roundest is taken."""
    assert roundest(low, high) == number


def history(limits: FakeLimits, seed: int) -> tuple[list[Call], Refused, str]:
    """Calls one after another until the provider refuses; what it would say, and of which limit."""
    random_ = random.Random(seed)
    quota, now, calls = Quota(limits, scale=1.0), 0.0, []
    while True:
        tokens = random_.choice((100, 400, 1500))
        refusal = quota.refusal(tokens, now)
        if refusal is not None:
            wait = math.ceil(refusal.wait or 0.0)
            return calls, Refused(tokens, wait, now, 0.05, 1.0), refusal.name
        quota.enter(tokens, now)
        calls.append(Call(now, float(tokens), now + 0.05))
        now += random_.uniform(0.05, 0.4)


@given(
    window=st.sampled_from(["sliding", "bucket"]),
    rpm=st.sampled_from([3, 10, 15, 30, 60, 100]),
    tpm=st.sampled_from([6_000, 8_000, 15_000, 40_000]),
    seed=st.integers(0, 10_000),
)
def test_the_limit_that_refused_is_among_the_estimates(window, rpm, tpm, seed):
    """The provider's own arithmetic, turned round, contains the true limit."""
    limits = FakeLimits(rpm=rpm, tpm=tpm, window=window)
    calls, refused, name = history(limits, seed)
    kind, true = ("requests", rpm) if name == "rpm" else ("tokens", tpm)
    (estimate,) = [e for e in SHAPES[window](calls, refused) if e.kind == kind]
    assert estimate.low <= true + 1e-6
    assert true <= estimate.high


def test_a_short_wait_after_a_burst_is_a_short_window():
    """Ten calls within a second, refused for a second, are no limit of ten a minute."""
    calls = [Call(index * 0.01, 50.0, index * 0.01) for index in range(10)]
    found = sliding_limits(calls, Refused(50.0, 1.0, 0.1, 0.0, 1.0))
    assert {(estimate.kind, estimate.length) for estimate in found} >= {("requests", 1.0)}
    assert all(estimate.length == 1.0 for estimate in found)


def test_a_wait_beyond_a_minute_shows_no_minute():
    """A day's refusal in a minute's words teaches nothing: its wait is obeyed."""
    calls = [Call(float(index), 50.0, float(index)) for index in range(10)]
    assert sliding_limits(calls, Refused(50.0, 3600.0, 10.0, 0.0, 1.0)) == []
