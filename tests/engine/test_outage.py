"""Whose trouble it is when many fail alike: a key's, its provider's, or this machine's."""

from __future__ import annotations

import pytest

from hydra_core.engine.explanation import explanation
from hydra_core.engine.size import Size
from hydra_core.engine.windows import NEVER
from hydra_core.errors import PoolExhausted
from hydra_core.messages import Fault

ONE = Size(chars=0, messages=1, max_tokens=None, known_tokens=1.0)
BOTH = [{"name": "a1", "provider": "a"}, {"name": "b1", "provider": "b"}]


def work(pool, now, *keys):
    """Each of these keys serves one call well."""
    for key in keys:
        lease = pool.lease(now, avoid=[d for d in pool.deployments if d.key != key])
        pool.manager.passed(lease, 0.1)
        pool.manager.settle(lease, now)


def fail(pool, now, key, fault, model=None, **verdict):
    """A call by this key fails."""
    others = [d for d in pool.deployments if d.key != key]
    lease = pool.lease(now, avoid=others, model=model)
    assert lease is not None, f"{key} cannot be used at {now}"
    pool.fail(lease, now, fault, **verdict)


def passes(pool, now, **found):
    """A lease at `now` that goes well: its key."""
    lease = pool.lease(now, **found)
    pool.manager.passed(lease, 0.1)
    pool.manager.settle(lease, now)
    return lease.deployment.key


def usable(pool, now):
    """The keys of `m` that could be leased at `now`, each alone."""
    keys = []
    for deployment in pool.deployments:
        others = [d for d in pool.deployments if d is not deployment]
        lease = pool.lease(now, avoid=others, model=deployment.model.name)
        if lease is not None:
            keys.append(f"{deployment.key}:{deployment.model.name}")
            pool.manager.settle(lease, now, requests=0.0, tokens=0.0)
    return keys


@pytest.mark.parametrize("fault", [Fault.OVERLOADED, Fault.TIMEOUT, Fault.STREAM_BROKEN])
def test_three_keys_that_fail_alike_absolve_each_other(make_pool, fault):
    """The model rests at its provider; no key is doubted, none is thought less of."""
    pool = make_pool([{} for _ in range(6)], strategy="round_robin")
    for key in ("k1", "k2", "k3"):
        fail(pool, 1.0, key, fault)
    assert usable(pool, 5.9) == []
    assert not any(d.own_rest.soft_until for d in pool.deployments)
    assert {d.score.opinion() for d in pool.deployments} == {(1.0, None)}
    assert sum(d.failures for d in pool.deployments) == 3


def test_an_outage_ends_for_all_keys_together(make_pool):
    """One probe decides; when it passes, nobody is left with a long rest of the outage."""
    pool = make_pool([{} for _ in range(6)], strategy="round_robin")
    for key in ("k1", "k2", "k3"):
        fail(pool, 1.0, key, Fault.TIMEOUT)
    probe = pool.lease(6.0)
    assert pool.lease(6.0) is None
    pool.manager.passed(probe, 0.1)
    pool.manager.settle(probe, 6.5)
    assert len(usable(pool, 6.5)) == 6


def test_calls_under_way_when_the_outage_was_found_mark_nobody(make_pool):
    """A hundred calls that fail after it are the same event."""
    pool = make_pool([{} for _ in range(8)], strategy="round_robin")
    leases = [pool.lease(1.0) for _ in range(8)]
    for place, lease in enumerate(leases):
        pool.fail(lease, 2.0 + place, Fault.TIMEOUT)
    model = pool.by("k1").model
    assert model.breaker.open_until == 2.0 + 2 + 5.0
    assert not any(d.own_rest.soft_until for d in pool.deployments)
    assert {d.score.opinion() for d in pool.deployments} == {(1.0, None)}


@pytest.mark.parametrize(
    ("rows", "keys", "out"),
    [(1, "1", False), (2, "1", False), (2, "12", True), (3, "12", False), (9, "123", True)],
)
def test_enough_keys_must_agree(make_pool, rows, keys, out):
    """Three of many, both of two; one alone is no outage."""
    pool = make_pool([{} for _ in range(rows)])
    for key in keys:
        fail(pool, 1.0, f"k{key}", Fault.OVERLOADED)
    assert bool(pool.by("k1").model.breaker.open_until) is out


@pytest.mark.parametrize("between", ["a success", "another fault", "a minute"])
def test_what_lies_between_makes_failures_unlike(make_pool, between):
    """A success, another fault or a minute between them: each failure is its key's own."""
    pool = make_pool([{} for _ in range(6)])
    fail(pool, 1.0, "k1", Fault.OVERLOADED)
    fail(pool, 1.0, "k2", Fault.OVERLOADED)
    if between == "a success":
        work(pool, 2.0, "k4")
    third = Fault.TIMEOUT if between == "another fault" else Fault.OVERLOADED
    fail(pool, 62.0 if between == "a minute" else 2.0, "k3", third)
    assert not pool.by("k1").model.breaker.open_until
    assert pool.by("k3").own_rest.soft_until > 2.0


def test_two_models_that_are_out_rest_the_provider(make_pool):
    """Then its third model is not tried in vain; one probe frees all three."""
    rows = [{"models": ["m", "n", "o"]} for _ in range(4)] + [{"provider": "x"}]
    pool = make_pool(rows, strategy="round_robin")
    for model in ("m", "n"):
        assert pool.lease(1.0, model="o", provider="acme") is not None
        for key in ("k1", "k2", "k3"):
            fail(pool, 1.0, key, Fault.OVERLOADED, model)
    assert pool.lease(5.0, model="o", provider="acme") is None
    assert pool.lease(5.0, model="m").deployment.provider == "x"
    assert passes(pool, 6.0, model="o", provider="acme")
    assert len(usable(pool, 6.1)) == 13


def test_the_next_probe_goes_to_another_key(make_pool):
    """A breaker that one sick key opened is not kept open by asking that key again."""
    pool = make_pool([{}, {}], strategy="priority")
    fail(pool, 1.0, "k1", Fault.OVERLOADED)
    fail(pool, 1.0, "k2", Fault.OVERLOADED)
    first = pool.lease(6.0)
    pool.fail(first, 6.1, Fault.OVERLOADED)
    second = pool.lease(16.2)
    assert (first.deployment.key, second.deployment.key) == ("k1", "k2")
    pool.manager.passed(second, 0.1)
    pool.manager.settle(second, 16.3)
    assert len(usable(pool, 16.3)) == 2


def test_a_stated_wait_is_obeyed_in_an_outage_too(make_pool):
    """The provider's word to one key stays with it when the others are free again."""
    pool = make_pool([{} for _ in range(5)])
    leases = [pool.lease(1.0) for _ in range(5)]
    for lease in leases[:4]:
        pool.fail(lease, 1.0, Fault.OVERLOADED)
    pool.fail(leases[4], 1.0, Fault.OVERLOADED, retry_after=100.0)
    passes(pool, 6.0)
    assert len(usable(pool, 90.0)) == 4
    assert leases[4].deployment.hard_until == 101.0


def test_a_journey_leaves_a_provider_that_is_out(make_pool, make_world, ok, refuse):
    """Of twenty keys three are tried, then the next tier serves."""
    rows = [{"provider": "a"} for _ in range(20)] + [{"provider": "b", "priority": 1}]
    pool = make_pool(rows)

    def judge(lease, _):
        return 0.1, ok() if lease.deployment.provider == "b" else refuse(Fault.OVERLOADED)

    world = make_world(pool, judge)
    world.ask(1.0)
    world.run()
    ((_, reply),) = world.replies
    assert [attempt.provider for attempt in reply.attempts] == ["a", "a", "a", "b"]


def test_one_provider_that_cannot_be_reached_is_down(make_pool):
    """Another answers, so the machine is online; no key is thought less of, one probe decides."""
    pool = make_pool([*BOTH, {"provider": "a"}])
    fail(pool, 1.0, "a1", Fault.UNREACHABLE)
    work(pool, 1.1, "b1")
    assert not pool.manager.outages.offline
    assert pool.lease(1.9, provider="a") is None
    probe = pool.lease(2.0, provider="a")
    assert pool.lease(2.0, provider="a") is None
    pool.fail(probe, 2.0, Fault.UNREACHABLE)
    assert pool.lease(3.9, provider="a") is None
    assert {d.score.value(2.0) > 0.9 for d in pool.deployments} == {True}
    passes(pool, 4.0, provider="a")
    assert len(usable(pool, 4.0)) == 3


def test_nothing_reached_is_offline_and_blames_nobody(make_pool):
    """One probe per back-off for the whole machine; when it passes, everything is usable."""
    pool = make_pool([*BOTH, {"provider": "a"}])
    fail(pool, 1.0, "a1", Fault.UNREACHABLE)
    assert not pool.manager.outages.offline
    fail(pool, 1.0, "b1", Fault.UNREACHABLE)
    assert pool.manager.outages.offline
    assert usable(pool, 1.9) == []
    probe = pool.lease(2.0)
    assert usable(pool, 2.0) == []
    pool.fail(probe, 2.1, Fault.UNREACHABLE)
    assert usable(pool, 4.0) == []
    passes(pool, 4.2)
    assert len(usable(pool, 4.2)) == 3
    assert not pool.manager.outages.offline
    assert {d.score.opinion() for d in pool.deployments} == {(1.0, None)}


def test_a_connection_that_fails_while_others_are_answered_is_no_outage(make_pool):
    """Who was answered since then could be reached: that call's deployment alone is doubted."""
    pool = make_pool([{"name": "a1", "provider": "a"}, {"name": "a2", "provider": "a"}])
    slow = pool.lease(1.0, avoid=[pool.by("a2")])
    work(pool, 2.0, "a2")
    pool.fail(slow, 3.0, Fault.UNREACHABLE)
    assert not pool.manager.outages.offline
    assert usable(pool, 3.1) == ["a2:m"]
    assert usable(pool, 4.1) == ["a1:m", "a2:m"]


def test_a_machine_that_hears_refusals_is_not_offline(make_pool):
    """One provider is not reached, the other one refuses meanwhile: only the first is down."""
    pool = make_pool(BOTH)
    slow = pool.lease(1.0, avoid=[pool.by("b1")])
    fail(pool, 2.0, "b1", Fault.RATE_LIMIT_MINUTE, status=429, retry_after=30.0)
    pool.fail(slow, 3.0, Fault.UNREACHABLE)
    assert not pool.manager.outages.offline
    assert usable(pool, 32.0) == ["a1:m", "b1:m"]


def test_the_only_provider_unreached_is_offline(make_pool):
    """There is nothing to compare it with, and nothing else to use."""
    pool = make_pool([{}, {}])
    fail(pool, 1.0, "k1", Fault.UNREACHABLE)
    assert pool.manager.outages.offline


def test_an_answer_between_two_failures_proves_the_machine_online(make_pool, refuse):
    """Even a refusal: whoever refuses was reached."""
    pool = make_pool([*BOTH, {"name": "c1", "provider": "c"}])
    fail(pool, 1.0, "a1", Fault.UNREACHABLE)
    fail(pool, 1.0, "c1", Fault.RATE_LIMIT_MINUTE, status=429)
    fail(pool, 1.0, "b1", Fault.UNREACHABLE)
    assert not pool.manager.outages.offline


def test_offline_probes_go_from_provider_to_provider(make_pool):
    """A provider that stays unreachable does not hide that the other is back."""
    rows = [{"name": f"a{n}", "provider": "a"} for n in range(5)]
    pool = make_pool([*rows, {"name": "b1", "provider": "b", "priority": 1}])
    fail(pool, 1.0, "a1", Fault.UNREACHABLE)
    fail(pool, 1.0, "b1", Fault.UNREACHABLE)
    pool.fail(pool.lease(2.0), 2.0, Fault.UNREACHABLE)
    assert pool.lease(4.0).deployment.key == "b1"


def test_keys_that_had_worked_and_are_refused_together_accuse_the_provider(make_pool):
    """None dies: the provider's sign-in rests, one probe per back-off, and all return at once."""
    pool = make_pool([{} for _ in range(4)], strategy="round_robin")
    work(pool, 1.0, "k1", "k2", "k3", "k4")
    for key in ("k1", "k2", "k3"):
        fail(pool, 2.0, key, Fault.AUTH, status=401)
    assert usable(pool, 31.9) == []
    assert not any(d.hard_until for d in pool.deployments)
    probe = pool.lease(32.0)
    assert pool.lease(32.0) is None
    pool.fail(probe, 32.0, Fault.AUTH, status=401)
    assert usable(pool, 91.0) == []
    passes(pool, 92.0)
    assert len(usable(pool, 92.0)) == 4


def test_no_despair_signs_in_again_before_its_time(make_pool):
    """A call that has nobody else gives up; refused sign-ins that repeat may lock an account."""
    pool = make_pool([{}, {}])
    work(pool, 1.0, "k1", "k2")
    for key in ("k1", "k2"):
        fail(pool, 2.0, key, Fault.AUTH, status=401)
    assert pool.lease(31.9, desperate=True) is None
    assert pool.lease(32.0, desperate=True) is not None


def test_a_spare_key_that_was_never_used_does_not_die_in_an_incident(make_pool):
    """The first key had worked; refused together, both live, and so does one that probes."""
    pool = make_pool([{}, {}], strategy="priority")
    work(pool, 1.0, "k1")
    fail(pool, 2.0, "k1", Fault.AUTH, status=401)
    fail(pool, 2.1, "k2", Fault.AUTH, status=401)
    assert not any(d.hard_until for d in pool.deployments)
    pool.fail(pool.lease(33.0), 33.0, Fault.AUTH, status=401)
    pool.fail(pool.lease(94.0), 94.0, Fault.AUTH, status=401)
    assert not any(d.hard_until for d in pool.deployments)
    passes(pool, 220.0)
    assert len(usable(pool, 220.0)) == 2


def test_a_refused_key_among_others_that_work_is_dead(make_pool):
    """It is the key: no probe and no timer asks it again, though it had worked."""
    pool = make_pool([{}, {}, {}], strategy="round_robin")
    work(pool, 1.0, "k1", "k2", "k3")
    fail(pool, 2.0, "k1", Fault.AUTH, status=401)
    work(pool, 3.0, "k2", "k3")
    fail(pool, 4.0, "k2", Fault.AUTH, status=401)
    assert [d.hard_until for d in pool.deployments] == [NEVER, NEVER, 0.0]
    assert usable(pool, 1e6) == ["k3:m"]


def test_a_success_begun_before_a_refusal_does_not_defend_the_provider(make_pool):
    """It was signed in when sign-in still worked."""
    pool = make_pool([{}, {}, {}], strategy="round_robin")
    work(pool, 1.0, "k1", "k2", "k3")
    slow = pool.lease(1.5, avoid=[pool.by("k1"), pool.by("k2")])
    for key in ("k1", "k2"):
        fail(pool, 2.0, key, Fault.AUTH, status=401)
    pool.manager.passed(slow, 1.0)
    pool.manager.settle(slow, 2.5)
    fail(pool, 3.0, "k3", Fault.AUTH, status=401)
    assert not any(d.hard_until for d in pool.deployments)
    assert usable(pool, 32.9) == []


def test_a_key_that_never_worked_dies_at_its_first_refusal(make_pool, make_world, refuse):
    """Keys mistyped from the start: the error comes at once and says what to mend."""
    pool = make_pool([{} for _ in range(3)])
    world = make_world(pool, lambda *_: (0.1, refuse(Fault.AUTH, status=401)))
    world.ask(1.0, max_wait=1000.0)
    world.run()
    ((at, error),) = world.errors
    assert at == pytest.approx(1.3)
    assert type(error) is PoolExhausted
    assert error.eta is None
    assert "every key of this route was refused as invalid" in str(error)


def why(pool, now, key):
    """What `explain` says of a key's first model."""
    rows = explanation(pool.route(), ONE, now)
    return next(row["why"] for row in rows if row["key"] == key)


def test_an_explanation_names_what_is_out(make_pool):
    """The model, the provider, the machine or the sign-in: whatever the keys share."""
    rows = [{"models": ["m", "n"]} for _ in range(3)]
    pool = make_pool(rows, strategy="round_robin")
    for key in ("k1", "k2", "k3"):
        fail(pool, 1.0, key, Fault.OVERLOADED, "m")
    assert why(pool, 2.0, "k1").startswith("breaker open for acme/m: its calls fail (overloaded)")
    for key in ("k1", "k2", "k3"):
        fail(pool, 2.0, key, Fault.TIMEOUT, "n")
    assert why(pool, 3.0, "k1").startswith("acme is out: several of its models fail (timeout)")


def test_an_explanation_tells_offline_from_down(make_pool):
    """One provider of two: it is down. Both: the machine is offline."""
    pool = make_pool(BOTH)
    fail(pool, 1.0, "a1", Fault.UNREACHABLE)
    assert why(pool, 1.5, "a1").startswith("a cannot be reached while another provider can be")
    fail(pool, 1.5, "b1", Fault.UNREACHABLE)
    assert "seems to be offline" in why(pool, 1.6, "a1")
    assert "seems to be offline" in why(pool, 1.6, "b1")


def test_an_explanation_tells_a_dead_key_from_a_suspect_sign_in(make_pool):
    """A key that was refused is to be corrected; a provider that refuses all is not."""
    pool = make_pool([{}, {}, {}], strategy="round_robin")
    fail(pool, 1.0, "k3", Fault.AUTH, status=401)
    assert why(pool, 1.5, "k3").startswith("auth: refused as invalid")
    work(pool, 2.0, "k1", "k2")
    for key in ("k1", "k2"):
        fail(pool, 3.0, key, Fault.AUTH, status=401)
    assert "its sign-in or base_url is suspect" in why(pool, 3.5, "k1")


def test_people_are_told_once_of_each_event(make_pool):
    """A refused key, a suspect sign-in, and a machine that goes offline and comes back."""
    pool = make_pool([{}, {}, {}], strategy="round_robin")

    def told():
        notices = pool.manager.accounts.notices
        found = [(notice.kind, notice.subject) for notice in notices]
        notices.clear()
        return found

    fail(pool, 1.0, "k3", Fault.AUTH, status=401)
    assert told() == [("refused_key", "acme")]
    work(pool, 2.0, "k1", "k2")
    for key in ("k1", "k2"):
        fail(pool, 3.0, key, Fault.AUTH, status=401)
    assert told() == [("refused_key", "acme"), ("refused_key", "acme")]
    work(pool, 33.0, "k1")
    assert told() == [("refused_key", "acme")]
    fail(pool, 34.0, "k1", Fault.UNREACHABLE)
    assert told() == [("offline", "this machine")]
    work(pool, 35.0, "k1")
    assert told() == [("offline", "this machine")]
    assert told() == []


def test_people_are_told_of_what_they_alone_can_mend(make_pool):
    """An account without money and a model that is not there, with the provider's own words."""
    pool = make_pool([{"account": "a"}, {}], strategy="priority")
    broke = {"message": "Insufficient Balance.", "whole_account": True, "status": 402}
    pool.fail(pool.lease(1.0), 1.0, Fault.QUOTA_EXHAUSTED_BILLING, **broke)
    pool.fail(pool.lease(1.0), 1.0, Fault.MODEL_UNAVAILABLE, status=404)
    money, model = pool.manager.accounts.notices
    assert (money.kind, money.subject) == ("no_money", "acme/a")
    assert "has no money or credit left, or may spend no more (Insufficient Balance)." in money.text
    assert (model.kind, model.subject) == ("no_model", "acme/m")
    assert model.text.startswith("acme does not serve m to k2. It rests")


def test_an_error_says_that_the_machine_is_offline(make_pool, make_world, refuse):
    """Not that a provider is down: its text and its `offline` say so, with the next try's ETA."""
    pool = make_pool(BOTH)
    world = make_world(pool, lambda *_: (0.1, refuse(Fault.UNREACHABLE, status=None)))
    world.ask(1.0, max_wait=2.0)
    world.run()
    ((_, error),) = world.errors
    assert error.offline
    assert error.eta is not None
    assert "this machine seems to be offline" in str(error)
    assert not any(d.own_rest.soft_until or d.hard_until for d in pool.deployments)
