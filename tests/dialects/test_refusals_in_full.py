"""Refusals as they arrive, with headers, words and envelope together: fault, wait and limit.

One row for each way that `test_refusals_by_vendor.py` tells by its code or phrase alone and
that is more than that on the wire. Ids and numbers are invented; they satisfy the arithmetic.
"""

from __future__ import annotations

from typing import Any

import pytest

from hydra_core.messages import Fault

DATE = {"date": "Sun, 08 Mar 2026 08:30:00 GMT"}  # 00:30 in California, whose day has 23 hours
MINUTE, DAY = Fault.RATE_LIMIT_MINUTE, Fault.RATE_LIMIT_DAY
MONEY, AUTH, MODEL = Fault.QUOTA_EXHAUSTED_BILLING, Fault.AUTH, Fault.MODEL_UNAVAILABLE
LARGE, FILTER, FULL = Fault.REQUEST_TOO_LARGE, Fault.CONTENT_FILTER, Fault.OVERLOADED
BAD, INVALID, CONTEXT = Fault.BAD_REQUEST, Fault.INVALID_RESPONSE, Fault.CONTEXT_TOO_LONG
TEAM = "89abcdef-0123-4567-89ab-cdef01234567"
GROQ_SAYS = (
    "Rate limit reached for model `openai/gpt-oss-20b` in organization `org_7x` service tier "
    "`on_demand` on {}. Need more? Upgrade at https://console.example/settings/billing"
)


def error(message: str, **fields: Any) -> dict[str, Any]:
    """OpenAI's envelope."""
    return {"error": {"message": message, **fields}}


def groq(said: str, kind: str) -> dict[str, Any]:
    """Groq's refusal, whose code is one for all limits."""
    return error(GROQ_SAYS.format(said), type=kind, code="rate_limit_exceeded")


def google(quota: str, said: str, delay: str | None = None) -> dict[str, Any]:
    """Gemini's refusal on its native endpoint."""
    kind = "type.googleapis.com/google.rpc."
    details: list[dict[str, Any]] = [
        {"@type": f"{kind}QuotaFailure", "violations": [{"quotaId": quota}]},
        {"@type": f"{kind}Help", "links": [{"description": "limits"}]},
    ]
    if delay is not None:
        details.append({"@type": f"{kind}RetryInfo", "retryDelay": delay})
    body = {"code": 429, "message": said, "status": "RESOURCE_EXHAUSTED", "details": details}
    return {"error": body}


def spent(kind: str, reset: str, prefix: str = "x-ratelimit") -> dict[str, str]:
    """Headers of a limit that is used up."""
    return {f"{prefix}-remaining-{kind}": "0", f"{prefix}-reset-{kind}": reset}


DAYS = "tokens per day (TPD): Limit 200000, Used 199005, Requested 3118"
ROWS = [
    # vendor, status, headers, body, fault, seconds to wait, (kind, window)
    ("groq", 429, {"retry-after": "560"}, groq(f"{DAYS}. Please try again in 15m17.136s", "tokens"),
     DAY, 917.136, ("tokens", 86_400.0)),
    ("groq", 429, spent("tokens", "41s"), groq(DAYS, "tokens"),
     DAY, pytest.approx(917.136), ("tokens", 86_400.0)),
    ("groq", 429, spent("tokens", "41s"), groq("tokens per day (TPD)", "tokens"),
     DAY, None, ("tokens", 86_400.0)),
    ("groq", 429, spent("requests", "1h2m"), groq("requests per day (RPD)", "requests"),
     DAY, 3_720.0, ("requests", 86_400.0)),
    ("groq", 429, {}, groq("tokens per minute (TPM): Limit 12000, Used 4437, Requested ~9854", "t"),
     MINUTE, pytest.approx(11.455), ("tokens", 60.0)),
    ("openai", 429, spent("tokens", "6m0s"), error(
        "Rate limit reached for m in organization org-7x on requests per day (RPD): "
        "Limit 50, Used 50, Requested 1. Please try again in 28m48s. You can increase your rate "
        "limit by adding a payment method", type="requests", code="rate_limit_exceeded"),
     DAY, 1_728.0, ("requests", 86_400.0)),
    ("openai", 429, spent("tokens", "6m0s"), error(
        "Rate limit reached on requests per day (RPD)", code="rate_limit_exceeded"),
     DAY, None, ("requests", 86_400.0)),
    ("openai", 429, spent("requests", "120ms"), error(
        "Rate limit reached on requests per min (RPM)", code="rate_limit_exceeded"),
     MINUTE, 0.12, ("requests", 60.0)),
    ("openai", 400, {}, error("Use the default (1)", code="unsupported_value"), BAD, None, None),
    ("azure", 429, {"retry-after": "57", "retry-after-ms": "57420"}, error(
        "Requests have exceeded the token rate limit of your tier. Please retry after 60 seconds",
        code="RateLimitReached"), MINUTE, 60.0, ("tokens", None)),
    ("azure", 429, spent("requests", "1500"), error("exceeded rate limit", code="RateLimitReached"),
     MINUTE, 1.5, None),
    ("gemini", 429, {}, google("GenerateContentPaidTierInputTokensPerModelPerMinute",
                               "Quota exceeded. Please retry in 12.5s.", "12s"),
     MINUTE, 12.5, ("tokens", 60.0)),
    ("gemini", 429, DATE, google("GenerateRequestsPerDayPerProjectPerModel-FreeTier",
                                 "Quota exceeded. Please retry in 30s.", "30s"),
     DAY, 22.5 * 3_600, ("requests", 86_400.0)),
    ("gemini", 503, {}, {"error": {"code": 503, "message": "busy", "status": "UNAVAILABLE"}},
     FULL, None, None),
    ("openrouter", 429, {**DATE, "x-ratelimit-reset": "1773014400000", "x-ratelimit-remaining": "0",
                         "x-ratelimit-limit": "50"},
     error("Rate limit exceeded: free-models-per-day", code=429), DAY, 55_800.0,
     ("requests", 86_400.0)),
    ("openrouter", 503, {"retry-after": "9"}, error("busy", code=503, availability={
        "code": "temporarily_unavailable", "retryable": True, "retry_after": 30}),
     FULL, 30.0, None),
    ("openrouter", 402, {}, error("x", code=402, metadata={"error_type": "payment_required"}),
     MONEY, None, None),
    ("openrouter", 502, {}, error("x", code=502, metadata={"error_type": "provider_unavailable"}),
     FULL, None, None),
    ("openrouter", 429, {}, error("x", code=429, metadata={"error_type": "rate_limit_exceeded"}),
     MINUTE, None, None),
    ("anthropic", 400, DATE, {"type": "error", "request_id": "req_1", "error": {
        "type": "invalid_request_error", "message": "You have reached your specified API usage "
        "limits. You will regain access on 2026-04-01 at 00:00 UTC."}},
     MONEY, 2_043_000.0, None),
    ("anthropic", 429, {"retry-after": "11"}, {"type": "error", "error": {
        "type": "rate_limit_error", "message": "This request would exceed your organization\u2019s "
        "rate limit of 80,000 input tokens per minute (org: 0a1b-2c, model: m)"}},
     MINUTE, 11.0, ("tokens", 60.0)),
    ("anthropic", 403, {}, {"type": "error", "error": {
        "type": "permission_error", "message": "not allowed"}}, AUTH, None, None),
    ("mistral", 503, {}, {"object": "error", "message": "Service tier capacity exceeded for this "
                          "model.", "type": "invalid_request_error", "code": None},
     FULL, None, None),
    ("mistral", 429, {}, {"object": "error", "message": "Rate limit exceeded", "code": "1300",
                          "type": "rate_limited", "param": None}, MINUTE, None, None),
    ("cerebras", 429, {"x-ratelimit-remaining-tokens-day": "0",
                       "x-ratelimit-reset-tokens-day": "33011.382867"},
     {"message": "Tokens per day limit exceeded", "type": "too_many_tokens_error",
      "param": "quota", "code": "token_quota_exceeded"}, DAY, 33_011.382867, ("tokens", 86_400.0)),
    ("cerebras", 429, {}, {"message": "Requests per minute limit exceeded", "param": "quota",
                           "type": "too_many_requests_error", "code": "request_quota_exceeded"},
     MINUTE, None, ("requests", 60.0)),
    ("together", 429, {"x-ratelimit-reset": "3", "retry-after": "2"},
     error("slow", type="dynamic_request_limited"), MINUTE, 3.0, ("requests", None)),
    ("together", 429, {}, {"error": {"message": "x"}, "error_type": "model_rate_limit"},
     MINUTE, None, None),
    ("fireworks", 429, {}, {"error": "too many requests"}, MINUTE, None, None),
    ("xai", 429, {}, {"code": "resource-exhausted", "error": f"Too many tokens for team {TEAM} and "
                      "model m. Tokens per Minute (actual/limit): 2000100/2000000"},
     MINUTE, None, ("tokens", 60.0)),
    ("xai", 403, {}, {"code": "permission-denied", "error": "no access"}, AUTH, None, None),
    ("sambanova", 429, {"x-ratelimit-remaining-requests-day": "0",
                        "x-ratelimit-reset-requests-day": "1773014400", **DATE},
     error("Requests per day limit exceeded"), DAY, 55_800.0, ("requests", 86_400.0)),
    ("nvidia", 429, {}, {"status": 429, "title": "Too Many Requests", "detail": "wait"},
     MINUTE, None, None),
    ("nvidia", 403, {}, {"status": 403, "title": "Forbidden", "detail": "Authorization failed"},
     AUTH, None, None),
    ("huggingface", 429, {"ratelimit": '"api";r=0;t=117', "retry-after": "2"},
     {"error": "slow down"}, MINUTE, 117.0, None),
    ("cohere", 429, {}, {"id": "c-1", "message": "Trial key, which is limited to 20 API calls / "
                         "minute"}, MINUTE, None, ("requests", 60.0)),
    ("cohere", 429, {}, {"id": "c-2", "message": "Trial key, which is limited to 1000 API calls / "
                         "month"}, DAY, None, ("requests", 30 * 86_400.0)),
    ("ollama", 503, {}, {"error": "server busy, please try again.  maximum pending requests "
                         "exceeded"}, FULL, None, None),
    ("ollama_cloud", 410, {}, {"error": "m was retired"}, MODEL, None, None),
    ("ollama_cloud", 429, {}, {"error": "you (ann) have reached your session usage limit"},
     DAY, None, (None, 5 * 3_600.0)),
    ("ollama_cloud", 429, {}, {"error": "you (ann) have reached your weekly usage limit"},
     DAY, None, (None, 7 * 86_400.0)),
    ("vllm", 400, {}, error("This model's maximum context length is 5 tokens.", code=400,
                            type="BadRequestError"), CONTEXT, None, None),
    ("vllm", 400, {}, error("You passed 9 input tokens and requested 2 output tokens. However, "
                            "the model's context length is only 5 tokens", code=400),
     CONTEXT, None, None),
    ("deepseek", 503, {"content-type": "text/plain"}, b"Service Unavailable", FULL, None, None),
    ("deepseek", 400, {"content-type": "application/octet-stream"},
     error("Model Not Exist", type="invalid_request_error"), MODEL, None, None),
    ("groq", 500, {"content-type": "text/html"}, b"<html>500</html>", FULL, None, None),
    ("cerebras", 403, {}, b"error code: 1010", INVALID, None, None),
]  # fmt: skip


@pytest.mark.parametrize(
    ("vendor", "status", "headers", "body", "fault", "wait", "limit"),
    ROWS,
    ids=[f"{row[0]}-{row[1]}-{number}" for number, row in enumerate(ROWS)],
)
def test_a_refusal_in_full(judge, vendor, status, headers, body, fault, wait, limit):
    """The fault, the seconds that the provider states, and the limit that it names."""
    verdict = judge(vendor, status, body, headers)
    assert (verdict.fault, verdict.retry_after) == (fault, wait)
    if limit is not None:
        assert (verdict.kind, verdict.window) == limit


@pytest.mark.parametrize("dialect", ["openai", "gemini"])
def test_geminis_two_envelopes_are_one(read, dialect):
    """The same refusal as an object and as an array, by either endpoint, is the same verdict."""
    body = google("GenerateRequestsPerMinutePerProjectPerModel-FreeTier", "retry in 4s", "4s")
    for shape in (body, [body]):
        verdict = read("gemini", 429, shape, dialect=dialect).verdict
        assert (verdict.fault, verdict.retry_after, verdict.window) == (MINUTE, 4.0, 60.0)


@pytest.mark.parametrize("dialect", ["openai", "anthropic"])
def test_anthropics_two_endpoints_name_the_same_faults(read, dialect):
    """Each puts Anthropic's own types into its own envelope."""
    shapes = {
        "openai": lambda kind: error("x", code=kind, type="invalid_request_error"),
        "anthropic": lambda kind: {"type": "error", "error": {"type": kind, "message": "x"}},
    }
    for status, kind, fault in (
        (429, "rate_limit_error", MINUTE),
        (401, "authentication_error", AUTH),
        (404, "not_found_error", MODEL),
        (413, "request_too_large", LARGE),
        (529, "overloaded_error", FULL),
    ):
        body = shapes[dialect](kind)
        assert read("anthropic", status, body, dialect=dialect).verdict.fault is fault
