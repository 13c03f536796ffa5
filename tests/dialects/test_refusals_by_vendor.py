"""Every way that a vendor is known to refuse gets its verdict.

Bodies have the vendors' shapes, codes and key phrases; ids and numbers are invented.
"""

from __future__ import annotations

from typing import Any

import pytest

from hydra_core.messages import Fault

MINUTE, DAY = Fault.RATE_LIMIT_MINUTE, Fault.RATE_LIMIT_DAY
PLACE = Fault.UNREACHABLE
MONEY, AUTH, MODEL = Fault.QUOTA_EXHAUSTED_BILLING, Fault.AUTH, Fault.MODEL_UNAVAILABLE
LARGE, CONTEXT = Fault.REQUEST_TOO_LARGE, Fault.CONTEXT_TOO_LONG
FILTER, FULL = Fault.CONTENT_FILTER, Fault.OVERLOADED
BAD, INVALID = Fault.BAD_REQUEST, Fault.INVALID_RESPONSE

TEAM = "01234567-89ab-cdef-0123-456789abcdef"


def error(message: str, **fields: Any) -> dict[str, Any]:
    """OpenAI's envelope."""
    return {"error": {"message": message, **fields}}


def google(message: str, code: int, status: str, *details: dict[str, Any]) -> list[Any]:
    """Gemini's envelope on its compatible endpoint: an array."""
    body = {"code": code, "message": message, "status": status, "details": list(details)}
    return [{"error": body}]


def quota(*ids: str) -> dict[str, Any]:
    """Google's detail that names the quotas."""
    kind = "type.googleapis.com/google.rpc.QuotaFailure"
    return {"@type": kind, "violations": [{"quotaId": name} for name in ids]}


def anthropic(kind: str, message: str, **fields: Any) -> dict[str, Any]:
    """Anthropic's envelope."""
    return {"type": "error", "error": {"type": kind, "message": message, **fields}}


GROQ = [
    (429, error("Rate limit reached ... (TPD): Limit 9, Used 9, Requested 1", code="x"), DAY),
    (429, error("Rate limit reached ... tokens per minute (TPM). See /settings/billing"), MINUTE),
    (429, error("Rate limit reached ... on requests per day (RPD)", type="requests"), DAY),
    (413, error("Request too large for model `m`", code="rate_limit_exceeded"), LARGE),
    (429, error("... (TPM): Limit 6000, Used 0, Requested ~12903. Try again in 1m"), LARGE),
    (401, error("Invalid API Key", code="invalid_api_key"), AUTH),
    (400, error("Organization has been restricted", code="organization_restricted"), AUTH),
    (404, error("The model `m` does not exist", code="model_not_found"), MODEL),
    (400, error("The model has been decommissioned", code="model_decommissioned"), MODEL),
    (400, error("Please reduce the length of the messages or completion."), CONTEXT),
    (400, error("too long", code="context_length_exceeded"), CONTEXT),
    (503, error("m is currently over capacity"), FULL),
    (498, error("no capacity", code="capacity_exceeded"), FULL),
    (400, error("Failed to call a function", code="tool_use_failed"), INVALID),
    (400, error("'logprobs' is not supported"), BAD),
    (403, b"error code: 1010", INVALID),
]
GEMINI = [
    (
        429,
        google(
            "You exceeded your current quota, please check your plan and billing details.",
            429,
            "RESOURCE_EXHAUSTED",
            quota("GenerateContentInputTokensPerModelPerMinute-FreeTier"),
        ),
        MINUTE,
    ),
    (
        429,
        google(
            "check your plan and billing details",
            429,
            "RESOURCE_EXHAUSTED",
            quota(
                "GenerateRequestsPerMinutePerProjectPerModel-FreeTier",
                "GenerateRequestsPerDayPerProjectPerModel-FreeTier",
            ),
        ),
        DAY,
    ),
    (
        429,
        google(
            "Quota exceeded for metric: free_tier_requests, limit: 0",
            429,
            "RESOURCE_EXHAUSTED",
            quota("GenerateRequestsPerDayPerProjectPerModel-FreeTier"),
        ),
        MODEL,
    ),
    (
        429,
        google("Resource has been exhausted (e.g. check quota).", 429, "RESOURCE_EXHAUSTED"),
        MINUTE,
    ),
    (429, google("Your prepayment credits are depleted.", 429, "RESOURCE_EXHAUSTED"), MONEY),
    (
        400,
        google("API key not valid.", 400, "INVALID_ARGUMENT", {"reason": "API_KEY_INVALID"}),
        AUTH,
    ),
    (400, google("Please pass a valid API key.", 400, "INVALID_ARGUMENT"), AUTH),
    (400, google("API key expired. Please renew it.", 400, "INVALID_ARGUMENT"), AUTH),
    (403, google("Your API key was reported as leaked.", 403, "PERMISSION_DENIED"), AUTH),
    (400, google("User location is not supported", 400, "FAILED_PRECONDITION"), PLACE),
    (400, google("The free tier is not available", 400, "FAILED_PRECONDITION"), AUTH),
    (
        400,
        google(
            "The input token count (9) exceeds the maximum number of tokens allowed (5)",
            400,
            "INVALID_ARGUMENT",
        ),
        CONTEXT,
    ),
    (404, google("models/m is not found for API version v1beta", 404, "NOT_FOUND"), MODEL),
    (404, google("m is no longer available to new users", 404, "NOT_FOUND"), MODEL),
    (503, google("The model is overloaded.", 503, "UNAVAILABLE"), FULL),
    (504, google("Deadline expired", 504, "DEADLINE_EXCEEDED"), FULL),
    (400, google('Unknown name "seed"', 400, "INVALID_ARGUMENT"), BAD),
]
DEEPSEEK = [
    (402, error("Insufficient Balance", code="invalid_request_error"), MONEY),
    (401, error("Authentication Fails", code="invalid_request_error"), AUTH),
    (400, error("Model Not Exist", code="invalid_request_error"), MODEL),
    (400, error("Content Exists Risk", code="invalid_request_error"), FILTER),
    (400, error("This model's maximum context length is 9 tokens"), CONTEXT),
    (
        429,
        error(
            "Your current concurrency is 6, which exceeds your concurrency limit of 5 based "
            "on your remaining balance. Please top up your balance",
            type="rate_limit_error",
        ),
        MINUTE,
    ),
]
OPENROUTER = [
    (429, error("Rate limit exceeded: free-models-per-min. ", code=429), MINUTE),
    (429, error("Rate limit exceeded: free-models-per-day-high-balance. ", code=429), DAY),
    (
        429,
        error("Slow down", code=429, metadata={"limit_source": "openrouter_free_tier_daily"}),
        DAY,
    ),
    (
        429,
        error(
            "Provider returned error",
            code=429,
            metadata={"provider_name": "P", "raw": "m is temporarily rate-limited upstream"},
        ),
        FULL,
    ),
    (
        429,
        error("Busy", code=429, metadata={"limit_source": "upstream_provider_shared_pool"}),
        FULL,
    ),
    (402, error("No credits", code=402, metadata={"limit_source": "openrouter_credits"}), MONEY),
    (402, error("Limit", code=402, metadata={"limit_source": "openrouter_key_limit"}), MONEY),
    (402, error("Wait", code=402, metadata={"reason": "in_flight_budget_exhausted"}), MINUTE),
    (402, error("You requested up to 9 tokens, but can only afford 5", code=402), LARGE),
    (402, error("You requested up to 9 tokens, but can only afford 0", code=402), MONEY),
    (402, error("Prompt tokens limit exceeded: 9 > 5", code=402), LARGE),
    (401, error("Missing Authentication header", code=401), AUTH),
    (400, error("m is not a valid model ID", code=400), MODEL),
    (404, error("No endpoints found for m", code=404), MODEL),
    (400, error("This endpoint's maximum context length is 5 tokens", code=400), CONTEXT),
    (403, error("Flagged", code=403, metadata={"reasons": ["violence"]}), FILTER),
    (403, error("Flagged", code=403, metadata={"flagged_input": "x"}), FILTER),
    (403, error("Blocked", code=403, metadata={"patterns": ["x"]}), FILTER),
    (403, error("This key may not", code=403), AUTH),
    (
        429,
        error("Full", code=429, availability={"code": "capacity_exhausted", "retryable": True}),
        FULL,
    ),
    (
        404,
        error("Gone", code=404, availability={"code": "retired", "retryable": False}),
        MODEL,
    ),
    (
        400,
        error("Wrong", code=400, availability={"code": "wrong_endpoint", "retryable": False}),
        BAD,
    ),
    (400, error("x", code=400, metadata={"error_type": "context_length_exceeded"}), CONTEXT),
    (400, error("x", code=400, metadata={"error_type": "provider_overloaded"}), FULL),
    (503, error("x", code=503, metadata={"error_type": "rate_limit_exceeded"}), MINUTE),
    (403, error("x", code=403, metadata={"error_type": "content_policy_violation"}), FILTER),
]
OPENAI = [
    (429, error("... on tokens per min (TPM): Limit 9", code="rate_limit_exceeded"), MINUTE),
    (429, error("... on requests per day (RPD)", code="rate_limit_exceeded"), DAY),
    (429, error("Request too large for m", code="rate_limit_exceeded"), LARGE),
    (429, error("You exceeded your current quota", type="insufficient_quota"), MONEY),
    (429, error("x", code="credit_balance_exhausted"), MONEY),
    (429, error("x", code="project_spend_limit_exceeded"), MONEY),
    (429, error("x", code="organization_spend_limit_exceeded"), MONEY),
    (429, error("x", code="organization_usage_limit_exceeded"), MONEY),
    (429, error("Your account is not active", code="billing_not_active"), MONEY),
    (429, error("x", code="slow_down"), FULL),
    (503, error("x", code="server_is_overloaded"), FULL),
    (401, error("x", code="invalid_api_key"), AUTH),
    (401, error("x", code="account_deactivated"), AUTH),
    (404, error("x", code="model_not_found"), MODEL),
    (400, error("x", code="model_not_found"), MODEL),
    (403, error("x", code="model_not_found"), MODEL),
    (400, error("x", code="context_length_exceeded"), CONTEXT),
    (400, error("x", code="unsupported_parameter"), BAD),
    (403, error("x", code="unsupported_country_region_territory"), PLACE),
]
AZURE = [
    (429, error("Requests have exceeded rate limit", code="RateLimitReached"), MINUTE),
    (429, error("exceeded the token rate limit. Please retry after 86400 seconds"), LARGE),
    (429, error("experiencing high demand. Please retry after 20 seconds", code="429"), FULL),
    (401, error("Access denied", code="401"), AUTH),
    (404, error("x", code="DeploymentNotFound"), MODEL),
    (
        400,
        error("x", code="content_filter", innererror={"code": "ResponsibleAIPolicyViolation"}),
        FILTER,
    ),
]
ANTHROPIC = [
    (
        429,
        anthropic(
            "rate_limit_error",
            "exceed your organization\u2019s rate limit of 80,000 input tokens per minute",
        ),
        MINUTE,
    ),
    (
        429,
        anthropic("rate_limit_error", "x", details={"error_code": "enforced_spend_limit_reached"}),
        MONEY,
    ),
    (529, anthropic("overloaded_error", "Overloaded"), FULL),
    (400, anthropic("invalid_request_error", "Your credit balance is too low"), MONEY),
    (401, anthropic("authentication_error", "invalid x-api-key"), AUTH),
    (404, anthropic("not_found_error", "model: m"), MODEL),
    (400, anthropic("invalid_request_error", "prompt is too long: 9 tokens > 5 maximum"), CONTEXT),
    (413, anthropic("request_too_large", "Request exceeds the maximum size"), LARGE),
    (413, b"<html><center>cloudflare</center></html>", LARGE),
    (429, error("x", code="rate_limit_error", type="invalid_request_error"), MINUTE),
]
OTHERS = [
    ("mistral", 429, {"message": "Requests rate limit exceeded"}, MINUTE),
    ("mistral", 429, {"object": "error", "type": "rate_limited", "code": "1300"}, MINUTE),
    ("mistral", 429, {"message": "Service tier capacity exceeded for this model"}, FULL),
    ("mistral", 429, {"message": "x", "code": "3505"}, FULL),
    ("mistral", 401, {"detail": "Unauthorized"}, AUTH),
    ("mistral", 422, {"detail": [{"type": "extra_forbidden", "loc": [], "msg": "x"}]}, BAD),
    ("mistral", 400, {"message": "too large for model with 9 maximum context length"}, CONTEXT),
    ("cerebras", 429, {"message": "x", "param": "queue", "code": "queue_exceeded"}, FULL),
    (
        "cerebras",
        429,
        {"message": "Tokens per minute limit", "code": "token_quota_exceeded"},
        MINUTE,
    ),
    ("cerebras", 429, {"message": "Requests per hour", "code": "request_quota_exceeded"}, MINUTE),
    ("cerebras", 429, {"message": "Tokens per day limit", "code": "token_quota_exceeded"}, DAY),
    ("cerebras", 402, {"message": "Payment required"}, MONEY),
    ("together", 429, {"error": {"message": "x"}, "error_type": "dynamic_token_limited"}, MINUTE),
    ("together", 503, error("x", type="service_unavailable"), FULL),
    ("together", 402, error("x"), MONEY),
    ("together", 400, error("input is longer than the model's context length"), CONTEXT),
    ("together", 400, error("longer than the model\u2019s context length"), CONTEXT),
    ("fireworks", 412, {"error": "Account acme is suspended"}, MONEY),
    ("fireworks", 412, {"error": "Something else"}, BAD),
    ("fireworks", 404, error("Model not found, inaccessible, and/or not deployed"), MODEL),
    ("fireworks", 400, error("The prompt is too long: 9"), CONTEXT),
    ("xai", 400, {"code": "x", "error": "Incorrect API key provided: xa***"}, AUTH),
    ("xai", 403, {"code": "permission-denied", "error": "has used all available credits"}, MONEY),
    (
        "xai",
        429,
        {"code": "Some resource has been exhausted", "error": "used all available credits"},
        MONEY,
    ),
    ("xai", 429, {"code": "Some resource has been exhausted", "error": "Slow down"}, MINUTE),
    ("xai", 400, {"code": "x", "error": "This model's maximum prompt length is 9"}, CONTEXT),
    ("sambanova", 402, {"error": {"code": "PAYMENT_METHOD_REQUIRED"}}, MONEY),
    ("sambanova", 422, {"error": "Couldn't find valid service tier"}, MODEL),
    ("sambanova", 410, {"error": "gone"}, MODEL),
    ("nvidia", 429, {"status": 429, "title": "Too Many Requests"}, MINUTE),
    ("nvidia", 404, {"detail": "Function 'f': Not found for account 'a1'"}, MODEL),
    ("nvidia", 410, {"detail": "end of life"}, MODEL),
    ("nvidia", 400, {"detail": "DEGRADED function cannot be invoked"}, FULL),
    ("huggingface", 402, {"error": "You have exceeded your monthly included credits"}, MONEY),
    ("huggingface", 401, {"error": "Invalid username or password."}, AUTH),
    ("huggingface", 400, error("x", code="model_not_supported"), MODEL),
    ("cohere", 429, {"message": "Trial key, which is limited to 20 API calls / minute"}, MINUTE),
    ("cohere", 429, {"message": "limited to 1000 API calls / month"}, DAY),
    ("cohere", 404, {"message": "model 'm' was removed on September 15"}, MODEL),
    ("cohere", 400, {"message": "x", "error_type": "TOO_MANY_TOKENS"}, CONTEXT),
    ("ollama", 503, {"error": "server busy, please try again.  maximum pending requests"}, FULL),
    ("ollama", 404, {"error": "model 'm' not found, try pulling it first"}, MODEL),
    ("ollama_cloud", 429, {"error": "you (ann) have reached your session usage limit"}, DAY),
    ("ollama_cloud", 429, {"error": "you (ann) have reached your weekly usage limit"}, DAY),
    ("ollama_cloud", 402, {"error": "extra usage balance is empty"}, MONEY),
    ("ollama_cloud", 400, {"error": "prompt too long"}, CONTEXT),
    ("vllm", 400, {"object": "error", "message": "... context length is only 5 tokens"}, CONTEXT),
    ("vllm", 404, {"object": "error", "type": "NotFoundError", "code": 404}, MODEL),
    ("llamacpp", 503, error("Loading model", code=503), FULL),
    ("llamacpp", 400, error("x", type="exceed_context_size_error", code=400), CONTEXT),
    ("lmstudio", 400, {"error": "No models loaded. Please load a model"}, MODEL),
    ("lmstudio", 400, {"error": "Trying to keep 9, greater than the context length"}, CONTEXT),
]
TABLE = [
    *(("groq", *row) for row in GROQ),
    *(("gemini", *row) for row in GEMINI),
    *(("deepseek", *row) for row in DEEPSEEK),
    *(("openrouter", *row) for row in OPENROUTER),
    *(("openai", *row) for row in OPENAI),
    *(("azure", *row) for row in AZURE),
    *(("anthropic", *row) for row in ANTHROPIC),
    *OTHERS,
]


@pytest.mark.parametrize(("vendor", "status", "body", "fault"), TABLE)
def test_the_verdict_on_a_refusal(judge, vendor, status, body, fault):
    """A vendor's refusal has the fault that its code, its words, or its status stand for."""
    verdict = judge(vendor, status, body)
    assert verdict.fault is fault
    assert verdict.status == status


@pytest.mark.parametrize(
    ("status", "body", "fault"),
    [
        (400, b"{}", BAD),
        (401, b"", AUTH),
        (402, b"", MONEY),
        (403, b"{}", AUTH),
        (403, b"Forbidden", INVALID),
        (404, b"", MODEL),
        (405, b"", BAD),
        (408, b"", FULL),
        (410, b"", MODEL),
        (413, b"", LARGE),
        (422, b"{}", BAD),
        (425, b"", FULL),
        (429, b"", MINUTE),
        (451, b"{}", FILTER),
        (498, b"", FULL),
        (500, b"", FULL),
        (599, b"", FULL),
        (302, b"", INVALID),
        (204, b"", INVALID),
        (999, b"", INVALID),
        (403, b"<!DOCTYPE html><title>Attention Required</title>", INVALID),
        (200, b"<html></html>", INVALID),
        (404, b"<html>nginx</html>", INVALID),
        (413, b"<html></html>", LARGE),
        (429, b"\n <html>too many</html>", FULL),
        (429, b"error code: 1015", FULL),
        (502, b"<html>Bad gateway</html>", FULL),
    ],
)
def test_the_verdict_by_status_alone(judge, status, body, fault):
    """Where no code and no phrase speaks, the status does; a CDN's page is not the API."""
    assert judge("someone", status, body).fault is fault


@pytest.mark.parametrize(
    ("status", "body", "fault"),
    [
        (429, error("This model's maximum context length is 9", code=429), MINUTE),
        (429, error("x", code="context_length_exceeded"), MINUTE),
        (400, error("rate limit of the field is 3"), BAD),
        (500, error("Rate limit service failed"), FULL),
        (429, error("see the billing page for your plan and balance"), MINUTE),
        (429, error("slow, see https://x.example/limits/monthly/per-day"), MINUTE),
        (400, error("rate limit", code="invalid_api_key"), AUTH),
    ],
)
def test_words_do_not_mislead(judge, status, body, fault):
    """Billing words, links, and rate or context words under the wrong status prove nothing."""
    assert judge("someone", status, body).fault is fault
