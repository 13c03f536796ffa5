"""One request's journey: where it goes, when it waits, how it ends."""

from __future__ import annotations

import pytest

from hydra_core.engine.size import size_of
from hydra_core.engine.steps import GiveUp, Park, Patience, Send
from hydra_core.errors import (
    ContentRefused,
    ContextTooLong,
    DeadlineExceeded,
    PoolExhausted,
    RequestRejected,
)
from hydra_core.messages import ChatRequest, Fault, Reply, Usage
from hydra_core.wire import Answer, Verdict

STOPPERS = [
    (Fault.BAD_REQUEST, RequestRejected),
    (Fault.CONTENT_FILTER, ContentRefused),
    (Fault.CONTEXT_TOO_LONG, ContextTooLong),
]


def gave_up(world):
    """The one error of a world, and its moment."""
    ((at, error),) = world.errors
    return at, error


def test_a_success_is_a_reply_with_its_trail(make_pool, make_world, ok):
    """Text, usage, price, deployment, attempts and latency are in the reply."""
    pool = make_pool([{}], facts={"m": {"input_usd": 1.0, "output_usd": 2.0}})
    world = make_world(pool, lambda *_: (0.5, ok(1000)))
    world.ask(1.0)
    world.run()
    ((at, reply),) = world.replies
    assert (at, reply.latency, reply.kind) == (1.5, 0.5, "full")
    assert (reply.provider, reply.model, reply.key) == ("acme", "m", "k1")
    assert reply.usage == Usage(1000, 0, 0.001)
    assert [attempt.outcome for attempt in reply.attempts] == ["ok"]


@pytest.mark.parametrize("usage", [None, Usage(0, 0)])
def test_an_absent_count_is_estimated_and_costs_no_false_zero(make_pool, usage):
    """A reply that counted nothing is settled and priced by the estimate."""
    pool = make_pool([{"tpm": 1000}], facts={"m": {"input_usd": 1.0, "output_usd": 1.0}})
    journey = pool.journey(1.0, 400.0)
    journey.next_step(pool.manager, 1.0)
    journey.report(pool.manager, Answer(Verdict(status=200), text="x" * 400, usage=usage), 2.0)
    reply = journey.next_step(pool.manager, 2.0)
    assert isinstance(reply, Reply)
    assert reply.usage.cost_usd == pytest.approx(500e-6)
    assert pool.by("k1").group.windows[0].used(2.0) == 500.0


@pytest.mark.parametrize("fault", [f for f in Fault if f not in {s for s, _ in STOPPERS}])
def test_a_failure_moves_to_another_key(make_pool, make_world, ok, refuse, fault):
    """Every fault that a second key may not share is followed by another attempt there."""
    pool = make_pool([{}, {"provider": "b"}], strategy="priority")
    world = make_world(
        pool, lambda lease, _: (0.1, refuse(fault) if lease.deployment.key == "k1" else ok())
    )
    world.ask(1.0)
    world.run()
    if fault is Fault.CANCELLED:
        assert isinstance(gave_up(world)[1], RequestRejected)
        return
    ((at, reply),) = world.replies
    assert (at, reply.key) == (pytest.approx(1.2), "k2")
    assert [attempt.outcome for attempt in reply.attempts] == [fault.value, "ok"]


@pytest.mark.parametrize(("fault", "error"), STOPPERS)
def test_a_request_nobody_will_take_stops_at_once(make_pool, make_world, refuse, fault, error):
    """One attempt, the provider's answer as a typed error, and nobody is blamed."""
    pool = make_pool([{} for _ in range(4)])
    world = make_world(pool, lambda *_: (0.1, refuse(fault, status=400, message="no way.")))
    world.ask(1.0)
    world.run()
    at, raised = gave_up(world)
    assert (at, type(raised), raised.status) == (1.1, error, 400)
    assert [attempt.outcome for attempt in raised.attempts] == [fault.value]
    assert "no way." in str(raised)
    assert not any(d.failures or d.rests_at(1.2) for d in pool.deployments)


def test_a_too_long_context_moves_to_larger_windows_only(make_pool, make_world, ok, refuse):
    """Smaller and equal windows are skipped, the larger one serves, nobody is blamed."""
    windows = {"a": 8000, "b": 4000, "c": 8000, "d": 32_000, "e": None}
    pool = make_pool(
        [{"models": [name]} for name in windows],
        facts={name: {"context_window": size} for name, size in windows.items()},
        strategy="priority",
    )

    def judge(lease, _):
        large = lease.deployment.model.name == "d"
        return 0.1, ok() if large else refuse(Fault.CONTEXT_TOO_LONG, status=400)

    world = make_world(pool, judge)
    world.ask(1.0)
    world.run()
    assert [lease.deployment.model.name for _, lease in world.sent] == ["a", "d"]
    assert not any(d.failures for d in pool.deployments)


def test_a_surely_too_long_prompt_is_not_sent_to_a_small_window(make_pool, make_world, ok):
    """It goes to the larger model at once, or fails at once when there is none."""
    facts = {"small": {"context_window": 1000}, "large": {"context_window": 9000}}
    pool = make_pool([{"models": ["small"]}, {"models": ["large"]}], facts=facts)
    world = make_world(pool, lambda *_: (0.1, ok()))
    world.ask(1.0, 5000.0)
    world.ask(2.0, 50_000.0)
    world.run()
    assert [lease.deployment.model.name for _, lease in world.sent] == ["large"]
    at, error = gave_up(world)
    assert (at, type(error)) == (2.0, ContextTooLong)


def test_a_request_too_large_for_one_limit_moves_to_another_group(
    make_pool, make_world, ok, refuse
):
    """The group that refused is left aside for this request; when all refuse, it ends."""
    pool = make_pool([{"account": "a"}, {"account": "a"}, {}], strategy="priority")
    large = refuse(Fault.REQUEST_TOO_LARGE, status=413)
    answers = {"k1": large, "k2": large, "k3": ok()}
    world = make_world(pool, lambda lease, _: (0.1, answers[lease.deployment.key]))
    world.ask(1.0)
    world.run()
    assert [lease.deployment.key for _, lease in world.sent] == ["k1", "k3"]
    world = make_world(pool, lambda *_: (0.1, large))
    world.ask(1.0)
    world.run()
    assert len(gave_up(world)[1].attempts) == 2


def test_a_request_too_large_for_every_account_asks_no_other_key_of_the_model(
    make_pool, make_world, ok, refuse
):
    """A cap on a body's size is the model's: another provider is asked, and nobody is benched."""
    rows = [{"models": ["m"]}, {"models": ["m"]}, {"provider": "other", "models": ["m"]}]
    large = refuse(Fault.REQUEST_TOO_LARGE, status=413, every_account=True)
    answers = {"k1": large, "k2": large, "k3": ok()}
    for keys, sent, replies in ((rows, ["k1", "k3"], 1), (rows[:2], ["k1"], 0)):
        pool = make_pool(keys, strategy="priority")
        world = make_world(pool, lambda lease, _: (0.1, answers[lease.deployment.key]))
        world.ask(1.0)
        world.run()
        assert [lease.deployment.key for _, lease in world.sent] == sent
        assert len(world.replies) == replies
        assert not any(d.failures or d.rests_at(2.0) for d in pool.deployments)


def test_an_account_low_on_credit_serves_what_it_can_pay_for(make_pool, make_world, ok, refuse):
    """Others are asked first; then it is asked for as much as it can pay, once, and not benched."""
    poor = refuse(Fault.REQUEST_TOO_LARGE, status=402, affordable_tokens=900)

    def judge(lease, _):
        asked = world.begun[-1].request.max_tokens
        return 0.1, ok() if lease.deployment.key == "k2" or (asked or 9999) <= 900 else poor

    for keys, asked, sent, replies in (
        (("k1", "k2"), None, ["k1", "k2"], 1),
        (("k1",), None, ["k1", "k1"], 1),
        (("k1",), 5000, ["k1"], 0),
        (("k1",), 800, ["k1"], 1),
    ):
        pool = make_pool([{"name": key} for key in keys], strategy="priority")
        world = make_world(pool, judge)
        world.ask(1.0, params={} if asked is None else {"max_tokens": asked})
        world.run()
        assert [lease.deployment.key for _, lease in world.sent] == sent
        assert len(world.replies) == replies
        assert not any(d.rests_at(2.0) for d in pool.deployments)


def test_a_request_larger_than_every_limit_is_told_so(make_pool, make_world, ok):
    """No wait would help: it is refused at once, with the remedy."""
    world = make_world(make_pool([{"tpm": 100}, {"tpm": 200}]), lambda *_: (0.1, ok()))
    world.ask(1.0, 500.0)
    world.run()
    at, error = gave_up(world)
    assert (at, type(error)) == (1.0, RequestRejected)
    assert "larger than the token limit" in str(error)


@pytest.mark.parametrize(
    ("limits", "eta"),
    [({"max_wait": 5.0}, 59.0), ({"deadline": 10.0}, 59.0), ({"max_wait": 0.0}, 59.0)],
)
def test_a_wait_that_is_too_long_is_not_begun(make_pool, make_world, ok, limits, eta):
    """The error comes at once, with the true seconds until the request could start."""
    world = make_world(make_pool([{"rpm": 1}]), lambda *_: (0.1, ok()))
    world.ask(1.0)
    world.ask(2.0, **limits)
    world.run()
    at, error = gave_up(world)
    assert at == 2.0
    assert type(error) is PoolExhausted
    assert error.eta == pytest.approx(eta, abs=0.3)
    world.ask(2.0 + error.eta)
    world.run()
    assert len(world.replies) == 2


def test_tokens_that_thoughts_used_up_are_the_requests_fault(make_pool, make_world, refuse):
    """No other key of the model is paid for the same, none rests, and the error says what helps."""
    pool = make_pool([{}, {}, {}])
    spent = refuse(Fault.INVALID_RESPONSE, status=200, message="used up", out_of_tokens=True)
    world = make_world(pool, lambda *_: (0.1, spent))
    world.ask(1.0)
    world.run()
    _, error = gave_up(world)
    assert type(error) is RequestRejected
    assert "used up" in str(error)
    assert len(error.attempts) == 1
    assert all(d.soft_until <= 2.0 and d.hard_until <= 2.0 for d in pool.manager.deployments)


def test_another_model_may_think_less(make_pool, make_world, ok, refuse):
    """Where tokens did not suffice for one model, one key of another is asked."""
    pool = make_pool([{"models": ["slow"]}, {"models": ["slow"]}, {"models": ["quick"]}])
    spent = refuse(Fault.INVALID_RESPONSE, status=200, out_of_tokens=True)
    world = make_world(
        pool, lambda lease, _: (0.1, spent if lease.deployment.model.name == "slow" else ok())
    )
    world.ask(1.0)
    world.run()
    ((_, reply),) = world.replies
    assert [attempt.model for attempt in reply.attempts] == ["slow", "quick"]


def test_no_third_model_is_paid_for_thoughts(make_pool, make_world, refuse):
    """Two models that used up their tokens show that the request allows too few."""
    pool = make_pool([{"models": ["one"]}, {"models": ["two"]}, {"models": ["three"]}])
    spent = refuse(Fault.INVALID_RESPONSE, status=200, out_of_tokens=True)
    world = make_world(pool, lambda *_: (0.1, spent))
    world.ask(1.0)
    world.run()
    _, error = gave_up(world)
    assert type(error) is RequestRejected
    assert len(error.attempts) == 2


def test_an_error_tells_the_wait_for_a_limit_from_a_guess(make_pool, make_world, ok, refuse):
    """A key that fails rests for as long as we guess; a well one's limit says when it opens."""
    pool = make_pool([{"name": "well", "rpm": 1}, {"name": "ill"}])
    answers = {"well": ok(), "ill": refuse(Fault.OVERLOADED)}
    world = make_world(pool, lambda lease, _: (0.1, answers[lease.deployment.key]))
    world.ask(1.0)
    world.ask(2.0, max_wait=0.0)
    world.run()
    _, error = gave_up(world)
    assert [attempt.key for attempt in error.attempts] == ["ill"]
    assert error.limit_eta == pytest.approx(59.0, abs=0.3)
    assert error.eta < error.limit_eta


def test_where_all_keys_fail_no_limit_is_waited_for(make_pool, make_world, refuse):
    """Nobody but us says when keys that fail will serve again."""
    pool = make_pool([{}, {}])
    world = make_world(pool, lambda *_: (0.1, refuse(Fault.OVERLOADED)))
    world.ask(1.0, max_wait=0.0)
    world.run()
    _, error = gave_up(world)
    assert error.limit_eta is None


def test_a_wait_within_the_patience_is_waited_exactly(make_pool, make_world, ok):
    """The second request starts when the window opens, and says how long it waited."""
    world = make_world(make_pool([{"rpm": 1}]), lambda *_: (0.1, ok()))
    world.ask(1.0)
    world.ask(40.0)
    world.run()
    (_, (at, reply)) = world.replies
    assert at == pytest.approx(61.2, abs=0.1)
    assert reply.attempts[0].waited == pytest.approx(21.1, abs=0.1)


def test_a_free_slot_is_waited_for_beside_a_window_that_opens_much_later(make_pool, make_world, ok):
    """A key that is spent for the day does not end the wait for a busy one."""
    world = make_world(make_pool([{"rpd": 1}, {"concurrency": 1}]), lambda *_: (2.0, ok()))
    for when in (1.0, 1.0, 1.0, 2.0):
        world.ask(when)
    world.run()
    assert sorted(at for at, _ in world.replies) == [3.0, 3.0, 5.0, 7.0]


def test_waits_of_one_call_add_up(make_pool, make_world, refuse):
    """`max_wait` is for the whole call: a second wait gets what the first has left."""
    pool = make_pool([{}])
    world = make_world(pool, lambda *_: (0.1, refuse(Fault.RATE_LIMIT_MINUTE, retry_after=4.0)))
    world.ask(0.0, max_wait=14.0)
    world.run()
    at, error = gave_up(world)
    assert len(error.attempts) == 3
    assert at == pytest.approx(12.3)  # it waited 4 s, then 8: refused twice in vain
    assert error.eta == pytest.approx(16.0)


def test_a_clock_may_begin_at_zero(make_pool):
    """A wait that began at zero seconds is a wait like any other."""
    pool = make_pool([{"concurrency": 1}])
    pool.lease(0.0)
    journey = pool.journey(0.0, max_wait=2.0)
    assert isinstance(journey.next_step(pool.manager, 0.0), Park)
    assert isinstance(journey.next_step(pool.manager, 2.1), GiveUp)


@pytest.mark.parametrize("deadline", [5.0, 20.0])
def test_a_call_ends_by_its_deadline(make_pool, make_world, refuse, deadline):
    """Failing attempts and waits together never outlast it; the trail is in the error."""
    pool = make_pool([{}, {}])
    world = make_world(pool, lambda *_: (0.4, refuse(Fault.OVERLOADED)))
    world.ask(1.0, deadline=deadline)
    world.run()
    at, error = gave_up(world)
    assert at <= 1.0 + deadline + 1e-9
    assert isinstance(error, PoolExhausted)
    assert error.attempts


def test_an_attempt_under_way_at_the_deadline_makes_the_error_a_deadline(make_pool, refuse):
    """DeadlineExceeded says that the provider was asked, and too slow."""
    pool = make_pool([{}])
    journey = pool.journey(1.0, deadline=5.0)
    step = journey.next_step(pool.manager, 1.0)
    assert isinstance(step, Send)
    assert (step.timeout, step.deadline) == (5.0, 6.0)
    journey.report(pool.manager, refuse(Fault.TIMEOUT, status=None), 6.0)
    ended = journey.next_step(pool.manager, 6.0)
    assert type(ended.error) is DeadlineExceeded
    assert journey.next_step(pool.manager, 7.0).error is ended.error


def test_no_attempt_begins_after_the_deadline(make_pool):
    """A lease granted while its waiter overslept goes back, unsent and unblamed."""
    pool = make_pool([{"concurrency": 1}])
    busy = pool.lease(1.0)
    journey = pool.journey(1.0, deadline=5.0)
    assert isinstance(journey.next_step(pool.manager, 1.0), Park)
    pool.manager.settle(busy, 5.9)
    assert isinstance(journey.next_step(pool.manager, 6.5), GiveUp)
    assert pool.by("k1").group.in_flight == 0


def test_an_outage_is_not_hammered(make_pool, make_world, refuse):
    """A provider that fails at once is asked after growing rests, and once more at the end."""
    world = make_world(make_pool([{}]), lambda *_: (0.01, refuse(Fault.OVERLOADED)))
    world.ask(1.0)
    world.run()
    assert len(world.sent) <= 7
    assert len(gave_up(world)[1].attempts) == len(world.sent)


def test_despair_tries_each_ill_key_once_and_an_outage_not_key_by_key(
    make_pool, make_world, refuse
):
    """With no patience left, ill keys are probed in turn, until the breaker speaks for all."""
    pool = make_pool([{} for _ in range(3)])
    for deployment in pool.deployments:
        deployment.own_rest.doubt(900.0, Fault.TIMEOUT)
        pool.manager._refresh(deployment.own_rest)
    world = make_world(pool, lambda *_: (0.1, refuse(Fault.TIMEOUT)))
    world.ask(1.0, max_wait=0.0)
    world.run()
    assert sorted(lease.deployment.key for _, lease in world.sent) == ["k1", "k2", "k3"]
    for _ in range(3):
        world.ask(world.now + 0.01, max_wait=0.0)
    world.run()
    assert len(world.sent) == 3 + 1  # the third key that fails alike opens the breaker


def test_a_waiter_is_told_who_rests_and_why(make_pool, refuse):
    """The error names each resting key with its fault, and no secret."""
    pool = make_pool([{}, {}])
    for key in ("k1", "k2"):
        avoid = [d for d in pool.deployments if d.key != key]
        pool.fail(pool.lease(1.0, avoid=avoid), 1.0, Fault.AUTH)
    ended = pool.journey(2.0).next_step(pool.manager, 2.0)
    assert ended.error.eta is None
    assert "acme/m via k1: auth" in str(ended.error)
    assert "mend or add a key" in str(ended.error)


@pytest.mark.parametrize(
    ("when", "usage", "used"),
    [("sent", None, 300.0), ("sent", Usage(20, 30), 50.0), ("sent", Usage(0, 0), 300.0)],
)
def test_an_abandoned_call_stays_booked(make_pool, when, usage, used):
    """What was on its way may have been charged: the estimate stays, or what was shown."""
    pool = make_pool([{"tpm": 1000}])
    journey = pool.journey(1.0, 300.0)
    assert isinstance(journey.next_step(pool.manager, 1.0), Send)
    for _ in range(2):
        journey.abandon(pool.manager, 2.0, usage=usage)
    group = pool.by("k1").group
    assert (group.windows[0].used(2.0), group.in_flight) == (used, 0)
    assert not pool.by("k1").failures
    journey.report(pool.manager, Answer(Verdict(status=200)), 3.0)  # too late: it is settled
    assert journey.attempts == []


def test_an_abandoned_wait_leaves_the_line(make_pool):
    """Who gives up while waiting, or between grant and claim, takes nothing along."""
    pool = make_pool([{"concurrency": 1}])
    busy = pool.lease(1.0)
    journeys = [pool.journey(1.0) for _ in range(2)]
    for journey in journeys:
        assert isinstance(journey.next_step(pool.manager, 1.0), Park)
    pool.manager.settle(busy, 2.0)
    journeys[0].abandon(pool.manager, 2.0)
    assert isinstance(journeys[1].next_step(pool.manager, 2.0), Send)
    journeys[1].abandon(pool.manager, 2.0)
    assert not pool.route().line
    assert pool.by("k1").group.in_flight == 0


@pytest.mark.parametrize(
    ("fault", "status", "requests", "tokens"),
    [
        (Fault.RATE_LIMIT_MINUTE, 429, 1.0, 0.0),
        (Fault.UNREACHABLE, None, 0.0, 0.0),
        (Fault.TIMEOUT, None, 1.0, 300.0),
        (Fault.OVERLOADED, 503, 1.0, 0.0),
        (Fault.STREAM_BROKEN, 200, 1.0, 300.0),
    ],
)
def test_a_failure_is_settled_by_what_the_provider_may_have_charged(
    make_pool, refuse, fault, status, requests, tokens
):
    """Nothing was written: all comes back. Refused: the tokens do. Reached: the estimate stays."""
    pool = make_pool([{"rpm": 10, "tpm": 1000}])
    journey = pool.journey(1.0, 300.0)
    journey.next_step(pool.manager, 1.0)
    journey.report(pool.manager, refuse(fault, status=status), 2.0)
    assert [w.used(2.0) for w in pool.by("k1").group.windows] == [requests, tokens]


@pytest.mark.parametrize(("sent", "used"), [(True, [1.0, 300.0]), (False, [0.0, 0.0])])
def test_a_request_that_never_left_costs_nothing(make_pool, sent, used):
    """A timeout while it waited for a connection: the provider can have counted nothing."""
    pool = make_pool([{"rpm": 10, "tpm": 1000}])
    journey = pool.journey(1.0, 300.0)
    journey.next_step(pool.manager, 1.0)
    verdict = Verdict(fault=Fault.TIMEOUT)
    journey.report(pool.manager, Answer(verdict, sent=sent), 2.0)
    assert [w.used(2.0) for w in pool.by("k1").group.windows] == used


def test_patience_bounds_one_attempt(make_pool):
    """An attempt gets its own time, or what the call has left."""
    pool = make_pool([{}])
    patience = Patience(attempt_timeout=7.0, timeout=20.0)
    step = pool.journey(1.0, patience=patience).next_step(pool.manager, 1.0)
    assert (step.timeout, step.deadline) == (7.0, 21.0)
    step = pool.journey(1.0, patience=patience).next_step(pool.manager, 16.0)
    assert step.timeout == 5.0


def test_a_size_counts_all_that_is_sent():
    """Texts, parts, tool calls, tools and the response format; an image is a guess."""
    messages = [
        {"role": "user", "content": "x" * 100},
        {"role": "user", "content": [{"type": "text", "text": "y" * 50}, {"type": "image_url"}]},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]},
    ]
    bare = size_of(ChatRequest(messages))
    assert (bare.chars, bare.messages) == (150 + 4000 + len(str([{"id": "1"}])), 3)
    tools = [{"type": "function"}]
    full = size_of(ChatRequest(messages, params={"tools": tools, "max_tokens": 9}))
    assert full.chars == bare.chars + len(str(tools))
    assert full.max_tokens == 9
