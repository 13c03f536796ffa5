"""What `explain()` says is what the next request meets."""

from __future__ import annotations

import random

import pytest

from hydra_core.engine.dispatch import Dispatch
from hydra_core.engine.explanation import foreseen
from hydra_core.engine.fallback import FallbackDispatch
from hydra_core.engine.size import Size, size_of
from hydra_core.engine.steps import GiveUp, Patience, Send
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


def journey_of(pool, request, now, max_wait):
    """The journey of a request that may step down to smaller models, as `Hydra.chat` begins it."""
    asked = {"provider": request.provider, "model": request.model, "lane": request.lane}
    smaller, size = pool.route(**asked, smaller=True), size_of(request)
    begun = pool.route(**asked), Patience(max_wait=max_wait)
    if not smaller.tiers:
        return Dispatch(request, *begun, now=now, size=size)
    return FallbackDispatch(request, *begun, now=now, size=size, smaller=smaller)


def met(step):
    """Whom a step sends to: provider, model, key; None: nobody."""
    if not isinstance(step, Send):
        return None
    deployment = step.lease.deployment
    return deployment.provider, deployment.model.name, deployment.key


def any_row(draw):
    """A key with any provider, models, priority and limits."""
    row = {"provider": draw.choice("ab"), "priority": draw.choice([0, 0, 1])}
    row["models"] = draw.choice([["m"], ["m", "n"], ["n"]])
    if draw.random() < 0.5:
        row["rpm"] = draw.choice([1, 3, 10])
    if draw.random() < 0.3:
        row["tpm"] = draw.choice([500, 2000])
    return {**row, "untold": True} if draw.random() < 0.2 else row


@pytest.mark.parametrize("strategy", sorted(STRATEGIES))
@pytest.mark.parametrize("seed", range(12))
def test_the_explanation_is_what_the_call_meets(make_pool, ok, refuse, strategy, seed):
    """In any pool the one said to be chosen is sent to, and the ETA is the least of all starts."""
    draw = random.Random(f"{strategy} {seed}")
    keys = [any_row(draw) for _ in range(draw.choice([1, 3, 12, 30]))]
    pool = make_pool([{"provider": "a", "models": ["m", "n"]}, *keys], strategy=strategy)
    now = 1.0
    for _ in range(40):
        now += draw.choice([0.0, 0.1, 7.0, 40.0])
        text = [{"role": "user", "content": "x" * draw.choice([3, 300, 5000])}]
        request = ChatRequest(text, model=draw.choice([None, "m", "n"]))
        max_wait = draw.choice([0.0, 5.0, 30.0])
        rows = foreseen(pool.manager, request, now, falling_back=True, max_wait=max_wait)
        journey = journey_of(pool, request, now, max_wait)
        step = journey.next_step(pool.manager, now)
        chosen = [(r["provider"], r["model"], r["key"]) for r in rows if r["chosen"]]
        assert chosen == [met(step)] * isinstance(step, Send)
        if isinstance(step, GiveUp) and step.error.eta is not None:
            starts = [row["starts_in"] for row in rows if row["starts_in"] is not None]
            assert step.error.eta == pytest.approx(min(starts), abs=0.01)
        fault = draw.choice([Fault.TIMEOUT, Fault.RATE_LIMIT_MINUTE, Fault.AUTH, Fault.OVERLOADED])
        journey.report(pool.manager, refuse(fault) if draw.random() < 0.3 else ok(9), now + 0.1)
        journey.abandon(pool.manager, now + 0.1)


def test_who_is_asked_as_a_last_resort_is_foretold(make_pool):
    """A key that we only believe to be ill is asked before a smaller model, or nobody, is."""
    pool = make_pool([{"models": ["m", "n"]}])
    pool.fail(pool.lease(1.0), 1.0, Fault.TIMEOUT)
    row = rows_of(pool, 2.0, max_wait=5.0)[0]
    assert (row["model"], row["chosen"], row["starts_in"]) == ("m", True, 0.0)
    assert row["why"] == (
        "timeout: our inference on acme/m via k1; asked all the same, since waiting is of no use"
    )


def test_who_rests_is_told_when_all_is_over_that_keeps_it(make_pool):
    """A rest of ten seconds does not hide that the minute's limit is used up for longer."""
    pool = make_pool([{"rpm": 1}])
    lease = pool.lease(1.0)
    pool.fail(lease, 1.0, Fault.RATE_LIMIT_MINUTE, retry_after=10.0)
    (row,) = rows_of(pool, 2.0)
    assert row["starts_in"] == pytest.approx(59.0)
    assert row["why"] == "quota: 1 of 1 requests per minute used, this may take 1; room in 59 s"


def test_who_was_too_full_for_a_larger_request_is_free_for_a_smaller(make_pool):
    """That a key rests for the larger one alone is found at the second look, as by the call."""
    pool = make_pool([{"tpm": 1000}])
    pool.lease(1.0, 600.0)
    assert pool.lease(1.0, 500.0) is None
    size = Size(chars=9, messages=1, max_tokens=None, known_tokens=390.0)
    assert pool.manager.foresight(pool.route(), size, 1.0).at_once is pool.deployments[0]
    assert isinstance(pool.journey(1.0, 390.0).next_step(pool.manager, 1.0), Send)


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
