"""What each vendor says when it refuses for another reason than a limit.

Tables of the vendors' own statuses, codes and key phrases. `{model}`, `{account}`
and `{reason}` are filled in when the words are spoken. A fault that a vendor's
table lacks is said in OpenAI's words, which most of them speak. OpenAI itself has
none for a content filter: there it is no refusal but a reply of status 200.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hydra_core.testing.limits import Quota

Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Scene:
    """Where words are spoken: `wall` is the time of day in epoch seconds."""

    model: str
    account: str
    scale: float
    wall: float
    quota: Quota | None = None

    def account_id(self, prefix: str) -> str:
        """The account as a vendor names it: stable, and without telling its owner's name."""
        return prefix + hashlib.sha256(self.account.encode()).hexdigest()[:24]


@dataclass(frozen=True, slots=True)
class Saying:
    """One refusal before it is put into a vendor's envelope.

    `extra` holds further fields of the error object; `told` is the wait, in
    seconds, that these words state, or None.
    """

    status: int
    message: str
    type: str | None = None
    code: str | int | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    headers: Headers = ()
    told: float | None = None


Sayings = dict[str, Saying]

_INVALID: Final = "invalid_request_error"
_TOO_LARGE: Final = "request_too_large"

OPENAI: Final[Sayings] = {
    "billing": Saying(
        429,
        "You exceeded your current quota, please check your plan and billing details.",
        "insufficient_quota",
        "insufficient_quota",
    ),
    "auth": Saying(401, "Incorrect API key provided.", _INVALID, "invalid_api_key"),
    "model_gone": Saying(
        404,
        "The model `{model}` does not exist or you do not have access to it.",
        _INVALID,
        "model_not_found",
    ),
    "overloaded": Saying(
        503,
        "The server is currently overloaded. Please try again later.",
        "server_error",
        "server_is_overloaded",
    ),
    "server_error": Saying(
        500, "The server had an error while processing your request.", "server_error"
    ),
    "context_too_long": Saying(
        400,
        "This model's maximum context length is 8192 tokens. Please reduce the length of the "
        "messages.",
        _INVALID,
        "context_length_exceeded",
    ),
    "too_large": Saying(413, "Request too large for {model}.", _INVALID, _TOO_LARGE),
    "bad_request": Saying(400, "{reason}", _INVALID),
    "not_found": Saying(404, "Unknown request URL.", _INVALID, "unknown_url"),
}

GROQ: Final[Sayings] = {
    "billing": Saying(
        402, "Your organization has no credit left. Add funds to continue.", "billing_error"
    ),
    "auth": Saying(401, "Invalid API Key", _INVALID, "invalid_api_key"),
    "overloaded": Saying(
        503,
        "The model is currently over capacity. Please try again later.",
        "internal_server_error",
    ),
    "server_error": Saying(500, "Internal Server Error", "internal_server_error"),
    "context_too_long": Saying(
        400,
        "Please reduce the length of the messages or completion.",
        _INVALID,
        "context_length_exceeded",
    ),
    "too_large": Saying(
        413,
        "Request too large for model `{model}` in organization `{account}` service tier "
        "`on_demand`, please reduce your message size and try again.",
        "tokens",
        "rate_limit_exceeded",
    ),
}

_BAD_KEY: Final = {
    "details": [
        {
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": "API_KEY_INVALID",
            "domain": "googleapis.com",
        }
    ]
}

GEMINI: Final[Sayings] = {
    "billing": Saying(
        429,
        "Your prepayment credits are depleted. Go to your project's billing page to add more.",
        "RESOURCE_EXHAUSTED",
    ),
    "auth": Saying(
        400,
        "API key not valid. Please pass a valid API key.",
        "INVALID_ARGUMENT",
        extra=_BAD_KEY,
    ),
    "model_gone": Saying(404, "models/{model} is not found for API version v1main.", "NOT_FOUND"),
    "overloaded": Saying(503, "The model is overloaded. Please try again later.", "UNAVAILABLE"),
    "server_error": Saying(500, "An internal error has occurred.", "INTERNAL"),
    "context_too_long": Saying(
        400,
        "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
        "INVALID_ARGUMENT",
    ),
    "too_large": Saying(413, "Request payload size exceeds the limit.", "INVALID_ARGUMENT"),
    "bad_request": Saying(400, "{reason}", "INVALID_ARGUMENT"),
    "not_found": Saying(404, "Requested entity was not found.", "NOT_FOUND"),
}

OPENROUTER: Final[Sayings] = {
    "billing": Saying(
        402,
        "Insufficient credits. Add more to your account to continue.",
        extra={"metadata": {"limit_source": "openrouter_credits"}},
    ),
    "auth": Saying(401, "User not found."),
    "model_gone": Saying(400, "{model} is not a valid model ID"),
    "overloaded": Saying(
        429,
        "Provider returned error",
        extra={
            "metadata": {
                "provider_name": "Fake",
                "raw": "the model is temporarily rate-limited upstream. Please retry shortly.",
            }
        },
    ),
    "server_error": Saying(500, "Internal Server Error"),
    "context_too_long": Saying(
        400,
        "This endpoint's maximum context length is 8192 tokens. Please reduce the length of "
        "either one.",
    ),
    "too_large": Saying(
        402, "Prompt tokens limit exceeded: 90000 > 8192. Buy more credits or shorten the prompt."
    ),
    "content_filter": Saying(
        403,
        "Your input was flagged by a moderation check.",
        extra={"metadata": {"reasons": ["violence"], "flagged_input": "..."}},
    ),
    "bad_request": Saying(400, "{reason}"),
    "not_found": Saying(404, "Not Found"),
}

DEEPSEEK: Final[Sayings] = {
    "billing": Saying(402, "Insufficient Balance", "unknown_error", _INVALID),
    "auth": Saying(
        401, "Authentication Fails, Your api key is invalid", "authentication_error", _INVALID
    ),
    "model_gone": Saying(400, "Model Not Exist", _INVALID, _INVALID),
    "overloaded": Saying(
        503, "Service is too busy. Please try again later.", "service_unavailable_error", _INVALID
    ),
    "server_error": Saying(500, "Internal server error", "server_error", _INVALID),
    "context_too_long": Saying(
        400,
        "This model's maximum context length is 131072 tokens. Please reduce your prompt.",
        _INVALID,
        _INVALID,
    ),
    "content_filter": Saying(400, "Content Exists Risk", _INVALID, _INVALID),
}
