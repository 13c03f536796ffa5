"""The virtual schedule: within every limit, and as fast as limits allow."""

import math
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hydra_core.engine.capacity import GroupCapacity, WindowCapacity
from hydra_core.swarm.bound import cheap_bound, least_makespan
from hydra_core.swarm.virtual import schedule

SHAPES = ("sliding", "bucket", "fixed")


def latency(group: GroupCapacity, tokens: int) -> float:
    return (group.latency or 0.0) * (0.5 + tokens / 8_000)


@st.composite
def windows(draw, kind, shape, limits):
    limit = draw(limits)
    taken = draw(st.lists(st.tuples(st.integers(1, 59), st.integers(1, limit)), max_size=3))
    frees, used = [], 0
    for back, amount in sorted(taken):
        amount = min(amount, limit - used)
        if amount:
            frees.append((float(back), float(amount)))
            used += amount
    if shape == "bucket":
        frees = []
    if shape == "fixed" and frees:
        frees = [(frees[0][0], float(used))]
    return WindowCapacity(kind, 60.0, float(limit), float(used), shape, tuple(frees))


@st.composite
def pools(draw, shape):
    groups = []
    for number in range(draw(st.integers(1, 5))):
        lanes = draw(st.one_of(st.none(), st.integers(1, 8)))
        own = (
            draw(windows("requests", shape, st.integers(1, 60))),
            draw(windows("tokens", shape, st.integers(4_000, 200_000))),
        )
        groups.append(
            GroupCapacity(
                name=f"g{number}", provider="p", model="m", keys=("k",), windows=own,
                concurrency=lanes,
                in_flight=draw(st.integers(0, lanes)) if lanes else 0,
                available_in=draw(st.sampled_from([0.0, 0.0, 7.0])),
                context_window=None, max_output=None,
                latency=draw(st.sampled_from([0.5, 1.0, 3.0, 11.0, 70.0])),
                input_usd=None, output_usd=None,
            )
        )  # fmt: skip
    return groups


def taken_in(window, charges, start, end):
    """Permits charged in [start, end), old charges at the time they must have been made."""
    old = [(back - window.window, amount) for back, amount in window.frees]
    rest = window.used - sum(amount for _, amount in window.frees)
    old.append((0.0, rest))
    return sum(amount for at, amount in [*old, *charges] if start - 1e-6 < at < end - 1e-6)


def assert_within(window, charges):
    """Every limit by brute force over all intervals that could break it."""
    bound = window.limit * (1 + 1e-6)
    if window.shape == "sliding":
        for start in {at for at, _ in charges} | {back - window.window for back, _ in window.frees}:
            assert taken_in(window, charges, start, start + window.window) <= bound
    elif window.shape == "fixed":
        edge = window.frees[0][0] if window.frees else window.window
        assert window.used + sum(a for at, a in charges if at < edge - 1e-6) <= bound
        for number in range(int(max((at for at, _ in charges), default=0) // window.window) + 1):
            low = edge + number * window.window
            inside = [a for at, a in charges if low - 1e-6 <= at < low + window.window - 1e-6]
            assert sum(inside) <= bound
    else:
        level, last = window.limit - window.used, 0.0
        for at, amount in charges:
            level = min(window.limit, level + (at - last) * window.limit / window.window) - amount
            last = at
            assert level >= -1e-6 * window.limit


def assert_lanes(group, calls):
    edges = [(call.start, 1) for call in calls] + [(call.end, -1) for call in calls]
    busy = group.in_flight
    edges += [(group.latency, -1)] * busy
    for at, step in sorted(edges, key=lambda edge: (round(edge[0], 6), edge[1])):
        busy += step
        assert busy <= group.concurrency, at


def check(groups, sizes, plan):
    for index, group in enumerate(groups):
        own = sorted((call for call in plan if call.group == index), key=lambda call: call.start)
        assert all(call.start >= group.available_in for call in own)
        for window in group.windows:
            need = [1 if window.kind == "requests" else sizes[call.shard] for call in own]
            assert_within(window, [(c.start, n) for c, n in zip(own, need, strict=True)])
        if group.concurrency is not None:
            assert_lanes(group, own)


@pytest.mark.parametrize("shape", SHAPES)
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_equal_shards_take_the_least_time_that_limits_allow(shape, data):
    """Earliest completion first reaches the exact bound for equal shards."""
    groups = data.draw(pools(shape))
    sizes = [data.draw(st.integers(1_000, 6_000))] * data.draw(st.integers(1, 80))
    plan = schedule(sizes, groups, latency)
    bound = least_makespan(len(sizes), sizes[0], groups, lambda group: latency(group, sizes[0]))
    if math.isinf(bound):
        assert len(plan) < len(sizes)
        return
    assert max(call.end for call in plan) == pytest.approx(bound, abs=1e-5)
    check(groups, sizes, plan)


@pytest.mark.parametrize("shape", SHAPES)
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_mixed_sizes_stay_within_every_limit(shape, data):
    """No schedule breaks a limit, and none beats the cheap bound."""
    groups = data.draw(pools(shape))
    sizes = data.draw(st.lists(st.integers(500, 8_000), min_size=1, max_size=60))
    plan = schedule(sizes, groups, latency)
    check(groups, sizes, plan)
    if len(plan) == len(sizes):
        assert max(call.end for call in plan) >= cheap_bound(sizes, groups, latency) - 1e-6


def test_a_fixed_window_waits_for_its_boundary():
    """Two calls a window, one already taken: the others start at the boundaries."""
    window = WindowCapacity("requests", 60.0, 2.0, 1.0, "fixed", ((12.0, 1.0),))
    group = GroupCapacity(
        "g", "p", "m", ("k",), (window,), None, 0, 0.0, None, None, 1.0, None, None
    )
    starts = [call.start for call in schedule([100] * 4, [group], latency)]
    assert starts == [0.0, 12.0, 12.0, 72.0]
    assert all(before <= after for before, after in pairwise(starts))


def test_a_shard_that_fits_no_group_is_left_out():
    """A call above every token limit has no place in a schedule, and the bound says so."""
    window = WindowCapacity("tokens", 60.0, 1_000.0, 0.0, "sliding")
    group = GroupCapacity(
        "g", "p", "m", ("k",), (window,), None, 0, 0.0, None, None, 1.0, None, None
    )
    assert schedule([2_000, 500], [group], latency)[0].shard == 1
    assert math.isinf(least_makespan(1, 2_000, [group], lambda _: 1.0))
