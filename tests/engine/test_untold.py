"""Keys whose limits nobody told: found out at the price of few refusals."""

from __future__ import annotations

import math
import random

import pytest

from hydra_core.engine.steps import Patience
from hydra_core.messages import Fault
from hydra_core.testing import FakeLimits
from hydra_core.testing.limits import Quota
from hydra_core.wire import MINUTE

EQUAL = [(30, 15_000)] * 8
UNEQUAL = [(30, 6_000), (15, 12_000), (5, 20_000), (60, 10_000),
           (10, 40_000), (20, 8_000), (30, 30_000), (3, 15_000)]  # fmt: skip
THREE = UNEQUAL[:3]
_LATENCY = 0.05
_REFUSES = 0.3  # a refusal takes as much of an answer's time


class Provider:
    """Refuses by its own books: in words that name the limit, with a wait, or with neither."""

    def __init__(self, limits, window, ok, refuse, *, words, latency, waits=True):
        self.refused = 0
        self._latency = latency
        self._quotas = {
            f"k{place}": Quota(FakeLimits(rpm=rpm, tpm=tpm, window=window), scale=1.0)
            for place, (rpm, tpm) in enumerate(limits)
        }
        self._ok, self._refuse, self._words, self._waits = ok, refuse, words, waits

    def __call__(self, lease, now):
        tokens = int(lease.size.known_tokens)
        quota = self._quotas[lease.deployment.key]
        arrival = now + self._latency / 10
        refusal = quota.refusal(tokens, arrival)
        if refusal is None:
            quota.enter(tokens, arrival)
            return self._latency, self._ok(tokens)
        self.refused += 1
        said = {"retry_after": float(math.ceil(refusal.wait))} if self._waits else {}
        if self._words:
            said |= {
                "kind": "requests" if refusal.name == "rpm" else "tokens",
                "window": MINUTE,
                "limit": float(refusal.limit),
                "used": float(refusal.used),
            }
        return self._latency * _REFUSES, self._refuse(Fault.RATE_LIMIT_MINUTE, status=429, **said)


def batch(count, seed):
    """Requests of mixed sizes, the same ones every time."""
    return random.Random(seed).choices((100.0, 400.0, 1500.0), (50, 35, 15), k=count)


@pytest.fixture
def run(make_pool, make_world, ok, refuse):
    """Serve a batch; the seconds it took, the refusals and the pool."""

    def serve(
        limits, window, *, words=False, told=False, latency=_LATENCY, seed=1, count=600,
        sizes=None, times=None, waits=True,
    ):  # fmt: skip
        sizes = sizes or batch(count, seed)
        rows = [
            {"name": f"k{place}", "shape": window}
            | ({"rpm": rpm, "tpm": tpm} if told else {"untold": True})
            for place, (rpm, tpm) in enumerate(limits)
        ]
        pool = make_pool(rows, windows={"acme": window})
        provider = Provider(
            limits, window, ok, refuse, words=words, latency=latency, waits=waits
        )
        world = make_world(pool, provider)
        for at, tokens in zip(times or [0.0] * len(sizes), sizes, strict=True):
            world.ask(at, tokens, patience=Patience(max_wait=1e5, timeout=1e5))
        world.run()
        assert len(world.replies) == len(sizes)
        return max(at for at, _ in world.replies), provider.refused, pool

    return serve


@pytest.mark.parametrize("words", [True, False])
@pytest.mark.parametrize("limits", [EQUAL, UNEQUAL])
def test_unknown_limits_cost_few_refusals_and_little_time(run, limits, words):
    """At most 3 % of requests are refused, and a quarter is the most that not knowing costs."""
    seconds, refused, _ = run(limits, "bucket", words=words)
    known, _, _ = run(limits, "bucket", told=True)
    assert refused <= 0.03 * 600
    assert seconds <= 1.25 * known


@pytest.mark.parametrize(
    ("limits", "window", "latency", "seed"),
    [(EQUAL, "sliding", 0.05, 2), (EQUAL, "sliding", 2.0, 3), (EQUAL, "bucket", 0.2, 4),
     (UNEQUAL, "bucket", 0.2, 3), (UNEQUAL, "bucket", 1.0, 6), (UNEQUAL, "bucket", 2.0, 8)],
)  # fmt: skip
def test_neither_the_batch_nor_the_latency_matters(run, limits, window, latency, seed):
    """What refusals cost depends on neither the sizes' order nor the answers' time."""
    seconds, refused, _ = run(limits, window, latency=latency, seed=seed)
    known, _, _ = run(limits, window, told=True, latency=latency, seed=seed)
    assert refused <= 0.03 * 600
    assert seconds <= 1.25 * known


@pytest.mark.parametrize("latency", [0.05, 0.2, 1.0])
@pytest.mark.parametrize("seed", range(1, 6))
def test_few_requests_on_few_keys_are_not_held_back_for_long(run, latency, seed):
    """Where requests and tokens explain a refusal alike, the wrong one is soon given up."""
    seconds, refused, _ = run(THREE, "bucket", latency=latency, seed=seed, count=150)
    known, _, _ = run(THREE, "bucket", told=True, latency=latency, seed=seed, count=150)
    assert refused <= 0.03 * 150 + 1
    assert seconds <= 1.4 * known


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_batch_that_fills_all_rolling_windows_needs_one_more(run, seed):
    """Sizes cannot be matched to limits that nobody knows yet; that costs one window."""
    seconds, refused, _ = run(UNEQUAL, "sliding", latency=0.2, seed=seed)
    known, _, _ = run(UNEQUAL, "sliding", told=True, latency=0.2, seed=seed)
    assert refused <= 0.03 * 600
    assert seconds <= known + MINUTE + 5.0


@pytest.mark.parametrize("window", ["sliding", "bucket"])
@pytest.mark.parametrize(("latency", "seed"), [(0.05, 1), (0.5, 2), (2.0, 3)])
def test_refusals_without_a_word_cost_little_time_too(run, window, latency, seed):
    """Who says neither what was spent nor when to come back is asked again when it fits."""
    given = {"latency": latency, "seed": seed}
    seconds, refused, _ = run(EQUAL, window, waits=False, **given)
    known, _, _ = run(EQUAL, window, told=True, **given)
    assert refused <= 0.035 * 600
    assert seconds <= 1.25 * known


@pytest.mark.parametrize(("large", "latency"), [([3000.0], 0.2), ([1000.0] * 5, 1.0)])
def test_a_rival_that_no_call_contradicts_is_no_more_than_that(run, large, latency):
    """Ten requests were let pass when tokens ran out: not for long is ten taken for a limit."""
    sizes = [580.0] * 10 + [400.0, *large] + [100.0] * 200
    one = [(60, 6_000)]
    seconds, refused, _ = run(one, "sliding", latency=latency, sizes=sizes)
    known, _, _ = run(one, "sliding", told=True, latency=latency, sizes=sizes)
    assert refused <= 2
    assert seconds <= known + MINUTE + 5.0


@pytest.mark.parametrize("seed", range(1, 9))
@pytest.mark.parametrize(("limits", "latency"), [((60, 8_000), 0.3), ((15, 6_000), 3.0)])
def test_each_refusal_of_a_large_request_narrows_the_limit(run, limits, latency, seed):
    """A few large requests say little of a limit; all of them together say enough of it."""
    sizes = random.Random(seed).choices((1_000.0, 2_000.0, 4_000.0), k=100)
    seconds, refused, _ = run([limits], "sliding", latency=latency, sizes=sizes)
    known, _, _ = run([limits], "sliding", told=True, latency=latency, sizes=sizes)
    assert refused <= 0.1 * len(sizes)
    assert seconds <= 1.25 * known


@pytest.mark.parametrize("seed", [27, 40])
def test_a_second_limit_is_not_taken_for_the_first_one(run, seed):
    """A key short of requests and of tokens by turns: under a steady load nobody waits longer."""
    rng, at, arrivals = random.Random(seed), 0.0, []
    for _ in range(200):
        at += rng.expovariate(4.25 / MINUTE)
        arrivals.append((at, rng.choice((1_000.0, 2_000.0, 4_000.0))))
    sizes, times = [size for _, size in arrivals], [at for at, _ in arrivals]
    given = {"latency": 0.3, "sizes": sizes, "times": times}
    seconds, refused, _ = run([(5, 12_000)], "sliding", **given)
    known, _, _ = run([(5, 12_000)], "sliding", told=True, **given)
    assert refused <= 3
    assert seconds <= known + 5.0


@pytest.mark.parametrize("window", ["sliding", "bucket"])
def test_what_is_inferred_is_true(run, window):
    """No limit is supposed that is much tighter than the provider's."""
    _, _, pool = run(EQUAL, window)
    for deployment in pool.deployments:
        supposed = {w.kind: w.limit for w in deployment.group.windows}
        assert supposed
        assert 27.0 <= supposed.get("requests", 30.0) <= 30.0
        assert supposed.get("tokens", 15_000.0) >= 12_000.0


def test_known_limits_earn_no_refusal(run):
    """Told its limits, nothing is ever sent that the provider must refuse."""
    _, refused, _ = run(UNEQUAL, "sliding", told=True)
    assert refused == 0
