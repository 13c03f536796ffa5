"""Budgets and hours: charged before sending, hard until their day turns or their hour comes."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from hydra_core.engine.allowance import Allowance
from hydra_core.engine.budget import Budget
from hydra_core.engine.hours import Hours
from hydra_core.engine.model_facts import ModelFacts
from hydra_core.engine.report import group_capacities, key_rows
from hydra_core.engine.roster import Roster
from hydra_core.engine.size import Size
from hydra_core.engine.snapshot import restore, take
from hydra_core.engine.steps import Park, Send
from hydra_core.errors import PoolExhausted, RequestRejected
from hydra_core.messages import Fault, Reply, Usage

DAY = 86_400.0
DOLLAR = {"m": {"input_usd": 1e6, "output_usd": 1e6}}  # a token costs a dollar


def day_end(wall):
    """Days begin at multiples of 86,400 s, as they do in UTC."""
    return wall - wall % DAY + DAY


def budget(limit, kind="usd", *, whose="key k1", offset=0.0, now=0.0):
    """A budget whose wall clock is `offset` ahead of the engine's."""
    name = f"budget/acme/k1/{kind}_per_day"
    return Budget(name, kind, limit, whose=whose, day_end=day_end, offset=offset, now=now)


def office(wall):
    """Open from the 8th to the 20th hour of each day."""
    begin = wall - wall % DAY
    if wall >= begin + 20 * 3600:
        begin += DAY
    return begin + 8 * 3600, begin + 20 * 3600


def facts_and_size(tokens):
    """A model of which a token costs a dollar, and a request of so many."""
    return ModelFacts("acme", "m", **DOLLAR["m"]), Size(0, 1, None, known_tokens=tokens)


def test_a_spent_budget_rests_its_key_until_the_day_turns(make_pool):
    """The key whose budget has no room is passed over, and serves again the next day."""
    pool = make_pool(
        [{"allowance": Allowance([budget(10.0)])}, {}], facts=DOLLAR, strategy="priority"
    )
    served = [pool.lease(1.0, 4.0).deployment.key for _ in range(3)]
    assert served == ["k1", "k1", "k2"]
    assert pool.lease(DAY - 1.0, 4.0).deployment.key == "k2"
    assert pool.lease(DAY, 4.0).deployment.key == "k1"


def test_a_lease_is_settled_to_what_it_cost(make_pool):
    """What was booked and not spent comes back, and whoever waited for it starts at once."""
    spent = budget(10.0)
    pool = make_pool([{"allowance": Allowance([spent])}], facts=DOLLAR)
    first = pool.lease(1.0, 8.0)
    journey = pool.journey(1.0, 5.0, deadline=2 * DAY, max_wait=2 * DAY)
    assert isinstance(journey.next_step(pool.manager, 1.0), Park)
    pool.manager.settle(first, 2.0, tokens=3.0, usd=3.0)
    assert isinstance(journey.next_step(pool.manager, 2.0), Send)
    assert spent.used(2.0) == 8.0
    pool.manager.settle(first, 3.0, tokens=0.0)  # twice is harmless
    assert spent.used(3.0) == 8.0


@pytest.mark.parametrize(
    ("settled", "left"),
    [
        ({"tokens": 0.0, "requests": 0.0}, 0.0),
        ({}, 6.0),
        ({"tokens": 2.0}, 2.0),
        ({"tokens": 2.0, "usd": 0.5}, 0.5),
        ({"tokens": 9.0, "usd": 9.0}, 9.0),
    ],
)
def test_every_end_of_a_lease_corrects_the_budget(make_pool, settled, left):
    """A refund, an unknown count, a count, a price, and more than was booked."""
    spent = budget(7.0)
    pool = make_pool([{"allowance": Allowance([spent])}], facts=DOLLAR)
    pool.manager.settle(pool.lease(1.0, 6.0), 2.0, **settled)
    assert spent.used(2.0) == left


@pytest.mark.parametrize(("reported", "over"), [(2.0, 0.0), (1.0, 0.0), (5.0, 5 * 3.0)])
def test_no_more_is_overspent_than_calls_under_way_report_beyond_their_bookings(
    make_pool, reported, over
):
    """Of a burst nothing is granted above the budget; once it is passed nothing goes any more."""
    spent = budget(10.0)
    pool = make_pool([{"allowance": Allowance([spent])}], facts=DOLLAR)
    leases = [pool.lease(1.0, 2.0) for _ in range(8)]
    assert [lease is not None for lease in leases] == [True] * 5 + [False] * 3
    for lease in leases[:5]:
        pool.manager.settle(lease, 2.0, tokens=reported, usd=reported)
    assert spent.used(2.0) <= 10.0 + over
    assert (pool.lease(2.0, 2.0) is None) == (over > 0.0 or reported == 2.0)


def test_a_shared_budget_is_one_sum(make_pool):
    """Keys that draw on one budget spend it together, and are woken together."""
    shared = Allowance([budget(10.0, whose="the whole pool")])
    pool = make_pool([{"allowance": shared}, {"allowance": shared}], facts=DOLLAR)
    leases = [pool.lease(1.0, 3.0) for _ in range(4)]
    assert [lease is not None for lease in leases] == [True, True, True, False]
    pool.manager.settle(leases[0], 2.0, tokens=1.0, usd=1.0)
    assert pool.lease(2.0, 3.0) is not None
    assert pool.lease(2.0, 3.0) is None


def test_a_call_under_way_at_midnight_belongs_to_the_day_it_began_in(make_pool):
    """Its booking leaves the new day alone."""
    spent = budget(10.0)
    pool = make_pool([{"allowance": Allowance([spent])}], facts=DOLLAR)
    late = pool.lease(DAY - 1.0, 9.0)
    assert spent.used(DAY + 1.0) == 0.0
    pool.manager.settle(late, DAY + 1.0, tokens=9.0, usd=9.0)
    assert spent.used(DAY + 1.0) == 0.0


def test_a_grant_claimed_after_midnight_is_booked_in_the_new_day(make_pool):
    """The wire is reached only now, so the new day pays; the old one gave it back."""
    spent = budget(10.0)
    pool = make_pool([{"allowance": Allowance([spent]), "concurrency": 1}], facts=DOLLAR)
    first = pool.lease(DAY - 2.0, 4.0)
    ticket = pool.manager.join(pool.route(), first.size, (), 0, DAY - 2.0)
    pool.manager.settle(first, DAY - 1.0, tokens=4.0, usd=4.0)
    assert spent.used(DAY - 1.0) == 8.0
    assert pool.manager.claim(ticket, DAY + 1.0) is not None
    assert spent.used(DAY + 1.0) == 4.0


def test_a_grant_that_is_claimed_forgets_nobody_who_was_turned_away():
    """Whoever found no room is told when the call that took it leaves some."""
    spent = budget(10.0)
    spend = Allowance([spent]).book(*facts_and_size(4.0), 1.0)
    spent.turn_away(8.0)
    assert spend.renewed(2.0)
    assert spend.settle(tokens=1.0, usd=1.0, now=3.0) == [spent]
    assert spent.used(3.0) == 1.0


def test_a_grant_claimed_after_closing_time_is_void(make_pool):
    """It goes back whole, and the ticket waits for the morning."""
    spent = budget(10.0, "tokens")
    allowance = Allowance([spent], Hours(office, offset=0.0))
    pool = make_pool([{"allowance": allowance, "concurrency": 1}])
    first = pool.lease(20 * 3600 - 2.0, 4.0)
    ticket = pool.manager.join(pool.route(), first.size, (), 0, 20 * 3600 - 2.0)
    pool.manager.settle(first, 20 * 3600 - 1.0, tokens=4.0)
    assert pool.manager.claim(ticket, 20 * 3600) is None
    assert spent.used(20 * 3600) == 4.0
    assert ticket.start == DAY + 8 * 3600


def test_no_probe_passes_a_budget_or_a_closed_hour(make_pool):
    """A key that we only believe to be ill may be probed, not one that must not be used."""
    for allowance in (
        Allowance([budget(10.0)]),
        Allowance((), Hours(office, offset=8 * 3600.0)),
    ):
        pool = make_pool([{"allowance": allowance}], facts=DOLLAR)
        pool.fail(pool.lease(1.0, 6.0), 1.0, Fault.OVERLOADED)
        assert pool.lease(1.5, 6.0) is None
        assert pool.lease(1.5, 6.0, desperate=True) is not None
        assert pool.lease(13 * 3600.0, 6.0, desperate=True) is None


def test_what_costs_nothing_is_kept_out_by_no_budget(make_pool):
    """A free model serves on when the dollars are spent, and under a budget of none."""
    allowance = Allowance([budget(0.0)])
    pool = make_pool(
        [{"allowance": allowance, "models": ["free", "dear"]}],
        facts={
            "free": {"input_usd": 0.0, "output_usd": 0.0},
            "dear": {"input_usd": 1.0, "output_usd": 1.0},
        },
    )
    assert pool.lease(1.0, 100.0, model="free") is not None
    assert pool.lease(1.0, 100.0, model="dear") is None


def test_a_price_that_is_not_known_is_no_zero(make_pool):
    """It is not counted, and a budget that is spent or that allows nothing keeps it out."""
    pool = make_pool([{"allowance": Allowance([budget(10.0)])}])
    (row,) = pool.manager.deployments
    (dollars,) = row.allowance.budgets
    for _ in range(3):
        pool.manager.settle(pool.lease(1.0, 1.0), 1.0, tokens=1.0, usd=None)
    assert dollars.used(1.0) == 0.0
    dollars.book(10.0, 1.0)
    assert pool.lease(1.0, 1.0) is None
    said = row.allowance.why(row.model, pool.journey(1.0)._size, 1.0)
    assert said.endswith("10.00 USD of 10.00 spent, and nobody knows the price of this model")
    assert make_pool([{"allowance": Allowance([budget(0.0)])}]).lease(1.0, 1.0) is None


def test_the_eta_of_a_spent_budget_is_the_end_of_its_day(make_pool, make_world, ok):
    """A caller who cannot wait that long is told so at once, and whose budget it is."""
    pool = make_pool([{"allowance": Allowance([budget(10.0)])}], facts=DOLLAR)
    world = make_world(pool, lambda lease, _: (1.0, ok(lease.tokens)))
    world.ask(1.0, 10.0)
    world.ask(DAY - 3600.0, 10.0)
    world.ask(DAY - 20.0, 10.0)
    world.run()
    ((when, error),) = world.errors
    assert isinstance(error, PoolExhausted)
    assert (when, error.eta) == (DAY - 3600.0, 3600.0)
    assert "budget of key k1: 10.00 USD of 10.00 spent, again in 1 h 0 min" in str(error)
    assert [at for at, _ in world.sent] == [1.0, DAY]


def test_what_calls_under_way_have_booked_is_worth_waiting_for(make_pool, make_world, ok):
    """They use less than they might, so nobody is sent away for a day on their account."""
    spent = budget(20.0)
    pool = make_pool([{"allowance": Allowance([spent])}], facts=DOLLAR)
    world = make_world(pool, lambda *_: (1.0, ok(2)))
    for _ in range(12):
        world.ask(1.0, 8.0, max_wait=30.0)
    world.run(DAY - 1.0)
    assert len(world.replies) == 7
    assert spent.used(DAY - 1.0) == 14.0
    assert {round(at + error.eta) for at, error in world.errors} == {DAY}


def test_the_words_tell_booked_from_spent(make_pool):
    """Whoever reads them learns that it may be sooner than the end of the day."""
    pool = make_pool([{"allowance": Allowance([budget(20.0)])}], facts=DOLLAR)
    lease = pool.lease(DAY - 60.0, 15.0)
    size, row = lease.size, lease.deployment
    assert row.allowance.why(row.model, size, DAY - 60.0) == (
        "budget of key k1: 15.00 USD of 20.00 spent or booked by calls under way, "
        "and this may take 15.00, again in 60 s at the latest"
    )
    pool.manager.settle(lease, DAY - 60.0, tokens=15.0, usd=15.0)
    assert row.allowance.why(row.model, size, DAY - 60.0) == (
        "budget of key k1: 15.00 USD of 20.00 spent, and this may take 15.00, again in 60 s"
    )


def test_a_request_that_no_day_would_pay_for_is_refused(make_pool):
    """Waiting would not help, so it is told what it may cost and what there is."""
    pool = make_pool([{"allowance": Allowance([budget(10.0)])}], facts=DOLLAR)
    error = pool.journey(1.0, 11.0).next_step(pool.manager, 1.0).error
    assert isinstance(error, RequestRejected)
    assert "this may take 11.00 USD, a day has 10.00" in str(error)


def test_the_answers_room_is_booked_at_the_price_of_output(make_pool):
    """Prompt and answer have prices of their own; a lease of unknown parts pays the dearer."""
    pool = make_pool([{}], facts={"m": {"input_usd": 1.0, "output_usd": 10.0}})
    model = pool.by("k1").model
    size = pool.journey(1.0)._size
    assert model.most_usd(size) == pytest.approx(1 * 10.0 / 1e6)
    told = type(size)(chars=0, messages=25, max_tokens=50)
    assert model.prompt_tokens(told) == 100.0
    assert model.most_usd(told) == pytest.approx((100 * 1.0 + 50 * 10.0) / 1e6)


def test_a_cost_that_the_reply_states_is_believed(make_pool, ok):
    """The provider's own price beats the one that is configured."""
    spent = budget(10.0)
    pool = make_pool([{"allowance": Allowance([spent])}], facts=DOLLAR)
    journey = pool.journey(1.0, 5.0)
    journey.next_step(pool.manager, 1.0)
    journey.report(pool.manager, replace(ok(5), usage=Usage(5, 0, 0.25)), 2.0)
    reply = journey.next_step(pool.manager, 2.0)
    assert isinstance(reply, Reply)
    assert (reply.usage.cost_usd, spent.used(2.0)) == (0.25, 0.25)


def test_a_clock_set_back_brings_no_day_twice():
    """The running day then ends when it would have ended, at the latest with the next one."""
    spent = budget(10.0, now=0.0)
    spent.book(10.0, DAY + 60.0)  # a minute into the second day
    assert spent.used(DAY + 60.0) == 10.0
    spent.reanchor(-3600.0, DAY + 120.0)  # it is an hour before that midnight
    assert spent.used(DAY + 3600.0 + 300.0) == 10.0
    assert spent.turns_at == 2 * DAY + 3600.0
    spent.reanchor(-10 * DAY, DAY + 240.0)
    assert spent.turns_at - (DAY + 240.0) <= 2 * DAY


def test_a_machine_that_slept_over_midnight_begins_a_new_day(make_pool):
    """The monotonic clock stood still, the wall clock did not; so do hours."""
    allowance = Allowance([budget(10.0)], Hours(office, offset=9 * 3600.0))
    pool = make_pool([{"allowance": allowance}], facts=DOLLAR)
    assert pool.lease(1.0, 10.0) is not None
    assert pool.lease(2.0, 10.0) is None
    pool.manager.reanchor(DAY + 7 * 3600.0, 3.0)
    assert pool.lease(3.0, 10.0) is None  # an hour before it opens
    assert pool.lease(3600.0, 10.0) is not None


def test_a_key_is_used_in_its_hours_alone(make_pool):
    """It opens and closes at the right instants, and the start that is told is true."""
    pool = make_pool([{"allowance": Allowance((), Hours(office, offset=7 * 3600.0))}])
    size = pool.journey(0.0)._size
    assert pool.lease(0.0) is None
    assert pool.manager.earliest(pool.route(), size, (), 0.0) == 3600.0
    assert pool.lease(3599.0) is None
    assert pool.lease(3600.0) is not None
    assert pool.lease(13 * 3600.0 - 1.0) is not None
    assert pool.lease(13 * 3600.0) is None
    assert pool.manager.earliest(pool.route(), size, (), 13 * 3600.0) == 25 * 3600.0


def test_a_budget_that_turns_at_night_still_waits_for_the_morning(make_pool):
    """Of all that keeps a key away, the last to end counts."""
    pool = make_pool(
        [{"allowance": Allowance([budget(10.0)], Hours(office, offset=0.0))}], facts=DOLLAR
    )
    lease = pool.lease(9 * 3600.0, 10.0)
    pool.manager.settle(lease, 9 * 3600.0, tokens=10.0, usd=10.0)
    assert pool.manager.earliest(pool.route(), lease.size, (), 9 * 3600.0) == DAY + 8 * 3600.0


def test_planners_see_what_budgets_leave(make_pool):
    """As a limit in tokens of the day, for groups all of whose keys draw on it."""
    shared, own = budget(10.0, now=1.0), budget(7.0, "tokens", now=1.0)
    rows = [
        {"account": "a", "allowance": Allowance([own, shared])},
        {"account": "a", "allowance": Allowance([shared])},
        {"account": "b"},
    ]
    facts = {"m": {"input_usd": 0.5e6, "output_usd": 2e6}}
    pool = make_pool(rows, facts=facts, strategy="priority")
    pool.lease(1.0, 3.0)
    bounded, free = group_capacities(pool.route(), 2.0)
    (window,) = bounded.windows
    assert (window.kind, window.window, window.limit, window.used) == ("tokens", DAY, 20.0, 12.0)
    assert (window.shape, window.frees) == ("fixed", ((DAY - 2.0, 12.0),))
    assert free.windows == ()


def test_the_health_report_shows_the_scarcest_budget(make_pool):
    """Of several budgets in dollars that which has least left; a closed key rests."""
    allowance = Allowance([budget(10.0), budget(50.0, whose="the whole pool")])
    pool = make_pool([{"allowance": allowance}], facts=DOLLAR)
    pool.manager.settle(pool.lease(1.0, 10.0), 2.0, tokens=10.0, usd=10.0)
    ((row,),) = key_rows(pool.manager, 3600.0, 1.0).values()
    assert row["limits"] == {
        "usd_per_day": {"limit": 10.0, "used": 10.0, "resets_in": DAY - 3600.0}
    }
    assert (row["state"], row["available_in"]) == ("saturated", DAY - 3600.0)
    assert row["why"].startswith("budget of key k1: 10.00 USD of 10.00 spent, again")


def test_a_spent_budget_of_many_keys_is_looked_at_once(make_pool, monkeypatch):
    """No method looks at all keys on the path of a call, though all draw on one sum."""
    shared = Allowance([budget(10.0, whose="the whole pool")])
    pool = make_pool([{"allowance": shared} for _ in range(500)], facts=DOLLAR)
    last = pool.lease(1.0, 8.0)
    looks = []
    for part, method in ((Budget, "earliest"), (Roster, "stir")):
        real = getattr(part, method)
        monkeypatch.setattr(part, method, lambda *a, real=real: looks.append(1) or real(*a))
    assert pool.lease(1.0, 8.0) is None
    pool.manager.settle(last, 2.0, tokens=7.0, usd=7.0)
    assert pool.lease(2.0, 8.0) is None
    assert pool.manager.earliest(pool.route(), last.size, (), 2.0) == DAY
    assert len(looks) < 50
    assert pool.lease(DAY, 8.0) is not None


def told(pool, now, wall):
    """What lies in the store afterwards: only JSON survives."""
    return json.loads(json.dumps(take(pool.manager, now, wall), allow_nan=False))


@pytest.mark.parametrize(("later", "left"), [(0.0, 4.0), (3600.0, 4.0), (DAY, 10.0)])
def test_what_a_day_has_spent_outlives_the_process(make_pool, later, left):
    """Another process goes on with the same day's sum, and begins the next one with none."""
    noon = 20_000 * DAY + DAY / 2
    pool = make_pool([{"allowance": Allowance([budget(10.0, offset=noon)])}], facts=DOLLAR)
    pool.manager.settle(pool.lease(1.0, 6.0), 2.0, tokens=6.0, usd=6.0)
    data = told(pool, 3.0, noon + 3.0)
    heir = make_pool(
        [{"allowance": Allowance([budget(10.0, offset=noon + later)])}], facts=DOLLAR
    )
    restore(heir.manager, data, 5.0, noon + later + 5.0)
    assert heir.lease(5.0, left) is not None
    assert heir.lease(5.0, 1.0) is None


@pytest.mark.parametrize("used", [None, [], "9", True, -1.0, 1e15])
def test_a_stored_sum_that_makes_no_sense_is_passed_over(make_pool, used):
    """A damaged store costs no key its day."""
    pool = make_pool([{"allowance": Allowance([budget(10.0)])}], facts=DOLLAR)
    data = told(pool, 0.0, 0.0)
    (row,) = data["budgets"].values()
    row["used"] = used
    restore(pool.manager, data, 1.0, 1.0)
    assert pool.lease(1.0, 10.0) is not None
