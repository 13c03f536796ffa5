"""Budgets and hours of a configuration: whose, when their days begin, and what is refused."""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

import pytest

from hydra_core.assemble import assemble
from hydra_core.config import HydraConfig, load
from hydra_core.drive.gate import Gate
from hydra_core.engine.size import Size
from hydra_core.errors import ConfigError

ONE = Size(chars=0, messages=1, max_tokens=None, known_tokens=1.0)
PRICED = [{"name": "m", "input_usd": 1.0, "output_usd": 2.0}]


def wall(text):
    """The instant at which a clock in Madrid shows this."""
    return dt.datetime.fromisoformat(text).replace(tzinfo=ZoneInfo("Europe/Madrid")).timestamp()


def config(*keys, provider=None, **settings):
    """A provider on this machine with priced models and keys as given."""
    keys = [{"value": f"key-canary-{n}-0123456789", **key} for n, key in enumerate(keys)]
    row = {"name": "acme", "base_url": "http://127.0.0.1:9/v1", "models": PRICED, "keys": keys}
    providers = [{**row, **(provider or {})}]
    return {"cache": False, "store": "memory", "providers": providers, **settings}


def pool(*keys, at="2026-11-21T12:00", **settings):
    """The assembled manager; the monotonic clock shows 1,000 at that moment in Madrid."""
    return assemble(load(config(*keys, **settings)), now=1000.0, wall=wall(at)).manager


def test_budgets_have_names_of_their_own():
    """Each is made once, and found by a name that tells whose it is."""
    manager = pool(
        {"name": "k1", "budget": {"usd_per_day": 1.0}},
        {"name": "k2"},
        provider={"budget": {"usd_per_day": 2.0, "tokens_per_day": 10}},
        budget={"usd_per_day": 5.0},
    )
    limits = {name: budget.limit for name, budget in manager.budgets.items()}
    assert limits == {
        "budget/acme/k1/usd_per_day": 1.0,
        "budget/acme/usd_per_day": 2.0,
        "budget/acme/tokens_per_day": 10,
        "budget/usd_per_day": 5.0,
    }
    first, second = (deployment.allowance for deployment in manager.deployments)
    assert set(second.budgets) < set(first.budgets)
    assert [len(first.budgets), len(second.budgets)] == [4, 3]


def test_without_budgets_and_hours_there_is_no_allowance():
    """Then the engine has nothing to look at on the path of a call."""
    manager = pool({})
    assert [deployment.allowance for deployment in manager.deployments] == [None]
    assert (bool(manager.allowances), dict(manager.budgets)) == (False, {})


@pytest.mark.parametrize(
    ("zone", "at", "hours"),
    [
        ("UTC", "2026-11-21T12:00", 13.0),
        ("Europe/Madrid", "2026-11-21T12:00", 12.0),
        ("America/Los_Angeles", "2026-11-21T12:00", 21.0),
        ("Europe/Madrid", "2026-03-29T00:00", 23.0),  # summer time begins on this day
        ("Europe/Madrid", "2026-10-25T00:00", 25.0),  # and ends on this one
    ],
)
def test_a_day_ends_at_midnight_of_its_zone(zone, at, hours):
    """UTC unless a zone is named; days of 23 and 25 hours are as long as they are."""
    manager = pool({"name": "k", "budget": {"usd_per_day": 1.0, "zone": zone}}, at=at)
    (budget,) = manager.budgets.values()
    budget.book(1.0, 1000.0)
    turns = 1000.0 + hours * 3600.0
    assert budget.earliest(0.5, 1000.0) == turns
    assert budget.used(turns - 1.0) == 1.0
    assert budget.used(turns) == 0.0


def test_a_scaled_day_begins_with_the_process():
    """With `time_scale` a day is as much shorter, whatever the calendar says."""
    manager = pool({"name": "k", "budget": {"tokens_per_day": 5}}, time_scale=0.01)
    (budget,) = manager.budgets.values()
    assert budget.turns_at == pytest.approx(1000.0 + 864.0)
    budget.used(2000.0)
    assert budget.turns_at == pytest.approx(1000.0 + 2 * 864.0)


def test_hours_of_a_key_hold_through_the_night_without_an_hour():
    """22:00 to 06:00 in Madrid on the eve of summer time is a span of seven hours."""
    manager = pool({"active_hours": "22:00-06:00 Europe/Madrid"}, at="2026-03-28T21:00")
    route = manager.routes.find()
    assert manager.lease(route, ONE, (), 1000.0) is None
    assert manager.earliest(route, ONE, (), 1000.0) == 1000.0 + 3600.0
    assert manager.lease(route, ONE, (), 1000.0 + 3600.0) is not None
    assert manager.lease(route, ONE, (), 1000.0 + 8 * 3600.0 - 1.0) is not None
    assert manager.lease(route, ONE, (), 1000.0 + 8 * 3600.0) is None


def test_the_gate_follows_a_clock_that_is_set():
    """After a sleep of the machine the next call already knows that the key is open."""
    now, shown = [1000.0], [wall("2026-11-21T06:00")]
    settings = HydraConfig.model_validate(config({"active_hours": "08:00-20:00 Europe/Madrid"}))
    manager = assemble(settings, now=now[0], wall=shown[0]).manager
    gate = Gate(manager, clock=lambda: now[0], wall=lambda: shown[0])
    route = manager.routes.find()
    assert gate.ask(lambda m, at: m.earliest(route, ONE, (), at)) == 1000.0 + 7200.0
    now[0], shown[0] = 1002.0, wall("2026-11-21T09:00")
    assert gate.ask(lambda m, at: m.earliest(route, ONE, (), at)) == 1002.0
    now[0], shown[0] = 1004.0, wall("2026-11-21T20:30")
    assert gate.ask(lambda m, at: m.lease(route, ONE, (), at)) is None


@pytest.mark.parametrize(
    ("budget", "said"),
    [
        ({"usd_per_day": -1.0}, "budget.usd_per_day: should be greater than or equal to 0"),
        ({"usd_per_day": float("inf")}, "budget.usd_per_day: must be a finite number"),
        ({"tokens_per_day": 0}, "budget.tokens_per_day: should be greater than 0"),
        ({"tokens_per_day": 1.5}, "budget.tokens_per_day: must be a whole number"),
        ({"usd_per_day": "much"}, "budget.usd_per_day: must be a number"),
        ({"usd_per_day": 1.0, "zone": "Nowhere/X"}, "budget.zone: is no time zone"),
        ({"eur_per_day": 1.0}, "is not a setting here; did you mean 'usd_per_day'"),
        ({}, "budget: bounds nothing; give usd_per_day or tokens_per_day"),
        (1.0, "budget: must be a table of settings"),
    ],
)
@pytest.mark.parametrize("place", ["key", "provider", "pool"])
def test_a_budget_that_cannot_be_is_refused(budget, said, place):
    """The error names the setting and the remedy, wherever the budget stands."""
    settings = config({})
    row = settings["providers"][0]
    {"key": row["keys"][0], "provider": row, "pool": settings}[place]["budget"] = budget
    with pytest.raises(ConfigError) as refused:
        load(settings)
    assert said in str(refused.value)


def test_the_prices_of_the_catalogue_hold_where_the_vendor_bills():
    """At its own address and at a gateway's; a server next door may be anybody's."""
    row = {
        "name": "deepseek",
        "keys": [{"value": "key-canary-1-0123456789", "budget": {"usd_per_day": 1.0}}],
        "models": ["deepseek-v4-flash"],
    }
    settings = {"cache": False, "store": "memory", "providers": [row]}
    manager = assemble(load(settings), now=0.0, wall=wall("2026-11-21T12:00")).manager
    assert [budget.limit for budget in manager.budgets.values()] == [1.0]
    row["base_url"] = "https://gateway.example.com/deepseek/v1"
    (known,) = assemble(load(settings), now=0.0).manager.deployments
    assert known.model.input_usd is not None
    for address in ("http://127.0.0.1:9/v1", "http://10.1.2.3/v1", "http://gpu:8000/v1", "http://gpu.local./v1"):
        row["base_url"] = address
        pool = assemble(load(settings), now=0.0)
        assert pool.manager.deployments[0].model.input_usd is None
        assert "no price is known of 'deepseek-v4-flash' at deepseek" in pool.notices[0].text
    row |= {"base_url": "https://free.example.com/v1", "keys": []}
    assert assemble(load(settings), now=0.0).manager.deployments[0].model.input_usd is None


def test_a_disabled_key_needs_no_price():
    """What is left out spends nothing."""
    key = {"budget": {"usd_per_day": 1.0}, "disabled": True}
    settings = config(key, {}, provider={"models": ["unpriced"]})
    assert len(assemble(load(settings), now=0.0).manager.deployments) == 1
