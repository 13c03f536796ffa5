"""Limits as a provider counts them, seen from outside through real HTTP."""

import threading

import httpx2
import pytest

from hydra_core.testing import FakeAnswer, FakeKey, FakeLimits, FakeProvider, VirtualClock

WINDOWS = ("sliding", "bucket", "fixed")

http = httpx2.Client()  # one for all: making a client costs more than a call


@pytest.fixture(scope="module", autouse=True)
def _client_closed():
    yield
    http.close()


class Says:
    """A model whose every answer costs the same."""

    def __init__(self, prompt: int, completion: int) -> None:
        self._answer = FakeAnswer("yes", prompt_tokens=prompt, completion_tokens=completion)

    def answer(self, _body):
        return self._answer


def ask(fake: FakeProvider, key: str = "one", model: str = "fake-model") -> httpx2.Response:
    body = {"model": model, "messages": [{"role": "user", "content": "hello"}]}
    headers = {"authorization": f"Bearer {key}"}
    return http.post(f"{fake.base_url}/chat/completions", json=body, headers=headers)


def statuses(fake: FakeProvider, count: int, **how: str) -> list[int]:
    return [ask(fake, **how).status_code for _ in range(count)]


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("name", ["rpm", "rpd"])
def test_ten_requests_pass_and_the_eleventh_is_refused(name, window):
    """A limit of 10 requests lets exactly 10 through in its window, whatever the window's kind."""
    clock = VirtualClock()
    limits = FakeLimits(**{name: 10}, window=window)
    with FakeProvider([FakeKey("one", limits=limits)], clock=clock.now) as fake:
        assert statuses(fake, 11) == [200] * 10 + [429]
        assert (fake.served, fake.refused, fake.violations) == (10, 1, ())


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("name", ["tpm", "tpd"])
def test_tokens_are_prompt_and_completion(name, window):
    """A call costs its prompt and the answer it will get: 10 of 100 tokens fit into 1,000."""
    clock = VirtualClock()
    limits = FakeLimits(**{name: 1000}, window=window)
    key = FakeKey("one", limits=limits)
    with FakeProvider([key], clock=clock.now, answer=Says(60, 40)) as fake:
        assert statuses(fake, 11) == [200] * 10 + [429]
        assert {found.counted for found in fake.recounts} == {1000}


@pytest.mark.parametrize(
    ("window", "free_at", "then_pass"), [("sliding", 80, 1), ("bucket", 40, 1), ("fixed", 60, 3)]
)
def test_capacity_returns_as_the_window_says(window, free_at, then_pass):
    """3 a minute, used at 20, 21 and 21 s: the next is let through at this instant, not before."""
    clock = VirtualClock()
    key = FakeKey("one", limits=FakeLimits(rpm=3, window=window))
    with FakeProvider([key], clock=clock.now) as fake:
        clock.run(until=20.0)
        ask(fake)
        clock.run(until=21.0)
        assert statuses(fake, 3) == [200, 200, 429]
        clock.run(until=free_at - 0.001)
        assert ask(fake).status_code == 429
        clock.run(until=free_at)
        assert statuses(fake, then_pass + 1) == [200] * then_pass + [429]
        assert [found.passed for found in fake.recounts] == [False]


def test_refused_requests_are_not_counted():
    """However often a caller is refused, the window is full again when it said so."""
    clock = VirtualClock()
    key = FakeKey("one", limits=FakeLimits(rpm=1))
    with FakeProvider([key], clock=clock.now) as fake:
        assert statuses(fake, 20) == [200] + [429] * 19
        clock.advance(60.0)
        assert ask(fake).status_code == 200


def test_keys_of_one_account_share_its_limits():
    """Three keys of one account get one account's limit; another account has its own."""
    limits = FakeLimits(rpm=3)
    keys = [FakeKey(value, "acme", limits) for value in ("one", "two", "three")]
    with FakeProvider([*keys, FakeKey("four", limits=limits)]) as fake:
        seen = [ask(fake, key).status_code for key in ("one", "two", "three", "one", "two")]
        assert seen == [200, 200, 200, 429, 429]
        assert statuses(fake, 4, key="four") == [200, 200, 200, 429]
        assert fake.by_account["acme"].served == 3


def test_limits_hold_per_model_and_a_model_may_have_its_own():
    """Models are counted apart, and `model_limits` replaces the account's number for one."""
    key = FakeKey("one", limits=FakeLimits(rpm=2))
    own = {"small": FakeLimits(rpm=4)}
    with FakeProvider([key], models=("big", "small"), model_limits=own) as fake:
        assert statuses(fake, 3, model="big") == [200, 200, 429]
        assert statuses(fake, 5, model="small") == [200] * 4 + [429]


def test_time_scale_shortens_the_window_and_the_wait():
    """At scale 0.05 a minute is 3 s: the wait says so and is true."""
    clock = VirtualClock()
    key = FakeKey("one", limits=FakeLimits(rpm=1))
    with FakeProvider([key], vendor="plain", time_scale=0.05, clock=clock.now) as fake:
        assert ask(fake).status_code == 200
        clock.advance(0.5)
        wait = float(ask(fake).headers["retry-after"])
        assert wait == 2.5
        clock.advance(wait)
        assert ask(fake).status_code == 200


def test_a_request_larger_than_the_limit_is_too_large():
    """What can never fit is refused as too large and no wait is stated."""
    key = FakeKey("one", limits=FakeLimits(tpm=50))
    with FakeProvider([key], vendor="groq", answer=Says(60, 40)) as fake:
        refusal = ask(fake)
        assert (refusal.status_code, "retry-after" in refusal.headers) == (413, False)
        assert "Limit 50, Requested 100" in refusal.json()["error"]["message"]


def test_concurrency_is_calls_at_once():
    """With a concurrency of 2, a third call is refused while two are in flight, not afterwards."""
    arrived, release = threading.Barrier(3), threading.Event()
    key = FakeKey("one", limits=FakeLimits(concurrency=2))
    with FakeProvider([key], latency=0.3) as fake:

        def call() -> None:
            arrived.wait()
            ask(fake)

        threads = [threading.Thread(target=call) for _ in range(2)]
        for thread in threads:
            thread.start()
        arrived.wait()
        while fake.in_flight < 2:
            release.wait(0.001)
        assert ask(fake).status_code == 429
        fake.wait_idle()
        assert ask(fake).status_code == 200
        for thread in threads:
            thread.join()
        assert [(found.name, found.counted) for found in fake.recounts] == [("concurrency", 2)]


def test_saturating_an_account_refuses_it_for_that_long():
    """A saturated account refuses all its keys until the time is over; others go on."""
    clock = VirtualClock()
    keys = [FakeKey("one", "a"), FakeKey("two", "a"), FakeKey("three", "b")]
    with FakeProvider(keys, clock=clock.now) as fake:
        fake.saturate("fake-1", seconds=5.0)
        assert [ask(fake, key).status_code for key in ("one", "two", "three")] == [429, 429, 200]
        clock.advance(5.0)
        assert ask(fake, "two").status_code == 200


@pytest.mark.parametrize(
    ("keys", "complaint"),
    [
        (["one", "one"], "same value"),
        ([FakeKey("one", name="n"), FakeKey("two", name="n")], "same name"),
        (
            [FakeKey("one", "a", FakeLimits(rpm=1)), FakeKey("two", "a", FakeLimits(rpm=2))],
            "share its limits",
        ),
    ],
)
def test_contradictory_keys_are_refused(keys, complaint):
    """Keys that cannot be told apart, or one account with two limits, are an error at once."""
    with pytest.raises(ValueError, match=complaint):
        FakeProvider(keys)
