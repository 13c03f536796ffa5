"""Limits that nobody configured, and counts that replies correct."""

from __future__ import annotations

import pytest

from hydra_core.engine.bucket import Bucket
from hydra_core.engine.fixed_window import FixedWindow
from hydra_core.engine.learning import observe
from hydra_core.engine.lesson import Lesson
from hydra_core.engine.quota import QuotaGroup
from hydra_core.engine.study import Study
from hydra_core.engine.windows import GUARD, SlidingWindow
from hydra_core.messages import Fault
from hydra_core.wire import DAY, LimitReading, Verdict


@pytest.mark.parametrize(
    ("shape", "reset", "kind"),
    [
        ("sliding", 30.0, SlidingWindow),
        ("bucket", 30.0, Bucket),
        ("fixed", 30.0, FixedWindow),
        ("fixed", None, SlidingWindow),
    ],
)
def test_a_stated_limit_is_learned_in_the_providers_shape(shape, reset, kind):
    """The first reply that names a limit makes its window, with what is gone already."""
    group = QuotaGroup("acme")
    reading = LimitReading("requests", 60.0, limit=30.0, remaining=12.0, reset=reset)
    observe(group, [reading], Lesson(shape, 1.0, 100.0))
    (window,) = group.windows
    assert isinstance(window, kind)
    assert (window.limit, window.length, window.configured) == (30.0, 60.0, False)
    assert window.used(100.0) == pytest.approx(18.0)


def test_a_reading_without_a_limit_teaches_no_window():
    """What remains of an unknown limit says nothing."""
    group = QuotaGroup("acme")
    observe(group, [LimitReading("tokens", 60.0, remaining=5.0)], Lesson("sliding", 1.0, 1.0))
    assert group.windows == []


@pytest.mark.parametrize("shape", ["sliding", "bucket"])
def test_a_request_refused_as_larger_than_a_limit_leaves_no_debt(make_pool, shape):
    """What was booked for it, be it more than the whole limit, comes back when it took nothing."""
    pool = make_pool([{"tpm": 6000, "shape": shape}])
    (group,) = pool.groups.values()
    charges = group.charge(20_000.0, 1.0)
    group.settle(charges, requests=1.0, tokens=0.0, now=1.5)
    assert group.earliest(6000.0, 1.5) == pytest.approx(1.5, abs=GUARD + 0.1)


@pytest.mark.parametrize("shape", ["sliding", "bucket"])
def test_a_limit_that_proves_larger_has_room_at_once(make_pool, shape):
    """What is used stays used when a limit is corrected upwards: the rest of it is there."""
    pool = make_pool([{"tpm": 8000, "shape": shape}])
    (group,) = pool.groups.values()
    (window,) = group.windows
    window.configured = False
    group.settle(group.charge(40.0, 1.0), requests=1.0, tokens=30.0, now=1.5)
    reading = LimitReading("tokens", 60.0, limit=250_000.0, remaining=249_970.0)
    observe(group, [reading], Lesson(shape, 1.0, 1.5))
    assert window.used(1.5) == pytest.approx(30.0, abs=1.0)
    assert group.earliest(200_000.0, 1.5) == 1.5


def test_a_bucket_that_proves_smaller_holds_no_more_than_it_can():
    """Of a limit corrected downwards nobody is let through on what the larger one held."""
    bucket = Bucket("tokens", 8000.0, 60.0, configured=False)
    bucket.charge(10.0, 1.0)
    bucket.restate(500.0, 1.0)
    assert bucket.room(1.0) == 500.0


@pytest.mark.parametrize(("wait", "start"), [(0.5, 0.5), (12.0, 12.0), (None, 12.0)])
def test_a_stated_wait_ends_what_a_refusal_counts(make_pool, wait, start):
    """A bucket said to be full, but open again sooner than it refills, is open by then."""
    pool = make_pool([{"rpm": 5, "shape": "bucket"}])
    lease, words = pool.lease(1.0), Verdict(
        fault=Fault.RATE_LIMIT_MINUTE, status=429, retry_after=wait,
        kind="requests", window=60.0, limit=5.0, used=5.0, requested=1.0,
    )  # fmt: skip
    pool.manager.failed(lease, words, 1.0)
    (group,) = pool.groups.values()
    assert start <= group.earliest(1.0, 1.0) - 1.0 <= start + GUARD + 1e-6


@pytest.mark.parametrize(
    ("said", "shape", "wait", "used", "resets"),
    [
        ({"limit": 20.0}, "sliding", 5000.0, 20.0, 5000.0),
        ({"limit": 20.0}, "bucket", 5000.0, 20.0, DAY / 20),
        ({"limit": 20.0}, "sliding", None, 1.0, 0.0),
        ({}, "fixed", 5000.0, 50.0, 5000.0),
        ({}, "fixed", None, 50.0, DAY),
        ({"limit": 20.0, "used": 20.0, "requested": 1.0}, "sliding", 5000.0, 20.0, 5000.0),
    ],
)
def test_who_refuses_for_the_day_has_counted_all_of_it(make_pool, said, shape, wait, used, resets):
    """The limit is shown as used up until it has room again, as far as that is known."""
    pool = make_pool([{"rpd": 50}])
    (group,) = pool.groups.values()
    group.windows = [window_of(shape)]
    words = Verdict(
        fault=Fault.RATE_LIMIT_DAY, status=429, retry_after=wait,
        kind="requests", window=DAY, **said,
    )  # fmt: skip
    lease = pool.lease(1.0)
    pool.manager.failed(lease, words, 1.0)
    pool.manager.settle(lease, 1.0, tokens=0.0)
    (window,) = group.windows
    assert window.used(1.0) == pytest.approx(used)
    assert window.earliest(1.0, 1.0) - 1.0 == pytest.approx(resets, abs=2.0)


def test_a_day_of_the_calendar_is_learned_as_one(make_pool):
    """All of it returns at the provider's midnight, whenever it was used."""
    pool = make_pool([{}], days={"acme": lambda at: at - at % DAY + DAY})
    (group,) = pool.groups.values()
    group.study = Study()
    for second in range(5):
        pool.manager.settle(pool.lease(60_000.0 + second), 60_001.0 + second)
    words = Verdict(
        fault=Fault.RATE_LIMIT_DAY, status=429, retry_after=26_000.0,
        kind="requests", window=DAY, limit=20.0,
    )  # fmt: skip
    pool.manager.failed(pool.lease(60_400.0), words, 60_400.0)
    (window,) = group.windows
    assert (window.used(60_400.0), window.used(DAY + 1.0)) == (20.0, 0.0)


def window_of(shape):
    """A limit of 50 requests a day."""
    if shape == "fixed":
        return FixedWindow("requests", 50.0, DAY, resets_at=DAY + 1.0)
    return {"sliding": SlidingWindow, "bucket": Bucket}[shape]("requests", 50.0, DAY)


def spurious(group, pool, now, wait):
    """A few calls, and a refusal that comes of nothing that they did."""
    for _ in range(3):
        pool.manager.settle(pool.lease(now), now + 0.3, tokens=100.0)
    words = Verdict(fault=Fault.RATE_LIMIT_MINUTE, status=429, retry_after=wait)
    pool.manager.failed(pool.lease(now + 1.0), words, now + 1.3)
    return [(window.kind, window.limit) for window in group.windows]


@pytest.mark.parametrize("shape", ["sliding", "bucket"])
@pytest.mark.parametrize("wait", [5.0, 30.0, 59.0])
def test_no_limit_is_supposed_that_the_past_disproves(make_pool, shape, wait):
    """Who once let sixty calls pass in a minute has no limit of a few, whatever he refuses."""
    pool = make_pool([{"shape": shape}], windows={"acme": shape})
    (group,) = pool.groups.values()
    group.study = Study()
    for second in range(60):
        pool.manager.settle(pool.lease(float(second)), second + 0.3, tokens=100.0)
    assert all(
        limit >= (30.0 if kind == "requests" else 3_000.0)
        for kind, limit in spurious(group, pool, 300.0, wait)
    )


@pytest.mark.parametrize("wait", [1.0, 5.0, 20.0, 45.0, 59.0])
def test_a_supposed_limit_of_requests_is_a_whole_number(make_pool, wait):
    """Nobody allows four calls and four tenths a minute."""
    pool = make_pool([{"shape": "bucket"}], windows={"acme": "bucket"})
    (group,) = pool.groups.values()
    group.study = Study()
    supposed = dict(spurious(group, pool, 0.0, wait))
    assert supposed.get("requests", 1.0) % 1.0 == 0.0


@pytest.mark.parametrize(
    ("configured", "stated", "limit"),
    [(True, 20.0, 10.0), (True, 5.0, 5.0), (False, 20.0, 20.0), (False, 5.0, 5.0)],
)
def test_a_configured_limit_is_a_ceiling(configured, stated, limit):
    """A smaller stated limit always holds, a larger one only where nobody configured any."""
    window = SlidingWindow("requests", 10.0, 60.0, configured=configured)
    group = QuotaGroup("acme", [window])
    observe(
        group, [LimitReading("requests", 60.0, limit=stated)], Lesson("sliding", 1.0, 1.0))
    assert window.limit == limit
    assert len(group.windows) == 1


def test_a_limit_that_a_provider_lowered_for_a_while_rises_again():
    """What was configured stays the ceiling; below it the provider's last word holds."""
    window = SlidingWindow("requests", 100.0, 60.0)
    group = QuotaGroup("acme", [window])
    limits = []
    for stated in (5.0, 60.0, 500.0):
        reading = LimitReading("requests", 60.0, limit=stated)
        observe(group, [reading], Lesson("sliding", 1.0, 1.0))
        limits.append(window.limit)
    assert limits == [5.0, 60.0, 100.0]


@pytest.mark.parametrize(
    ("limit", "remaining", "room"),
    [(100.0, 50.0, 9.0), (100.0, 4.0, 4.0), (10.0, 3.0, 3.0), (None, 3.0, 3.0), (10.0, 0.0, 0.0)],
)
@pytest.mark.parametrize("window_type", [SlidingWindow, Bucket])
def test_a_share_of_a_larger_limit_is_left_alone_until_it_falls_short(
    window_type, limit, remaining, room
):
    """What others use of the rest of a provider's limit is no use of our configured share."""
    window = window_type("requests", 10.0, 60.0)
    group = QuotaGroup("acme", [window])
    window.charge(1.0, 1.0)
    reading = LimitReading("requests", 60.0, limit=limit, remaining=remaining)
    observe(group, [reading], Lesson("sliding", 1.0, 1.0))
    assert window.room(1.0) == pytest.approx(room)


def test_stated_windows_are_scaled_like_configured_ones():
    """Under a time scale a minute's reading corrects the shortened minute."""
    window = SlidingWindow("requests", 10.0, 3.0)
    group = QuotaGroup("acme", [window])
    reading = LimitReading("requests", 60.0, limit=10.0, remaining=0.0)
    observe(group, [reading], Lesson("sliding", 0.05, 1.0))
    assert group.windows == [window]
    assert window.room(1.0) == 0.0


def test_nothing_left_on_a_success_rests_the_key_before_a_refusal(make_pool, make_world, ok):
    """`remaining: 0` in a good reply sends the next request to another key."""
    pool = make_pool([{}, {}], strategy="priority")
    said = LimitReading("requests", 60.0, limit=50.0, remaining=0.0, reset=40.0)
    world = make_world(pool, lambda *_: (0.1, ok(readings=(said,))))
    world.ask(1.0)
    world.ask(2.0)
    world.run()
    assert [lease.deployment.key for _, lease in world.sent] == ["k1", "k2"]
    assert pool.manager.earliest(pool.route(), world.sent[0][1].size, (), 3.0) == pytest.approx(
        41.1
    )


def test_what_a_reply_says_is_heard_before_its_room_is_given_away(make_pool, make_world, ok):
    """A waiter is not served from the slot of a call whose reply says that nothing is left."""
    pool = make_pool([{"concurrency": 1}])
    said = LimitReading("requests", 60.0, limit=50.0, remaining=0.0, reset=20.0)
    world = make_world(pool, lambda *_: (1.0, ok(readings=(said,))))
    world.ask(1.0)
    world.ask(1.5)
    world.run()
    assert [at for at, _ in world.sent] == [1.0, pytest.approx(22.0, abs=0.1)]


def test_a_settlement_does_not_lower_the_providers_own_count(make_pool, make_world, ok):
    """The refund of an estimate comes before the provider's count, which is the last word."""
    pool = make_pool([{"tpm": 1000}])
    said = LimitReading("tokens", 60.0, limit=1000.0, remaining=100.0)
    world = make_world(pool, lambda *_: (0.1, ok(100, readings=(said,))))
    world.ask(1.0, 500.0)
    world.run(2.0)
    assert pool.by("k1").group.windows[0].room(2.0) == pytest.approx(100.0)


@pytest.mark.parametrize("mine", [100.0, 50.0])
def test_of_two_limits_that_prove_to_be_one_the_smaller_stays_the_ceiling(mine):
    """Whoever of two owners allowed less is obeyed, whatever the provider states later."""
    window = SlidingWindow("requests", mine, 60.0)
    window.absorb(SlidingWindow("requests", 150.0 - mine, 60.0), [], 0.0)
    assert (window.limit, window.ceiling) == (50.0, 50.0)
