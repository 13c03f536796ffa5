"""What people and planners see: true to the arithmetic that routes."""

from __future__ import annotations

import pytest

from hydra_core.engine.explanation import explanation
from hydra_core.engine.report import group_capacities, key_rows
from hydra_core.engine.size import Size
from hydra_core.engine.windows import SlidingWindow
from hydra_core.messages import Fault

ONE = Size(chars=0, messages=1, max_tokens=None, known_tokens=1.0)
FIELDS = {
    "name",
    "account",
    "state",
    "available_in",
    "in_flight",
    "consecutive_failures",
    "last_fault",
    "limits",
    "score",
}


def row_of(pool, key, now, scale=1.0):
    """The health row of a key."""
    rows = key_rows(pool.manager, now, scale)["acme"]
    return next(row for row in rows if row["name"] == key)


def test_each_key_has_one_row_over_all_its_models(make_pool):
    """Rows go by provider, one per key, with the promised fields."""
    pool = make_pool([{"models": ["m", "n"]}, {}, {"provider": "x"}])
    pool.lease(1.0, model="n")
    rows = key_rows(pool.manager, 1.0, 1.0)
    assert {name: len(found) for name, found in rows.items()} == {"acme": 2, "x": 1}
    assert set(row_of(pool, "k1", 1.0)) >= FIELDS
    assert row_of(pool, "k1", 1.0)["in_flight"] == 1


def test_a_key_of_several_models_tells_each(make_pool):
    """The row is that of the model which can start first; a spent one is told beside it."""
    pool = make_pool([{"models": ["m", "n"], "rpm": 1}, {}])
    pool.lease(1.0, avoid=[pool.by("k2")])
    row = row_of(pool, "k1", 2.0)
    assert (row["state"], row["limits"]["rpm"]["used"]) == ("active", 0.0)
    spent, free = row["models"]["m"], row["models"]["n"]
    assert (spent["state"], spent["available_in"]) == ("saturated", 60.0)
    assert (free["state"], free["why"]) == ("active", "ready")
    assert "models" not in row_of(pool, "k2", 2.0)


@pytest.mark.parametrize(
    ("row", "fault", "said", "state", "available_in"),
    [
        ({}, None, {}, "active", 0.0),
        ({}, Fault.BAD_REQUEST, {}, "active", 0.0),
        ({}, Fault.AUTH, {}, "dead", None),
        ({}, Fault.RATE_LIMIT_MINUTE, {"retry_after": 30.0}, "resting", 29.0),
        ({}, Fault.TIMEOUT, {}, "resting", 29.0),
        ({"rpm": 1}, Fault.BAD_REQUEST, {}, "saturated", 59.0),
    ],
)
def test_a_rows_state_is_what_routing_would_find(make_pool, row, fault, said, state, available_in):
    """Active, resting, saturated or dead, and the true seconds until it could serve."""
    pool = make_pool([row])
    if fault is not None:
        pool.fail(pool.lease(1.0), 1.0, fault, **said)
    seen = row_of(pool, "k1", 2.0)
    assert (seen["state"], seen["available_in"]) == (state, available_in)
    assert (pool.lease(2.0) is not None) is (state == "active")


def test_a_row_names_the_last_fault_and_its_run(make_pool):
    """Two timeouts in a row are two consecutive failures."""
    pool = make_pool([{}])
    for now in (1.0, 50.0):
        pool.fail(pool.lease(now), now, Fault.TIMEOUT)
    seen = row_of(pool, "k1", 51.0)
    assert (seen["last_fault"], seen["consecutive_failures"]) == ("timeout", 2)
    assert (seen["calls"], seen["failures"]) == (2, 2)


@pytest.mark.parametrize(
    ("fault", "said"), [(Fault.AUTH, {}), (Fault.RATE_LIMIT_MINUTE, {"retry_after": 30.0})]
)
def test_a_refusal_counts_for_the_key_that_met_it_alone(make_pool, fault, said):
    """A dead key and a refused one show their failure; a key that shares the limit does not."""
    pool = make_pool([{"account": "acme"}, {"account": "acme"}])
    refused = pool.lease(1.0)
    pool.fail(refused, 1.0, fault, **said)
    runs = {name: row_of(pool, name, 2.0)["consecutive_failures"] for name in ("k1", "k2")}
    assert runs.pop(refused.deployment.key) == 1
    assert set(runs.values()) == {0}


@pytest.mark.parametrize("scale", [1.0, 0.05])
def test_limits_have_their_usual_names(make_pool, scale):
    """rpm, tpm, rpd, tpd and concurrency, whatever the time scale."""
    pool = make_pool([{"concurrency": 3}])
    group = pool.by("k1").group
    for kind in ("requests", "tokens"):
        for length in (60.0, 3600.0, 86_400.0):
            group.windows.append(SlidingWindow(kind, 10.0, length * scale))
    limits = row_of(pool, "k1", 1.0, scale)["limits"]
    assert set(limits) == {
        *("rpm", "tpm", "rpd", "tpd", "concurrency"),
        *("requests per 3600 s", "tokens per 3600 s"),
    }
    assert limits["rpm"] == {"limit": 10.0, "used": 0.0, "resets_in": 0.0}
    assert limits["concurrency"] == {"limit": 3, "used": 0, "resets_in": 0.0}


@pytest.mark.parametrize(
    ("shape", "resets_in"), [("sliding", 58.8), ("bucket", 39.25), ("fixed", 19.25)]
)
def test_a_limit_is_whole_again_when_its_row_says(make_pool, shape, resets_in):
    """The seconds until nothing of a limit counts any more, also after a hundred charges."""
    pool = make_pool([{"rpm": 100, "shape": shape}])
    for tick in range(100):
        pool.manager.settle(pool.lease(20.0 + tick / 5), 20.0 + tick / 5)
    limit = row_of(pool, "k1", 41.0)["limits"]["rpm"]
    assert limit["resets_in"] == pytest.approx(resets_in, abs=0.5)


def test_an_explanation_gives_each_a_reason(make_pool):
    """Every deployment of the route, the soonest first, and why each other would wait."""
    rows = [{"rpm": 1}, {}, {}, {}, {"concurrency": 1}, {}]
    pool = make_pool(rows, strategy="priority")
    pool.lease(1.0, avoid=pool.deployments[1:])
    for key, fault in (("k2", Fault.AUTH), ("k3", Fault.RATE_LIMIT_MINUTE), ("k4", Fault.TIMEOUT)):
        pool.fail(pool.lease(1.0, avoid=[d for d in pool.deployments if d.key != key]), 1.0, fault)
    pool.lease(1.0, avoid=[d for d in pool.deployments if d.key != "k5"])
    found = {row["key"]: row for row in explanation(pool.route(), ONE, 2.0)}
    assert next(iter(found)) == "k6"
    assert [found[f"k{n}"]["why"].split(":")[0] for n in range(1, 7)] == [
        "quota",
        "auth",
        "rate_limit_minute",
        "timeout",
        "as many calls in flight as the account allows",
        "ready",
    ]
    assert "the provider's word" in found["k3"]["why"]
    assert "our inference" in found["k4"]["why"]
    assert found["k2"]["starts_in"] is None
    assert found["k3"]["starts_in"] == 59.0


def test_an_explanation_names_an_open_breaker(make_pool):
    """A key that never failed itself waits for its provider's model."""
    pool = make_pool([{} for _ in range(7)])
    for lease in [pool.lease(1.0) for _ in range(5)]:
        pool.fail(lease, 1.0, Fault.OVERLOADED)
    why = {row["key"]: row["why"] for row in explanation(pool.route(), ONE, 2.5)}
    assert why["k7"].startswith("breaker open for acme/m: its calls fail (overloaded)")


@pytest.mark.parametrize("shape", ["sliding", "bucket"])
def test_capacities_are_a_photograph_of_each_living_group(make_pool, shape):
    """Groups, not keys; dead ones left out; times count from the instant."""
    rows = [{"account": "a", "rpm": 10, "shape": shape, "concurrency": 2}, {"account": "a"}, {}]
    pool = make_pool(rows, facts={"m": {"context_window": 8000, "input_usd": 1.0}})
    lease = pool.lease(1.0, avoid=[pool.by("k3")])
    pool.manager.passed(lease, 0.5)
    pool.fail(pool.lease(1.0, avoid=[pool.by("k1"), pool.by("k2")]), 1.0, Fault.AUTH)
    (group,) = group_capacities(pool.route(), 11.0)
    assert (group.keys, group.concurrency, group.in_flight) == (("k1", "k2"), 2, 1)
    assert (group.latency, group.context_window, group.output_usd) == (0.5, 8000, None)
    (window,) = group.windows
    assert (window.shape, window.limit, window.kind) == (shape, 10, "requests")
    assert sum(units for _, units in window.frees) == pytest.approx(window.used)


def test_a_fixed_window_and_a_resting_group_say_so(make_pool):
    """The shape of the window and the end of the cooldown are part of the photograph."""
    pool = make_pool([{"rpm": 10, "shape": "fixed"}])
    pool.fail(pool.lease(1.0), 1.0, Fault.RATE_LIMIT_MINUTE, retry_after=30.0)
    (group,) = group_capacities(pool.route(), 11.0)
    assert group.available_in == pytest.approx(20.0)
    assert group.windows[0].shape == "fixed"
    assert group.windows[0].frees == ((49.0, 1.0),)
