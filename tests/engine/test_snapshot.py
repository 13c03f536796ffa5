"""A pool's memory: what it told is what another pool knows, whatever the clocks did."""

from __future__ import annotations

import json
import math

import pytest

from hydra_core.engine.bucket import Bucket
from hydra_core.engine.ceiling import Ceiling, SlowStart
from hydra_core.engine.counts import group_of, group_row, recount
from hydra_core.engine.quota import QuotaGroup
from hydra_core.engine.snapshot import KEEP_SECONDS, mark, merged, restore, take
from hydra_core.engine.study import Study
from hydra_core.engine.windows import NEVER, SlidingWindow
from hydra_core.messages import Fault
from hydra_core.wire import DAY, MINUTE, LimitReading, Verdict

HOUR = 3600.0
WALL = 1_790_000_000.0
YEARS = 10 * 365 * DAY
JUMPS = (0.0, -1.0, HOUR, -HOUR, YEARS, -YEARS)
SHAPES = ("sliding", "bucket", "fixed")


def stored(pool, now, wall=WALL, **options):
    """What would lie in the store: only JSON survives."""
    return json.loads(json.dumps(take(pool.manager, now, wall, **options), allow_nan=False))


def reborn(make_pool, keys, data, *, now=5.0, wall=WALL, identities=None, **settings):
    """A pool of another process, whose monotonic clock began elsewhere."""
    pool = make_pool(keys, **settings)
    restore(pool.manager, data, now, wall, identities=identities)
    return pool


def spend(pool, now, tokens=10.0, **found):
    lease = pool.lease(now, tokens, **found)
    pool.manager.settle(lease, now, tokens=tokens)
    return lease.deployment


@pytest.mark.parametrize("shape", SHAPES)
def test_what_was_used_of_the_day_is_still_used(make_pool, shape):
    """A second process begins with the counts of the first, and fires no more than is left."""
    keys = [{"rpd": 10, "tpd": 1000, "shape": shape}]
    first = make_pool(keys)
    for second in range(7):
        spend(first, 100.0 + second, tokens=100.0)
    group = reborn(make_pool, keys, stored(first, 110.0)).deployments[0].group
    assert [round(w.used(5.0)) for w in group.windows] == [7, 700]
    assert group.earliest(300.0, 5.0) == 5.0
    assert group.earliest(301.0, 5.0) > 5.0


@pytest.mark.parametrize("shape", SHAPES)
def test_what_returned_meanwhile_is_free(make_pool, shape):
    """After the night the day's count is gone; after half of it, a bucket's half is."""
    keys = [{"rpd": 10, "shape": shape}]
    first = make_pool(keys)
    for _ in range(10):
        spend(first, 0.0)
    data = stored(first, 1.0)
    half, whole = (
        reborn(make_pool, keys, data, wall=WALL + passed).deployments[0].group.windows[0]
        for passed in (DAY / 2, DAY + HOUR)
    )
    assert half.used(5.0) == pytest.approx(5.0 if shape == "bucket" else 10.0, abs=0.1)
    assert whole.used(5.0) == pytest.approx(0.0, abs=1e-6)


def test_a_rolling_count_returns_as_it_was_spent(make_pool):
    """Thousands of bookings shrink to a few, and none of them returns too early."""
    first = make_pool([{"rpd": 10_000}])
    for minute in range(600):
        spend(first, 60.0 * minute)
    data = stored(first, 36_000.0)
    assert len(json.dumps(data)) < 4_000
    window = reborn(make_pool, [{"rpd": 10_000}], data, now=0.0).deployments[0].group.windows[0]
    original = first.deployments[0].group.windows[0]
    for hours in (0, 14, 16, 20, 24):
        there, here = original.used(36_000.0 + hours * HOUR), window.used(hours * HOUR)
        assert there <= here <= there + 30
    assert window.used(25 * HOUR) == 0


@pytest.mark.parametrize("jump", JUMPS)
def test_a_cooldown_is_neither_forgotten_nor_stretched(make_pool, jump):
    """An hour's wait is over after an hour, or when the clock says so; never later."""
    first = make_pool([{}])
    lease = first.lease(0.0)
    first.fail(lease, 0.0, Fault.RATE_LIMIT_DAY, retry_after=HOUR)
    data = stored(first, 60.0)
    deployment = reborn(make_pool, [{}], data, wall=WALL + jump).deployments[0]
    left = deployment.hard_until - 5.0
    expected = HOUR - 60.0 - max(0.0, jump)
    assert max(left, 0.0) == pytest.approx(max(expected, 0.0), abs=0.01)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("jump", JUMPS)
def test_no_clock_makes_a_count_last_longer_than_its_window(make_pool, shape, jump):
    """Whatever the wall clock says on the second start, a full day is free a day later."""
    keys = [{"rpd": 4, "shape": shape}]
    first = make_pool(keys)
    for _ in range(4):
        spend(first, 0.0)
    pool = reborn(make_pool, keys, stored(first, 1.0), wall=WALL + jump)
    start = pool.deployments[0].group.earliest(1.0, 5.0)
    assert 5.0 <= start <= 5.0 + DAY + 2.0


def test_learned_limits_are_known_without_a_call(make_pool):
    """What a provider's headers said of its limits needs no configuration the next time."""
    first = make_pool([{}], windows={"acme": "bucket"})
    lease = first.lease(0.0)
    readings = [
        LimitReading("requests", MINUTE, limit=30, remaining=29),
        LimitReading("tokens", MINUTE, limit=6000, remaining=5000),
        LimitReading("requests", DAY, limit=1000, remaining=400),
    ]
    first.manager.settle(lease, 1.0, readings=readings)
    windows = reborn(make_pool, [{}], stored(first, 1.0)).deployments[0].group.windows
    assert [(w.kind, w.length, w.limit, w.configured) for w in windows] == [
        ("requests", MINUTE, 30, False),
        ("tokens", MINUTE, 6000, False),
        ("requests", DAY, 1000, False),
    ]
    assert windows[2].used(5.0) == pytest.approx(600, abs=1)


def test_guesses_and_care_are_taken_up_where_they_were(make_pool):
    """A supposed limit is still a guess, a slow start goes on, and a ceiling holds."""
    pools = [make_pool([{}]), make_pool([{}])]
    for pool in pools:
        group = pool.deployments[0].group
        group.study, group.slow_start = Study(), SlowStart()
    group = pools[0].deployments[0].group
    window = SlidingWindow("requests", 30.0, MINUTE, configured=False)
    group.windows.append(window)
    group.study.suppose(window, 0.0, patience=400)
    group.ceiling = Ceiling(3, 0.0, 1.0)
    for call in range(64):
        group.slow_start.sent(float(call))
    restore(pools[1].manager, stored(pools[0], 64.0), 5.0, WALL)
    heir = pools[1].deployments[0].group
    (learned,) = heir.windows
    guess = heir.study.guesses[learned]
    assert (learned.limit, learned.tentative, guess.patience) == (30.0, True, 400)
    assert (heir.ceiling.allowed, heir.concurrency) == (3, 3)
    assert heir.slow_start.allowed == group.slow_start.allowed > 1
    told = make_pool([{"rpm": 60, "tpm": 1000}])
    restore(told.manager, stored(pools[0], 64.0), 5.0, WALL)
    assert [w.limit for w in told.deployments[0].group.windows] == [60, 1000]


def test_a_learned_fixed_window_keeps_its_reset(make_pool):
    """The instant of reset that the provider stated is an instant of the wall clock."""
    first = make_pool([{}], windows={"acme": "fixed"})
    lease = first.lease(0.0)
    reading = LimitReading("requests", DAY, limit=50, remaining=0, reset=2 * HOUR)
    first.manager.settle(lease, 0.0, readings=[reading])
    pool = reborn(make_pool, [{}], stored(first, 0.0), wall=WALL + HOUR)
    window = pool.deployments[0].group.windows[0]
    assert window.earliest(1.0, 5.0) == pytest.approx(5.0 + HOUR, abs=1.0)


def test_a_configured_limit_beats_a_stored_one(make_pool):
    """The count stays, the size is the file's; a limit the file dropped does not come back."""
    first = make_pool([{"rpm": 10, "rpd": 100}])
    for _ in range(6):
        spend(first, 0.0)
    data = stored(first, 0.0)
    raised = reborn(make_pool, [{"rpm": 50}], data).deployments[0].group.windows
    assert [(w.limit, w.used(5.0)) for w in raised] == [(50, 6)]
    lowered = reborn(make_pool, [{"rpm": 3}], data).deployments[0].group.windows
    assert [(w.limit, w.used(5.0)) for w in lowered] == [(3, 3)]


def test_keys_of_one_account_share_what_any_of_them_counted(make_pool):
    """Each key kept a count of the account's; the larger one holds, not their sum."""
    keys = [{"name": name, "account": "acme", "rpd": 10} for name in ("a", "b")]
    first = make_pool(keys)
    early = stored(first, 0.0)
    for _ in range(6):
        spend(first, 0.0)
    late = stored(first, 1.0)
    late["deployments"]["acme/a/m"] = early["deployments"]["acme/a/m"]
    group = reborn(make_pool, keys, late).deployments[0].group
    assert group.windows[0].used(5.0) == 6


def test_a_dead_key_stays_dead_until_it_is_replaced(make_pool):
    """Its identity is its value's: another value under the same name is alive."""
    first = make_pool([{"name": "a"}, {"name": "b"}])
    first.fail(first.lease(0.0, avoid=[first.by("b")]), 0.0, Fault.AUTH)
    old = {("acme", "a"): "1111", ("acme", "b"): "2222"}
    data = stored(first, 0.0, identities=old)
    same = reborn(make_pool, [{"name": "a"}, {"name": "b"}], data, identities=old)
    assert [d.hard_until == NEVER for d in same.deployments] == [True, False]
    renamed = {("acme", "first"): "1111", ("acme", "b"): "2222"}
    pool = reborn(make_pool, [{"name": "first"}, {"name": "b"}], data, identities=renamed)
    assert pool.by("first").scopes.key.dead
    new = {**old, ("acme", "a"): "3333"}
    pool = reborn(make_pool, [{"name": "a"}, {"name": "b"}], data, identities=new)
    assert not any(d.rests_at(5.0) for d in pool.deployments)


def test_a_provider_without_a_living_key_is_tried_again(make_pool):
    """All its keys refused is as likely the provider's fault, or mended; others stay dead."""
    keys = [{"name": "a"}, {"name": "b", "provider": "other"}, {"name": "c", "provider": "other"}]
    first = make_pool(keys)
    for name, avoided in (("a", "bc"), ("b", "ac")):
        lease = first.lease(0.0, avoid=[first.by(other) for other in avoided])
        assert lease.deployment.key == name
        first.fail(lease, 0.0, Fault.AUTH)
    pool = reborn(make_pool, keys, stored(first, 0.0))
    assert {d.key: d.hard_until == NEVER for d in pool.deployments} == {
        "a": False, "b": True, "c": False,
    }  # fmt: skip


def test_a_restored_rest_is_obeyed_at_once(make_pool):
    """The first lease after a restart goes to the key that may be used."""
    keys = [{"name": "a"}, {"name": "b"}]
    first = make_pool(keys)
    lease = first.lease(0.0)
    first.fail(lease, 0.0, Fault.RATE_LIMIT_DAY, retry_after=HOUR)
    pool = make_pool(keys)
    pool.lease(5.0)  # the rosters exist already
    restore(pool.manager, stored(first, 0.0), 5.0, WALL)
    assert {pool.lease(6.0).deployment.key for _ in range(4)} == {"a", "b"} - {lease.deployment.key}


def test_opinions_and_ratios_are_remembered_and_doubts_are_not(make_pool):
    """Score and tokens per character survive; a breaker or a soft rest does not."""
    first = make_pool([{}])
    deployment = first.deployments[0]
    first.manager.passed(first.lease(0.0), 3.0)
    first.manager.judged("acme", "m", "k1", 0.5)
    deployment.score.glanced(0.2)
    first.fail(first.lease(0.0), 10.0, Fault.OVERLOADED)
    deployment.model.tokens_per_char, deployment.model.usual_output = 0.4, 99.0
    later = reborn(make_pool, [{}], stored(first, 11.0), wall=WALL + 100.0).deployments[0]
    assert later.score.value(5.0) == pytest.approx(deployment.score.value(111.0))
    assert (later.score.latency, later.score.sense) == (3.0, deployment.score.sense)
    assert later.score.form == deployment.score.form == pytest.approx(0.96)
    assert (later.model.tokens_per_char, later.model.usual_output) == (0.4, 99.0)
    assert not later.rests_at(5.0)


@pytest.mark.parametrize("change", ["version", "scale", "age"])
def test_a_memory_of_another_world_is_not_believed(make_pool, change):
    """Another version, another scale of time, or a month ago: the pool begins afresh."""
    first = make_pool([{"rpd": 10}])
    first.fail(first.lease(0.0), 0.0, Fault.AUTH)
    data = stored(first, 0.0)
    settings, wall = {}, WALL
    if change == "version":
        data["version"] += 1
    elif change == "scale":
        settings["scale"] = 0.5
    else:
        wall += KEEP_SECONDS + 1
    pool = reborn(make_pool, [{"rpd": 10}], data, wall=wall, **settings)
    assert pool.lease(5.0) is not None
    assert pool.deployments[0].group.windows[0].used(5.0) == 1


NONSENSE = (None, True, "x", "", -1, 1e300, math.nan, math.inf, [], {}, [[]], [None], {"a": 1})


def leaves(value, path=()):
    """The path of every value inside plain data, containers included."""
    yield path
    if isinstance(value, dict | list):
        for name in value if isinstance(value, dict) else range(len(value)):
            yield from leaves(value[name], (*path, name))


def test_nonsense_anywhere_costs_its_row_and_nothing_else(make_pool):
    """Each value of a snapshot replaced by each kind of nonsense: the pool still leases."""
    keys = [{"rpm": 10, "tpd": 1e6, "shape": "fixed"}, {"rpm": 10, "name": "b"}]
    first = make_pool(keys)
    first.fail(first.lease(0.0), 0.0, Fault.RATE_LIMIT_MINUTE, retry_after=30.0)
    whole = json.dumps(stored(first, 0.0))
    for path in leaves(json.loads(whole)):
        for nonsense in NONSENSE if path else ():
            data = json.loads(whole)
            spot = data
            for name in path[:-1]:
                spot = spot[name]
            spot[path[-1]] = nonsense
            pool = reborn(make_pool, keys, data)
            lease = pool.lease(5.0 + DAY + 2.0)
            assert lease is not None, (path, nonsense)
            assert lease.deployment.model.tokens_per_char < 5


def test_of_two_processes_the_sum_and_the_longer_rest_are_kept(make_pool):
    """Neither saw what the other sent, so a row keeps what both have added to each limit."""
    keys = [{"rpm": 10, "rpd": 100}]
    mine, theirs = make_pool(keys), make_pool(keys)
    for _ in range(4):
        spend(mine, 0.0)
    spend(theirs, 0.0)
    theirs.fail(theirs.lease(0.0), 0.0, Fault.RATE_LIMIT_DAY, retry_after=HOUR)
    name = "acme/k1/m"
    ours = stored(mine, 0.0)["deployments"][name]
    row = merged(stored(theirs, 0.0)["deployments"][name], ours, WALL, before=None, kept=None)
    data = {"version": 1, "deployments": {name: row}}
    deployment = reborn(make_pool, keys, data).deployments[0]
    assert [w.used(5.0) for w in deployment.group.windows] == [6, 6]
    assert deployment.hard_until == pytest.approx(5.0 + HOUR)
    assert merged({"at": "damaged"}, ours, WALL, before=None, kept=None) == ours
    assert merged(row, ours, WALL, before=ours, kept=row)["windows"] == row["windows"]
    told = stored(reborn(make_pool, keys, data), 5.0)["deployments"][name]
    again = merged(row, told, WALL, before=None, kept=row)
    assert [count.used for count in group_of(again, WALL, WALL).windows] == [6, 6]


def test_a_rest_that_was_lifted_does_not_come_back_from_the_store(make_pool):
    """What this process stored and took back is gone; what another one said of the key stays."""
    keys = [{"name": "a"}]
    pool = make_pool(keys)
    pool.fail(pool.lease(0.0), 0.0, Fault.AUTH)
    dead = stored(pool, 0.0)["deployments"]["acme/a/m"]
    pool.deployments[0].scopes.key.revive(0.0)
    ours = stored(pool, 1.0)["deployments"]["acme/a/m"]
    assert merged(dead, ours, WALL, before=dead, kept=dead)["rests"] == {}
    assert merged(dead, ours, WALL, before=None, kept=dead)["rests"] == {}
    assert merged(dead, ours, WALL, before=ours, kept=dead)["rests"] == dead["rests"]


@pytest.mark.parametrize("died", [10.0, 30.0])
def test_of_a_death_and_an_answer_the_later_is_kept(make_pool, died):
    """One process saw a key refused, another had an answer of it at 20: whoever writes last."""
    one, other = make_pool([{}]), make_pool([{}])
    one.fail(one.lease(died), died, Fault.AUTH)
    lease = other.lease(20.0)
    other.manager.passed(lease, 0.0)
    other.manager.settle(lease, 20.0)
    rows = [stored(pool, 40.0)["deployments"]["acme/k1/m"] for pool in (one, other)]
    for theirs, ours in (rows, rows[::-1]):
        row = merged(theirs, ours, WALL, before=None, kept=None)
        again = merged(json.loads(json.dumps(row)), theirs, WALL, before=theirs, kept=theirs)
        once_more = merged(again, ours, WALL, before=ours, kept=row)
        assert [("key" in kept["rests"]) for kept in (row, again, once_more)] == [died > 20.0] * 3


@pytest.mark.parametrize("models", [["m", "n"], ["n", "m"]])
def test_an_answer_by_another_model_outlives_a_death(make_pool, models):
    """The key's row of one model says dead, that of another answered later: it lives."""
    keys = [{"name": "a", "models": models}, {"name": "b", "models": models}]
    pool = make_pool(keys)
    pool.fail(pool.lease(10.0, model="m"), 10.0, Fault.AUTH)
    dead = stored(pool, 11.0)
    data = json.loads(json.dumps(dead))
    data["deployments"]["acme/a/n"] |= {"rests": {}, "alive_at": WALL + 5.0}
    heir = make_pool(keys)
    unbelieved = restore(heir.manager, data, 5.0, WALL + 10.0)
    assert {d.name for d in unbelieved} == {"acme/m via a"}
    assert not any(d.scopes.key.dead for d in heir.deployments)
    heir = reborn(make_pool, keys, dead, wall=WALL + 10.0)
    assert {d.key for d in heir.deployments if d.scopes.key.dead} == {"a"}
    told = stored(heir, 7.0, WALL + 12.0)["deployments"]["acme/a/m"]
    assert told["died_at"] == pytest.approx(dead["deployments"]["acme/a/m"]["died_at"])


@pytest.mark.parametrize("died", [10.0, 30.0])
def test_a_store_that_is_heard_late_kills_no_key_that_answered_since(make_pool, died):
    """It tells of a death; what this process has had an answer of later than that lives."""
    keys = [{}, {}]
    other, pool = make_pool(keys), make_pool(keys)
    other.fail(other.lease(died), died, Fault.AUTH)
    lease = pool.lease(20.0)
    pool.manager.passed(lease, 15.0)
    pool.manager.settle(lease, 35.0)
    restore(pool.manager, stored(other, 40.0), 40.0, WALL)
    assert pool.by("k1").scopes.key.dead == (died > 20.0)


def test_a_sign_in_that_failed_for_all_leaves_no_death_in_the_store(make_pool):
    """Keys that were refused together and forgiven are well as of then, whoever stored a death."""
    pool = make_pool([{}, {}, {}])
    for key in ("k1", "k2", "k3"):
        spend(pool, 1.0, avoid=[d for d in pool.deployments if d.key != key])
        pool.manager.passed(pool.lease(1.0), 0.1)
    leases = [pool.lease(9.0) for _ in pool.deployments]
    for lease in leases[:2]:
        pool.fail(lease, 10.0, Fault.AUTH)
    dead = stored(pool, 10.0, WALL + 10.0)["deployments"]
    pool.fail(leases[2], 11.0, Fault.AUTH)
    rows = stored(pool, 12.0, WALL + 12.0)["deployments"]
    assert sum("key" in row["rests"] for row in dead.values()) == 2
    for name, theirs in dead.items():
        row = merged(theirs, rows[name], WALL + 12.0, before=None, kept=None)
        assert "key" not in row["rests"]


def test_a_clock_that_is_ahead_stretches_no_rest_that_another_keeps(make_pool):
    """A minute's wait, written by a host whose clock is a year ahead, is a minute in the sum."""
    ahead, right = make_pool([{}]), make_pool([{}])
    ahead.fail(ahead.lease(0.0), 0.0, Fault.RATE_LIMIT_MINUTE, retry_after=60.0)
    theirs = stored(ahead, 0.0, WALL + 365 * DAY)["deployments"]["acme/k1/m"]
    ours = stored(right, 0.0)["deployments"]["acme/k1/m"]
    row = json.loads(json.dumps(merged(theirs, ours, WALL, before=None, kept=None)))
    heir = reborn(make_pool, [{}], {"version": 1, "deployments": {"acme/k1/m": row}})
    assert heir.deployments[0].hard_until == pytest.approx(5.0 + 60.0)


def test_a_death_is_the_key_s_whatever_the_model(make_pool):
    """Where all keys are dead, a model that they have only now does not bury them for good."""
    first = make_pool([{"name": "a"}])
    first.fail(first.lease(0.0), 0.0, Fault.AUTH)
    pool = make_pool([{"name": "a", "models": ["m", "new"]}])
    unbelieved = restore(pool.manager, stored(first, 0.0), 5.0, WALL)
    assert not any(d.rests_at(5.0) for d in pool.deployments)
    assert {d.model.name for d in unbelieved} == {"m"}


@pytest.mark.parametrize("shape", SHAPES)
def test_what_processes_send_by_turns_adds_up(make_pool, shape):
    """Each adds what it has counted since it stored last, and keeps what the other has added."""
    keys = [{"rpd": 100, "shape": shape}]
    name, row = "acme/k1/m", {}
    pools = [make_pool(keys), make_pool(keys)]
    last = [{"before": None, "kept": None}] * 2
    for turn, calls in enumerate((4, 3, 2, 5, 1, 6)):
        which, now = turn % 2, 10.0 * turn
        for _ in range(calls):
            spend(pools[which], now)
        ours = stored(pools[which], now, WALL + now)["deployments"][name]
        row = merged(row, ours, WALL + now, **last[which]) if row else ours
        last[which] = {"before": ours, "kept": row}
    data = {"version": 1, "deployments": {name: json.loads(json.dumps(row))}}
    (window,) = reborn(make_pool, keys, data, wall=WALL + 60.0).deployments[0].group.windows
    assert window.used(5.0) == pytest.approx(21, abs=0.1)  # a bucket refills by 0.06 meanwhile


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("late", [False, True])
def test_what_the_provider_told_of_others_is_not_added_again(make_pool, shape, late):
    """Each reply states what all have used: the store's sum is that, whoever writes when."""
    keys = [{"rpd": 100, "shape": shape}]
    name, row, total = "acme/k1/m", {}, 0
    pools = [make_pool(keys), make_pool(keys)]
    last = [{"before": None, "kept": None}] * 2
    for turn, calls in enumerate((4, 3, 2, 5, 1, 6)):
        which, now = turn % 2, 10.0 * turn
        (window,) = pools[which].deployments[0].group.windows
        for _ in range(calls):
            spend(pools[which], now)
            total += 1
            window.observe(total, None, now)
        for writer in (1, 0) if late and which else () if late else (which,):
            ours = stored(pools[writer], now, WALL + now)["deployments"][name]
            row = merged(row, ours, WALL + now, **last[writer]) if row else ours
            last[writer] = {"before": ours, "kept": row}
    data = {"version": 1, "deployments": {name: json.loads(json.dumps(row))}}
    (window,) = reborn(make_pool, keys, data, wall=WALL + 60.0).deployments[0].group.windows
    assert window.used(5.0) == pytest.approx(21, abs=0.1)


@pytest.mark.parametrize("shape", SHAPES)
def test_what_was_booked_and_not_used_leaves_the_sum_again(make_pool, shape):
    """A store that is written while calls are under way keeps what they took in the end."""
    keys = [{"tpd": 1e6, "shape": shape}]
    name, row = "acme/k1/m", {}
    pools = [make_pool(keys), make_pool(keys)]
    last = [{"before": None, "kept": None}] * 2
    for turn in range(12):
        which = turn % 2
        lease = pools[which].lease(1.0, 4000.0)
        for _ in range(2):
            ours = stored(pools[which], 1.0)["deployments"][name]
            row = merged(row, ours, WALL, **last[which]) if row else ours
            last[which] = {"before": ours, "kept": row}
            pools[which].manager.settle(lease, 1.0, tokens=500.0)
    (count,) = group_of(row, WALL, WALL).windows
    assert count.used == pytest.approx(12 * 500.0, abs=10.0)  # what a bucket gains on the way


def test_a_mark_moves_with_whatever_is_worth_storing(make_pool):
    """A call, its end, a fault and an opinion are changes; looking is none."""
    pool = make_pool([{}])
    deployment = pool.deployments[0]
    marks = [mark(deployment)]
    lease = pool.lease(0.0)
    marks.append(mark(deployment))
    pool.fail(lease, 0.0, Fault.OVERLOADED)
    marks.append(mark(deployment))
    pool.manager.judged("acme", "m", "k1", 0.1)
    marks.append(mark(deployment))
    assert len(set(marks)) == 4
    assert mark(deployment) == marks[-1]


def test_a_slice_is_part_of_the_whole(make_pool):
    """Taking some deployments gives the same rows as taking all."""
    pool = make_pool([{"name": "a", "models": ["m", "n"]}, {"name": "b"}])
    whole = take(pool.manager, 0.0, WALL)
    some = take(pool.manager, 0.0, WALL, deployments=[pool.by("b")])
    assert list(some["deployments"]) == ["acme/b/m"]
    assert some["deployments"].items() <= whole["deployments"].items()
    assert list(some["models"]) == ["acme/m"]


def test_keys_that_proved_to_share_an_account_share_it_from_the_start(make_pool):
    """What the provider's words showed is not to be shown again; each count is one count."""
    keys = [{"name": name, "rpd": 10} for name in ("a", "b", "c")]
    first = make_pool(keys)
    for name in ("a", "b"):
        avoided = [d for d in first.deployments if d.key != name]
        lease = first.lease(0.0, avoid=avoided)
        first.manager.accounts.heard(lease, Verdict(status=200, scope_hint="org-1"), 0.0)
        first.manager.settle(lease, 0.0, tokens=1.0)
    old = {("acme", name): name * 4 for name in "abc"}
    data = stored(first, 0.0, identities=old)
    pool = reborn(make_pool, keys, data, identities=old)
    a, b, c = pool.deployments
    assert a.group is b.group is not c.group
    assert a.group.windows[0].used(5.0) == 2
    replaced = {**old, ("acme", "b"): "another"}
    pool = reborn(make_pool, keys, data, identities=replaced)
    assert pool.by("a").group is not pool.by("b").group


def test_an_overdrawn_bucket_is_remembered():
    """What was used far beyond a limit takes longer than its period to return, and is no damage."""
    group = QuotaGroup("acme", [Bucket("tokens", 1000.0, 60.0)])
    group.windows[0].observe(7000.0, None, 5.0)
    row = group_of(group_row(group, 5.0, WALL), WALL, WALL)
    again = QuotaGroup("acme", [Bucket("tokens", 1000.0, 60.0)])
    recount(again, [row], 1.0, 9.0)
    assert again.windows[0].used(9.0) == pytest.approx(7000.0)


def test_a_bucket_that_was_full_gains_nothing_from_a_restart(make_pool):
    """What our bucket must not gain before the first call arrives, it must not gain anew either."""
    keys = [{"rpm": 60, "shape": "bucket"}]
    first = make_pool(keys)
    spend(first, 100.0)
    again = reborn(make_pool, keys, stored(first, 100.0), now=100.0)
    for pool in (first, again):
        for _ in range(58):
            spend(pool, 100.0)
    one, other = (
        pool.deployments[0].group.windows[0].earliest(2.0, 100.0) for pool in (first, again)
    )
    assert one > 101.2
    assert other == pytest.approx(one)
