"""Requests that no key would answer: they stop at once, and nobody is blamed for them."""

from __future__ import annotations

import orjson
import pytest

from hydra_core.errors import ContentRefused, ContextTooLong, HydraError, RequestRejected
from hydra_core.testing import FakeKey, FakeLimits

STREAM = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
TOOL = [{"type": "function", "function": {"parameters": {}}}]


def blamed(hydra):
    """Failures that any key is charged with."""
    return [
        key["failures"] for p in hydra.health()["providers"].values() for key in p["keys"]
    ]


@STREAM
@pytest.mark.parametrize(
    ("fault", "error", "vendor", "status"),
    [
        ("content_filter", ContentRefused, "openai", 200),
        ("content_filter", ContentRefused, "deepseek", 400),
        ("content_filter", ContentRefused, "openrouter", 403),
        ("context_too_long", ContextTooLong, "openai", 400),
    ],
)
def test_a_refused_request_stops_at_once(
    caller, pool, serve, fault, error, vendor, status, stream
):
    """The typed error comes after one call; the same key serves the next request."""
    fake = serve(vendor=vendor)
    fake.fail(fault, times=1)
    hydra = pool(fake)
    with pytest.raises(error) as caught:
        caller.ask(hydra, "hello", stream=stream)
    assert caught.value.status == status
    first = fake.key_names[0]
    assert [(a.key, a.outcome) for a in caught.value.attempts] == [(first, fault)]
    assert caller.chat(hydra, "hello").key == first
    assert (len(fake.log), blamed(hydra)) == (2, [0, 0])


@STREAM
def test_a_malformed_request_stops_at_once(caller, pool, serve, stream):
    """A parameter that the provider does not take is the caller's to correct, at every key."""
    fake = serve(strict=True)
    hydra = pool(fake)
    with pytest.raises(RequestRejected, match="a tool's function has no name") as caught:
        caller.ask(hydra, "hello", stream=stream, tools=TOOL)
    assert (caught.value.status, caught.value.attempts[0].outcome) == (400, "bad_request")
    assert (len(fake.log), blamed(hydra)) == (1, [0, 0])


@STREAM
def test_a_request_too_large_for_one_account_moves_to_another(caller, pool, serve, stream):
    """A key whose limit cannot hold the request is passed over without blame."""
    small, large = FakeLimits(tpm=50), FakeLimits(tpm=50_000)
    fake = serve([FakeKey("key-canary-1", limits=small), FakeKey("key-canary-2", limits=large)])
    hydra = pool(fake, providers=fake.config(tell_limits=False)["providers"])
    assert caller.ask(hydra, "word " * 200, stream=stream)[1] == "full"
    assert [(call.key, call.status) for call in fake.log] == [("fake-1", 429), ("fake-2", 200)]
    assert blamed(hydra) == [0, 0]
    told = hydra.explain("hello", max_tokens=5)
    assert [(row["why"].partition(":")[0], row["starts_in"]) for row in told] == [("ready", 0)] * 2


def test_a_request_too_large_for_every_account_is_rejected(caller, pool, serve):
    """When every account refuses the size, the caller is told so, and each was asked once."""
    fake = serve()
    fake.fail("too_large")
    hydra = pool(fake)
    with pytest.raises(RequestRejected, match="max_tokens"):
        caller.chat(hydra, "word " * 200)
    assert [call.key for call in fake.log] == ["fake-1", "fake-2"]
    assert blamed(hydra) == [0, 0]


@STREAM
def test_a_body_too_large_for_a_provider_is_sent_once(caller, pool, serve, stream):
    """A bare 413 is not tried at each key, whose next request is served as before."""
    fake = serve()
    fake.fail("html", status=413, times=1)
    hydra = pool(fake)
    with pytest.raises(RequestRejected, match="413"):
        caller.ask(hydra, "word " * 200, stream=stream)
    assert ([call.key for call in fake.log], blamed(hydra)) == (["fake-1"], [0, 0])
    assert caller.ask(hydra, "word " * 200, stream=stream)[1] == "full"


def answered(status, body):
    """A whole HTTP reply."""
    head = f"HTTP/1.1 {status} x\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n"
    return [head.encode() + orjson.dumps(body)]


def test_a_key_short_of_credit_is_asked_for_what_it_can_pay(caller, pool, raw):
    """After one refusal only a request that wants no more is sent, and a lease is still given."""
    said = "You requested up to 5000 tokens, but can only afford 900"
    choice = {"index": 0, "message": {"role": "assistant", "content": "ok"}}
    replies = [
        answered(402, {"error": {"message": said, "code": 402}}),
        answered(200, {"choices": [{**choice, "finish_reason": "stop"}]}),
    ]
    server = raw(lambda _: replies.pop(0))
    hydra = pool(providers=[server.provider("openrouter")])
    for _ in range(2):
        with pytest.raises(RequestRejected, match=r"only afford 900|at most 900"):
            caller.chat(hydra, "hello", max_tokens=5000)
    assert caller.chat(hydra, "hello", max_tokens=900).text == "ok"
    assert caller.lease(hydra, lambda lease: lease.key) == "openrouter-1"
    assert (len(server.heads), blamed(hydra)) == (2, [0])


def test_an_answer_that_credit_cut_short_is_not_kept(caller, pool, raw):
    """The caller wanted all of it: later it is not given out as what was asked for."""
    said = "You requested up to 65535 tokens, but can only afford 900"
    choice = {"index": 0, "message": {"role": "assistant", "content": "Once upon"}}
    replies = [
        answered(402, {"error": {"message": said, "code": 402}}),
        answered(200, {"choices": [{**choice, "finish_reason": "length"}]}),
        answered(429, {"error": {"message": "Rate limit exceeded", "code": 429}}),
    ]
    server = raw(lambda _: replies.pop(0))
    hydra = pool(providers=[server.provider("openrouter")], cache=True, max_wait=0.0)
    assert caller.chat(hydra, "Tell a tale").finish_reason == "length"
    assert caller.chat(hydra, "Tell a tale").kind == "wait"
    assert replies == []


def test_a_request_larger_than_known_limits_is_not_sent(caller, pool, serve):
    """What can never fit the configured limits is rejected without a call."""
    fake = serve([FakeKey("key-canary-1", limits=FakeLimits(tpm=100))])
    with pytest.raises(RequestRejected, match="larger than the token limit"):
        caller.chat(pool(fake), "word " * 500)
    assert fake.log == ()


def test_a_prompt_longer_than_every_window_is_not_sent(caller, pool, serve):
    """A prompt that surely exceeds the context window of every model is rejected without a call."""
    fake = serve()
    (row,) = fake.config()["providers"]
    row["models"] = [{"name": "fake-model", "context_window": 100}]
    with pytest.raises(ContextTooLong, match="swarm"):
        caller.chat(pool(fake, providers=[row]), "word " * 500)
    assert fake.log == ()


def test_a_too_long_prompt_moves_to_a_larger_window(caller, pool, serve):
    """Of an alias's models those that cannot hold more are skipped, and a larger one answers."""
    fake = serve(models=("small", "same", "large"))
    (row,) = fake.config()["providers"]
    windows = {"small": 8_000, "same": 8_000, "large": 100_000}
    row["models"] = [{"name": n, "context_window": w} for n, w in windows.items()]
    fake.fail("context_too_long", model="small")
    hydra = pool(fake, providers=[row], aliases={"any": [f"fake/{name}" for name in windows]})
    reply = caller.chat(hydra, "hello", model="any")
    assert [(a.model, a.outcome) for a in reply.attempts] == [
        ("small", "context_too_long"),
        ("large", "ok"),
    ]
    assert [call.model for call in fake.log] == ["small", "large"]


def test_a_prompt_longer_than_the_default_models_window_goes_to_one_that_holds_it(
    caller, pool, serve
):
    """A later model of the provider answers at once when its window is the larger one."""
    fake = serve(models=("short", "long"))
    (row,) = fake.config()["providers"]
    windows = {"short": 100, "long": 100_000}
    row["models"] = [{"name": n, "context_window": w} for n, w in windows.items()]
    hydra = pool(fake, providers=[row])
    for wanted in (None, "short"):
        reply = caller.chat(hydra, "word " * 500, model=wanted)
        assert (reply.kind, reply.model, len(reply.attempts)) == ("full", "long", 1)
    with pytest.raises(ContextTooLong, match="every eligible model"):
        caller.chat(hydra, "word " * 200_000)
    assert [call.model for call in fake.log] == ["long", "long"]


@pytest.mark.parametrize(
    ("messages", "kwargs", "words"),
    [
        ([], {}, "non-empty list"),
        (["hello"], {}, "list of dicts"),
        ("hello", {"model": "nobody"}, "no key serves model 'nobody'. Configured: fake/fake-model"),
        ("hello", {"provider": "nobody"}, "no key serves provider 'nobody'"),
        ("hello", {"lane": "bc3"}, "no key is reserved for a lane"),
        ("hello", {"deadline": -1.0}, "deadline is seconds from now"),
        ("hello", {"max_wait": float("nan")}, "max_wait is seconds from now"),
    ],
)
@STREAM
def test_an_impossible_request_is_rejected_before_any_call(
    caller, pool, serve, messages, kwargs, words, stream
):
    """The error names the argument and what is configured."""
    fake = serve()
    with pytest.raises(RequestRejected) as caught:
        caller.ask(pool(fake), messages, stream=stream, **kwargs)
    assert words in str(caught.value)
    assert fake.log == ()


@pytest.mark.parametrize("stream", [False, True])
def test_what_cannot_be_written_costs_nothing(caller, pool, serve, stream):
    """A request that is no JSON is never sent, so neither a limit nor a budget pays for it."""
    fake = serve([FakeKey("key-canary-1", limits=FakeLimits(rpm=1))])
    hydra = pool(fake, max_wait=0.0, budget={"tokens_per_day": 300})
    for _ in range(2):
        with pytest.raises(RequestRejected, match="written as JSON"):
            caller.ask(hydra, [{"role": "user", "content": b"no text"}], stream=stream)
    assert caller.ask(hydra, "hello", stream=stream)[1] == "full"
    assert blamed(hydra) == [0]


def test_a_request_that_never_left_costs_no_quota(caller, pool, serve, raw):
    """Its time was over while the connection was being made: no limit has counted it."""
    server = raw(lambda _: ())  # it answers no TLS handshake
    provider = server.provider()
    provider["keys"][0]["limits"] = {"rpd": 10, "tpd": 1000}
    provider["base_url"] = provider["base_url"].replace("http:", "https:")
    hydra = pool(serve(judged=False), providers=[provider], transport="httpx2", attempt_timeout=0.3)
    with pytest.raises(HydraError) as caught:
        caller.chat(hydra, "hello", max_tokens=50, deadline=0.5, on_exhausted="raise")
    assert {attempt.outcome for attempt in caught.value.attempts} == {"timeout"}
    limits = hydra.health()["providers"]["raw"]["keys"][0]["limits"]
    assert {kind: row["used"] for kind, row in limits.items()} == {"rpd": 0, "tpd": 0}
