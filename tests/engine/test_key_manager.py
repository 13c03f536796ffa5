"""Lease and settle: charged before sending, settled exactly once, given back in order."""

from __future__ import annotations

import pytest

from hydra_core.engine.reasons import reason
from hydra_core.engine.size import Size
from hydra_core.engine.windows import NEVER
from hydra_core.messages import Fault
from hydra_core.wire import LimitReading

ONE = Size(chars=0, messages=1, max_tokens=None, known_tokens=1.0)


def used(pool, key, now):
    """What each window of a key's group counts, in the order of the row's limits."""
    return [window.used(now) for window in pool.by(key).group.windows]


def test_a_lease_is_charged_before_it_is_sent(make_pool):
    """One request and its tokens are booked, one call is in flight."""
    pool = make_pool([{"rpm": 10, "tpm": 1000}])
    lease = pool.lease(1.0, 300.0)
    assert used(pool, "k1", 1.0) == [1.0, 300.0]
    assert (pool.by("k1").in_flight, pool.by("k1").group.in_flight) == (1, 1)
    assert repr(lease) == "<Lease acme/m via k1: 300 tokens, open>"


@pytest.mark.parametrize(
    ("requests", "tokens", "left"),
    [(1.0, None, [1.0, 300.0]), (1.0, 120.0, [1.0, 120.0]), (0.0, 0.0, [0.0, 0.0])],
)
def test_a_settlement_books_what_was_used(make_pool, requests, tokens, left):
    """No count keeps the estimate, a count replaces it, a refund gives all back."""
    pool = make_pool([{"rpm": 10, "tpm": 1000}])
    lease = pool.lease(1.0, 300.0)
    pool.manager.settle(lease, 2.0, requests=requests, tokens=tokens)
    assert used(pool, "k1", 2.0) == left
    assert pool.by("k1").group.in_flight == 0
    assert "settled" in repr(lease)


def test_a_lease_is_settled_exactly_once(make_pool):
    """The second settlement, whatever it says, changes nothing."""
    pool = make_pool([{"rpm": 10, "tpm": 1000}])
    lease = pool.lease(1.0, 300.0)
    pool.manager.settle(lease, 2.0, tokens=120.0)
    said = LimitReading("requests", 60.0, limit=10.0, remaining=0.0)
    pool.manager.settle(lease, 3.0, requests=0.0, tokens=0.0, readings=(said,))
    assert used(pool, "k1", 3.0) == [1.0, 120.0]
    assert (pool.by("k1").in_flight, pool.by("k1").group.in_flight) == (0, 0)


def test_keys_of_one_account_share_its_limits(make_pool):
    """Three keys of one account let as many pass as one, another account's its own."""
    pool = make_pool([{"account": "a", "rpm": 4}, {"account": "a"}, {"account": "b", "rpm": 4}])
    keys = [lease.deployment.key for _ in range(9) if (lease := pool.lease(1.0))]
    assert len(keys) == 8
    assert keys.count("k3") == 4


def test_one_refusal_rests_all_keys_of_the_account(make_pool):
    """A 429 on one key of an account keeps the next request from its siblings."""
    pool = make_pool([{"account": "a"}, {"account": "a"}, {"account": "b"}], strategy="priority")
    pool.fail(pool.lease(1.0), 1.0, Fault.RATE_LIMIT_MINUTE, retry_after=30.0)
    assert [pool.lease(now).deployment.key for now in (2.0, 30.0, 31.0)] == ["k3", "k3", "k1"]


def test_a_spent_day_rests_the_group_as_long_as_stated_and_others_go_on(make_pool):
    """Day limits last to the reset the provider named, minutes' refusals never that long."""
    pool = make_pool([{}, {}], strategy="priority")
    pool.fail(pool.lease(1.0), 1.0, Fault.RATE_LIMIT_DAY, retry_after=7200.0)
    assert {pool.lease(now).deployment.key for now in (2.0, 3600.0, 7200.0)} == {"k2"}
    assert pool.lease(7201.0).deployment.key == "k1"


def test_a_dead_key_is_dead_alone_and_for_good(make_pool):
    """A refused key never comes back by time, with none of its models; another's is its own."""
    pool = make_pool([{"account": "a", "models": ["m", "n"]}, {"account": "a"}])
    pool.fail(pool.lease(1.0, provider="acme", model="m"), 1.0, Fault.AUTH)
    assert {pool.lease(now).deployment.key for now in (2.0, 1e6)} == {"k2"}
    assert pool.manager.earliest(pool.route(model="n"), ONE, (), 2.0) == NEVER


def test_a_success_ends_a_doubt_and_no_cooldown(make_pool):
    """A probe that went well brings the key back; what the provider said still holds."""
    pool = make_pool([{}, {}], strategy="priority")
    pool.fail(pool.lease(1.0), 1.0, Fault.TIMEOUT)
    pool.fail(pool.lease(1.0), 1.0, Fault.RATE_LIMIT_MINUTE, retry_after=20.0)
    probe = pool.lease(2.0, desperate=True)
    pool.manager.passed(probe, 0.5)
    pool.manager.settle(probe, 2.5)
    assert pool.lease(3.0).deployment.key == "k1"
    assert pool.by("k2").hard_until == 21.0


def test_a_claimed_lease_counts_from_the_claim(make_pool):
    """A waiter that is slow to wake is charged when its request really leaves."""
    pool = make_pool([{"rpm": 1}])
    ticket = pool.manager.join(pool.route(), ONE, (), 0, 1.0)
    lease = pool.manager.claim(ticket, 100.0)
    assert lease.granted == 100.0
    assert pool.manager.claim(ticket, 100.0) is None
    guard = pool.by("k1").group.windows[0]._guard
    assert pool.manager.earliest(pool.route(), ONE, (), 101.0) == 160.0 + guard


@pytest.mark.parametrize("shape", ["sliding", "bucket", "fixed"])
def test_a_claim_finds_no_room_that_others_used_since(make_pool, shape):
    """A grant left unclaimed until its booking expired is no right to exceed the limit."""
    pool = make_pool([{"tpm": 100, "shape": shape}])
    size = Size(0, 1, None, known_tokens=60.0)
    ticket = pool.manager.join(pool.route(), size, (), 0, 1.0)
    assert ticket.lease is not None
    pool.lease(130.0, 90.0)
    assert pool.manager.claim(ticket, 130.5) is None
    assert pool.route().line.first(9) == [ticket]
    assert ticket.start > 130.5
    assert used(pool, "k1", 130.5) == [pytest.approx(90.0, abs=1.0)]


@pytest.mark.parametrize(
    ("fault", "retry"), [(Fault.RATE_LIMIT_MINUTE, 30.0), (Fault.AUTH, None), (Fault.TIMEOUT, None)]
)
def test_a_grant_is_void_when_its_deployment_came_to_rest(make_pool, fault, retry):
    """Between grant and claim another call was refused: the ticket waits on, in its place."""
    pool = make_pool([{"concurrency": 2, "rpm": 9}])
    leases = [pool.lease(1.0), pool.lease(1.0)]
    first, second = (pool.manager.join(pool.route(), ONE, (), 0, 1.0) for _ in range(2))
    pool.manager.settle(leases[0], 2.0)
    assert first.lease is not None
    pool.fail(leases[1], 2.5, fault, retry_after=retry)
    assert pool.manager.claim(first, 3.0) is None
    assert pool.route().line.first(9) == [first, second]
    assert pool.by("k1").group.in_flight == 0
    assert used(pool, "k1", 3.0) == [2.0]


def test_a_void_grant_moves_to_another_key_at_once(make_pool):
    """If somebody else can serve the ticket, the claim returns that lease."""
    pool = make_pool([{}, {}], strategy="priority")
    ticket = pool.manager.join(pool.route(), ONE, (), 0, 1.0)
    pool.fail(pool.lease(1.0), 1.5, Fault.RATE_LIMIT_MINUTE, retry_after=30.0)
    lease = pool.manager.claim(ticket, 2.0)
    assert lease.deployment.key == "k2"
    assert pool.by("k1").in_flight == 0


def test_a_lane_keeps_both_sides_apart(make_pool):
    """A reserved key serves its lane alone, and the lane uses nothing else."""
    pool = make_pool([{"rpm": 1}, {"lanes": ["bc3", "bc4"], "rpm": 1}])
    assert pool.lease(1.0).deployment.key == "k1"
    assert pool.lease(1.0) is None
    assert pool.lease(1.0, lane="bc4").deployment.key == "k2"
    assert pool.lease(1.0, lane="bc3") is None


def test_joining_far_back_costs_no_look(make_pool):
    """Who joins behind the sixteen in front neither is served nor disturbs them."""
    pool = make_pool([{"concurrency": 1}])
    pool.lease(1.0)
    tickets = [pool.manager.join(pool.route(), ONE, (), 0, 2.0) for _ in range(40)]
    assert tickets[0].start < NEVER
    assert all(ticket.start == NEVER for ticket in tickets[1:])
    assert pool.route().line.first(40) == tickets


def test_two_engines_share_nothing(make_pool):
    """What one pool spends, another of the same shape still has."""
    one, other = make_pool([{"rpm": 1}]), make_pool([{"rpm": 1}])
    assert one.lease(1.0) is not None
    assert one.lease(1.0) is None
    assert other.lease(1.0) is not None


def test_what_is_shown_of_a_pool_names_its_parts(make_pool):
    """Deployments, leases and tickets print as people speak of them."""
    pool = make_pool([{"concurrency": 1}])
    assert repr(pool.by("k1")) == "<Deployment acme/m via k1>"
    pool.lease(1.0)
    waiting = pool.manager.join(pool.route(), ONE, (), 3, 1.0)
    assert repr(waiting) == "<Ticket 1 priority 3: waiting>"
    assert reason(pool.by("k1"), 1.0) is None
