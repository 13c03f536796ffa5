"""The wait that a refusal states is found where the vendor put it, and nowhere else."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from hydra_core.dialects.words import LimitWords

DATE = {"date": "Thu, 01 Oct 2026 12:00:00 GMT"}
NOON = datetime(2026, 10, 1, 12, tzinfo=UTC)


def refusal(message: str, **fields: Any) -> dict[str, Any]:
    """OpenAI's envelope around a rate limit."""
    return {"error": {"message": message, "code": "rate_limit_exceeded", **fields}}


@pytest.mark.parametrize(
    ("window", "limit", "used", "requested", "wait"),
    [
        (86_400.0, 200_000.0, 199_005.0, 3_118.0, 917.136),
        (60.0, 12_000.0, 4_437.0, 9_854.0, 11.455),
        (60.0, 30.0, 30.0, 1.0, 2.0),
        (86_400.0, 50.0, 50.0, 1.0, 1_728.0),
        (60.0, 30.0, 10.0, 1.0, None),
        (None, 30.0, 30.0, 1.0, None),
    ],
)
def test_the_bucket_arithmetic(window, limit, used, requested, wait):
    """A continuous bucket says by itself when it has room: the servers' own waits agree."""
    found = LimitWords("tokens", window, limit, used, requested).refill_wait
    assert found == (None if wait is None else pytest.approx(wait, abs=1e-3))


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "7", "retry-after-ms": "7250"}, 7.25),
        ({"retry-after": "3, 9"}, 9.0),
        ({"retry-after": "-1, 4"}, 4.0),
        ({"retry-after": "1e9"}, 1e9),
        ({"retry-after": "Thu, 01 Oct 2026 12:00:30 GMT"}, 30.0),
        ({"retry-after": "Thu, 01 Oct 2026 11:00:00 GMT"}, None),
        ({"retry-after": "abc"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({}, None),
    ],
)
def test_the_headers_that_state_a_wait(judge, headers, wait):
    """The largest valid hint counts; what cannot be read, or is past, counts for nothing."""
    assert judge("someone", 429, refusal("Slow down"), DATE | headers).retry_after == wait


@pytest.mark.parametrize(
    ("message", "wait"),
    [
        ("Please try again in 9m19.008s. Visit https://x.example/settings/billing", 559.008),
        ("Please try again in 3.89s.", 3.89),
        ("Please retry in 48.939935699s.", 48.939935699),
        ("Please retry after 60 seconds. Please go here", 60.0),
        ("Please retry after 1 second.", 1.0),
        ("Please wait 30 seconds and try again", 30.0),
        ("Please wait for 2 minutes", 120.0),
        ("Try again in 120ms", 0.12),
        ("Please try again in 114h18m0s", 411_480.0),
        ("Please try again later", None),
    ],
)
def test_the_words_that_state_a_wait(judge, message, wait):
    """A wait is read out of the message in every wording that is known."""
    assert judge("someone", 429, refusal(message), DATE).retry_after == wait


def test_hints_beat_arithmetic_and_arithmetic_beats_resets(judge):
    """A stated wait, then limit, used and requested, then the reset of a spent limit."""
    amounts = "requests per minute (RPM): Limit 30, Used 30, Requested 1."
    spent = {"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "41s"}
    hinted = judge("groq", 429, refusal(f"{amounts} Please try again in 5s"), spent)
    computed = judge("groq", 429, refusal(amounts), spent)
    reset = judge("groq", 429, refusal("Slow down"), spent)
    assert (hinted.retry_after, computed.retry_after, reset.retry_after) == (5.0, 2.0, 41.0)


def test_the_slowest_spent_limit_decides(judge):
    """Of several limits with nothing remaining the latest reset counts, parts included."""
    headers = DATE | {
        "anthropic-ratelimit-requests-remaining": "3",
        "anthropic-ratelimit-requests-reset": "2026-10-01T12:59:00Z",
        "anthropic-ratelimit-tokens-remaining": "0",
        "anthropic-ratelimit-tokens-reset": "2026-10-01T12:00:10Z",
        "anthropic-ratelimit-input-tokens-remaining": "0",
        "anthropic-ratelimit-input-tokens-reset": "2026-10-01T12:00:20Z",
    }
    body = {"type": "error", "error": {"type": "rate_limit_error", "message": "x"}}
    assert judge("anthropic", 429, body, headers, dialect="anthropic").retry_after == 20.0


def test_nothing_spent_is_no_wait(judge):
    """Resets of limits that still have room say nothing of the refusal."""
    headers = {"x-ratelimit-remaining-tokens": "5", "x-ratelimit-reset-tokens": "41s"}
    assert judge("groq", 429, refusal("Slow down"), headers).retry_after is None
    assert judge("mistral", 429, {"message": "x"}, headers).retry_after is None


def quota_failure(quota: str) -> list[Any]:
    """Gemini's refusal of a quota, with the half minute that it always states."""
    details = [
        {
            "@type": "type.googleapis.com/google.rpc.QuotaFailure",
            "violations": [{"quotaId": quota}],
        },
        {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "30s"},
    ]
    error = {"code": 429, "status": "RESOURCE_EXHAUSTED", "details": details}
    return [{"error": {**error, "message": "Quota exceeded. Please retry in 30.5s."}}]


@pytest.mark.parametrize(
    ("quota", "date", "wait"),
    [
        ("GenerateRequestsPerMinutePerProjectPerModel-FreeTier", "Thu, 01 Oct 2026", 30.5),
        ("GenerateRequestsPerDayPerProjectPerModel-FreeTier", "Thu, 01 Oct 2026", 68_400.0),
        ("GenerateRequestsPerDayPerProjectPerModel-FreeTier", "Sun, 01 Nov 2026", 72_000.0),
    ],
)
def test_geminis_day_ends_at_midnight_in_california(judge, quota, date, wait):
    """A quota per day waits for midnight Pacific, whatever the retry delay says."""
    headers = {"date": f"{date} 12:00:00 GMT"}
    assert judge("gemini", 429, quota_failure(quota), headers).retry_after == wait


def test_openrouters_day_ends_at_midnight_utc(judge):
    """The free pool's day waits for midnight UTC when the reply does not state the instant."""
    body = {"error": {"code": 429, "message": "Rate limit exceeded: free-models-per-day"}}
    assert judge("openrouter", 429, body, DATE).retry_after == 43_200.0


@pytest.mark.parametrize(
    ("vendor", "headers", "body", "wait"),
    [
        ("together", {"x-ratelimit-reset": "4"}, refusal("x"), 4.0),
        ("huggingface", {"ratelimit": '"api";r=0;t=117'}, refusal("x"), 117.0),
        (
            "openrouter",
            {"x-ratelimit-reset": str(int(NOON.timestamp() + 20) * 1000)},
            refusal("x"),
            20.0,
        ),
        (
            "openrouter",
            {},
            {"error": {"code": 503, "availability": {"retryable": True, "retry_after": 12}}},
            12.0,
        ),
    ],
)
def test_waits_that_only_some_vendors_state(judge, vendor, headers, body, wait):
    """A vendor's own header or field is a hint like `retry-after`."""
    status = body["error"].get("code")
    status = status if isinstance(status, int) else 429
    assert judge(vendor, status, body, DATE | headers).retry_after == wait


@pytest.mark.parametrize(
    ("status", "code"),
    [(401, "invalid_api_key"), (429, "insufficient_quota"), (400, "x"), (404, "x"), (413, "x")],
)
def test_only_limits_and_overload_have_a_wait(judge, status, code):
    """A wait in the reply means nothing where waiting does not help."""
    body = {"error": {"message": "Please try again in 5s", "code": code}}
    assert judge("someone", status, body, {"retry-after": "5"}).retry_after is None


def test_money_waits_for_its_stated_date_only(judge):
    """A spending cap that ends on a date waits for it, and not for `retry-after`."""
    text = "You have reached your specified API usage limits. You will regain access on {}"
    body = {"error": {"message": text.format("2026-10-02 at 00:00 UTC")}}
    assert judge("someone", 400, body, DATE | {"retry-after": "5"}).retry_after == 43_200.0
    past = {"error": {"message": text.format("2026-09-01 at 00:00 UTC")}}
    assert judge("someone", 400, past, DATE).retry_after is None


def test_retry_after_on_a_200_means_nothing(judge):
    """Some vendors send `retry-after` with success, so an error inside one does not use it."""
    body = {"error": {"message": "Rate limit exceeded", "code": 429}}
    assert judge("someone", 200, body, {"retry-after": "2"}).retry_after is None
    body["error"]["message"] += ". Please try again in 4s"
    assert judge("someone", 200, body, {"retry-after": "9"}).retry_after == 4.0


def test_overload_states_a_wait_too(judge):
    """A provider that is full may say for how long."""
    body = {"error": {"message": "experiencing high demand. Please retry after 20 seconds"}}
    assert judge("azure", 429, body).retry_after == 20.0
    assert judge("someone", 503, b"<html></html>", {"retry-after": "15"}).retry_after == 15.0
