"""Who serves now, who would serve next, and what no choice may pass."""

from __future__ import annotations

import pytest

from hydra_core.engine.choice import start_of
from hydra_core.engine.size import Size
from hydra_core.engine.windows import NEVER
from hydra_core.messages import Fault
from hydra_core.wire import Verdict

OVERLOADED = Verdict(fault=Fault.OVERLOADED, status=503)
ONE = Size(chars=0, messages=1, max_tokens=None, known_tokens=1.0)


def drain(pool, now, **asked):
    """Lease until nobody can serve; the leases, still open."""
    leases = []
    while (lease := pool.lease(now, **asked)) is not None:
        leases.append(lease)
    return leases


@pytest.mark.parametrize("shape", ["sliding", "bucket"])
def test_rotate_at_loses_no_quota(make_pool, shape):
    """A single key uses ten of ten, whatever the share at which it is rested."""
    pool = make_pool([{"rpm": 10, "shape": shape}], rotate_at=0.5)
    assert len(drain(pool, 1.0)) == 10


def test_rotate_at_leaves_a_key_at_its_share_while_another_can_serve(make_pool):
    """The first of two keys is left at the share, and the second takes over."""
    pool = make_pool([{"rpm": 10}, {"rpm": 10}], strategy="priority", rotate_at=0.8)
    order = [pool.lease(1.0).deployment.key for _ in range(20)]
    assert order == ["k1"] * 8 + ["k2"] * 8 + ["k1"] * 2 + ["k2"] * 2


def test_the_next_tier_serves_when_none_of_the_first_can(make_pool):
    """Tiers are walked in order of priority, and back as soon as the first can serve again."""
    pool = make_pool(
        [{"rpm": 2}, {"provider": "b", "priority": 1, "rpm": 1}, {"provider": "c", "priority": 2}]
    )
    leases = [pool.lease(1.0) for _ in range(5)]
    assert [lease.deployment.provider for lease in leases] == ["acme", "acme", "b", "c", "c"]
    pool.manager.settle(leases[0], 1.0, requests=0.0)
    assert pool.lease(1.0).deployment.provider == "acme"


@pytest.mark.parametrize("keys", [1, 60])
def test_the_next_tier_waits_for_what_is_too_large_for_the_first_alone(make_pool, keys):
    """A request is not sent on because a larger one of its class was, while it fits here."""
    later = {"provider": "b", "priority": 1}
    pool = make_pool([*[{"tpm": 2000}] * keys, later])
    for _ in range(keys):
        assert pool.lease(1.0, tokens=1000).deployment.provider == "acme"
    for _ in range(2):
        assert pool.lease(1.0, tokens=1500).deployment.provider == "b"
    for _ in range(keys):
        assert pool.lease(1.0, tokens=600).deployment.provider == "acme"
    assert pool.lease(1.0, tokens=600).deployment.provider == "b"
    assert pool.lease(62.0, tokens=1500).deployment.provider == "acme"


@pytest.mark.parametrize("what", ["deployment", "model", "group"])
def test_a_request_is_kept_from_what_it_avoids(make_pool, what):
    """Deployments, models and quota groups can each be avoided, and nothing else is."""
    pool = make_pool([{"models": ["m"]}, {"provider": "b"}])
    first = pool.by("k1")
    avoid = {"deployment": first, "model": first.model, "group": first.group}[what]
    assert {pool.lease(1.0, avoid=[avoid]).deployment.key for _ in range(3)} == {"k2"}
    assert pool.lease(1.0, avoid=[avoid, pool.by("k2")]) is None


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Fault.AUTH, {}),
        (Fault.RATE_LIMIT_MINUTE, {"retry_after": 90.0}),
        (Fault.RATE_LIMIT_DAY, {}),
        (Fault.QUOTA_EXHAUSTED_BILLING, {}),
        (Fault.MODEL_UNAVAILABLE, {}),
        (Fault.OVERLOADED, {"retry_after": 90.0}),
    ],
)
def test_no_despair_passes_a_hard_rest(make_pool, fault, said):
    """What the provider said, or a dead key, is bypassed by nobody, however desperate."""
    pool = make_pool([{}])
    pool.fail(pool.lease(1.0), 1.0, fault, **said)
    for now in (1.1, 30.0, 80.0):
        assert pool.lease(now, desperate=True) is None


def test_a_soft_rest_is_probed_by_one_request_at_a_time(make_pool):
    """Only the desperate pass it, one by one, and the next only after the first has ended."""
    pool = make_pool([{}])
    pool.fail(pool.lease(1.0), 1.0, Fault.TIMEOUT)
    assert pool.lease(2.0) is None
    probe = pool.lease(2.0, desperate=True)
    assert probe is not None
    assert pool.lease(2.0, desperate=True) is None
    pool.fail(probe, 3.0, Fault.TIMEOUT)
    assert pool.lease(3.0, desperate=True) is not None


def test_a_probe_pays_from_the_quota(make_pool):
    """Despair probes health, never a limit."""
    pool = make_pool([{"rpm": 1}])
    pool.fail(pool.lease(1.0), 1.0, Fault.TIMEOUT)
    assert pool.lease(2.0, desperate=True) is None


def test_a_half_open_breaker_lets_one_probe_through_over_all_keys(make_pool):
    """Of eight keys of a provider that was out, one call finds out whether it is back."""
    pool = make_pool([{} for _ in range(8)])
    for lease in [pool.lease(1.0) for _ in range(8)]:
        pool.fail(lease, 1.0, Fault.OVERLOADED)
    open_until = pool.by("k1").model.breaker.open_until
    assert drain(pool, open_until - 0.1) == []
    (probe,) = drain(pool, open_until + 40.0)
    pool.manager.passed(probe, 0.2)
    pool.manager.settle(probe, open_until + 41.0)
    assert pool.by("k1").model.breaker.state(open_until + 41.0) == "closed"
    assert {pool.lease(open_until + 42.0).deployment.key for _ in range(8)} == {
        f"k{n}" for n in range(1, 9)
    }


def test_the_end_of_one_probe_does_not_free_the_place_of_another(make_pool):
    """A probe of one key that ends late leaves the breaker's own probe alone."""
    pool = make_pool([{} for _ in range(6)])
    pool.fail(pool.lease(1.0), 1.0, Fault.TIMEOUT)
    others = [pool.lease(1.0) for _ in range(5)]
    for lease in others[:2]:
        pool.manager.failed(lease, OVERLOADED, 1.1)
    for deployment in pool.deployments[3:]:
        deployment.own_rest.doubt(50.0, Fault.TIMEOUT)
        pool.manager._refresh(deployment.own_rest)
    early = pool.lease(1.2, desperate=True)  # a key's probe: the breaker is still closed
    for lease in others[2:]:
        pool.manager.failed(lease, OVERLOADED, 1.3)
    breaker = early.deployment.model.breaker
    assert breaker.open_until > 0.0
    late = pool.lease(breaker.open_until + 60.0)
    assert breaker.probing
    pool.manager.settle(early, breaker.open_until + 60.1)
    assert breaker.probing
    assert pool.lease(breaker.open_until + 60.2) is None
    pool.manager.settle(late, breaker.open_until + 60.3)
    assert not breaker.probing


@pytest.mark.parametrize("shape", ["sliding", "bucket", "fixed"])
def test_asking_when_a_resting_key_could_start_spends_no_quota(make_pool, shape):
    """A question about a later moment must not forget what counts at the present one."""
    pool = make_pool([{"rpm": 10, "account": "a", "shape": shape}, {"account": "a"}])
    pool.fail(pool.lease(1.0), 1.1, Fault.OVERLOADED, retry_after=120.0)
    held, granted = [], 1
    for tick in range(30):
        now = 2.0 + tick / 10
        if (lease := pool.lease(now)) is not None:
            granted += 1
            held.append(lease)
            continue
        pool.manager.earliest(pool.route(), ONE, (), now)
        if held:
            pool.manager.settle(held.pop(), now)
    assert granted == 10


@pytest.mark.parametrize(
    ("rows", "start"),
    [
        ([{"rpm": 1}], 60.0),
        ([{"rpm": 1}, {"rpm": 1, "shape": "bucket"}], 61.0),
        ([{"rpd": 1}, {"concurrency": 1}], 1.5),
        ([{"concurrency": 1}], 1.5),
    ],
)
def test_the_next_start_is_the_earliest_over_all(make_pool, rows, start):
    """A slot that a call will free counts beside a window that opens much later."""
    pool = make_pool(rows)
    leases = drain(pool, 1.0)
    assert pool.manager.earliest(pool.route(), ONE, (), 1.0) == pytest.approx(start, abs=2.1)
    for lease in leases:
        pool.manager.settle(lease, 1.0)


def test_the_next_start_is_found_behind_a_crowd_that_cannot_serve(make_pool):
    """Sixty keys that a request must avoid do not hide the one that it may use."""
    crowd = [{"rpm": 1, "provider": "b", "name": f"b{n}", "models": ["x"]} for n in range(60)]
    pool = make_pool([*crowd, {"rpm": 1, "models": ["x"]}])
    drain(pool, 1.0, model="x")
    avoid = [pool.by("b0", "x").model]
    start = pool.manager.earliest(pool.route(model="x"), ONE, avoid, 2.0)
    assert start == 61.0 + pool.by("k61", "x").group.windows[0]._guard


def test_a_probe_under_way_is_waited_for_not_polled(make_pool):
    """While one call probes, the next start lies half a usual call ahead, not at once."""
    pool = make_pool([{} for _ in range(5)])
    for lease in [pool.lease(1.0) for _ in range(5)]:
        pool.fail(lease, 1.0, Fault.OVERLOADED)
    now = 100.0
    assert len(drain(pool, now)) == 1
    assert pool.manager.earliest(pool.route(), ONE, (), now) == pytest.approx(now + 0.5)


def test_a_dead_pool_has_no_next_start(make_pool):
    """No wait helps when every key is dead."""
    pool = make_pool([{}, {}])
    for lease in [pool.lease(1.0), pool.lease(1.0)]:
        pool.fail(lease, 1.0, Fault.AUTH)
    assert pool.manager.earliest(pool.route(), ONE, (), 2.0) == NEVER
    assert start_of(pool.by("k1"), ONE, 2.0) == NEVER


def test_a_key_that_rests_for_a_larger_request_serves_a_smaller_one(make_pool):
    """Two sizes of one class share a roster, but not the moment at which they fit."""
    pool = make_pool([{"tpm": 1000}])
    pool.manager.settle(pool.lease(1.0, tokens=300.0), 1.1)
    assert pool.lease(2.0, tokens=900.0) is None
    ticket = pool.manager.join(pool.route(), Size(0, 1, None, known_tokens=600.0), (), 0, 3.0)
    assert pool.manager.claim(ticket, 3.0) is not None


def test_the_first_of_many_keys_is_the_first(make_pool):
    """`priority` takes the first key that can serve, however many stand beside it."""
    pool = make_pool([{"rpm": 2} for _ in range(40)], strategy="priority", rotate_at=1.0)
    served = [pool.lease(1.0).deployment.key for _ in range(6)]
    assert served == ["k1", "k1", "k2", "k2", "k3", "k3"]
