"""What single vendors say differently; each list is read before `rules.COMMON`.

Within a list the first row that holds decides, so a row that excuses another
(money that is only a pending budget, a day that is really a missing tier)
stands above it.
"""

from __future__ import annotations

from typing import Final

from hydra_core.dialects.rules import PLACE, RATE, Rule, rule
from hydra_core.dialects.words import MONTH, WEEK
from hydra_core.messages import Fault
from hydra_core.wire import DAY, HOUR

_OPENROUTER: Final = (
    rule(
        Fault.QUOTA_EXHAUSTED_BILLING,
        phrases=("can only afford 0",),
        status=(402,),
        whole_account=True,
    ),
    rule(
        Fault.REQUEST_TOO_LARGE,
        phrases=("can only afford", "prompt tokens limit exceeded"),
        status=(402,),
    ),
    rule(RATE, codes=("in_flight_budget_exhausted",), status=(402, 429)),
    rule(Fault.QUOTA_EXHAUSTED_BILLING, codes=("openrouter_key_limit",), status=(402, 403, 429)),
    rule(
        Fault.QUOTA_EXHAUSTED_BILLING,
        codes=("openrouter_credits",),
        status=(402, 429),
        whole_account=True,
    ),
    # Its own limits before an upstream's, which is the provider's fault and not the key's.
    rule(RATE, codes=("openrouter_free_tier_daily",), status=(429,), window=DAY),
    rule(RATE, phrases=("free-models-per",), status=(429,)),
    rule(Fault.BAD_REQUEST, codes=("wrong_endpoint",)),
    rule(Fault.OVERLOADED, codes=("availability.retryable",)),
    rule(
        Fault.OVERLOADED,
        codes=("upstream_provider_shared_pool", "metadata.provider_name"),
        phrases=("provider returned error",),
        status=(429,),
    ),
    rule(Fault.MODEL_UNAVAILABLE, codes=("availability.final",)),
    rule(
        Fault.CONTENT_FILTER,
        codes=("metadata.reasons", "metadata.flagged_input", "metadata.patterns"),
        status=(403,),
    ),
    # Its own error types beat the status that it sends them with.
    rule(Fault.OVERLOADED, codes=("provider_overloaded", "provider_unavailable")),
    rule(RATE, codes=("rate_limit_exceeded",)),
    rule(Fault.QUOTA_EXHAUSTED_BILLING, codes=("payment_required",), whole_account=True),
    rule(Fault.CONTENT_FILTER, codes=("content_policy_violation",)),
)

VENDOR_RULES: Final[dict[str, tuple[Rule, ...]]] = {
    "groq": (
        # The model wrote a broken call or broken JSON: nothing is wrong with the request.
        rule(
            Fault.INVALID_RESPONSE, codes=("tool_use_failed", "json_validate_failed"), status=(400,)
        ),
    ),
    "gemini": (
        # A free tier of nothing is no day to wait out: the model is not for this project.
        rule(Fault.MODEL_UNAVAILABLE, phrases=("limit: 0",), status=(429,)),
        # Of its two words on the country: one is about where we are, the other about the project,
        # for which there is no free tier.
        PLACE,
        rule(Fault.AUTH, codes=("failed_precondition",), status=(400,), whole_account=True),
    ),
    "deepseek": (
        # Its concurrency limit follows the balance, and says so; it is no billing stop.
        rule(RATE, phrases=("your current concurrency is",), status=(429,)),
    ),
    "openrouter": _OPENROUTER,
    "azure": (
        # A wait of a whole day is how it says "larger than all your tokens per minute".
        rule(Fault.REQUEST_TOO_LARGE, phrases=("retry after 86400 seconds",), status=(429,)),
    ),
    "mistral": (rule(Fault.OVERLOADED, codes=("3505",), status=(429, 503)),),
    "fireworks": (
        rule(
            Fault.QUOTA_EXHAUSTED_BILLING,
            phrases=("is suspended",),
            status=(412,),
            whole_account=True,
        ),
    ),
    "xai": (
        rule(Fault.CONTENT_FILTER, phrases=("content violates usage guidelines",), status=(403,)),
    ),
    "nvidia": (
        rule(Fault.OVERLOADED, phrases=("degraded function cannot be invoked",), status=(400,)),
    ),
    "cohere": (
        rule(RATE, phrases=("api calls / month",), status=(429,), window=MONTH, whole_account=True),
    ),
    "ollama_cloud": (
        rule(RATE, phrases=("reached your session usage limit",), status=(429,), window=5 * HOUR),
        rule(RATE, phrases=("reached your weekly usage limit",), status=(429,), window=WEEK),
    ),
}
