"""What was found for those who wait holds until it changes, and no longer."""

from __future__ import annotations

from collections import Counter

import pytest

from hydra_core.engine.look import Looks
from hydra_core.engine.size import Size
from hydra_core.messages import Fault

PATIENT = {"max_wait": 5000.0, "deadline": 5000.0}
ROWS = [
    {"rpm": 6, "shape": "bucket"},
    {"rpm": 9, "tpm": 2000},
    {"tpm": 5000, "account": "shared", "concurrency": 2},
    {"tpm": 5000, "account": "shared", "concurrency": 2},
    {"rpm": 20, "tpm": 3000, "shape": "fixed", "provider": "other", "models": ["m", "n"]},
]
NAMES = ({}, {"provider": "acme"}, {"provider": "other"}, {"model": "n"}, {"model": "acme/m"})


def size_of_tokens(tokens):
    """A request that is known to take so many tokens."""
    return Size(0, 1, None, known_tokens=tokens)


@pytest.fixture
def looked(monkeypatch):
    """How often was looked anew, and each time that an earlier start than the kept one was there.

    A later one may be: the end of a call under way is a guess.
    """
    seen, wrong = Counter(), []
    hold, anew = Looks.hold, Looks.anew

    def checked(self, look, ticket, now, claimed):
        holds = hold(self, look, ticket, now, claimed)
        if holds:
            seen["kept"] += 1
            start, _ = self._chooser.earliest(ticket.route, ticket.size, ticket.avoid, now, claimed)
            if start < look.start - 1e-6:
                wrong.append((now, ticket, look.start, start))
        return holds

    def counted(self, *asked):
        seen["anew"] += 1
        return anew(self, *asked)

    monkeypatch.setattr(Looks, "hold", checked)
    monkeypatch.setattr(Looks, "anew", counted)
    return seen, wrong


def crowd(world, count):
    """Callers of five kinds of routes and many sizes, some of whom leave."""
    for place in range(count):
        tokens = 100.0 * 1.7 ** (place * 5 % 7)
        priority = -1 if place % 9 == 0 else 0
        world.ask(place / 8, tokens, priority=priority, **NAMES[place * 3 % 5], **PATIENT)
    for place in range(0, count, 11):
        world.cancel(30.0 + place / 10, place)


def test_what_is_kept_is_what_would_be_found(make_pool, make_world, ok, refuse, looked):
    """Through grants, answers, refusals and leavers nobody could start before what is kept."""
    seen, wrong = looked
    sent = Counter()

    def judge(lease, _):
        sent["all"] += 1
        if sent["all"] % 13 == 0:
            return 0.3, refuse(Fault.OVERLOADED, status=503)
        if sent["all"] % 29 == 0:
            return 0.1, refuse(Fault.RATE_LIMIT_MINUTE, status=429, retry_after=7.0)
        return 0.4 + sent["all"] % 5 / 3, ok(lease.tokens * (0.5 + sent["all"] % 3 / 4))

    world = make_world(make_pool(ROWS), judge)
    crowd(world, 240)
    world.run()
    assert wrong == []
    assert seen["kept"] > seen["anew"]
    assert len(world.replies) > 200


def test_an_answer_has_those_looked_at_whom_it_concerns(make_pool, looked):
    """Forty wait for forty models; a slot that comes back has one of them looked at."""
    seen, _ = looked
    models = [f"m{place}" for place in range(40)]
    pool = make_pool([{"models": models, "concurrency": 1}])
    busy = {model: pool.lease(1.0, model=model) for model in models}
    for _ in range(2):
        for model in models:
            pool.manager.join(pool.route(model=model), busy[model].size, (), 0, 2.0)
    pool.manager.serve(2.1)
    seen.clear()
    pool.manager.settle(busy["m0"], 2.2)
    assert seen == {"anew": 1, "kept": 39}


@pytest.fixture
def two(make_pool):
    """A pool of two spent keys, of which the first is free again at 60 s, the other at 90 s."""
    pool = make_pool([{"rpm": 1, "shape": "bucket"}, {"rpm": 1, "shape": "bucket"}])
    held = pool.lease(0.0), pool.lease(30.0)
    assert [lease.deployment.key for lease in held] == ["k1", "k2"]
    return pool


def test_what_one_gives_up_another_may_claim(two):
    """Who waited for the worse key, because the better was claimed, hears that it is free."""
    manager, size = two.manager, size_of_tokens(1.0)
    first = manager.join(two.route(), size, (), 0, 31.0)
    second = manager.join(two.route(provider="acme"), size, (), 0, 31.1)
    assert (round(first.start), round(second.start)) == (60, 90)
    manager.leave(first, 31.2)
    assert round(second.start) == 60


def test_what_one_who_goes_before_claims_is_lost(two):
    """Who comes later and goes before takes the better key; the other waits for the worse."""
    manager, size = two.manager, size_of_tokens(1.0)
    first = manager.join(two.route(), size, (), 0, 31.0)
    urgent = manager.join(two.route(provider="acme"), size, (), 5, 31.1)
    assert (round(urgent.start), round(first.start)) == (60, 90)


def test_a_key_that_proves_worse_is_awaited_for_longer(make_pool):
    """A call that took more than was booked moves the start of those who wait for its key."""
    pool = make_pool([{"tpm": 60, "shape": "bucket"}])
    lease = pool.lease(0.0, 40.0)
    waiting = pool.manager.join(pool.route(), size_of_tokens(30.0), (), 0, 0.5)
    assert round(waiting.start) == 10
    pool.manager.settle(lease, 1.0, tokens=50.0)
    assert round(waiting.start) == 20
