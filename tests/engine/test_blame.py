"""Who rests after a fault, for how long, and who does not."""

from __future__ import annotations

import pytest

from hydra_core.engine.windows import NEVER
from hydra_core.messages import Fault

ROWS = [
    {"name": "a1", "account": "a", "models": ["m", "n"]},
    {"name": "a2", "account": "a", "models": ["m", "n"]},
    {"name": "b1", "account": "b", "models": ["m", "n"]},
    {"name": "x1", "provider": "x", "models": ["m"]},
]


def resting(pool, now):
    """Who rests at `now`, as `key:model`."""
    return {f"{d.key}:{d.model.name}" for d in pool.deployments if d.rests_at(now)}


def struck(make_pool, fault, **verdict):
    """A pool in which the call of `a1` for `m` failed at 10."""
    pool = make_pool(ROWS, strategy="priority")
    lease = pool.lease(10.0, provider="acme", model="m")
    assert lease.deployment is pool.by("a1")
    pool.fail(lease, 10.0, fault, **verdict)
    return pool


@pytest.mark.parametrize(
    ("fault", "who"),
    [
        (Fault.RATE_LIMIT_MINUTE, {"a1:m", "a2:m"}),
        (Fault.RATE_LIMIT_DAY, {"a1:m", "a2:m"}),
        (Fault.QUOTA_EXHAUSTED_BILLING, {"a1:m", "a2:m", "a1:n", "a2:n"}),
        (Fault.AUTH, {"a1:m", "a1:n"}),
        (Fault.MODEL_UNAVAILABLE, {"a1:m", "a2:m"}),
        (Fault.OVERLOADED, {"a1:m"}),
        (Fault.TIMEOUT, {"a1:m"}),
        (Fault.UNKNOWN, {"a1:m"}),
        (Fault.UNREACHABLE, {"a1:m", "a2:m", "a1:n", "a2:n", "b1:m", "b1:n"}),
        (Fault.REQUEST_TOO_LARGE, set()),
        (Fault.CONTEXT_TOO_LONG, set()),
        (Fault.CONTENT_FILTER, set()),
        (Fault.BAD_REQUEST, set()),
        (Fault.CANCELLED, set()),
    ],
)
def test_the_blamed_rest_and_nobody_else(make_pool, fault, who):
    """Keys of one account share a refused limit; another account and provider go on."""
    pool = struck(make_pool, fault)
    assert resting(pool, 10.5) == who
    assert pool.by("a1").failures == bool(who)
    assert (pool.by("a1").score.reliability < 1.0) == bool(who and fault is not Fault.UNREACHABLE)


@pytest.mark.parametrize(
    ("fault", "told", "until"),
    [
        (Fault.RATE_LIMIT_MINUTE, None, 70.0),
        (Fault.RATE_LIMIT_MINUTE, 7.5, 17.5),
        (Fault.RATE_LIMIT_MINUTE, 0.0, 11.0),
        (Fault.RATE_LIMIT_MINUTE, -1.0, 11.0),
        (Fault.RATE_LIMIT_DAY, 54_000.0, 54_010.0),
        (Fault.RATE_LIMIT_DAY, 114 * 3600.0, 86_410.0),
        (Fault.RATE_LIMIT_DAY, float("inf"), 86_410.0),
        (Fault.OVERLOADED, 12.0, 22.0),
        (Fault.AUTH, None, NEVER),
        (Fault.AUTH, 5.0, NEVER),
    ],
)
def test_the_providers_wait_is_obeyed_within_a_day(make_pool, fault, told, until):
    """A stated wait is a hard rest of that length: never none, at most a day."""
    pool = struck(make_pool, fault, retry_after=told)
    assert pool.by("a1").hard_until == until
    others = [pool.by("a2"), pool.by("b1")]
    assert pool.lease(min(until, 1e6) - 0.1, avoid=others, provider="acme", model="m") is None


def test_a_refusal_for_the_whole_account_rests_all_its_models(make_pool):
    """Where the provider says that all models are meant, all of the account rest."""
    pool = struck(make_pool, Fault.RATE_LIMIT_DAY, whole_account=True, retry_after=600.0)
    assert resting(pool, 500.0) == {"a1:m", "a2:m", "a1:n", "a2:n"}
    assert resting(pool, 611.0) == set()


def test_two_accounts_that_agree_rest_a_model_for_its_provider(make_pool):
    """One refusal may be the account's; a second account makes it the model's."""
    pool = struck(make_pool, Fault.MODEL_UNAVAILABLE)
    lease = pool.lease(11.0, provider="acme", model="m")
    pool.fail(lease, 11.0, Fault.MODEL_UNAVAILABLE)
    assert resting(pool, 12.0) == {"a1:m", "a2:m", "b1:m"}
    assert pool.by("b1").model.rest.hard_until == 11.0 + 3600.0


def test_an_account_that_was_served_since_agrees_no_longer(make_pool):
    """A refusal of last week and one of today, with successes between, are no agreement."""
    pool = struck(make_pool, Fault.MODEL_UNAVAILABLE)
    back = pool.lease(5000.0, provider="acme", model="m", avoid=[pool.by("b1")])
    pool.manager.passed(back, 0.5)
    pool.manager.settle(back, 5001.0)
    other = pool.lease(5002.0, provider="acme", model="m", avoid=[pool.by("a1"), pool.by("a2")])
    pool.fail(other, 5003.0, Fault.MODEL_UNAVAILABLE)
    assert resting(pool, 5004.0) == {"b1:m"}


@pytest.mark.parametrize(
    ("stated", "in_flight", "cap"), [(None, 4, 3), (2, 4, 2), (9, 4, 3), (None, 1, 1), (0, 4, 1)]
)
def test_a_refused_concurrency_teaches_the_cap(make_pool, stated, in_flight, cap):
    """One call fewer than was refused is bearable, or what the provider states if less."""
    pool = make_pool([{}])
    leases = [pool.lease(10.0) for _ in range(in_flight)]
    pool.fail(
        leases[0], 10.0, Fault.RATE_LIMIT_MINUTE, kind="concurrency", concurrency_limit=stated
    )
    assert pool.by("k1").group.concurrency == cap
    assert pool.by("k1").hard_until == 11.0


def test_an_outage_opens_the_breaker_of_one_model_only(make_pool):
    """Five keys that fail together rest the model at its provider, not its other models."""
    pool = make_pool([{"models": ["m", "n"]} for _ in range(7)])
    for lease in [pool.lease(1.0, model="m") for _ in range(5)]:
        pool.fail(lease, 1.0, Fault.OVERLOADED)
    assert resting(pool, 3.0) == {f"k{n}:m" for n in range(1, 8)}
    assert pool.lease(3.0, model="n") is not None


def test_our_own_waits_are_scaled_and_the_providers_are_not(make_pool):
    """The time scale shortens a guess; a stated wait is real seconds."""
    pool = make_pool([{}, {}], scale=0.1, strategy="priority")
    pool.fail(pool.lease(10.0), 10.0, Fault.TIMEOUT)
    pool.fail(pool.lease(10.0), 10.0, Fault.RATE_LIMIT_MINUTE, retry_after=20.0)
    assert pool.by("k1").soft_until == pytest.approx(13.0)
    assert pool.by("k2").hard_until == 30.0


def test_a_run_of_spent_quotas_doubles_until_a_success(make_pool):
    """An account without a stated wait is asked again after 1 h, 2 h, 4 h; a success resets."""
    pool, now, rests = make_pool([{}]), 0.0, []
    for turn in range(5):
        lease = pool.lease(now)
        if turn == 3:
            pool.manager.passed(lease, 1.0)
            pool.manager.settle(lease, now)
            continue
        pool.fail(lease, now, Fault.QUOTA_EXHAUSTED_BILLING)
        rests.append(pool.by("k1").hard_until - now)
        now = pool.by("k1").hard_until
    assert rests == [3600.0, 7200.0, 14_400.0, 3600.0]


def test_a_missing_model_does_not_rest_the_pool_it_is_counted_in(make_pool):
    """Other models of the quota are there; one refusal for the minute rests them all."""
    pool = make_pool([{"models": ["m:free", "n:free"], "pooled": ":free"}])
    pool.fail(pool.lease(1.0, model="m:free"), 1.0, Fault.MODEL_UNAVAILABLE)
    assert pool.lease(1.0, model="m:free") is None
    lease = pool.lease(1.0, model="n:free")
    assert lease is not None
    pool.fail(lease, 1.0, Fault.RATE_LIMIT_MINUTE)
    assert pool.by("k1", "n:free").scopes.group is pool.by("k1", "m:free").scopes.group
    assert pool.lease(2.0, model="n:free") is None
