"""What each vendor says when one of its limits refuses.

The numbers are the provider's true ones: limit, used, requested, and the wait
after which this very request will be let through. Where a vendor rounds a wait
up to whole seconds, a provider at scale 0.05 rounds it up to whole twentieths of
a second: `scale` shortens the units as it shortens the windows.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from hydra_core.testing.sayings import Saying

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hydra_core.testing.keys import LimitName
    from hydra_core.testing.limits import Refusal
    from hydra_core.testing.sayings import Scene


def go_duration(seconds: float) -> str:
    """A duration as Go prints it: `130ms`, `7.66s`, `2m59.56s`, `1h0m6s`; `0s` for none."""
    milliseconds = math.ceil(round(seconds * 1000, 6))
    if milliseconds <= 0:
        return "0s"
    if milliseconds < 1000:
        return f"{milliseconds}ms"
    minutes, rest = divmod(milliseconds, 60_000)
    text = f"{rest / 1000:.3f}".rstrip("0").rstrip(".") + "s"
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes}m{text}"
    return f"{minutes}m{text}" if minutes else text


def whole_units(seconds: float, scale: float) -> str:
    """A wait rounded up to whole units, as `retry-after` states it."""
    units = math.ceil(round(seconds / scale, 6))
    return f"{units * scale:.10g}"


# The phrase by which each vendor names a limit, and the error's type.
_OPENAI_LIMITS: Final[Mapping[LimitName, tuple[str, str]]] = {
    "rpm": ("requests per min (RPM)", "requests"),
    "rpd": ("requests per day (RPD)", "requests"),
    "tpm": ("tokens per min (TPM)", "tokens"),
    "tpd": ("tokens per day (TPD)", "tokens"),
}
_GROQ_LIMITS: Final[Mapping[LimitName, tuple[str, str]]] = {
    "rpm": ("requests per minute (RPM)", "requests"),
    "rpd": ("requests per day (RPD)", "requests"),
    "tpm": ("tokens per minute (TPM)", "tokens"),
    "tpd": ("tokens per day (TPD)", "tokens"),
}
_GEMINI_QUOTAS: Final[Mapping[LimitName, str]] = {
    "rpm": "GenerateRequestsPerMinutePerProjectPerModel-FreeTier",
    "rpd": "GenerateRequestsPerDayPerProjectPerModel-FreeTier",
    "tpm": "GenerateContentInputTokensPerModelPerMinute-FreeTier",
    "tpd": "GenerateContentInputTokensPerModelPerDay-FreeTier",
}
_EXCEEDED: Final = "rate_limit_exceeded"


def _numbers(refusal: Refusal) -> str:
    return f"Limit {refusal.limit}, Used {refusal.used}, Requested {refusal.requested}."


def openai_limit(refusal: Refusal, scene: Scene) -> Saying:
    where = f"for {scene.model} in organization {scene.account_id('org-')}"
    if refusal.name == "concurrency" or refusal.wait is None:
        return Saying(429, f"Too many concurrent requests {where}.", "requests", _EXCEEDED)
    phrase, kind = _OPENAI_LIMITS[refusal.name]
    if refusal.never:
        text = f"Request too large {where} on {phrase}: {_numbers(refusal)}"
        return Saying(429, text, kind, _EXCEEDED)
    text = (
        f"Rate limit reached {where} on {phrase}: {_numbers(refusal)} "
        f"Please try again in {go_duration(refusal.wait)}."
    )
    return Saying(429, text, kind, _EXCEEDED, told=refusal.wait)


def groq_limit(refusal: Refusal, scene: Scene) -> Saying:
    where = (
        f"for model `{scene.model}` in organization `{scene.account_id('org_')}` "
        "service tier `on_demand`"
    )
    if refusal.name == "concurrency" or refusal.wait is None:
        return Saying(429, f"Too many concurrent requests {where}.", "requests", _EXCEEDED)
    phrase, kind = _GROQ_LIMITS[refusal.name]
    if refusal.never:
        text = (
            f"Request too large {where} on {phrase}: Limit {refusal.limit}, Requested "
            f"{refusal.requested}, please reduce your message size and try again."
        )
        return Saying(413, text, kind, _EXCEEDED)
    text = (
        f"Rate limit reached {where} on {phrase}: {_numbers(refusal)} Please try again in "
        f"{go_duration(refusal.wait)}. Need more tokens? Upgrade at /settings/billing"
    )
    headers = (("retry-after", whole_units(refusal.wait, scene.scale)),)
    return Saying(429, text, kind, _EXCEEDED, headers=headers, told=refusal.wait)


def gemini_limit(refusal: Refusal, scene: Scene) -> Saying:
    if refusal.never:
        return Saying(413, "Request payload size exceeds the limit.", "INVALID_ARGUMENT")
    if refusal.name == "concurrency" or refusal.wait is None:
        text = "Resource has been exhausted (e.g. check quota)."
        return Saying(429, text, "RESOURCE_EXHAUSTED")
    violation = {
        "quotaMetric": "generativelanguage.googleapis.com/generate_content_free_tier",
        "quotaId": _GEMINI_QUOTAS[refusal.name],
        "quotaDimensions": {"location": "global", "model": scene.model},
        "quotaValue": str(refusal.limit),
    }
    retry = {
        "@type": "type.googleapis.com/google.rpc.RetryInfo",
        "retryDelay": f"{whole_units(refusal.wait, scene.scale)}s",
    }
    failure = {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [violation]}
    text = (
        "You exceeded your current quota, please check your plan and billing details. "
        f"Quota exceeded, limit: {refusal.limit}, model: {scene.model}\n"
        f"Please retry in {refusal.wait:.9f}s."
    )
    extra = {"details": [failure, retry]}
    return Saying(429, text, "RESOURCE_EXHAUSTED", extra=extra, told=refusal.wait)


def openrouter_limit(refusal: Refusal, scene: Scene) -> Saying:
    if refusal.never:
        text = f"Prompt tokens limit exceeded: {refusal.requested} > {refusal.limit}."
        return Saying(402, text)
    if refusal.name == "concurrency" or refusal.wait is None:
        extra = {"metadata": {"reason": "in_flight_budget_exhausted"}}
        return Saying(402, "Too many requests in flight for this balance.", extra=extra)
    daily = refusal.name in ("rpd", "tpd")
    reset = math.ceil((scene.wall + refusal.wait) * 1000)
    headers = {
        "X-RateLimit-Limit": str(refusal.limit),
        "X-RateLimit-Remaining": "0",
        "X-RateLimit-Reset": str(reset),
    }
    source = "openrouter_free_tier_daily" if daily else "openrouter_free_tier_minute"
    return Saying(
        429,
        f"Rate limit exceeded: free-models-per-{'day' if daily else 'min'}. ",
        extra={"metadata": {"headers": headers, "limit_source": source}},
        headers=tuple(headers.items()),
        told=refusal.wait,
    )


def deepseek_limit(refusal: Refusal, _scene: Scene) -> Saying:
    kind, code = "rate_limit_error", "invalid_request_error"
    if refusal.never:
        return Saying(413, "Request too large", kind, code)
    if refusal.name != "concurrency":
        return Saying(429, "Rate limit reached", kind, code)
    text = (
        f"Your current concurrency is {refusal.used + 1}, which exceeds your concurrency limit of "
        f"{refusal.limit} based on your remaining balance. Please top up your balance."
    )
    return Saying(429, text, kind, code)


def plain_limit(refusal: Refusal, scene: Scene) -> Saying:
    silent = silent_limit(refusal, scene)
    if refusal.never or refusal.wait is None:
        return silent
    told = whole_units(refusal.wait, scene.scale)
    return replace(silent, headers=(("retry-after", told),), told=float(told))


def silent_limit(refusal: Refusal, _scene: Scene) -> Saying:
    if refusal.never:
        return Saying(413, "Request too large")
    return Saying(429, "Too many requests")
