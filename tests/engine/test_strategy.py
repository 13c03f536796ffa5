"""Each strategy chooses as it says, and none widens what may be chosen."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from hydra_core.engine.size import Size
from hydra_core.engine.strategy import STRATEGIES
from hydra_core.messages import Fault

NAMES = sorted(STRATEGIES)


def keys_of(pool, calls, now=1.0, tokens=1.0):
    """The keys of so many leases, each settled before the next."""
    keys = []
    for _ in range(calls):
        lease = pool.lease(now, tokens)
        keys.append(lease.deployment.key)
        pool.manager.settle(lease, now)
    return keys


def test_priority_takes_the_first_configured(make_pool):
    """The order of the configuration, as long as the first has room below its share."""
    assert keys_of(make_pool([{}, {}, {}], strategy="priority"), 4) == ["k1"] * 4


def test_round_robin_is_exact_over_eight_keys(make_pool):
    """Every key once before any key twice."""
    pool = make_pool([{} for _ in range(8)], strategy="round_robin")
    assert keys_of(pool, 24) == [f"k{n}" for n in range(1, 9)] * 3


def test_round_robin_is_exact_in_a_large_pool(make_pool):
    """A round takes in every key, however few of them a choice would look at."""
    pool = make_pool([{} for _ in range(30)], strategy="round_robin")
    assert keys_of(pool, 60) == [f"k{n}" for n in range(1, 31)] * 2


def test_round_robin_is_exact_across_sizes(make_pool):
    """Requests of different size classes share one round."""
    pool = make_pool([{} for _ in range(8)], strategy="round_robin")
    rng = Random(3)
    keys = [keys_of(pool, 1, tokens=rng.choice([1.0, 90.0, 5000.0]))[0] for _ in range(80)]
    assert set(Counter(keys).values()) == {10}


@pytest.mark.parametrize("strategy", ["round_robin", "least_used", "adaptive", "score"])
@pytest.mark.parametrize("count", [3, 20, 100])
def test_equal_keys_are_used_evenly(make_pool, strategy, count):
    """No two equal keys differ by more than one call after many."""
    pool = make_pool([{} for _ in range(count)], strategy=strategy)
    used = Counter(keys_of(pool, count * 10))
    assert len(used) == count
    assert max(used.values()) - min(used.values()) <= 1


def test_least_used_lets_a_new_key_catch_up(make_pool):
    """Whoever served fewest calls is next."""
    pool = make_pool([{}, {}], strategy="least_used")
    pool.by("k1").calls = 5
    assert keys_of(pool, 6) == ["k2"] * 5 + ["k1"]


def test_least_busy_spreads_what_is_in_flight(make_pool):
    """The key with the fewest open calls is next, ties by last use."""
    pool = make_pool([{}, {}, {}], strategy="least_busy")
    open_ = [pool.lease(1.0) for _ in range(6)]
    assert Counter(lease.deployment.key for lease in open_) == {"k1": 2, "k2": 2, "k3": 2}
    for lease in open_:
        if lease.deployment.key == "k2":
            pool.manager.settle(lease, 1.0)
    assert [pool.lease(1.0).deployment.key for _ in range(2)] == ["k2", "k2"]


def test_fastest_takes_the_lowest_latency_and_tries_the_unseen(make_pool):
    """Unseen keys are tried first, then the quickest is kept."""
    pool = make_pool([{}, {}, {}], strategy="fastest")
    for seconds in (2.0, 0.5, 1.0):
        lease = pool.lease(1.0)
        pool.manager.passed(lease, seconds)
        pool.manager.settle(lease, 1.0)
    assert keys_of(pool, 3) == ["k2"] * 3


def test_cheapest_prefers_a_known_low_price(make_pool):
    """A free model, then a cheap one; one of unknown price is taken last."""
    facts = {
        "dear": {"input_usd": 5.0, "output_usd": 9.0},
        "free": {"input_usd": 0.0, "output_usd": 0.0},
        "odd": {},
    }
    pool = make_pool(
        [{"models": [name], "rpm": 1} for name in ("odd", "dear", "free")],
        facts=facts,
        strategy="cheapest",
    )
    assert [pool.lease(1.0).deployment.model.name for _ in range(3)] == ["free", "dear", "odd"]


@pytest.mark.parametrize(("chars", "most", "cheaper"), [(4_000, 900, "b"), (40_000, 10, "a")])
def test_cheapest_counts_the_answer_once_and_at_its_own_price(make_pool, chars, most, cheaper):
    """A long answer goes where writing is cheap, a long prompt where reading is."""
    facts = {
        "a": {"input_usd": 1.0, "output_usd": 8.0},
        "b": {"input_usd": 4.0, "output_usd": 3.0},
    }
    pool = make_pool([{"models": ["a"]}, {"models": ["b"]}], facts=facts, strategy="cheapest")
    for deployment in pool.deployments:
        deployment.model.usual_output = 1_000.0
    size = Size(chars=chars, messages=1, max_tokens=most, known_tokens=None)
    lease = pool.manager.lease(pool.route(), size, (), 0.0)
    assert lease.deployment.model.name == cheaper


@pytest.mark.parametrize("strategy", ["score", "adaptive"])
def test_a_learned_opinion_prefers_the_better_key(make_pool, strategy):
    """A key that failed or was judged badly comes after one that did well."""
    pool = make_pool([{"rpm": 100}, {"rpm": 100}], strategy=strategy)
    pool.manager.judged("acme", "m", "k1", 0.0)
    assert keys_of(pool, 1) == ["k2"]
    pool.manager.judged("acme", "m", "k9", 0.0)
    assert pool.by("k2").score.quality == 1.0


def test_adaptive_drains_no_key_while_another_idles(make_pool):
    """Of two unequal keys both are used in proportion to their room."""
    pool = make_pool([{"rpm": 30}, {"rpm": 10}], strategy="adaptive")
    used = Counter(keys_of(pool, 20))
    assert used["k1"] == pytest.approx(15, abs=2)


def test_adaptive_sends_each_size_to_the_limits_of_its_shape(make_pool):
    """Small requests spare the key of few calls and large ones that of few tokens: all fit."""
    pool = make_pool([{"rpm": 30, "tpm": 6_000}, {"rpm": 5, "tpm": 20_000}], strategy="adaptive")
    for tokens in [100.0] * 12 + [100.0, 100.0, 100.0, 1_500.0] * 4:
        assert pool.lease(1.0, tokens) is not None
    assert Counter(d.calls for d in pool.deployments) == {24: 1, 4: 1}


def test_adaptive_crowds_no_key_of_unknown_limits(make_pool):
    """Where nothing is known of limits, calls under way are shared out."""
    pool = make_pool([{}, {}, {}], strategy="adaptive")
    held = Counter(pool.lease(1.0).deployment.key for _ in range(30))
    assert held == {"k1": 10, "k2": 10, "k3": 10}


@pytest.mark.parametrize("strategy", NAMES)
def test_no_strategy_chooses_whom_it_must_not(make_pool, strategy):
    """A dead key, a spent quota and a cooling group stay unused under every strategy."""
    pool = make_pool([{}, {"rpm": 1}, {}, {"rpm": 2}], strategy=strategy)
    for key, fault in (("k1", Fault.AUTH), ("k3", Fault.RATE_LIMIT_DAY)):
        avoid = [d for d in pool.deployments if d.key != key]
        pool.fail(pool.lease(1.0, avoid=avoid), 1.0, fault)
    leases = []
    while (lease := pool.lease(1.5)) is not None:
        leases.append(lease.deployment.key)
    assert Counter(leases) == {"k2": 1, "k4": 2}


@pytest.mark.parametrize("strategy", NAMES)
def test_every_strategy_uses_all_of_a_known_limit(make_pool, strategy):
    """Three keys of ten requests a minute let exactly thirty pass."""
    pool = make_pool([{"rpm": 10} for _ in range(3)], strategy=strategy)
    assert len([lease for _ in range(40) if (lease := pool.lease(1.0))]) == 30


def served(pool, judge, calls, now=1.0):
    """Calls one after the other: `judge` gives each key's latency, None for a failure.

    The keys called, and the moment after the last.
    """
    keys = []
    for _ in range(calls):
        lease = pool.lease(now)
        keys.append(lease.deployment.key)
        seconds = judge(lease.deployment.key)
        now += seconds or 0.1
        if seconds is None:
            pool.fail(lease, now, Fault.OVERLOADED)
        else:
            pool.manager.passed(lease, seconds)
            pool.manager.settle(lease, now)
        now += 2.0
    return keys, now


@pytest.mark.parametrize("strategy", ["score", "adaptive", "fastest"])
def test_a_key_that_was_slow_for_a_while_returns(make_pool, strategy):
    """It gets one call in 32 while it is slow, and its share when it is quick again."""
    pool = make_pool([{}, {}], strategy=strategy)
    slow = {"k1": 0.5, "k2": 20.0}
    keys, now = served(pool, slow.get, 320)
    assert 10 <= Counter(keys)["k2"] <= 12
    keys, now = served(pool, {"k1": 0.5, "k2": 0.4}.get, 800, now)
    assert Counter(keys[:32])["k2"] == 1
    keys, _ = served(pool, {"k1": 0.5, "k2": 0.4}.get, 100, now)
    assert Counter(keys)["k2"] > 40


@pytest.mark.parametrize("strategy", ["score", "adaptive"])
def test_a_key_that_failed_for_a_while_returns(make_pool, strategy):
    """The more often it fails in a row, the rarer it is asked, but never less than 1 in 256."""
    pool = make_pool([{}, {}], strategy=strategy)
    keys, now = served(pool, {"k1": 0.5}.get, 1024)
    failures = Counter(keys)["k2"]
    assert 6 <= failures <= 12
    assert "k2" in keys[-256:]
    keys, _ = served(pool, {"k1": 0.5, "k2": 0.5}.get, 1000, now)
    assert "k2" in keys[:256]
    assert Counter(keys[-100:])["k2"] > 40


CHEAP = {
    "cheap": {"input_usd": 1.0, "output_usd": 1.0},
    "m": {"input_usd": 2.0, "output_usd": 2.0},
}


@pytest.mark.parametrize(("strategy", "best"), [("priority", "k1"), ("cheapest", "k90")])
def test_a_strategy_keeps_its_promise_in_a_large_pool(make_pool, strategy, best):
    """The first, or the cheapest, of a hundred keys is used as it is of three, once it was met."""
    rows = [{} for _ in range(100)]
    rows[89] = {"provider": "b", "models": ["cheap"]}
    pool = make_pool(rows, strategy=strategy, facts=CHEAP)
    keys_of(pool, 30)
    assert set(keys_of(pool, 100)) == {best}


@pytest.mark.parametrize("strategy", ["score", "adaptive", "fastest"])
@pytest.mark.parametrize("count", [29, 64])
def test_most_calls_go_to_the_better_keys_of_many(make_pool, strategy, count):
    """A quarter of the keys is quick: it gets nine of ten calls, wherever its keys stand."""
    pool = make_pool([{} for _ in range(count)], strategy=strategy)
    quick = {f"k{n + 1}" for n in range(count * 3 // 4, count)}
    served(pool, lambda key: 0.5 if key in quick else 20.0, 4 * count)
    keys, _ = served(pool, lambda key: 0.5 if key in quick else 20.0, 1000, 1e6)
    assert sum(key in quick for key in keys) > 850


@pytest.mark.parametrize("strategy", ["score", "adaptive", "fastest"])
@pytest.mark.parametrize("count", [29, 57, 97, 113])
def test_every_key_of_many_is_asked_again(make_pool, strategy, count):
    """One in 32 calls explores, and none is passed over for good, however many there are."""
    pool = make_pool([{} for _ in range(count)], strategy=strategy)
    _, now = served(pool, lambda key: 20.0 if key == "k15" else 0.5, 10 * count)
    keys, _ = served(pool, lambda key: 20.0 if key == "k15" else 0.5, 1024, now)
    assert 1 <= Counter(keys)["k15"] <= 32


@pytest.mark.parametrize("strategy", ["score", "adaptive", "fastest"])
def test_an_unseen_key_is_tried(make_pool, strategy):
    """Who was never used is thought well of, and is tried at once."""
    pool = make_pool([{}, {}, {}], strategy=strategy)
    keys, _ = served(pool, {"k1": 0.5, "k2": 0.5, "k3": 0.5}.get, 3)
    assert set(keys) == {"k1", "k2", "k3"}


@pytest.mark.parametrize("strategy", ["score", "adaptive"])
def test_exploring_passes_no_limit_and_no_rest(make_pool, strategy):
    """A key above its share of a limit is not explored, nor one that rests."""
    pool = make_pool([{}, {"rpm": 10}, {}], strategy=strategy, rotate_at=0.5)
    for key in ("k2", "k3"):
        pool.manager.judged("acme", "m", key, 0.0)
    pool.fail(pool.lease(1.0, avoid=[pool.by("k1"), pool.by("k2")]), 1.0, Fault.RATE_LIMIT_DAY)
    used = Counter(keys_of(pool, 640))
    assert set(used) == {"k1", "k2"}
    assert used["k2"] <= 5


@pytest.mark.parametrize("strategy", ["score", "adaptive"])
def test_the_same_history_makes_the_same_choices(make_pool, strategy):
    """Exploration goes by turns, not by chance."""
    judge = {"k1": 0.5, "k2": 3.0, "k3": None}.get
    first, second = (
        served(make_pool([{}, {}, {}], strategy=strategy), judge, 300)[0] for _ in range(2)
    )
    assert first == second
