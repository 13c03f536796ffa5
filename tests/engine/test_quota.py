"""Windows and groups: what fits, when it fits next, and how bookings are corrected."""

from __future__ import annotations

from datetime import datetime
from itertools import pairwise
from random import Random
from zoneinfo import ZoneInfo

import pytest

from hydra_core.engine.fixed_window import FixedWindow
from hydra_core.engine.quota import QuotaGroup
from hydra_core.engine.windows import GUARD, NEVER, SlidingWindow
from hydra_core.zones import next_midnight

SHAPES = ("sliding", "bucket", "fixed")
MINUTE, DAY = 60.0, 86_400.0


def drained(make_window, shape, limit=10.0, length=MINUTE, now=0.0):
    """A window whose units were all booked at one instant, and answered at once."""
    window = make_window(shape, "requests", limit, length)
    for _ in range(int(limit)):
        window.settle(window.charge(1.0, now), 1.0, now)
    return window


@pytest.mark.parametrize("shape", SHAPES)
def test_a_limit_of_ten_lets_exactly_ten_pass(make_window, shape):
    """A limit of 10 has room for ten requests at one instant and for no eleventh."""
    window = make_window(shape, "requests", 10.0)
    for _ in range(10):
        assert window.earliest(1.0, 5.0) == 5.0
        window.charge(1.0, 5.0)
    assert window.earliest(1.0, 5.0) > 5.0
    assert window.used(5.0) == 10.0
    assert window.room(5.0) == 0.0


@pytest.mark.parametrize(
    ("limit", "used", "requested", "length", "wait"),
    [
        (200_000, 199_005, 3_118, DAY, 15 * 60 + 17.136),
        (12_000, 4_437, 9_854, MINUTE, 11.455),
        (30, 30, 1, MINUTE, 2.0),
        (50, 50, 1, DAY, 28 * 60 + 48.0),
    ],
)
def test_a_bucket_waits_as_long_as_the_servers_say(
    make_window, limit, used, requested, length, wait
):
    """Wait = (used + requested - limit) / (limit / length), as Groq and OpenAI state it."""
    bucket = make_window("bucket", "tokens", float(limit), length)
    bucket.observe(float(used), None, 100.0)
    assert bucket.earliest(float(requested), 100.0) - 100.0 == pytest.approx(wait, abs=1e-3)


@pytest.mark.parametrize("shape", ["sliding", "fixed"])
@pytest.mark.parametrize("now", [27.74, 44.1, 51.76, 110.21])
def test_at_the_promised_start_there_is_room_whatever_the_rounding(make_window, shape, now):
    """A start that is promised and then refused would be promised again, for ever."""
    window = make_window(shape, "requests", 1.0)
    if shape == "fixed":
        window.observe(0.0, now, 0.0)
    window.settle(window.charge(1.0, now - 1.0), 1.0, now)
    start = window.earliest(1.0, now)
    assert window.room(start) == 1.0


@pytest.mark.parametrize(("shape", "later"), [("sliding", 60.0), ("bucket", 6.0), ("fixed", 60.25)])
def test_a_drained_window_has_room_again_when_its_kind_gives_it_back(make_window, shape, later):
    """Sliding: a window after the charge; bucket: one unit's refill; fixed: at the reset."""
    window = drained(make_window, shape)
    start = window.earliest(1.0, 1.0)
    assert start == pytest.approx(later, abs=0.3)
    assert window.earliest(1.0, start) == pytest.approx(start, abs=1e-9)


@pytest.mark.parametrize("shape", SHAPES)
def test_what_is_larger_than_the_limit_never_fits(make_window, shape):
    """No wait makes room for more than the limit, and exactly the limit does fit."""
    window = drained(make_window, shape)
    assert window.earliest(10.5, 1.0) == NEVER
    assert 1.0 < window.earliest(10.0, 1.0) < NEVER


def test_a_sliding_window_gives_no_double_burst_at_the_edge(make_window):
    """Ten at the end of one minute leave no room at the beginning of the next."""
    window = drained(make_window, "sliding", now=59.0)
    assert window.earliest(1.0, 61.0) == pytest.approx(119.0, abs=0.3)


def test_a_fixed_window_resets_at_its_instants(make_window):
    """After the reset everything is back, also when several resets went by unseen."""
    window = drained(make_window, "fixed")
    assert window.used(59.0) == 10.0
    assert window.used(60.0 + GUARD) == 0.0
    window.charge(3.0, 61.0)
    assert window.used(400.0) == 0.0
    assert window.resets_at == 420.0


@pytest.mark.parametrize(
    ("eve", "hours"), [("2026-03-07", 23.0), ("2026-10-31", 25.0), ("2026-06-01", 24.0)]
)
def test_a_calendar_day_ends_at_its_own_midnight(eve, hours):
    """Los Angeles: 8 March 2026 has 23 hours, 1 November 25; no reset drifts, nor a later one."""
    zone = ZoneInfo("America/Los_Angeles")
    noon = datetime.fromisoformat(f"{eve}T12:00").replace(tzinfo=zone).timestamp()
    window = FixedWindow(
        "requests",
        10.0,
        DAY,
        resets_at=noon + 12 * 3600.0,
        next_reset=lambda instant: next_midnight(instant, zone),
    )
    window.charge(10.0, noon)
    first = window.earliest(1.0, noon)
    assert first == noon + 12 * 3600.0 + GUARD
    window.charge(10.0, first)
    assert window.earliest(1.0, first) == first + hours * 3600.0
    window.used(first + 40 * DAY)
    assert datetime.fromtimestamp(window.resets_at, zone).hour == 0


def test_a_reset_stated_a_little_early_is_not_counted_twice():
    """The provider's clock says two seconds before midnight; the next reset is a day later."""
    zone = ZoneInfo("America/Los_Angeles")
    midnight = datetime(2026, 6, 2, tzinfo=zone).timestamp()
    window = FixedWindow(
        "requests",
        10.0,
        DAY,
        resets_at=midnight,
        next_reset=lambda instant: next_midnight(instant, zone),
    )
    window.observe(10.0, 8.0, midnight - 10.0)
    window.charge(10.0, midnight - 1.0)
    assert window.earliest(1.0, midnight + 1.0) == midnight + DAY + GUARD


def test_near_a_reset_a_request_counts_on_both_sides(make_window):
    """Nobody knows in which fixed window an unanswered request at the edge arrives."""
    window = make_window("fixed", "requests", 10.0)
    charges = [window.charge(1.0, 59.9) for _ in range(10)]
    assert window.earliest(1.0, 60.1) == pytest.approx(120.0 + GUARD)
    window.settle(charges[0], 1.0, 59.95)  # answered before the reset: the old window's
    assert window.earliest(1.0, 60.1) == pytest.approx(60.0 + GUARD)
    window.settle(charges[1], 1.0, 60.1)  # answered after it: it may be the new one's
    assert window.used(60.0 + GUARD) == 9.0


def test_a_booking_of_a_fixed_window_long_gone_corrects_nothing(make_window):
    """A late settlement of an old window leaves the present one alone."""
    window = make_window("fixed", "tokens", 10.0)
    old = window.charge(5.0, 10.0)
    window.charge(3.0, 200.0)
    window.settle(old, 50.0, 201.0)
    assert window.used(201.0) == 3.0


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("actual", "used"), [(0.0, 0.0), (2.0, 2.0), (8.0, 8.0)])
def test_a_settlement_replaces_the_booking(make_window, shape, actual, used):
    """A refund gives all back, less use gives the rest back, more use is counted."""
    window = make_window(shape, "tokens", 10.0)
    charge = window.charge(5.0, 1.0)
    window.settle(charge, actual, 1.1)
    assert window.used(1.1) == pytest.approx(used)


def test_a_refund_never_overfills_a_bucket(make_window):
    """What refilled meanwhile is not paid back a second time."""
    bucket = make_window("bucket", "tokens", 10.0)
    charge = bucket.charge(5.0, 0.0)
    bucket.settle(charge, 0.0, 59.0)
    assert bucket.room(59.0) == 10.0


def test_an_answer_ends_the_doubt_about_the_date(make_window):
    """An unanswered request is dated a guard late, an answered one no later than its answer."""
    window = make_window("sliding", "requests", 1.0)
    charge = window.charge(1.0, 10.0)
    assert window.earliest(1.0, 11.0) == 70.0 + window._guard
    window.settle(charge, 1.0, 10.1)
    assert window.earliest(1.0, 11.0) == pytest.approx(70.1)


def test_a_call_that_was_given_up_may_still_arrive(make_window):
    """Only an answer proves an arrival: what was cancelled or timed out keeps its late date."""
    window = make_window("sliding", "requests", 1.0)
    window.settle(window.charge(1.0, 10.0), 1.0, 10.1, answered=False)
    assert window.earliest(1.0, 11.0) == 70.0 + window._guard


def test_a_call_that_was_given_up_before_a_reset_may_count_after_it(make_window):
    """It stays booked on both sides of the reset, as if it were still under way."""
    window = make_window("fixed", "requests", 2.0)
    window.settle(window.charge(1.0, 59.9), 1.0, 59.95, answered=False)
    window.settle(window.charge(1.0, 59.9), 1.0, 59.95)
    assert window.room(60.5) == 1.0


def test_a_refund_counts_that_later_calls_may_have_met_a_full_bucket(make_window):
    """A call that never arrived left the bucket full until the next one arrived, a guard late."""
    bucket, provider = make_window("bucket", "requests", 10.0), Provider("bucket", 10.0, MINUTE)
    never = bucket.charge(1.0, 0.0)
    for second in (0.5, 1.0):
        bucket.charge(1.0, second)
        assert provider.admits(second + GUARD, 1.0)
    bucket.settle(never, 0.0, 2.0)
    while (start := bucket.earliest(1.0, 2.0)) < 20.0:
        bucket.charge(1.0, start)
        assert provider.admits(start, 1.0)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_providers_count_never_lowers_ours(make_window, shape):
    """A reply that knows of less than is under way changes nothing; one of more is believed."""
    window = make_window(shape, "requests", 10.0)
    for _ in range(6):
        window.charge(1.0, 1.0)
    window.observe(2.0, None, 1.1)
    assert window.used(1.1) == pytest.approx(6.0, abs=0.02)
    window.observe(9.0, None, 1.2)
    assert window.used(1.2) == pytest.approx(9.0)
    window.observe(50.0, None, 1.3)
    assert window.room(1.3) <= 0.0


def test_what_others_used_returns_between_two_of_ours():
    """A reset that is stated for then counts no longer than that, though later calls stand by."""
    window = SlidingWindow("requests", 10.0, 60.0)
    for at in (0.0, 20.0):
        window.settle(window.charge(1.0, at), 1.0, at)
    window.observe(5.0, 40.0, 30.0)
    assert [window.used(now) for now in (59.9, 60.0, 69.9, 70.0, 80.0)] == [5.0, 4.0, 4.0, 1.0, 0.0]


@pytest.mark.parametrize(("reset", "start"), [(None, 160.0), (6.0, 106.0), (400.0, 160.0)])
def test_what_others_used_returns_at_the_stated_reset(make_window, reset, start):
    """A sliding window books foreign use so that it returns at the reset, at most a window."""
    window = make_window("sliding", "requests", 10.0)
    window.charge(1.0, 99.0)
    window.observe(10.0, reset, 100.0)
    assert window.earliest(9.0, 100.0) == pytest.approx(start, abs=0.3)


def test_a_stated_reset_moves_a_fixed_window(make_window):
    """The provider's own instant of reset beats the one we believed."""
    window = drained(make_window, "fixed")
    window.observe(10.0, 5.0, 10.0)
    assert window.earliest(1.0, 10.0) == 15.0 + GUARD


def test_all_of_a_limit_fits_after_any_rounding(make_window):
    """The rounding of many additions never makes a request of the whole limit impossible."""
    for seed in range(200):
        rng = Random(seed)
        window = make_window("sliding", "tokens", 1000.0)
        for second in range(6):
            charge = window.charge(rng.random() * 150, second)
            window.settle(charge, rng.random() * 150, second + 0.5)
        assert window.earliest(1000.0, 8.0) < NEVER


@pytest.mark.parametrize("shape", SHAPES)
def test_frees_say_when_units_return(make_window, shape):
    """The moments are seconds from now, ascending, and their units add up to the use."""
    window = make_window(shape, "requests", 10.0)
    assert window.frees(0.0, 8) == []
    for second in range(4):
        window.charge(1.0, float(second))
    rows = window.frees(4.0, 8)
    assert all(a[0] <= b[0] for a, b in pairwise(rows))
    assert sum(units for _, units in rows) == pytest.approx(window.used(4.0))
    assert len(window.frees(4.0, 1)) == 1


class Provider:
    """How the other side counts, in its own way: refuses what does not fit on arrival."""

    def __init__(self, shape, limit, length):
        self.shape, self.limit, self.length = shape, limit, length
        self.seen = []
        self.level, self.since = limit, 0.0

    def admits(self, at, amount):
        if self.shape == "bucket":
            refill = (at - self.since) * self.limit / self.length
            self.level, self.since = min(self.limit, self.level + refill), at
            self.level -= amount
            return self.level >= -1e-6
        self.seen.append((at, amount))
        if self.shape == "fixed":
            here = [a for t, a in self.seen if t // self.length == at // self.length]
        else:
            here = [a for t, a in self.seen if t > at - self.length + 1e-6]
        return sum(here) <= self.limit + 1e-6


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("seed", range(25))
def test_nothing_sent_at_its_earliest_start_is_refused(make_window, shape, seed):
    """However late within the guard requests arrive, a provider never counts over the limit."""
    rng = Random(seed)
    limit, length = rng.choice([3.0, 10.0, 30.0]), rng.choice([5.0, 60.0])
    window, provider = make_window(shape, "tokens", limit, length), Provider(shape, limit, length)
    now, arrivals, under_way = 0.0, [], []
    for _ in range(250):
        now += rng.choice([0.0, 0.0, 0.05, 0.2, 3.0])
        amount = min(limit, rng.choice([1.0, 1.0, 2.0]))
        estimate = rng.choice([1.0, 1.0, 3.0])
        now = max(now, window.earliest(min(limit, amount * estimate), now))
        charge = window.charge(min(limit, amount * estimate), now)
        arrival = now + rng.choice([0.0, rng.random() * GUARD, GUARD])
        arrivals.append((arrival, amount))
        under_way.append((charge, amount))
        if rng.random() < 0.3:  # the first is answered, before anything else is sent
            now = arrival
            charge, amount = under_way.pop(rng.randrange(len(under_way)))
            window.settle(charge, amount, now)
    for arrival, amount in sorted(arrivals):
        assert provider.admits(arrival, amount)


@pytest.mark.parametrize("seed", range(25))
def test_a_rolling_window_is_steady_until_it_says(make_window, seed):
    """Who trusts its count until `steady_until` sees what looking through all bookings shows."""
    rng = Random(seed)
    quick, thorough = (make_window("sliding", "tokens", 50.0, 5.0) for _ in range(2))
    now, under_way = 0.0, []
    for _ in range(400):
        now += rng.choice([0.0, 0.05, 0.3, 2.0])
        if now < quick.steady_until:
            assert quick.spent == thorough.used(now)
        act, amount = rng.random(), rng.randrange(1, 5)
        if act < 0.5:
            under_way.append([window.charge(amount, now) for window in (quick, thorough)])
        elif act < 0.8 and under_way:
            charges, answered = under_way.pop(rng.randrange(len(under_way))), rng.random() < 0.7
            for window, charge in zip((quick, thorough), charges, strict=True):
                window.settle(charge, amount, now, answered=answered)
        elif act < 0.9:
            seen, reset = rng.randrange(30), rng.choice([None, 1.0, 4.0])
            for window in (quick, thorough):
                window.observe(seen, reset, now)
        thorough.steady_until = -NEVER
        assert quick.used(now) == thorough.used(now)
        thorough.steady_until = -NEVER


def test_a_bucket_that_is_about_to_be_full_gains_nothing_before_the_arrival(make_window):
    """What the provider's full bucket spilt while a request was on its way never was ours."""
    bucket, provider = make_window("bucket", "tokens", 30.0, 6.0), Provider("bucket", 30.0, 6.0)
    bucket.charge(1.0, 0.0)
    assert provider.admits(0.0, 1.0)  # arrives at once, and is refilled at 0.2
    bucket.charge(1.0, 0.25)
    assert provider.admits(0.5, 1.0)  # arrives a guard late
    bucket.charge(29.0, 0.5)
    assert provider.admits(0.5, 29.0)
    assert provider.admits(bucket.earliest(1.0, 0.5), 1.0)


def test_a_bucket_gives_back_no_more_than_it_had_room_for(make_window):
    """What an overestimated call kept out while the bucket was full is spilt, not saved."""
    bucket, provider = make_window("bucket", "tokens", 60.0), Provider("bucket", 60.0, MINUTE)
    early = [bucket.charge(20.0, 0.0), bucket.charge(20.0, 0.0)]
    assert provider.admits(0.0, 2.0)
    bucket.charge(55.0, 36.0)
    assert provider.admits(36.0, 55.0)
    for charge in early:
        bucket.settle(charge, 1.0, 37.0)
    start = bucket.earliest(30.0, 37.0)
    assert start < 66.0
    assert provider.admits(start, 30.0)


def test_a_long_history_of_a_bucket_takes_no_room(make_window):
    """Only the peaks that still bound an open call's refund are kept."""
    bucket = make_window("bucket", "tokens", 60.0)
    for second in range(5000):
        bucket.settle(bucket.charge(1.0, float(second)), 0.5, second + 0.5)
    assert len(bucket._peaks) < 70


def test_a_group_starts_when_every_limit_has_room(make_window):
    """The latest of all limits decides; tokens count in token windows, calls in the others."""
    calls, tokens = make_window("sliding", "requests", 2.0), make_window("sliding", "tokens", 100.0)
    group = QuotaGroup("acme", [calls, tokens])
    group.charge(90.0, 0.0)
    assert group.earliest(5.0, 1.0) == 1.0
    assert group.earliest(20.0, 1.0) == 60.0 + tokens._guard
    assert group.earliest(101.0, 1.0) == NEVER
    assert group.weigh(5.0, 1.0)[0] == pytest.approx(1.0)
    assert group.weigh(20.0, 1.0)[0] > 1.0


def test_a_group_counts_calls_in_flight(make_window):
    """It is full at its concurrency, and a settlement frees a slot exactly once."""
    group = QuotaGroup("acme", [make_window("sliding", "requests", 9.0)], concurrency=2)
    charges = group.charge(1.0, 0.0)
    assert not group.full
    assert group.weigh(1.0, 0.0)[0] == 0.5
    group.charge(1.0, 0.0)
    assert group.full
    group.settle(charges, requests=0.0, tokens=0.0, now=1.0)
    assert (group.full, group.in_flight) == (False, 1)
    assert "1 limits, 1 in flight" in repr(group)


@pytest.mark.parametrize(
    ("prompt", "tokens", "booked"),
    [(50.0, 90.0, 90.0), (50.0, 500.0, 100.0), (150.0, 500.0, 500.0)],
)
def test_the_answers_room_alone_keeps_no_prompt_out(make_window, prompt, tokens, booked):
    """A prompt under the limit is booked at most at the limit; a longer one stays too large."""
    group = QuotaGroup("acme", [make_window("sliding", "tokens", 100.0)])
    assert group.reserve(prompt, tokens) == booked


def test_a_window_learned_meanwhile_does_not_disturb_a_settlement(make_window):
    """Bookings made before a limit was learned settle the windows they were made in."""
    group = QuotaGroup("acme", [make_window("sliding", "tokens", 100.0)])
    charges = group.charge(40.0, 0.0)
    group.windows.append(make_window("sliding", "requests", 5.0))
    group.settle(charges, requests=1.0, tokens=10.0, now=1.0)
    assert [window.used(1.0) for window in group.windows] == [10.0, 0.0]
    assert group.window("tokens", 60.5) is group.windows[0]
    assert group.window("tokens", 90.0) is None
