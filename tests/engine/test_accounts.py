"""Keys that prove to belong to one account are counted as one, and people are told so."""

from __future__ import annotations

import pytest

from hydra_core.engine.accounts import Shared
from hydra_core.messages import Fault
from hydra_core.wire import LimitReading, Verdict


def named(pool, key, hint, now=1.0, model="m"):
    """The provider answers a call of `key`, and names its account."""
    route = pool.route()
    others = [d for d in route.deployments if d.key != key]
    lease = pool.lease(now, avoid=others)
    pool.manager.accounts.heard(lease, Verdict(status=200, scope_hint=hint), now)
    pool.manager.settle(lease, now, tokens=lease.tokens)


def notices(pool):
    """What people are told, as text."""
    told = [notice.text for notice in pool.manager.accounts.notices]
    pool.manager.accounts.notices.clear()
    return told


def test_the_same_hint_on_two_keys_makes_them_one_account(make_pool):
    """Their group, account and rests are the same objects, and the limits count once."""
    pool = make_pool([{"rpm": 3}, {"rpm": 3}, {"rpm": 3}])
    for key in ("k1", "k2", "k3"):
        named(pool, key, "org-1")
    one, two, three = pool.deployments
    assert one.group is two.group is three.group
    assert {d.account for d in pool.deployments} == {"k1"}
    assert one.rests[2:4] == two.rests[2:4] == three.rests[2:4]
    assert pool.lease(2.0) is None


def test_keys_of_different_organizations_stay_apart(make_pool):
    """Nor does it matter that another provider uses the same name."""
    pool = make_pool([{}, {}, {"provider": "other"}])
    named(pool, "k1", "org-1")
    named(pool, "k2", "org-2")
    named(pool, "k3", "org-1")
    assert len({d.group for d in pool.deployments}) == 3
    assert notices(pool) == []


def test_people_are_told_once_with_the_remedy(make_pool):
    """The notice names the keys, what was found and the setting; a later key replaces it."""
    pool = make_pool([{}, {}, {}])
    named(pool, "k1", "org-1")
    named(pool, "k2", "org-1")
    (text,) = notices(pool)
    assert text.startswith("The keys k1, k2 of acme share one quota: acme calls their account org-")
    assert 'account = "k1"' in text
    for _ in range(3):
        named(pool, "k1", "org-1", 5.0)
        named(pool, "k2", "org-1", 5.0)
    assert notices(pool) == []
    named(pool, "k3", "org-1")
    (text,) = notices(pool)
    assert "k1, k2, k3" in text


def test_a_refusal_of_one_key_rests_all_of_its_organization(make_pool):
    """The refusal that names the organization may be the very one that shows it."""
    pool = make_pool([{}, {}])
    named(pool, "k2", "org-1")
    lease = pool.lease(2.0, avoid=[pool.by("k2")])
    verdict = Verdict(
        fault=Fault.RATE_LIMIT_MINUTE, status=429, retry_after=20.0, scope_hint="org-1"
    )
    pool.manager.accounts.heard(lease, verdict, 2.0)
    pool.manager.failed(lease, verdict, 2.0)
    pool.manager.settle(lease, 2.0, tokens=0.0)
    assert [d.hard_until for d in pool.deployments] == [22.0, 22.0]
    assert pool.lease(21.0) is None
    assert pool.lease(22.0) is not None


def test_the_later_rest_of_either_holds_after_a_merger(make_pool):
    """A cooldown that one of them was in binds the other as well."""
    pool = make_pool([{}, {}])
    named(pool, "k1", "org-1")
    lease = pool.lease(2.0, avoid=[pool.by("k1")])
    pool.fail(lease, 2.0, Fault.QUOTA_EXHAUSTED_BILLING, retry_after=500.0)
    lease = pool.lease(3.0)
    pool.manager.accounts.heard(lease, Verdict(status=200, scope_hint="org-1"), 3.0)
    named_later = pool.by("k2")
    pool.manager.accounts.recall([Shared("acme", "org-1", ("k2",))], 3.0)
    assert named_later.hard_until == pool.by("k1").hard_until == 502.0


@pytest.mark.parametrize("shape", ["sliding", "bucket", "fixed"])
def test_what_is_booked_in_either_counts_in_both(make_pool, shape):
    """Four used by one and five by the other leave one of ten; open leases settle there."""
    limits = {"rpm": 10, "tpm": 1000, "shape": shape}
    pool = make_pool([limits, limits])
    one, two = pool.deployments
    for key, calls in ((one, 4), (two, 4)):
        for _ in range(calls):
            other = two if key is one else one
            pool.manager.settle(pool.lease(1.0, 10.0, [other]), 1.0, tokens=10.0)
    open_lease = pool.lease(1.0, 100.0, [one])
    pool.manager.accounts.recall([Shared("acme", None, ("k1", "k2"))], 1.0)
    requests, tokens = one.group.windows
    assert (requests.used(1.0), tokens.used(1.0), one.group.in_flight) == (9, 180, 1)
    for _ in range(2):
        pool.manager.settle(open_lease, 1.0, tokens=20.0)
        assert (requests.used(1.0), tokens.used(1.0), one.group.in_flight) == (9, 100, 0)
    assert pool.lease(1.0) is not None
    assert pool.lease(1.0) is None


def test_use_that_both_readings_showed_is_not_counted_twice(make_pool):
    """What the provider said that others used was, at least in part, the other key's use."""
    pool = make_pool([{}, {}])
    used = 0
    for key in ("k1", "k2", "k1", "k2"):
        other = pool.by("k2" if key == "k1" else "k1")
        lease, used = pool.lease(1.0, avoid=[other]), used + 1
        reading = LimitReading("requests", 86_400.0, 100.0, 100.0 - used, 86_400.0)
        pool.manager.settle(lease, 1.0, readings=[reading])
    pool.manager.accounts.recall([Shared("acme", None, ("k1", "k2"))], 2.0)
    (window,) = pool.by("k1").group.windows
    assert window.used(2.0) == 4.0


def test_of_two_limits_the_smaller_holds(make_pool):
    """And a limit that only one of them knew holds for both."""
    pool = make_pool([{"rpm": 10, "concurrency": 5}, {"rpm": 4, "tpm": 90, "concurrency": 2}])
    held = pool.lease(1.0, 50.0, [pool.by("k2")])
    pool.manager.accounts.recall([Shared("acme", None, ("k1", "k2"))], 1.0)
    group = pool.by("k1").group
    assert [(w.kind, w.limit) for w in group.windows] == [("requests", 4), ("tokens", 90)]
    assert (group.concurrency, group.in_flight) == (2, 1)
    assert group.windows[1].used(1.0) == 50.0
    pool.manager.settle(held, 1.0, tokens=10.0)
    assert group.windows[1].used(1.0) == 10.0


def test_guesses_from_a_share_of_the_calls_do_not_bind_the_whole(make_pool):
    """Two keys seen to bear four a minute each bear more together; what was stated stays."""
    pool = make_pool([{"rpm": 4, "tpm": 500}, {"rpm": 4, "tpm": 500}])
    held = pool.lease(1.0, 50.0, [pool.by("k2")])
    for deployment in pool.deployments:
        deployment.group.windows[0].tentative = True
    pool.manager.accounts.recall([Shared("acme", None, ("k1", "k2"))], 1.0)
    (tokens,) = pool.by("k1").group.windows
    pool.manager.settle(held, 1.0, tokens=30.0)
    assert (tokens.kind, tokens.used(1.0), pool.by("k1").group.in_flight) == ("tokens", 30.0, 0)


def test_the_name_that_the_configuration_gave_stays(make_pool):
    """Whichever of the two was heard first, and however many keys the other has."""
    rows = [{"account": "unknown"}, {"account": "unknown"}, {"account": "work"}]
    pool = make_pool(rows, named=frozenset({("acme", "work")}))
    for key in ("k1", "k3"):
        named(pool, key, "org-1")
    assert {d.account for d in pool.deployments} == {"work"}


def test_words_join_what_the_configuration_names_apart_and_say_so(make_pool):
    """The provider knows best; the user learns which of his names do not hold."""
    apart = frozenset({("acme", "work"), ("acme", "home")})
    pool = make_pool([{"account": "work"}, {"account": "home"}], named=apart)
    named(pool, "k1", "org-1")
    named(pool, "k2", "org-1")
    (text,) = notices(pool)
    assert 'although the configuration puts them in "home" and "work"' in text


def test_what_is_no_account_joins_nobody(make_pool):
    """A name that holds a part of a key is not believed, kept or shown."""
    pool = make_pool([{}, {}], credible=lambda name: "secret" not in name)
    for key in ("k1", "k2"):
        named(pool, key, "a-secret")
    assert len({d.group for d in pool.deployments}) == 2
    assert pool.manager.accounts.shared() == []


def test_what_was_found_out_can_be_remembered(make_pool):
    """Plain data goes out; told to a new pool, it joins the same keys. Unknown keys are let be."""
    pool = make_pool([{}, {}, {}])
    for key in ("k1", "k2"):
        named(pool, key, "org-1")
    named(pool, "k3", "org-2")
    told = pool.manager.accounts.shared()
    assert told == [Shared("acme", "org-1", ("k1", "k2")), Shared("acme", "org-2", ("k3",))]
    fresh = make_pool([{}, {}, {}, {}])
    fresh.manager.accounts.recall([*told, Shared("acme", "org-1", ("gone",))], 0.0)
    named(fresh, "k4", "org-2")
    accounts = [d.account for d in fresh.deployments]
    assert accounts == ["k1", "k1", "k3", "k3"]


def test_every_model_of_the_account_is_joined(make_pool):
    """Whichever model the words came from."""
    rows = [{"models": ["m", "small"], "rpm": 2}, {"models": ["m", "small"], "rpm": 2}]
    pool = make_pool(rows)
    for key in ("k1", "k2"):
        named(pool, key, "org-1")
    assert pool.by("k1", "small").group is pool.by("k2", "small").group
    assert pool.by("k1", "small").group is not pool.by("k1").group


def test_a_pool_of_models_is_joined_once(make_pool):
    """Its models share one quota in either account, and one in the result."""
    row = {"models": ["m:free", "n:free", "paid"], "pooled": ":free", "rpm": 9}
    pool = make_pool([row, row])
    for deployment in pool.deployments:
        route = {"model": deployment.model.name}
        others = [d for d in pool.deployments if d is not deployment]
        pool.manager.settle(pool.lease(1.0, 1.0, others, **route), 1.0)
    pool.manager.accounts.recall([Shared("acme", None, ("k1", "k2"))], 1.0)
    free = {pool.by(key, model).group for key in ("k1", "k2") for model in row["models"][:2]}
    (group,) = free
    assert group.windows[0].used(1.0) == 4
    assert pool.by("k2", "paid").group.windows[0].used(1.0) == 2


def test_two_refusals_of_one_account_do_not_rest_a_model_for_all(make_pool):
    """Two accounts that agree would; these prove to be one."""
    pool = make_pool([{}, {}, {}])
    lease = pool.lease(1.0, avoid=[pool.by("k2"), pool.by("k3")])
    pool.fail(lease, 1.0, Fault.MODEL_UNAVAILABLE)
    for key in ("k2", "k3"):
        pool.manager.accounts.recall([Shared("acme", "org-1", ("k1", key))], 1.0)
    model = pool.by("k1").model
    assert model.refused_by == {"k1"}
