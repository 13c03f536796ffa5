"""Keys that share a quota without a name show it by what they do, or not at all."""

from __future__ import annotations

import pytest

from hydra_core.messages import Fault
from hydra_core.wire import LimitReading, Verdict

APART = frozenset({("acme", "k1"), ("acme", "k2"), ("acme", "k3")})


def leased(pool, key, now):
    """A lease of this key and no other."""
    return pool.lease(now, avoid=[d for d in pool.deployments if d.key != key])


def served(pool, key, now, calls=1, **said):
    """The key answers so many calls, one after the other."""
    for _ in range(calls):
        lease = leased(pool, key, now)
        verdict = Verdict(status=200, **said)
        pool.manager.accounts.heard(lease, verdict, now)
        pool.manager.passed(lease, 0.1)
        pool.manager.settle(lease, now, readings=verdict.readings)


def refused(pool, key, now, wait=None, **said):
    """The key is refused for its minute."""
    lease = leased(pool, key, now)
    verdict = Verdict(Fault.RATE_LIMIT_MINUTE, 429, retry_after=wait, **said)
    pool.manager.accounts.heard(lease, verdict, now)
    pool.manager.failed(lease, verdict, now)
    pool.manager.settle(lease, now, tokens=0.0)


def accounts(pool):
    """How many there are as far as is known."""
    return len({d.account for d in pool.deployments})


def drained(pool, waits=(40.0, 40.0, 40.0)):
    """One key is drained, and two others of which nothing was asked are refused with it."""
    served(pool, "k1", 1.0, calls=5)
    for key, wait in zip(("k1", "k2", "k3"), waits, strict=True):
        refused(pool, key, 5.0, wait)


def test_fresh_keys_refused_until_the_same_moment_share_what_is_drained(make_pool):
    """Two of them are enough; a third needs no further proof, and people are told."""
    pool = make_pool([{}, {}, {}, {}])
    drained(pool)
    assert accounts(pool) == 2
    refused(pool, "k4", 6.0, 39.0)
    assert accounts(pool) == 1
    notice = pool.manager.accounts.notices[-1]
    assert "what is asked of one of them is gone from the others" in notice.text


def test_one_clue_is_not_enough(make_pool):
    """A single coincidence joins nobody."""
    pool = make_pool([{}, {}])
    served(pool, "k1", 1.0, calls=5)
    refused(pool, "k1", 5.0, 40.0)
    refused(pool, "k2", 5.0, 40.0)
    assert accounts(pool) == 2


def test_keys_whose_day_was_spent_before_are_not_joined(make_pool):
    """They are refused as well, but never served here, and are told another wait or none."""
    for waits in ((40.0, 3000.0, 5000.0), (None, None, None)):
        pool = make_pool([{}, {}, {}])
        drained(pool, waits)
        assert accounts(pool) == 3


def test_keys_that_served_before_need_no_stated_wait(make_pool):
    """A silent provider: they were well, nothing was asked of them since, and they are refused."""
    pool = make_pool([{}, {}, {}])
    served(pool, "k2", 1.0)
    served(pool, "k3", 1.0)
    served(pool, "k1", 100.0, calls=5)
    for key in ("k1", "k2", "k3"):
        refused(pool, key, 100.0)
    assert accounts(pool) == 1


@pytest.mark.parametrize(("times", "between", "left"), [(4, 0, 2), (2, 1, 1)])
def test_a_key_that_others_use_up_for_minutes_does_not_share(make_pool, times, between, left):
    """Refused minute after minute it shows one thing; only served in between it shows two."""
    pool = make_pool([{}, {}])
    served(pool, "k2", 1.0)
    for moment in (200.0, 400.0, 600.0, 800.0)[:times]:
        served(pool, "k2", moment - 100.0, calls=between)
        served(pool, "k1", moment, calls=5)
        refused(pool, "k1", moment)
        refused(pool, "k2", moment)
    assert accounts(pool) == left


def test_keys_that_were_used_are_not_fresh(make_pool):
    """Each drained its own quota, as keys of separate accounts under load do."""
    pool = make_pool([{}, {}, {}])
    for key in ("k1", "k2", "k3"):
        served(pool, key, 1.0, calls=5)
    for minute in (1.0, 62.0, 123.0):
        for key in ("k1", "k2", "k3"):
            refused(pool, key, minute, 40.0)
            served(pool, key, minute + 55.0, calls=5)
    assert accounts(pool) == 3


def test_calls_under_way_or_given_up_are_use_as_well(make_pool):
    """The provider may have counted what no answer told us of."""
    pool = make_pool([{}, {}, {}])
    served(pool, "k1", 1.0, calls=5)
    flying = leased(pool, "k2", 1.0)
    given_up = leased(pool, "k3", 1.0)
    pool.manager.settle(given_up, 2.0)
    for key in ("k1", "k2", "k3"):
        refused(pool, key, 5.0, 40.0)
    assert accounts(pool) == 3
    pool.manager.settle(flying, 9.0)


def test_of_two_drained_keys_nobody_can_tell_which_one_shares(make_pool):
    """So nobody is joined."""
    pool = make_pool([{}, {}, {}, {}])
    for key in ("k1", "k2"):
        served(pool, key, 1.0, calls=5)
    for key in ("k1", "k2", "k3", "k4"):
        refused(pool, key, 5.0, 40.0)
    assert accounts(pool) == 4


def test_a_third_key_that_was_used_may_be_the_one_that_shares(make_pool):
    """It need not be drained itself: so nobody is joined."""
    pool = make_pool([{}, {}, {}, {}])
    served(pool, "k4", 1.0)
    drained(pool)
    assert accounts(pool) == 4


def test_who_serves_while_the_other_is_drained_does_not_share(make_pool):
    """The contradiction takes the first clue back."""
    pool = make_pool([{}, {}])
    served(pool, "k2", 1.0)
    for minute in (100.0, 300.0, 500.0):
        served(pool, "k1", minute, calls=5)
        refused(pool, "k1", minute, 60.0)
        refused(pool, "k2", minute, 5.0)
        served(pool, "k2", minute + 30.0)
    assert accounts(pool) == 2


@pytest.mark.parametrize(
    "said", [{"kind": "concurrency"}, {"concurrency_limit": 2, "kind": "concurrency"}]
)
def test_too_many_calls_at_once_are_no_clue(make_pool, said):
    """Such a refusal says nothing of what was spent."""
    pool = make_pool([{}, {}, {}])
    served(pool, "k1", 1.0, calls=5)
    for key in ("k1", "k2", "k3"):
        refused(pool, key, 5.0, 40.0, **said)
    assert accounts(pool) == 3


def test_behaviour_never_joins_what_is_named_apart(make_pool):
    """Neither accounts of the configuration, nor what the provider calls differently."""
    pool = make_pool([{}, {}, {}], named=APART)
    drained(pool)
    assert accounts(pool) == 3
    pool = make_pool([{}, {}, {}])
    for key in ("k1", "k2", "k3"):
        served(pool, key, 0.0, scope_hint=f"org of {key}")
    served(pool, "k1", 70.0, calls=5)
    for key in ("k1", "k2", "k3"):
        refused(pool, key, 70.0, 40.0)
    assert accounts(pool) == 3


def left(remaining):
    """A reading of a day's requests."""
    return {"readings": (LimitReading("requests", 86_400.0, 1000.0, remaining, 86_400.0),)}


def test_a_counter_that_moves_with_another_key_is_its_counter(make_pool):
    """Twice, by different amounts, and exactly."""
    pool = make_pool([{}, {}])
    served(pool, "k2", 1.0, **left(999))
    served(pool, "k1", 2.0, calls=4)
    served(pool, "k2", 3.0, **left(994))
    served(pool, "k1", 4.0, calls=5)
    served(pool, "k2", 5.0, **left(988))
    assert accounts(pool) == 2
    served(pool, "k1", 6.0, calls=7)
    served(pool, "k2", 7.0, **left(980))
    assert accounts(pool) == 1


def test_a_counter_that_strangers_move_is_no_clue(make_pool):
    """It does not follow what we ask of our other key; nor does the same amount twice count."""
    for strangers in ((4, 6, 4, 9), (4, 5, 5, 5)):
        pool = make_pool([{}, {}])
        remaining = 1000
        for minute, (stranger, ours) in enumerate(zip(strangers, (4, 5, 5, 5), strict=True)):
            served(pool, "k1", minute + 0.5, calls=ours)
            remaining -= stranger + 1
            served(pool, "k2", minute + 1.0, **left(remaining))
        assert accounts(pool) == 2
