"""Beside the fault a verdict says which limit refused, whose it is, and how far it reaches."""

from __future__ import annotations

import pytest

from hydra_core.dialects import get_dialect
from hydra_core.messages import Fault

TEAM = "01234567-89ab-cdef-0123-456789abcdef"
GROQ = (
    "Rate limit reached for model `m` in organization `org_01ab` service tier `on_demand` "
    "on {}: Limit 6,000, Used 5500, Requested ~1000. Please try again in 5s."
)


@pytest.mark.parametrize(
    ("named", "kind", "window"),
    [
        ("tokens per minute (TPM)", "tokens", 60.0),
        ("requests per minute (RPM)", "requests", 60.0),
        ("tokens per day (TPD)", "tokens", 86_400.0),
        ("requests per day (RPD)", "requests", 86_400.0),
        ("input tokens per minute (ITPM)", "tokens", 60.0),
    ],
)
def test_the_limit_that_refused(judge, named, kind, window):
    """Kind, window and amounts come from the words, thousands marks and tildes included."""
    verdict = judge("groq", 429, {"error": {"message": GROQ.format(named)}})
    assert (verdict.kind, verdict.window) == (kind, window)
    assert (verdict.limit, verdict.used, verdict.requested) == (6_000.0, 5_500.0, 1_000.0)


@pytest.mark.parametrize(
    ("vendor", "message", "details"),
    [
        ("xai", "Tokens per Minute (actual/limit): 2000100/2000000", ("tokens", 2e6, 2_000_100.0)),
        ("anthropic", "rate limit of 80,000 input tokens per minute", ("tokens", 8e4, None)),
        ("cohere", "limited to 20 API calls / minute", ("requests", 20.0, None)),
        ("azure", "Requests have exceeded token rate limit", ("tokens", None, None)),
        ("mistral", "Requests rate limit exceeded", ("requests", None, None)),
        ("nvidia", "Too Many Requests", (None, None, None)),
    ],
)
def test_looser_words_name_limits_too(judge, vendor, message, details):
    """Each vendor's wording is read; the mere name of status 429 is no kind of limit."""
    verdict = judge(vendor, 429, {"error": {"message": message}})
    assert (verdict.kind, verdict.limit, verdict.used) == details


@pytest.mark.parametrize(
    ("code", "kind"),
    [("dynamic_request_limited", "requests"), ("dynamic_token_limited", "tokens")],
)
def test_codes_name_the_kind(judge, code, kind):
    """Together and Cerebras say in the code what was counted."""
    assert judge("together", 429, {"message": "x", "error_type": code}).kind == kind


def test_a_quota_value_is_the_limit(judge):
    """Google states the size of the quota beside its id."""
    violation = {"quotaId": "GenerateContentInputTokensPerModelPerMinute", "quotaValue": "250000"}
    details = [{"violations": [violation]}]
    verdict = judge("gemini", 429, {"error": {"code": 429, "message": "x", "details": details}})
    assert (verdict.kind, verdict.window, verdict.limit) == ("tokens", 60.0, 250_000.0)


@pytest.mark.parametrize(
    ("vendor", "message", "hint"),
    [
        ("groq", "in organization `org_01ab` service tier", "org_01ab"),
        ("openai", "Rate limit reached for m in organization org-9Zx on tokens", "org-9Zx"),
        ("anthropic", "input tokens per minute (org: 0a1b-2c, model: m)", "0a1b-2c"),
        ("xai", f"Too many tokens for team {TEAM} and model m", TEAM),
        ("nvidia", "Function 'f': Not found for account 'acc-7'", "acc-7"),
        ("fireworks", "Account acme-7 is suspended", "acme-7"),
        ("ollama_cloud", "you (ann) have reached your session usage limit", "ann"),
        ("mistral", "in organization org-1", None),
    ],
)
def test_the_account_that_the_words_name(judge, vendor, message, hint):
    """The account's own name is found where this vendor writes it."""
    assert judge(vendor, 429, {"error": {"message": message}}).scope_hint == hint


def test_the_account_that_other_places_name(judge):
    """A header names the account before the words do; OpenRouter has a field for it."""
    headers = {"openai-organization": "acme-inc"}
    body = {"error": {"message": "in organization org-9Zx on tokens"}}
    assert judge("openai", 429, body, headers).scope_hint == "acme-inc"
    body = {"error": {"message": "x", "code": 402}, "user_id": "user_77"}
    assert judge("openrouter", 402, body).scope_hint == "user_77"


def test_a_project_is_an_account_of_its_own(judge):
    """Its limits may be smaller than its organization's, so only the same project is the same."""
    headers = {"openai-organization": "acme-inc", "openai-project": "proj_1"}
    body = {"error": {"message": "x"}}
    assert judge("openai", 429, body, headers).scope_hint == "acme-inc/proj_1"
    assert judge("openai", 429, body, {"openai-project": "proj_1"}).scope_hint is None


def test_deepseeks_concurrency_ceiling(judge):
    """A stated ceiling on simultaneous calls is reported as one, and is no billing stop."""
    message = (
        "Your current concurrency is 40, which exceeds your concurrency limit of 39 based on "
        "your remaining balance. Please top up your balance"
    )
    verdict = judge("deepseek", 429, {"error": {"message": message}})
    assert (verdict.kind, verdict.concurrency_limit, verdict.used) == ("concurrency", 39, 40.0)
    assert verdict.retry_after is None


@pytest.mark.parametrize(
    ("vendor", "status", "body", "every"),
    [
        ("openai", 413, b"", True),
        ("openai", 413, b"<html><center>413 Request Entity Too Large</center></html>", True),
        ("openai", 413, b"Payload Too Large", True),
        ("anthropic", 413, {"error": {"type": "request_too_large", "message": "x"}}, True),
        ("gemini", 413, {"error": {"message": "Request payload size exceeds the limit."}}, True),
        ("groq", 413, {"error": {"message": "x", "code": "rate_limit_exceeded"}}, False),
        ("groq", 413, {"error": {"message": "Request too large for model `m`"}}, False),
        ("groq", 413, {"error": {"message": "tokens per minute: Limit 9, Requested 12"}}, False),
        ("openai", 429, {"error": {"message": "Request too large for m"}}, False),
    ],
)
def test_a_413_that_names_no_limit_is_said_of_every_account(judge, vendor, status, body, every):
    """A body's size is the same with each key; tokens a minute are one account's."""
    verdict = judge(vendor, status, body)
    assert (verdict.fault, verdict.every_account) == (Fault.REQUEST_TOO_LARGE, every)


def test_what_the_account_can_afford(judge):
    """OpenRouter says how many tokens the credits still pay for."""
    message = "You requested up to 8000 tokens, but can only afford 312"
    verdict = judge("openrouter", 402, {"error": {"message": message, "code": 402}})
    assert (verdict.affordable_tokens, verdict.requested) == (312, 8_000.0)


@pytest.mark.parametrize(
    ("vendor", "status", "error", "whole"),
    [
        ("deepseek", 402, {"message": "Insufficient Balance"}, True),
        ("openai", 429, {"code": "insufficient_quota"}, True),
        ("openrouter", 402, {"metadata": {"limit_source": "openrouter_key_limit"}}, False),
        ("groq", 400, {"code": "organization_restricted"}, True),
        ("groq", 401, {"code": "invalid_api_key"}, False),
        ("groq", 429, {"code": "rate_limit_exceeded"}, False),
        ("nvidia", 429, {"message": "x"}, True),
        ("nvidia", 404, {"message": "x"}, False),
        ("cohere", 429, {"message": "limited to 1000 API calls / month"}, True),
        ("cohere", 429, {"message": "limited to 20 API calls / minute"}, False),
    ],
)
def test_how_far_a_refusal_reaches(judge, vendor, status, error, whole):
    """Money, restricted organizations and account-wide limits hold for every model."""
    assert judge(vendor, status, {"error": error}).whole_account is whole


def test_the_providers_text_is_cut(judge):
    """A verdict carries at most 500 characters of the provider's text."""
    verdict = judge("groq", 500, {"error": {"message": "x" * 9_000}})
    assert len(verdict.message) == 500


def test_a_late_quota_id_is_found(judge):
    """Bodies are read whole: what decides may come after kilobytes of text."""
    details = [{"violations": [{"quotaId": "RequestsPerDay"}]}]
    error = {"message": "x" * 50_000, "code": 429, "details": details}
    assert judge("gemini", 429, [{"error": error}]).fault is Fault.RATE_LIMIT_DAY


@pytest.mark.parametrize(
    ("status", "body", "fault"),
    [
        (429, b'{"message": "Rate limit reached", "code": "x"}', Fault.RATE_LIMIT_MINUTE),
        (None, b'{"message": "x", "code": "insufficient_quota"}', Fault.QUOTA_EXHAUSTED_BILLING),
        (None, b'{"error": {"message": "x", "code": 503}}', Fault.OVERLOADED),
        (None, b'{"error": {"message": "x", "type": "authentication_error"}}', Fault.AUTH),
        (None, b"connection reset", Fault.UNKNOWN),
        (None, b"", Fault.UNKNOWN),
    ],
)
def test_failures_that_another_client_met(status, body, fault, now):
    """An SDK's exception is classified by its body, with or without envelope and status."""
    dialect = get_dialect("openai", "openai")
    assert dialect.verdict_of(status, {}, body, now=now).fault is fault


def test_a_limit_on_simultaneous_requests_is_known_by_its_words():
    """The code `requests` does not make a concurrency limit one of requests a minute."""
    body = b'{"error":{"message":"Too many concurrent requests for m","type":"requests"}}'
    verdict = get_dialect("openai", "openai").verdict_of(429, {}, body, now=0.0)
    assert (verdict.fault, verdict.kind) == (Fault.RATE_LIMIT_MINUTE, "concurrency")


@pytest.mark.parametrize(
    ("location", "where"),
    [
        ("https://api.example.com/v1/chat", " to https://api.example.com"),
        ("http://user:word@gateway:8000/x", " to http://gateway:8000"),
        ("/login", ""),
    ],
)
def test_a_redirect_names_the_address_and_the_setting(read, location, where):
    """A wrong base_url is often answered by a redirect: its body says nothing, its target does."""
    verdict = read("someone", 308, b"<html>Moved</html>", {"location": location}).verdict
    assert verdict.fault is Fault.INVALID_RESPONSE
    assert verdict.message == (
        f"the server redirects{where}, which is not followed: check base_url"
    )
