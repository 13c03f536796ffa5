"""What an account can still pay for is remembered, and only what costs more is kept away."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hydra_core.engine.credit import REMEMBERED
from hydra_core.engine.explanation import foreseen
from hydra_core.errors import RequestRejected
from hydra_core.messages import ChatRequest, Fault

if TYPE_CHECKING:
    from collections.abc import Callable

CREDIT = 900


@pytest.fixture
def world(make_pool, make_world, ok, refuse) -> Callable:
    """A world of keys in order of priority, of which `k1` pays for answers of 900 tokens."""
    poor = refuse(Fault.REQUEST_TOO_LARGE, status=402, affordable_tokens=CREDIT)

    def judge(lease, _):
        asked = made.begun[-1].request.max_tokens
        return 0.1, ok() if lease.deployment.key == "k2" or (asked or 9999) <= CREDIT else poor

    made = None

    def make(*keys, **settings):
        nonlocal made
        pool = make_pool([{"name": key} for key in keys], strategy="priority", **settings)
        made = make_world(pool, judge)
        return made

    return make


def ask(world, *asked):
    """Ask one request a second, of these `max_tokens`; which keys they were sent to."""
    before = len(world.sent)
    for second, tokens in enumerate(asked, 1):
        params = {} if tokens is None else {"max_tokens": tokens}
        world.ask(world.now + second, params=params)
    world.run()
    return [lease.deployment.key for _, lease in world.sent[before:]]


def test_more_than_the_credit_pays_for_is_not_sent_there_again(world):
    """Another key serves it at once; what costs less still goes to the poor one."""
    world = world("k1", "k2")
    assert ask(world, 5000, 5000, None, 901, 900, 5) == ["k1", *["k2"] * 4, "k1", "k1"]
    assert not any(d.rests_at(world.now) for d in world.pool.deployments)


def test_credit_is_asked_about_again_after_a_while(world):
    """It may have been added, and a refusal costs nothing."""
    world = world("k1", "k2")
    assert ask(world, 5000) == ["k1", "k2"]
    world.now += REMEMBERED
    assert ask(world, 5000) == ["k1", "k2"]


def test_who_names_no_number_is_given_what_the_credit_pays_for(world):
    """Where no other key can serve, it is asked for that at once, without another refusal."""
    world = world("k1")
    assert ask(world, None, None, None) == ["k1", "k1", "k1", "k1"]
    assert [journey.request.max_tokens for journey in world.begun] == [CREDIT] * 3
    assert len(world.replies) == 3


def test_a_number_is_never_lowered_but_told(world):
    """It is the caller's, so the error says how much would do, and nothing is sent."""
    world = world("k1")
    assert ask(world, 5000, 5000) == ["k1"]
    _, (_, error) = world.errors
    assert isinstance(error, RequestRejected)
    assert "at most 900 tokens" in str(error)
    assert "lower max_tokens" in str(error)


def test_explain_tells_the_credit(world):
    """It says what the account can pay for, and whom the request would go to."""
    world = world("k1", "k2")
    ask(world, 5000)
    for tokens, chosen, why in ((5000, "k2", "at most 900 tokens"), (900, "k1", "preferred")):
        request = ChatRequest([{"role": "user", "content": "hi"}], params={"max_tokens": tokens})
        rows = foreseen(world.pool.manager, request, 2.0, falling_back=False, max_wait=0.0)
        assert (rows[0]["key"], rows[0]["chosen"]) == (chosen, True)
        assert why in rows[1]["why"]


def test_credit_that_shrinks_is_followed_down(make_pool, make_world, ok, refuse):
    """Each answer costs some, so what was affordable last time is refused: less is asked for."""
    credit = 1000

    def judge(_lease, _):
        nonlocal credit
        if (world.begun[-1].request.max_tokens or 9999) > credit:
            return 0.1, refuse(Fault.REQUEST_TOO_LARGE, status=402, affordable_tokens=credit)
        credit -= 60
        return 0.1, ok()

    world = make_world(make_pool([{"name": "k1"}]), judge)
    assert ask(world, None, None, None) == ["k1"] * 6
    assert [journey.request.max_tokens for journey in world.begun] == [1000, 940, 880]
    assert (len(world.replies), world.errors) == (3, [])


def test_an_account_that_contradicts_itself_is_not_asked_for_ever(
    make_pool, make_world, refuse
):
    """One that refuses what it said it can pay for ends with its own words."""
    poor = refuse(Fault.REQUEST_TOO_LARGE, status=402, affordable_tokens=CREDIT)
    world = make_world(make_pool([{"name": "k1"}]), lambda *_: (0.1, poor))
    assert ask(world, None) == ["k1"] * 5
    ((_, error),) = world.errors
    assert (type(error), error.status) == (RequestRejected, 402)


def test_explain_bears_credit_with_no_smaller_model(world):
    """Credit that pays for nothing worth asking leaves a row that says so."""
    world = world("k1")
    (deployment,) = world.pool.deployments
    world.pool.manager.routes.credit.heard(deployment.group, 30, 0.0, 1.0)
    request = ChatRequest([{"role": "user", "content": "hi"}])
    (row,) = foreseen(world.pool.manager, request, 2.0, falling_back=True, max_wait=0.0)
    assert (row["chosen"], row["starts_in"]) == (False, None)
    assert "at most 30 tokens" in row["why"]
