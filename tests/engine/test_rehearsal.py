"""What a refused call is told: the start it would have had, large or small, wherever it stood."""

from __future__ import annotations

import pytest

from hydra_core.engine import promise
from hydra_core.engine.allowance import Allowance
from hydra_core.engine.budget import Budget
from hydra_core.engine.explanation import foreseen
from hydra_core.engine.hours import Hours
from hydra_core.engine.rehearsal import Rehearsal
from hydra_core.engine.size import Size
from hydra_core.engine.steps import GiveUp, Park
from hydra_core.messages import ChatRequest, Fault

PATIENT = {"max_wait": 9000.0, "deadline": 9000.0}
NOW = 1.0
ONE = Size(chars=2, messages=1, max_tokens=None, known_tokens=1.0)


def told_and_true(world, ahead, last, **request):
    """Seconds told to a call that will not wait, and those that its patient twin waits.

    `ahead` are (tokens, priority), all come before it at one instant.
    """
    for tokens, priority in ahead:
        world.ask(NOW, tokens, **{**request, "priority": priority}, **PATIENT)
    world.run(NOW)
    manager = world.pool.manager
    step = world.pool.journey(NOW, last, max_wait=0.0, **request).next_step(manager, NOW)
    assert isinstance(step, GiveUp)
    assert step.error.limit_eta == step.error.eta
    world.ask(NOW, last, **PATIENT, **request)
    world.run(NOW)
    twin = world.begun[-1]
    begun = []
    judge = world._judge

    def noting(lease, now):
        if twin._lease is lease:
            begun.append(now)
        return judge(lease, now)

    world._judge = noting
    world.run()
    return step.error.eta, begun[0] - NOW


@pytest.mark.parametrize("shape", ["sliding", "bucket", "fixed"])
@pytest.mark.parametrize(
    ("small", "large", "last"),
    [(50, 0, 900.0), (40, 3, 900.0), (40, 10, 900.0), (0, 10, 100.0), (100, 0, 500.0)],
)
def test_a_large_request_is_told_when_one_key_has_room_for_it(
    make_pool, make_world, ok, shape, small, large, last
):
    """What several keys give back bit by bit serves small ones, but no large one."""
    pool = make_pool([{"tpm": 1000, "shape": shape}] * 3)
    world = make_world(pool, lambda lease, _: (0.4, ok(lease.tokens)))
    told, true = told_and_true(world, [(100.0, 0)] * small + [(900.0, 0)] * large, last)
    assert told == pytest.approx(true, rel=0.05, abs=1.0)


def test_a_large_request_is_told_its_start_in_a_large_pool(make_pool, make_world, ok):
    """A part of the keys and of the line tells as much as all of them."""
    pool = make_pool([{"tpm": 1000, "shape": "bucket"}] * 200)
    world = make_world(pool, lambda lease, _: (0.4, ok(lease.tokens)))
    told, true = told_and_true(world, [(100.0, 0)] * 4000, 900.0)
    assert told == pytest.approx(true, rel=0.1)


@pytest.mark.parametrize("priority", [0, -1])
def test_both_classes_are_told_their_turn_among_the_other(make_pool, make_world, ok, priority):
    """Where interactive and batch requests wait, each is promised a start by its share."""
    pool = make_pool([{"tpm": 1000, "rpm": 9, "shape": "bucket"}] * 2)
    world = make_world(pool, lambda lease, _: (0.4, ok(lease.tokens)))
    ahead = [(100.0, -(place % 2)) for place in range(80)]
    told, true = told_and_true(world, ahead, 700.0, priority=priority)
    assert told == pytest.approx(true, rel=0.15)


def test_a_claim_on_a_late_key_is_no_promise(make_pool, make_world, ok):
    """Who is second in line waits for the key that turns over, not for another one's next day."""
    pool = make_pool([{"rpm": 10, "shape": "bucket"}, {"rpd": 1}])
    world = make_world(pool, lambda *_: (0.4, ok()))
    for place in range(13):
        world.ask(NOW, max_wait=3.0 if place == 12 else 9000.0, deadline=9000.0)
    world.run(30.0)
    [(at, error)] = world.errors
    assert at - NOW + error.eta == pytest.approx(12.0, abs=1.5)


def test_what_is_booked_for_the_answer_is_free_when_it_ends(make_pool, make_world, ok):
    """Few answers use all their room: a line is as slow as what its calls really take."""
    pool = make_pool([{"tpm": 2000}])
    world = make_world(pool, lambda *_: (0.4, ok(100)))
    for model in {deployment.model for deployment in pool.deployments}:
        model.usual_output = 144.0  # booked; with the prompt they take 100
    told, true = told_and_true(world, [(None, 0)] * 30, None, params={"max_tokens": 1500})
    assert told == pytest.approx(true, rel=0.2)


@pytest.mark.parametrize("shape", ["sliding", "bucket"])
def test_a_supposed_limit_smaller_than_the_requests_lets_each_through_when_it_is_whole(
    make_pool, make_world, ok, shape
):
    """What is but a guess turns nobody away for good: the largest waits for all of it."""
    pool = make_pool([{"tpm": 600, "shape": shape}])
    pool.deployments[0].group.windows[0].tentative = True
    world = make_world(pool, lambda lease, _: (0.4, ok(lease.tokens)))
    told, true = told_and_true(world, [(900.0, 0)] * 3, 900.0)
    assert told == pytest.approx(true, rel=0.05)


@pytest.mark.parametrize("own", [300.0, 20.0])
def test_a_budget_that_others_use_up_first_is_waited_for(make_pool, make_world, ok, own):
    """A line that spends a shared day's budget takes as many days; a small request waits behind."""
    budget = Budget(
        "pool", "tokens", 1000.0, whose="the pool", offset=0.0, now=0.0,
        day_end=lambda wall: 100.0 * (wall // 100.0 + 1.0),
    )  # fmt: skip
    pool = make_pool([{"allowance": Allowance([budget])}] * 3)
    world = make_world(pool, lambda lease, _: (0.4, ok(lease.tokens)))
    told, true = told_and_true(world, [(300.0, 0)] * 10, own)
    assert true > 150.0
    assert told == pytest.approx(true, abs=1.0)


def test_who_comes_to_his_turn_after_hours_is_told_the_next_day(make_pool, make_world, ok):
    """A line that is longer than what is left of the active hours goes on when they begin anew."""
    def span(wall):
        day = 100.0 * (wall // 100.0) + (100.0 if wall % 100.0 >= 30.0 else 0.0)
        return day, day + 30.0

    allowance = Allowance(hours=Hours(span, offset=0.0))
    pool = make_pool([{"rpm": 60, "shape": "bucket", "allowance": allowance}])
    world = make_world(pool, lambda *_: (0.4, ok()))
    told, true = told_and_true(world, [(1.0, 0)] * 120, 1.0)
    assert true > 90.0
    assert told == pytest.approx(true, abs=2.0)


def test_nobody_is_turned_away_who_would_be_served(make_pool, make_world, ok):
    """A limit of many small returns lets through more than the first of them."""
    world = make_world(make_pool([{"rpm": 600}]), lambda *_: (0.4, ok()))
    for place in range(800):
        world.ask(1.0 + min(place, 600) / 10, **PATIENT)
    world.run(61.0)
    journey = world.pool.journey(61.0, max_wait=30.0)
    assert isinstance(journey.next_step(world.pool.manager, 61.0), Park)


def joined(pool, count):
    """So many requests stand in line; their tickets."""
    return [pool.manager.join(pool.route(), ONE, (), 0, NOW) for _ in range(count)]


def test_a_line_that_is_longer_than_is_played_goes_on_at_its_pace(make_pool):
    """Of four thousand at ten a second the last starts as late as they say, not as those played."""
    pool = make_pool([{"rpm": 600, "shape": "bucket"}])
    waiting = sum(ticket.lease is None for ticket in joined(pool, 4000))
    turn = pool.manager.room.turn(pool.route(), ONE, (), 0, NOW)
    assert turn - NOW == pytest.approx(waiting / 10.0, rel=0.05)


def test_a_line_that_became_another_is_played_anew(make_pool):
    """Who is told a wait is told it by those who stand before him now, more or fewer."""
    pool = make_pool([{"rpm": 60, "shape": "bucket"}])
    waiting = [ticket for ticket in joined(pool, 160) if ticket.lease is None]

    def turn():
        return pool.manager.room.turn(pool.route(), ONE, (), 0, NOW) - NOW

    assert turn() == pytest.approx(len(waiting), abs=3.0)
    for ticket in waiting[50:]:
        pool.manager.leave(ticket, NOW)
    assert turn() == pytest.approx(50.0, abs=3.0)
    joined(pool, 100)
    assert turn() == pytest.approx(150.0, abs=5.0)


def test_two_thousand_who_are_told_cost_few_rehearsals(make_pool, make_world, ok, monkeypatch):
    """A rehearsal serves all who ask while the line is about as long as was foreseen."""
    played = []

    class Counted(Rehearsal):
        def __init__(self, *given):
            super().__init__(*given)
            played.append(self)

    monkeypatch.setattr(promise, "Rehearsal", Counted)
    world = make_world(make_pool([{"rpm": 60}] * 5), lambda *_: (0.4, ok()))
    for place in range(2300):
        world.ask(NOW, max_wait=9000.0 if place % 2 else 100.0, deadline=9000.0)
    world.run(NOW)
    for place in range(2000):
        world.ask(NOW + place / 1000, max_wait=1.0)
    world.run(NOW + 2.0)
    assert len(world.errors) > 2000
    assert len(played) < 100


def test_who_has_nobody_before_him_costs_no_rehearsal(make_pool, make_world, ok, monkeypatch):
    """A pool at its limits tells each who will not wait the first start, and nothing is played."""
    monkeypatch.delattr(promise, "Rehearsal")
    pool = make_pool([{"rpm": 600}] * 3)
    world = make_world(pool, lambda lease, _: (0.4, ok(lease.tokens)))
    for _ in range(1800):
        world.ask(NOW, 1.0)
    world.run(NOW)
    for moment in (11.0, 12.0):
        step = pool.journey(moment, 1.0, max_wait=0.0).next_step(pool.manager, moment)
        assert step.error.eta == pytest.approx(NOW + 60.0 - moment, abs=1.0)


def explained(world, **asked):
    """The first row of explain() for a request that comes now."""
    request = ChatRequest([{"role": "user", "content": "hi"}], **asked)
    rows = foreseen(world.pool.manager, request, world.now, falling_back=False, max_wait=9.0)
    return rows[0]


def test_explaining_counts_those_who_wait(make_pool, make_world, ok):
    """A key that is free for one request is not free for one behind a line."""
    world = make_world(make_pool([{"rpm": 6, "shape": "bucket"}]), lambda *_: (0.4, ok()))
    for _ in range(12):
        world.ask(NOW, **PATIENT)
    world.run(NOW)
    row = explained(world)
    assert row["starts_in"] == pytest.approx(70.0, abs=1.0)
    assert not row["chosen"]
    assert "others wait before it" in row["why"]
    assert explained(world, priority=1)["starts_in"] == pytest.approx(10.0, abs=1.0)


def test_who_would_fit_now_has_his_turn_all_the_same(make_pool, make_world, ok):
    """What a key has left beside a large request that waits for it is not free for a small one."""
    pool = make_pool([{"tpm": 1000, "shape": "bucket"}, {}])
    world = make_world(pool, lambda lease, _: (0.4, ok(lease.tokens)))
    pool.fail(pool.lease(NOW, avoid=[pool.by("k1")]), NOW, Fault.OVERLOADED, retry_after=7200.0)
    for _ in range(2):
        world.ask(NOW, 900.0, **PATIENT)
    world.run(5.0)
    size = Size(chars=2, messages=1, max_tokens=None, known_tokens=20.0)
    met = pool.manager.foresight(pool.route(), size, world.now)
    assert met.chosen(world.now, 60.0) is None
    assert met.start == met.turn == pytest.approx(51.0, abs=1.0)
    assert (met.waits(world.now, 40.0), met.waits(world.now, 60.0)) == (False, True)
    row, late = foreseen(
        pool.manager, ChatRequest([], params={"max_tokens": 20}), world.now,
        falling_back=False, max_wait=60.0,
    )  # fmt: skip
    assert row["starts_in"] == pytest.approx(50.0, abs=1.0)
    assert late["starts_in"] == pytest.approx(7200.0, abs=1.0)


def test_who_waits_elsewhere_hinders_nobody(make_pool, make_world, ok):
    """A line for one provider's keys is none for another's."""
    pool = make_pool([{"rpm": 1}, {"provider": "free"}])
    world = make_world(pool, lambda *_: (0.4, ok()))
    for _ in range(3):
        world.ask(NOW, provider="acme", **PATIENT)
    world.run(NOW)
    assert explained(world, provider="free")["chosen"]
