"""A journey that steps down to smaller models before it gives up."""

from __future__ import annotations

import pytest

from hydra_core.engine.fallback import FallbackDispatch
from hydra_core.engine.steps import GiveUp, Park, Patience, Send
from hydra_core.errors import DeadlineExceeded, PoolExhausted, RequestRejected
from hydra_core.messages import ChatRequest, Fault


@pytest.fixture
def journey(make_pool):
    """A pool of one key with a large and a small model, and a journey over both."""

    def build(now=1.0, *, large=1, small=9, **request):
        pool = make_pool([{"models": ["large", "small"]}])
        for name, limit in (("large", large), ("small", small)):
            pool.by("k1", name).group.concurrency = limit
        size = pool.lease(0.0).size
        asked = ChatRequest([{"role": "user", "content": "hi"}], **request)
        smaller = pool.route(smaller=True)
        patience = Patience(max_wait=5.0, timeout=60.0)
        return pool, FallbackDispatch(
            asked, pool.route(), patience, now=now, size=size, smaller=smaller
        )

    return build


def test_a_model_with_capacity_is_not_left(journey):
    """The smaller model serves nobody while the wished one can."""
    pool, call = journey(large=2)
    step = call.next_step(pool.manager, 1.0)
    assert isinstance(step, Send)
    assert step.lease.deployment.model.name == "large"


def test_a_smaller_model_serves_when_the_wait_is_too_long(journey):
    """First the patience for the wished model, then the next smaller one, in one call."""
    pool, call = journey()
    assert isinstance(call.next_step(pool.manager, 1.0), Park)
    step = call.next_step(pool.manager, 6.1)
    assert isinstance(step, Send)
    assert step.lease.deployment.model.name == "small"
    assert step.deadline == 61.0
    assert not pool.route().line


def test_the_limit_of_either_model_is_told(journey):
    """Where both are at their limits, the error says when the first of these lets a call go."""
    pool, call = journey(small=1)
    pool.lease(0.0, model="small")
    assert isinstance(call.next_step(pool.manager, 1.0), Park)
    step = call.next_step(pool.manager, 6.1)
    assert isinstance(step, GiveUp)
    assert step.error.limit_eta is not None
    assert step.error.limit_eta == step.error.eta


def test_nobody_steps_down_without_time(journey):
    """After the deadline the call ends; the smaller model is not asked."""
    pool, call = journey(deadline=3.0)
    assert isinstance(call.next_step(pool.manager, 1.0), Park)
    step = call.next_step(pool.manager, 4.5)
    assert isinstance(step, GiveUp)
    assert type(step.error) is PoolExhausted
    assert pool.by("k1", "small").calls == 0


def test_one_error_speaks_for_both_routes(journey, refuse):
    """When the smaller model fails as well, the trail is one and the sooner start counts."""
    pool, call = journey()
    call.next_step(pool.manager, 1.0)
    call.next_step(pool.manager, 6.1)
    call.report(pool.manager, refuse(Fault.RATE_LIMIT_MINUTE, retry_after=90.0), 6.2)
    step = call.next_step(pool.manager, 6.2)
    assert isinstance(step, GiveUp)
    assert [attempt.model for attempt in step.error.attempts] == ["small"]
    assert step.error.eta < 90.0


def test_what_a_smaller_model_refuses_the_larger_may_take_later(journey, refuse):
    """A rejection by the smaller model does not reject the request."""
    pool, call = journey()
    call.next_step(pool.manager, 1.0)
    call.next_step(pool.manager, 6.1)
    call.report(pool.manager, refuse(Fault.BAD_REQUEST, status=400), 6.2)
    error = call.next_step(pool.manager, 6.2).error
    assert isinstance(error, PoolExhausted)
    assert not isinstance(error, RequestRejected)
    assert error.attempts[-1].outcome == "bad_request"


def test_a_deadline_during_the_smaller_models_attempt_is_named(journey, refuse):
    """DeadlineExceeded stays DeadlineExceeded."""
    pool, call = journey(deadline=20.0)
    call.next_step(pool.manager, 1.0)
    assert isinstance(call.next_step(pool.manager, 6.1), Send)
    call.report(pool.manager, refuse(Fault.TIMEOUT, status=None), 21.0)
    assert type(call.next_step(pool.manager, 21.0).error) is DeadlineExceeded


def test_a_rejected_request_does_not_step_down(journey, refuse):
    """What the wished model refuses as malformed is not sent to a smaller one."""
    pool, call = journey(large=2)
    call.next_step(pool.manager, 1.0)
    call.report(pool.manager, refuse(Fault.BAD_REQUEST, status=400), 1.1)
    assert isinstance(call.next_step(pool.manager, 1.1).error, RequestRejected)
    assert pool.by("k1", "small").calls == 0


def test_a_request_too_large_for_one_model_goes_to_the_smaller(journey, refuse):
    """What a provider says of one model's limit or credit holds for that model alone."""
    pool, call = journey(large=2)
    call.next_step(pool.manager, 1.0)
    poor = refuse(Fault.REQUEST_TOO_LARGE, status=402, affordable_tokens=100)
    call.report(pool.manager, poor, 1.1)
    assert call.next_step(pool.manager, 1.1).lease.deployment.model.name == "large"
    assert call.request.max_tokens == 100
    none = refuse(Fault.REQUEST_TOO_LARGE, status=402, affordable_tokens=5)
    call.report(pool.manager, none, 1.2)
    assert call.next_step(pool.manager, 1.2).lease.deployment.model.name == "small"
    assert call.request.max_tokens is None
