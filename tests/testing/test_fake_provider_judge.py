"""The provider as a judge: what it records, and whom it blames."""

import json
import logging
import random
import socket
import threading
from contextlib import ExitStack

import httpx2
import pytest

from hydra_core.testing import (
    EchoModel,
    FakeAnswer,
    FakeKey,
    FakeLimits,
    FakeProvider,
    VirtualClock,
)
from hydra_core.testing.limits import BucketMeter, FixedMeter, SlidingMeter
from hydra_core.testing.recount import Charge, recount

http = httpx2.Client()
CANARY = "secret-canary-0123456789"


@pytest.fixture(scope="module", autouse=True)
def _client_closed():
    yield
    http.close()


def ask(fake, key=CANARY, **fields):
    body = {"model": "fake-model", "messages": [{"role": "user", "content": "hello"}], **fields}
    headers = {"authorization": f"Bearer {key}"}
    return http.post(f"{fake.base_url}/chat/completions", json=body, headers=headers)


def kinds(fake):
    return [violation.kind for violation in fake.violations]


def test_a_naive_caller_is_blamed_and_a_polite_one_is_not():
    """Calling on after a stated wait is a violation each time; waiting it out is none."""
    clock = VirtualClock()
    key = FakeKey(CANARY, limits=FakeLimits(rpm=2))
    with FakeProvider([key], vendor="plain", clock=clock.now, tolerance=0.1) as fake:
        for _ in range(3):
            wait = float(ask(fake).headers.get("retry-after", 0))
        clock.advance(wait)
        assert ask(fake).status_code == 200
        assert kinds(fake) == []
        ask(fake)
        ask(fake)
        clock.advance(5)
        ask(fake)
        clock.advance(10)
        ask(fake)
        assert kinds(fake) == ["key_waiting", "key_waiting"]
        assert [call.used_while_told_to_wait for call in fake.log[-3:]] == [False, True, True]


def test_a_call_that_was_on_its_way_is_no_violation():
    """A call that arrives within the tolerance of a refusal cannot have known of it."""
    clock = VirtualClock()
    key = FakeKey(CANARY, limits=FakeLimits(rpm=1))
    with FakeProvider([key], clock=clock.now, tolerance=0.25) as fake:
        for pause in (0.0, 0.0, 0.2, 2.0):
            clock.advance(pause)
            ask(fake)
        assert kinds(fake) == ["key_waiting"]
        assert fake.violations[0].at == pytest.approx(2.2)


class Gated:
    """A model that answers when its gate is open, and takes its time for it."""

    def __init__(self, clock):
        self.clock, self.entered, self.gate = clock, threading.Event(), threading.Event()

    def answer(self, body):
        if body["messages"][0]["content"] == "slow":
            self.entered.set()
            self.gate.wait()
            threading.Event().wait(0.05)
            self.clock.advance(0.01)
        return FakeAnswer("yes")


def test_a_call_that_lay_unread_is_no_violation():
    """What reached a busy server before its refusal left is not blamed, however late it is read."""
    clock, keys = VirtualClock(), [FakeKey("a", limits=FakeLimits(rpm=1)), "b"]
    model = Gated(clock)
    judge = FakeProvider(keys, answer=model, clock=clock.now, tolerance=0)
    with judge as fake, ExitStack() as lines:

        def line(key, content):
            address = fake.url.removeprefix("http://").split(":")
            opened = lines.enter_context(socket.create_connection(address, timeout=5))
            opened.sendall(raw(key, content))
            return opened

        ask(fake, "a")
        busy = line("b", "slow")
        model.entered.wait()
        waiting = [line("a", "one"), line("b", "slow"), line("a", "two")]
        model.gate.set()
        heads = [opened.recv(12) for opened in (busy, *waiting)]
        assert heads == [b"HTTP/1.1 200", b"HTTP/1.1 429", b"HTTP/1.1 200", b"HTTP/1.1 429"]
        assert kinds(fake) == []
        clock.advance(10)
        ask(fake, "a")
        assert kinds(fake) == ["key_waiting"]


def raw(key, content):
    body = {"model": "fake-model", "messages": [{"role": "user", "content": content}]}
    encoded = json.dumps(body).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: fake\r\nauthorization: Bearer {key}\r\n"
    return f"{head}content-length: {len(encoded)}\r\n\r\n".encode() + encoded


def test_another_key_of_a_waiting_account_is_told_apart():
    """Moving to a sibling key while the account waits is blamed as such, another account is not."""
    clock = VirtualClock()
    limits = FakeLimits(rpm=1)
    keys = [FakeKey("a", "acme", limits), FakeKey("b", "acme", limits), FakeKey("c", limits=limits)]
    with FakeProvider(keys, clock=clock.now, tolerance=0) as fake:
        for key in ("a", "a", "c"):
            ask(fake, key)
        clock.advance(1)
        assert [ask(fake, key).status_code for key in ("b", "c")] == [429, 429]
        assert [(found.kind, found.key) for found in fake.violations] == [
            ("account_waiting", "fake-2")
        ]


def test_a_dead_key_may_be_refused_once():
    """Using a key after it was refused as invalid is a violation, until it is revived."""
    clock = VirtualClock()
    with FakeProvider([CANARY], clock=clock.now) as fake:
        fake.kill(0)
        for _ in range(3):
            ask(fake)
            clock.advance(1)
        fake.revive(0)
        ask(fake)
        assert kinds(fake) == ["dead_key", "dead_key"]


def test_a_provider_that_lets_too_much_through_is_found_out(monkeypatch):
    """The recount does not trust the meters: with a broken one, the passed limit is reported."""
    key = FakeKey(CANARY, limits=FakeLimits(rpm=2))
    with FakeProvider([key], clock=VirtualClock().now) as fake:
        monkeypatch.setattr(SlidingMeter, "wait", lambda *_: 0.0)
        for _ in range(3):
            ask(fake)
        assert kinds(fake) == ["limit_passed"]
        assert "rpm: 3 served, 2 allowed" in fake.violations[0].detail


@pytest.mark.parametrize(
    ("window", "meter"),
    [("sliding", SlidingMeter), ("bucket", BucketMeter), ("fixed", FixedMeter)],
)
def test_recount_and_meter_agree_on_a_busy_hour(window, meter):
    """Whatever a meter lets through, the recount finds legal; one call more, it does not."""
    rng, running, charges, now = random.Random(3), meter(100, 60.0), [], 0.0
    while now < 3600:
        now += rng.expovariate(1.0)
        amount = rng.randint(1, 40)
        if running.wait(amount, now) == 0:
            running.charge(amount, now)
            charges.append(Charge(now, amount, now))
    limits = FakeLimits(tpm=100, window=window)
    (found,) = recount("a", "m", limits, charges, scale=1.0)
    assert 90 < found.counted <= 100
    assert (found.passed, found.rolling <= 200) == (False, True)
    spent = max(charges, key=lambda charge: charge.tokens)
    (found,) = recount("a", "m", limits, [*charges, spent._replace(tokens=100)], scale=1.0)
    assert found.passed


def test_the_log_says_what_happened():
    """A record holds when, who, what it cost and how it ended, and no word of the content."""
    with FakeProvider([FakeKey(CANARY, "acme")], models=("m",), clock=VirtualClock().now) as fake:
        ask(fake, model="m")
        ask(fake, model="m", stream=True)
        ask(fake, model="n")
        first, second, third = fake.log
    assert (first.key, first.account, first.model, first.status) == ("fake-1", "acme", "m", 200)
    assert (first.prompt_tokens, first.completion_tokens) == (2, 4)
    assert (first.at, first.fault, first.finished, first.stream) == (0.0, None, True, False)
    assert (second.stream, second.body_hash != first.body_hash) == (True, True)
    assert (third.status, third.fault) == (404, "model_gone")
    assert [call.request_id for call in fake.log] == ["req_000001", "req_000002", "req_000003"]


def test_counters_and_summary_tell_who_did_what():
    """Calls are counted by key and by account; reset begins anew."""
    keys = [FakeKey("a", "acme"), FakeKey("b", "acme"), "c"]
    with FakeProvider(keys) as fake:
        fake.fail("empty", key="fake-2", times=1)
        for key in ("a", "a", "b", "c"):
            ask(fake, key)
        fake.kill("fake-3")
        ask(fake, "c")
        assert {name: count.served for name, count in fake.by_key.items()} == {
            "fake-1": 2,
            "fake-2": 0,
            "fake-3": 1,
        }
        assert (fake.by_account["acme"].calls, fake.by_account["acme"].broken) == (3, 1)
        header, *rows, last = fake.summary().splitlines()
        assert header.split()[:2] == ["key", "account"]
        assert rows[2].split() == ["fake-3", "fake-3", "2", "1", "1", "0", "0", "6", "dead"]
        assert last == "violations: 0"
        fake.reset()
        assert (fake.log, fake.total.calls) == ((), 0)


def test_no_key_is_ever_shown(caplog):
    """No key's value is in a repr, the log, the summary, an error or a log line."""
    key = FakeKey(CANARY, limits=FakeLimits(rpm=1))
    with caplog.at_level(logging.DEBUG, logger="hydra_core"), FakeProvider([key]) as fake:
        replies = [ask(fake).text for _ in range(2)]
        fake.kill(CANARY)
        replies.append(ask(fake).text)
        shown = [repr(fake), repr(key), repr(fake._desk.house), fake.summary()]
        shown += [repr(fake.log), repr(fake.violations), caplog.text, *replies]
    assert not [text for text in shown if CANARY in text]


def test_an_answerer_that_fails_is_reported(caplog):
    """A bug in the test's own answerer is a reply of status 500 that names it, not a hang."""

    class Broken:
        def answer(self, _body):
            raise ZeroDivisionError

    with FakeProvider([CANARY], answer=Broken()) as fake:
        reply = ask(fake)
        assert (reply.status_code, fake.log[0].fault) == (500, "answerer_failed")
    assert "ZeroDivisionError" in reply.text
    assert "ZeroDivisionError" in caplog.text


def test_waiting_until_idle():
    """`wait_idle` returns when the last call has ended, and does not wait for ever."""
    with FakeProvider([CANARY], latency=0.2) as fake:
        caller = threading.Thread(target=lambda: ask(fake))
        caller.start()
        while not fake.in_flight:
            threading.Event().wait(0.001)
        with pytest.raises(TimeoutError, match="1 calls"):
            fake.wait_idle(timeout=0.01)
        fake.wait_idle()
        assert (fake.in_flight, fake.served) == (0, 1)
        caller.join()


def test_latency_may_depend_on_the_call():
    """A latency function sees the call: its key, its model and what it costs."""
    seen = []

    def latency(call):
        seen.append((call.key, call.model, call.prompt_tokens, call.body["user"]))
        return 0.0

    with FakeProvider([CANARY], latency=latency, answer=EchoModel("yes")) as fake:
        ask(fake, user="ahab")
    assert seen == [("fake-1", "fake-model", 2, "ahab")]
