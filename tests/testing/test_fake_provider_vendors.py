"""Each vendor's own headers and words, with true numbers in them."""

import re
import time
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest

from hydra_core.testing import FakeAnswer, FakeKey, FakeLimits, FakeProvider, VirtualClock

http = httpx2.Client()


@pytest.fixture(scope="module", autouse=True)
def _client_closed():
    yield
    http.close()


class Costs:
    """A model whose every answer costs this many tokens."""

    def __init__(self, tokens):
        self._answer = FakeAnswer("yes", prompt_tokens=tokens - 1, completion_tokens=1)

    def answer(self, _body):
        return self._answer


def ask(fake, key="secret-canary"):
    body = {"model": "fake-model", "messages": [{"role": "user", "content": "hello"}]}
    headers = {"authorization": f"Bearer {key}"}
    return http.post(f"{fake.base_url}/chat/completions", json=body, headers=headers)


def provider(vendor, limits, *, tokens=10, clock=None, **how):
    return FakeProvider(
        [FakeKey("secret-canary", limits=limits)],
        vendor=vendor,
        answer=Costs(tokens),
        clock=(clock or VirtualClock()).now,
        **how,
    )


def test_groq_states_the_day_and_the_minute_in_headers():
    """Groq's request headers are per day, its token headers per minute; a reset means "full"."""
    limits = FakeLimits(rpm=30, rpd=14400, tpm=6000, window="bucket")
    with provider("groq", limits, tokens=60) as fake:
        headers = ask(fake).headers
    told = {name: value for name, value in headers.items() if name.startswith("x-ratelimit")}
    assert told == {
        "x-ratelimit-limit-requests": "14400",
        "x-ratelimit-remaining-requests": "14399",
        "x-ratelimit-reset-requests": "6s",
        "x-ratelimit-limit-tokens": "6000",
        "x-ratelimit-remaining-tokens": "5940",
        "x-ratelimit-reset-tokens": "600ms",
    }


def test_groq_refuses_with_numbers_that_fit_its_wait():
    """Limit, Used and Requested give the stated wait by bucket arithmetic; the header rounds up."""
    limits = FakeLimits(tpd=200_000, window="bucket")
    with provider("groq", limits, tokens=60_000) as fake:
        seen = [ask(fake) for _ in range(4)]
        fake.wait_idle()
    refusal = seen[-1].json()["error"]
    limit, used, requested = map(int, re.findall(r"(?:Limit|Used|Requested) (\d+)", str(refusal)))
    assert (limit, used, requested) == (200_000, 180_000, 60_000)
    assert (used + requested - limit) / (limit / 86_400) == 17_280
    assert "try again in 4h48m0s" in refusal["message"]
    assert "tokens per day (TPD)" in refusal["message"]
    assert (refusal["type"], refusal["code"]) == ("tokens", "rate_limit_exceeded")
    assert (seen[-1].status_code, seen[-1].headers["retry-after"]) == (429, "17280")
    assert "retry-after" not in seen[0].headers


def test_openai_counts_requests_by_the_minute():
    """OpenAI's request headers are per minute, it names the organization, and waits in words."""
    limits = FakeLimits(rpm=2, tpm=1000, window="bucket")
    clock = VirtualClock()
    with provider("openai", limits, clock=clock) as fake:
        first, _, refusal = (ask(fake) for _ in range(3))
    assert first.headers["x-ratelimit-remaining-requests"] == "1"
    assert first.headers["x-ratelimit-reset-requests"] == "30s"
    message = refusal.json()["error"]["message"]
    assert first.headers["openai-organization"] in message
    assert "requests per min (RPM): Limit 2, Used 2, Requested 1." in message
    assert "try again in 30s" in message


@pytest.mark.parametrize(
    ("limits", "quota"),
    [(FakeLimits(rpm=1), "PerMinute"), (FakeLimits(rpd=1), "PerDay")],
)
def test_gemini_answers_with_a_list_and_details(limits, quota):
    """Gemini's error is a JSON list; its quota id tells the window and RetryInfo the wait."""
    clock = VirtualClock()
    with provider("gemini", limits, clock=clock) as fake:
        ask(fake)
        clock.advance(30.25)
        (body,) = ask(fake).json()
    error = body["error"]
    failure, retry = error["details"]
    seconds = 29.75 if quota == "PerMinute" else 86_369.75
    assert (error["code"], error["status"]) == (429, "RESOURCE_EXHAUSTED")
    assert quota in failure["violations"][0]["quotaId"]
    assert retry["retryDelay"] == f"{seconds + 0.25:g}s"
    assert f"Please retry in {seconds:.9f}s." in error["message"]


def test_openrouter_states_the_instant_in_milliseconds():
    """OpenRouter's reset is an epoch time in milliseconds, in the headers and in the body."""
    with provider("openrouter", FakeLimits(rpd=1)) as fake:
        ask(fake)
        before = time.time()
        refusal = ask(fake)
    error = refusal.json()["error"]
    reset = int(refusal.headers["x-ratelimit-reset"])
    assert before + 86_400 <= reset / 1000 <= time.time() + 86_401
    assert error["metadata"]["headers"]["X-RateLimit-Reset"] == str(reset)
    assert error["metadata"]["limit_source"] == "openrouter_free_tier_daily"
    assert "free-models-per-day" in error["message"]
    assert refusal.json()["user_id"].startswith("user_")


def test_deepseek_limits_concurrency_and_gives_no_hint():
    """DeepSeek names the concurrency limit and no wait at all."""
    limits = FakeLimits(concurrency=1)
    with provider("deepseek", limits, latency=0.3) as fake, ThreadPoolExecutor(2) as pool:
        replies = list(pool.map(lambda _: ask(fake), range(2)))
    (refusal,) = (reply for reply in replies if reply.status_code == 429)
    assert "retry-after" not in refusal.headers
    assert "current concurrency is 2, which exceeds your concurrency limit of 1" in refusal.text


@pytest.mark.parametrize(("vendor", "hint"), [("plain", "60"), ("silent", None)])
def test_two_vendors_say_next_to_nothing(vendor, hint):
    """`plain` tells only `Retry-After`, `silent` nothing, on refusals and on success."""
    with provider(vendor, FakeLimits(rpm=1, tpm=1000)) as fake:
        replies = [ask(fake), ask(fake)]
    assert [reply.status_code for reply in replies] == [200, 429]
    assert replies[1].headers.get("retry-after") == hint
    assert not [name for name in {**replies[0].headers, **replies[1].headers} if "limit" in name]


@pytest.mark.parametrize(
    ("vendor", "dead", "no_money", "gone"),
    [
        ("openai", 401, 429, 404),
        ("groq", 401, 402, 404),
        ("gemini", 400, 429, 404),
        ("openrouter", 401, 402, 400),
        ("deepseek", 401, 402, 400),
    ],
)
def test_the_same_trouble_has_another_status_elsewhere(vendor, dead, no_money, gone):
    """A dead key, an empty account and a missing model come with the vendor's own status."""
    with provider(vendor, FakeLimits()) as fake:
        fake.fail("billing", times=1)
        fake.fail("model_gone", times=1)
        seen = [ask(fake).status_code for _ in range(2)]
        assert [ask(fake, key="another").status_code, *seen] == [dead, no_money, gone]


@pytest.mark.parametrize("vendor", ["openai", "groq", "gemini", "openrouter", "plain"])
def test_whoever_waits_as_long_as_told_is_served(vendor):
    """The wait that a vendor states is the true one: after it the same request passes."""
    clock = VirtualClock()
    limits = FakeLimits(rpm=3, tpm=40, window="bucket")
    with provider(vendor, limits, clock=clock, time_scale=0.05) as fake:
        for _ in range(6):
            while ask(fake).status_code == 429:
                clock.advance(fake._desk.journal.calls[-1].told)
        assert (fake.served, fake.violations) == (6, ())
        assert fake.refused <= 6


@pytest.mark.parametrize("vendor", ["openai", "groq", "gemini", "openrouter", "silent"])
def test_a_scripted_wait_is_sent_exactly(vendor):
    """`retry_after` comes as that header from every vendor, and its words agree with it."""
    with provider(vendor, FakeLimits(), time_scale=0.05) as fake:
        fake.fail("rate_limit", times=1, retry_after=1.5)
        fake.fail("day_limit", times=1)
        minute, day = ask(fake), ask(fake)
    assert (minute.status_code, minute.headers["retry-after"], day.status_code) == (429, "1.5", 429)
    if vendor in ("openai", "groq"):
        numbers = re.findall(r"(?:Limit|Used|Requested) (\d+)", minute.text)
        limit, used, requested = map(int, numbers)
        assert (used + requested - limit) / (limit / (60 * 0.05)) == pytest.approx(1.5)
        assert "try again in 1.5s" in minute.text
        assert "(TPD)" in day.text


def test_an_unknown_vendor_is_an_error():
    """A vendor that is not there is refused with the list of those that are."""
    with pytest.raises(ValueError, match="there are openai, groq"):
        FakeProvider(["one"], vendor="acme")
