"""Each vendor's limit headers become readings of the right kind, window and unit."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from hydra_core.wire import DAY, MINUTE, LimitReading

GOOD = {
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Yes."}}],
    "usage": {"prompt_tokens": 5, "completion_tokens": 2},
}
DATE = "Thu, 01 Oct 2026 12:00:00 GMT"


def openai_headers(reset_requests: str, reset_tokens: str) -> dict[str, str]:
    """The six headers of OpenAI's naming."""
    return {
        "x-ratelimit-limit-requests": "1000",
        "x-ratelimit-remaining-requests": "999",
        "x-ratelimit-reset-requests": reset_requests,
        "x-ratelimit-limit-tokens": "8000",
        "x-ratelimit-remaining-tokens": "7400",
        "x-ratelimit-reset-tokens": reset_tokens,
    }


@pytest.mark.parametrize(
    ("vendor", "resets", "window", "seconds"),
    [
        ("groq", ("1m26.4s", "4.5s"), DAY, (86.4, 4.5)),
        ("openai", ("60ms", "6m0s"), MINUTE, (0.06, 360.0)),
        ("azure", ("500", "0"), MINUTE, (0.5, 0.0)),
        ("someone-else", ("60ms", "4.5s"), MINUTE, (0.06, 4.5)),
        ("xai", ("60ms", "4.5s"), MINUTE, (None, None)),
    ],
)
def test_one_naming_with_several_meanings(read, vendor, resets, window, seconds):
    """Groq counts those requests per day, Azure's resets are milliseconds, xAI has none."""
    answer = read(vendor, 200, GOOD, openai_headers(*resets))
    assert answer.verdict.readings == (
        LimitReading("requests", window, 1000.0, 999.0, seconds[0]),
        LimitReading("tokens", MINUTE, 8000.0, 7400.0, seconds[1]),
    )


@pytest.mark.parametrize(
    ("vendor", "headers", "readings"),
    [
        (
            "anthropic",
            {
                "x-ratelimit-requests": "50",
                "x-ratelimit-remaining-requests": "49",
                "x-ratelimit-reset-requests": "0s",
            },
            [LimitReading("requests", MINUTE, 50.0, 49.0, 0.0)],
        ),
        (
            "mistral",
            {
                "x-ratelimit-limit-req-minute": "60",
                "x-ratelimit-remaining-req-minute": "59",
                "x-ratelimit-limit-tokens-minute": "500000",
                "x-ratelimit-remaining-tokens-minute": "499000",
            },
            [
                LimitReading("requests", MINUTE, 60.0, 59.0),
                LimitReading("tokens", MINUTE, 500_000.0, 499_000.0),
            ],
        ),
        (
            "cerebras",
            {
                "x-ratelimit-limit-requests-day": "14400",
                "x-ratelimit-remaining-requests-day": "14000",
                "x-ratelimit-reset-requests-day": "33011.382867",
                "x-ratelimit-limit-requests-hour": "900",
                "x-ratelimit-remaining-tokens-minute": "60000",
            },
            [
                LimitReading("requests", DAY, 14_400.0, 14_000.0, 33_011.382867),
                LimitReading("tokens", MINUTE, None, 60_000.0),
                LimitReading("requests", 3_600.0, 900.0),
            ],
        ),
        (
            "together",
            {
                "x-ratelimit-limit": "10",
                "x-ratelimit-remaining": "12",
                "x-ratelimit-reset": "1",
                "retry-after": "2",
            },
            [LimitReading("requests", 1.0, 10.0, 12.0, 1.0)],
        ),
        (
            "together",
            {
                "x-ratelimit-limit": "10",
                "x-ratelimit-remaining": "9",
                "x-ratelimit-reset": "1",
                "x-ratelimit-limit-dynamic": "14",
                "x-ratelimit-remaining-dynamic": "12",
                "x-tokenlimit-limit": "3000",
                "x-tokenlimit-remaining": "2900",
            },
            [
                LimitReading("requests", 1.0, 14.0, 12.0, 1.0),
                LimitReading("tokens", 1.0, 3_000.0, 2_900.0),
            ],
        ),
        (
            "together",
            {
                "x-ratelimit-limit-tokens": "3000",
                "x-ratelimit-remaining-tokens": "10",
                "x-tokenlimit-limit-dynamic": "3500",
                "x-tokenlimit-remaining-dynamic": "3400",
            },
            [LimitReading("tokens", 1.0, 3_500.0, 3_400.0)],
        ),
        (
            "anthropic",
            {
                "x-ratelimit-tokens": "80000",
                "x-ratelimit-remaining-tokens": "79000",
                "x-ratelimit-reset-tokens": "0s",
            },
            [LimitReading("tokens", MINUTE, 80_000.0, 79_000.0, 0.0)],
        ),
        (
            "cerebras",
            {
                "x-ratelimit-limit-requests-minute": "30",
                "x-ratelimit-remaining-requests-minute": "29",
                "x-ratelimit-reset-requests-minute": "1.5",
                "x-ratelimit-limit-tokens-day": "1000000",
            },
            [
                LimitReading("requests", MINUTE, 30.0, 29.0, 1.5),
                LimitReading("tokens", DAY, 1_000_000.0),
            ],
        ),
        (
            "cohere",
            {"x-endpoint-monthly-call-limit": "1000"},
            [LimitReading("requests", 30 * DAY, 1_000.0)],
        ),
        (
            "fireworks",
            {
                "x-ratelimit-limit-tokens-prompt": "60000",
                "x-ratelimit-limit-tokens-generated": "6000",
            },
            [LimitReading("tokens", MINUTE, 60_000.0)],
        ),
        (
            "sambanova",
            {"x-ratelimit-limit-requests": "20", "x-ratelimit-remaining-requests-day": "3"},
            [LimitReading("requests", MINUTE, 20.0), LimitReading("requests", DAY, None, 3.0)],
        ),
        (
            "cohere",
            {"x-trial-endpoint-call-limit": "20", "x-trial-endpoint-call-remaining": "19"},
            [LimitReading("requests", MINUTE, 20.0, 19.0)],
        ),
        *(
            (vendor, openai_headers("1s", "1s"), [])
            for vendor in ("gemini", "deepseek", "nvidia", "huggingface", "ollama", "vllm")
        ),
        ("openrouter", {"x-ratelimit-limit": "50"}, []),  # of which window, no reply says
    ],
)
def test_readings_of_each_naming(read, vendor, headers, readings):
    """A vendor's own header names are read, and no others."""
    assert list(read(vendor, 200, GOOD, headers).verdict.readings) == readings


@pytest.mark.parametrize("limit", ["-5", "nan", "inf", "many", ""])
def test_a_broken_limit_is_no_reading(read, limit):
    """A limit that is no number says nothing."""
    assert read("openai", 200, GOOD, {"x-ratelimit-limit-tokens": limit}).verdict.readings == ()


def test_openrouter_repeats_its_headers_in_the_body(judge):
    """A limit that stands only in the error's metadata is read, with the window its words name."""
    reset = int(datetime(2026, 10, 2, tzinfo=UTC).timestamp() * 1000)
    metadata = {
        "headers": {
            "X-RateLimit-Limit": "50",
            "X-RateLimit-Remaining": "0",
            "X-RateLimit-Reset": str(reset),
        }
    }
    error = {
        "code": 429,
        "message": "Rate limit exceeded: free-models-per-day",
        "metadata": metadata,
    }
    verdict = judge("openrouter", 429, {"error": error}, {"date": DATE})
    assert verdict.readings == (LimitReading("requests", DAY, 50.0, 0.0, 43_200.0),)
    assert verdict.retry_after == 43_200.0


def test_readings_come_with_refusals_too(judge):
    """A refusal's headers are read like a good reply's."""
    verdict = judge("groq", 429, b"{}", openai_headers("1s", "2s"))
    assert [reading.window for reading in verdict.readings] == [DAY, MINUTE]
