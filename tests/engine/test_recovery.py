"""A limit that was supposed for no good reason is soon given up."""

from __future__ import annotations

import pytest

from hydra_core.engine.steps import Patience
from hydra_core.messages import Fault


@pytest.mark.parametrize("shape", ["sliding", "bucket"])
@pytest.mark.parametrize(("wait", "minutes"), [(None, 4), (5.0, 4), (20.0, 9)])
def test_a_refusal_that_came_of_something_else_costs_minutes(
    make_pool, make_world, ok, refuse, shape, wait, minutes
):
    """One refusal of a provider without limits; soon all two calls a second are served again."""
    pool = make_pool([{"untold": True, "shape": shape}], windows={"acme": shape})
    refusals = iter([refuse(Fault.RATE_LIMIT_MINUTE, status=429, retry_after=wait)])

    def judge(_lease, now):
        return 0.5, (next(refusals, None) if now >= 30.0 else None) or ok(300)

    world = make_world(pool, judge)
    for place in range(120 * (minutes + 3)):
        world.ask(place / 2.0, 300.0, patience=Patience(max_wait=1e5, timeout=1e5))
    world.run()
    last = [at for at, _ in world.replies if at >= 60.0 * minutes]
    assert len(world.replies) == 120 * (minutes + 3)
    assert max(last) <= 60.0 * (minutes + 3) + 1.0
    assert all(window.limit < 1e6 for window in pool.by("k1").group.windows)


@pytest.mark.parametrize("shape", ["sliding", "bucket"])
@pytest.mark.parametrize("tokens", [1500.0, 4000.0])
def test_a_supposed_limit_with_room_for_no_further_large_request_is_doubted(
    make_pool, make_world, ok, refuse, shape, tokens
):
    """Who holds back one more such request is near, however far from its limit it stands."""
    pool = make_pool([{"untold": True, "shape": shape}], windows={"acme": shape})
    refusals = iter([refuse(Fault.RATE_LIMIT_MINUTE, status=429, retry_after=30.0)])

    def judge(_lease, now):
        return 0.5, (next(refusals, None) if now >= 60.0 else None) or ok(tokens)

    world = make_world(pool, judge)
    asked = [10.0 * place for place in range(180)]
    for at in asked:
        world.ask(at, tokens, patience=Patience(max_wait=1e5, timeout=1e5))
    world.run()
    assert max(at for at, _ in world.replies) <= asked[-1] + 10.0
