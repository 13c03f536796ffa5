"""Which cause a refused call is told first: that of the key whose wait it is told."""

from __future__ import annotations

from hydra_core.engine.fallback import FallbackDispatch
from hydra_core.engine.size import Size
from hydra_core.engine.steps import Patience
from hydra_core.messages import ChatRequest, Fault

TIMES = ((Fault.OVERLOADED, 100.0), (Fault.UNKNOWN, 20.0))


def rested(pool):
    """The first deployment is told to wait for longer than the second, each for its own fault."""
    for deployment, (fault, seconds) in zip(pool.deployments, TIMES, strict=True):
        others = [d for d in pool.deployments if d is not deployment]
        lease = pool.lease(1.0, avoid=others, model=deployment.model.name)
        pool.fail(lease, 1.0, fault, retry_after=seconds)


def test_the_key_that_comes_first_names_its_fault_first(make_pool):
    """Without an attempt, and wherever the key stands in the configuration."""
    pool = make_pool([{}, {}])
    rested(pool)
    error = pool.journey(1.0, max_wait=0.0).next_step(pool.manager, 1.0).error
    assert (error.eta, error.causes) == (20.0, ("unknown", "overloaded"))


def test_the_attempt_at_that_key_is_told_first(make_pool, refuse):
    """Attempts are told in their order, but for that whose wait is told."""
    pool = make_pool([{}, {}], strategy="priority")
    journey = pool.journey(1.0, max_wait=0.0)
    for fault, seconds in TIMES:
        journey.next_step(pool.manager, 1.0)
        journey.report(pool.manager, refuse(fault, retry_after=seconds), 1.0)
    error = journey.next_step(pool.manager, 1.0).error
    assert [attempt.outcome for attempt in error.attempts] == ["overloaded", "unknown"]
    assert [cause.split()[0] for cause in error.causes] == ["unknown", "overloaded"]


def test_of_two_routes_the_sooner_names_its_causes_first(make_pool):
    """Where the smaller model comes sooner, the wait is for that, and so is the cause."""
    pool = make_pool([{"models": ["large", "small"]}])
    rested(pool)
    assert causes_of(pool) == ("unknown", "overloaded")


def causes_of(pool):
    """What a request is told that may step down from the large model to the small one."""
    routes = pool.route(model="large"), pool.route(model="large", smaller=True)
    size = Size(chars=2, messages=1, max_tokens=None, known_tokens=1.0)
    request = ChatRequest([{"role": "user", "content": "hi"}], model="large")
    journey = FallbackDispatch(
        request, routes[0], Patience(max_wait=0.0), now=1.0, size=size, smaller=routes[1]
    )
    return journey.next_step(pool.manager, 1.0).error.causes
