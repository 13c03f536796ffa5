"""Which words and codes mean which fault: a table, and a small walker.

The order of the table is the order of judgement: too large, money, capacity,
rate, then the key, the model, the context and the content; the status decides
what nothing else did. A vendor's own rows come before these, in the same order.

Law 1: codes before phrases, phrases before the status.
Law 2: the words billing, quota, balance and plan prove nothing by themselves.
Law 3: a 429 is never a context that is too long.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from hydra_core.messages import Fault

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hydra_core.dialects.envelope import ProviderError

RATE: Final = Fault.RATE_LIMIT_MINUTE
"""A rate limit; `verdicts` makes it a daily one when its window is longer than an hour."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One row. It holds when a code or else a phrase is there, under one of the statuses.

    No codes and no phrases: the status is enough. No statuses: any status. An
    unknown status (an error inside a 200) passes, if codes or phrases are
    asked for. `window` is the limit's, in seconds, where the row knows it.
    """

    fault: Fault
    codes: frozenset[str] = frozenset()
    phrases: tuple[str, ...] = ()
    statuses: frozenset[int] = frozenset()
    window: float | None = None
    whole_account: bool = False

    def holds(self, status: int | None, error: ProviderError) -> bool:
        """True when this row speaks of this error."""
        named = bool(self.codes or self.phrases)
        if self.statuses and status not in self.statuses and not (status is None and named):
            return False
        if not named or not self.codes.isdisjoint(error.codes):
            return True
        return any(phrase in error.words for phrase in self.phrases)


def rule(
    fault: Fault,
    *,
    codes: Iterable[str] = (),
    phrases: Iterable[str] = (),
    status: Iterable[int] = (),
    window: float | None = None,
    whole_account: bool = False,
) -> Rule:
    """Write one row; codes and phrases in lower case."""
    return Rule(fault, frozenset(codes), tuple(phrases), frozenset(status), window, whole_account)


def find(rules: Iterable[Rule], status: int | None, error: ProviderError) -> Rule | None:
    """The first row that holds."""
    return next((row for row in rules if row.holds(status, error)), None)


_MONEY = (400, 402, 403, 412, 429)
_CAPACITY = (429, 498, *range(500, 600))
_REJECTED = (400, 401, 403, 404, 409, 410, 422, 500)
_TOO_LONG = (400, 404, 409, 422, 500)

# Whoever asks from there is refused, whatever the key.
PLACE: Final = rule(
    Fault.UNREACHABLE,
    codes=("unsupported_country_region_territory",),
    phrases=(
        "country, region, or territory not supported",
        "user location is not supported",
        "check your network settings",
    ),
    status=(400, 403),
)

COMMON: Final = (
    PLACE,
    rule(
        Fault.REQUEST_TOO_LARGE,
        codes=("request_too_large",),
        phrases=("request too large",),
        status=(400, 413, 429),
    ),
    rule(Fault.REQUEST_TOO_LARGE, status=(413,)),
    rule(
        Fault.QUOTA_EXHAUSTED_BILLING,
        codes=(
            "insufficient_quota",
            "credit_balance_exhausted",
            "project_spend_limit_exceeded",
            "organization_spend_limit_exceeded",
            "organization_usage_limit_exceeded",
            "enforced_spend_limit_reached",
            "billing_not_active",
            "billing_hard_limit_reached",
            "billing_error",
            "payment_required",
            "payment_method_required",
        ),
        phrases=(
            "insufficient balance",
            "used all available credits",
            "credit balance is too low",
            "prepayment credits are depleted",
            "exceeded your monthly included credits",
            "reached your specified api usage limits",
        ),
        status=_MONEY,
        whole_account=True,
    ),
    rule(
        Fault.OVERLOADED,
        codes=(
            "queue_exceeded",
            "capacity_exceeded",
            "slow_down",
            "server_is_overloaded",
            "overloaded_error",
            "provider_overloaded",
            "provider_unavailable",
        ),
        phrases=(
            "service tier capacity exceeded",
            "currently over capacity",
            "experiencing high demand",
            "temporarily rate-limited upstream",
            "server busy, please try again",
        ),
        status=_CAPACITY,
    ),
    rule(
        RATE,
        codes=(
            "rate_limit_exceeded",
            "rate_limit_error",
            "rate_limited",
            "ratelimitreached",
            "resource_exhausted",
            "too_many_requests",
            "too_many_requests_error",
            "token_quota_exceeded",
            "request_quota_exceeded",
            "dynamic_request_limited",
            "dynamic_token_limited",
            "model_rate_limit",
        ),
        phrases=(
            "rate limit",
            "too many requests",
            "too many tokens",
            "usage limit",
            "per minute",
            "per hour",
            "per day",
        ),
        status=(429,),
    ),
    rule(
        Fault.AUTH,
        codes=("organization_restricted", "account_deactivated"),
        status=_REJECTED,
        whole_account=True,
    ),
    rule(
        Fault.AUTH,
        codes=(
            "invalid_api_key",
            "api_key_invalid",
            "authentication_error",
            "invalid_authentication",
            "unauthenticated",
        ),
        phrases=(
            "incorrect api key",
            "invalid api key",
            "api key not valid",
            "pass a valid api key",
            "api key expired",
            "reported as leaked",
        ),
        status=_REJECTED,
    ),
    rule(
        Fault.MODEL_UNAVAILABLE,
        codes=(
            "model_not_found",
            "model_decommissioned",
            "model_not_supported",
            "deploymentnotfound",
        ),
        phrases=(
            "model not exist",
            "is not a valid model id",
            "no endpoints found",
            "couldn't find valid service tier",
            "no models loaded",
            "not found, try pulling it first",
            "no longer available to new users",
        ),
        status=_REJECTED,
    ),
    rule(
        Fault.CONTEXT_TOO_LONG,
        codes=("context_length_exceeded", "exceed_context_size_error", "too_many_tokens"),
        phrases=(
            "maximum context length",
            "context length is only",
            "maximum prompt length is",
            "prompt is too long",
            "prompt too long",
            "exceeds the maximum number of tokens allowed",
            "longer than the model's context length",
            "greater than the context length",
            "exceeds the available context size",
            "reduce the length of the messages or completion",
        ),
        status=_TOO_LONG,
    ),
    rule(
        Fault.CONTENT_FILTER,
        codes=("content_filter", "responsibleaipolicyviolation", "content_policy_violation"),
        phrases=("content exists risk",),
        status=(400, 403, 422),
    ),
    rule(
        Fault.BAD_REQUEST,
        codes=("unsupported_parameter", "unsupported_value", "extra_forbidden"),
        status=(400, 422),
    ),
)

# How Groq and OpenAI speak of a request above what one account may send in a minute.
ACCOUNTS_SIZE: Final = rule(
    Fault.REQUEST_TOO_LARGE, codes=("rate_limit_exceeded",), phrases=("request too large for",)
)

STATUS_DEFAULTS: Final = {
    400: Fault.BAD_REQUEST,
    401: Fault.AUTH,
    402: Fault.QUOTA_EXHAUSTED_BILLING,
    403: Fault.AUTH,
    404: Fault.MODEL_UNAVAILABLE,
    408: Fault.OVERLOADED,
    409: Fault.OVERLOADED,
    410: Fault.MODEL_UNAVAILABLE,
    413: Fault.REQUEST_TOO_LARGE,
    422: Fault.BAD_REQUEST,
    425: Fault.OVERLOADED,
    429: RATE,
    451: Fault.CONTENT_FILTER,
    498: Fault.OVERLOADED,
}

# What a CDN in front of a provider means by its own pages; others are no answer at all.
PAGE_DEFAULTS: Final = {
    408: Fault.OVERLOADED,
    413: Fault.REQUEST_TOO_LARGE,
    429: Fault.OVERLOADED,
}

# The status that a code stands for when an error comes without one, inside a 200 or a stream.
STATUS_OF_CODE: Final = {
    "authentication_error": 401,
    "permission_error": 403,
    "not_found_error": 404,
    "rate_limit_error": 429,
    "api_error": 500,
    "server_error": 500,
    "internal_server_error": 500,
    "overloaded_error": 529,
    "timeout_error": 504,
    "unauthenticated": 401,
    "permission_denied": 403,
    "not_found": 404,
    "resource_exhausted": 429,
    "internal": 500,
    "unavailable": 503,
    "deadline_exceeded": 504,
    "invalid_argument": 400,
    "failed_precondition": 400,
    "invalid_request_error": 400,  # last: DeepSeek and Anthropic put it beside a better one
}


def effective_status(status: int | None, error: ProviderError) -> int | None:
    """The HTTP status to judge by: the reply's, or for errors inside a 2xx the body's own."""
    if status is not None and not 200 <= status < 300:
        return status
    if error.status is not None:
        return error.status
    return next((value for code, value in STATUS_OF_CODE.items() if code in error.codes), None)


def default_fault(status: int | None, error: ProviderError) -> Fault:
    """What a status means when neither codes nor words said more."""
    if status is None or not 400 <= status < 600:
        return Fault.INVALID_RESPONSE
    if status >= 500:
        return Fault.OVERLOADED
    if error.is_page:
        return PAGE_DEFAULTS.get(status, Fault.INVALID_RESPONSE)
    if status == 403 and not error.is_json:
        return Fault.INVALID_RESPONSE
    return STATUS_DEFAULTS.get(status, Fault.BAD_REQUEST)
