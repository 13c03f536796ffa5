"""What `explain()` says is what the next request meets."""

from __future__ import annotations

import pytest

from hydra_core.engine.explanation import foreseen
from hydra_core.engine.size import size_of
from hydra_core.engine.strategy import STRATEGIES
from hydra_core.messages import ChatRequest, Fault

HELLO = [{"role": "user", "content": "hello"}]


def rows_of(pool, now, *, max_wait=0.0, **asked):
    """The rows of a request that comes now."""
    request = ChatRequest(HELLO, **asked)
    return foreseen(pool.manager, request, now, falling_back=True, max_wait=max_wait)


@pytest.mark.parametrize("strategy", sorted(STRATEGIES))
def test_the_chosen_one_is_who_serves_next(make_pool, strategy):
    """Under every strategy, turn after turn, also when a choice explores; asking takes no turn."""
    facts = {"m": {"input_usd": 2.0, "output_usd": 2.0}, "n": {"input_usd": 1.0, "output_usd": 1.0}}
    rows = [{"models": ["m"]}, {"models": ["n"], "provider": "b"}, {}, {"rpm": 20}]
    pool = make_pool(rows, strategy=strategy, facts=facts)
    size = size_of(ChatRequest(HELLO))
    for turn in range(70):
        now = 1.0 + turn / 10
        foretold = [next(r for r in rows_of(pool, now)) for _ in range(2)]
        lease = pool.manager.lease(pool.route(), size, set(), now)
        assert [row["key"] for row in foretold] == [lease.deployment.key] * 2
        assert [(row["chosen"], row["why"]) for row in foretold] == [(True, "ready")] * 2
        pool.manager.passed(lease, 0.1 * (turn % 3))
        pool.manager.settle(lease, now)


def test_who_is_ready_and_not_chosen_is_told_after_whom(make_pool):
    """One is chosen; of the others, priority or the strategy's preference says why not."""
    pool = make_pool([{}, {}, {"priority": 1}], strategy="priority")
    rows = rows_of(pool, 1.0)
    assert [(row["key"], row["chosen"]) for row in rows] == [
        ("k1", True), ("k2", False), ("k3", False),
    ]  # fmt: skip
    assert rows[1]["why"] == "ready: acme/m via k1 is preferred"
    assert rows[2]["why"] == "ready: acme/m via k1 has the better priority"


def test_a_smaller_model_is_foretold_when_waiting_would_be_too_long(make_pool):
    """A request that would step down is explained with the smaller model first; else it waits."""
    pool = make_pool([{"models": ["m", "n"]}])
    pool.fail(pool.lease(1.0), 1.0, Fault.RATE_LIMIT_MINUTE, retry_after=20.0)
    first = rows_of(pool, 2.0, max_wait=5.0)[0]
    assert (first["model"], first["chosen"], first["tier"]) == ("n", True, 1)
    (only,) = rows_of(pool, 2.0, max_wait=30.0)
    assert (only["model"], only["chosen"], only["starts_in"]) == ("m", False, 19.0)


def test_whom_a_lane_keeps_away_is_told_so(make_pool):
    """Keys of another lane, or of none where a lane is asked for, stand last with the reason."""
    pool = make_pool([{"lanes": ["bc3", "bc4"]}, {}])
    assert [(row["key"], row["starts_in"], row["why"]) for row in rows_of(pool, 1.0)] == [
        ("k2", 0.0, "ready"),
        ("k1", None, "reserved for the lane bc3 or bc4"),
    ]
    other = rows_of(pool, 1.0, lane="bc3")[1]
    assert (other["key"], other["tier"]) == ("k2", None)
    assert other["why"] == "not reserved for the lane bc3, which uses no other keys"


def test_a_quota_is_named_with_its_figures(make_pool):
    """The limit that holds the request back longest, not merely its tokens."""
    pool = make_pool([{"rpm": 1, "tpm": 100_000}])
    pool.lease(1.0)
    (row,) = rows_of(pool, 2.0)
    assert row["why"] == "quota: 1 of 1 requests per minute used, this may take 1; room in 60 s"


def test_a_window_that_is_too_small_is_told(make_pool):
    """A model that the request surely does not fit would not serve it."""
    facts = {"m": {"context_window": 10}}
    pool = make_pool([{"models": ["m"]}, {"provider": "b", "models": ["n"]}], facts=facts)
    request = ChatRequest([{"role": "user", "content": "hello " * 100}])
    rows = foreseen(pool.manager, request, 1.0, falling_back=True, max_wait=0.0)
    assert [(row["provider"], row["chosen"]) for row in rows] == [("b", True), ("acme", False)]
    assert rows[1]["why"] == "the request is longer than its context window of 10 tokens"
