"""The values that users meet: a request, a reply, and how it came about.

All are frozen: a value that two threads may see is never changed in place.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, Literal

Message = dict[str, Any]
"""One message in OpenAI's chat format."""

ReplyKind = Literal["full", "partial", "cached", "wait"]

OK: Final = "ok"
"""`Attempt.outcome` of a try that succeeded; otherwise it is a `Fault`."""


class Fault(StrEnum):
    """Why an attempt failed. `engine.faults` says what follows from each."""

    RATE_LIMIT_MINUTE = "rate_limit_minute"
    RATE_LIMIT_DAY = "rate_limit_day"
    QUOTA_EXHAUSTED_BILLING = "quota_exhausted_billing"
    AUTH = "auth"
    MODEL_UNAVAILABLE = "model_unavailable"
    REQUEST_TOO_LARGE = "request_too_large"
    CONTEXT_TOO_LONG = "context_too_long"
    CONTENT_FILTER = "content_filter"
    OVERLOADED = "overloaded"
    BAD_REQUEST = "bad_request"
    INVALID_RESPONSE = "invalid_response"
    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"
    STREAM_BROKEN = "stream_broken"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one or more calls. `cost_usd` is None when the price is unknown."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float | None = None

    @property
    def total_tokens(self) -> int:
        """Prompt and completion together."""
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call of a tool that the model asks for; `arguments` is JSON text."""

    id: str
    name: str
    arguments: str
    index: int = 0


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try at one deployment. `latency` and `waited` are seconds.

    `waited` is how long the request had waited for capacity before this try.
    """

    provider: str
    model: str
    key: str
    outcome: str
    status: int | None = None
    latency: float = 0.0
    waited: float = 0.0
    detail: str = ""


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One request, as the engine and the dialects see it.

    `params` holds every body field except messages, model and stream, in
    OpenAI's words (`temperature`, `max_tokens`, `tools`, `response_format`, ...).
    `deadline` and `max_wait` are seconds from the start of the call.
    """

    messages: list[Message]
    model: str | None = None
    provider: str | None = None
    lane: str | None = None
    params: dict[str, Any] = field(default_factory=dict)
    deadline: float | None = None
    max_wait: float | None = None
    priority: int = 0

    @property
    def max_tokens(self) -> int | None:
        """The caller's limit on the completion, if any."""
        if not self.params:
            return None
        limit = self.params.get("max_tokens") or self.params.get("max_completion_tokens")
        return limit if isinstance(limit, int) and limit > 0 else None

    @property
    def needs_structure(self) -> bool:
        """True when prose in place of the answer would break the caller."""
        kind = (self.params.get("response_format") or {}).get("type")
        return bool(self.params.get("tools")) or kind in ("json_object", "json_schema")


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to one call, and the way it took.

    `kind` is `full`; `partial` (then `coverage` says how much of the source was
    read, 0..1); `cached` (then `age` is the answer's age in seconds); or `wait`
    (then `text` is a notice and `eta` the seconds until the request can start).
    """

    text: str
    message: Message
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: str | None = None
    usage: Usage = Usage()
    provider: str | None = None
    model: str | None = None
    key: str | None = None
    kind: ReplyKind = "full"
    coverage: float | None = None
    eta: float | None = None
    age: float | None = None
    attempts: tuple[Attempt, ...] = ()
    latency: float = 0.0
    raw: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Chunk:
    """One piece of a stream; `text` is the delta. `usage` comes on the last one.

    `age` and `eta` are as in `Reply`, for the one chunk that stands in for an answer.
    `continued`: it is of another reply than what broke off before it. `reasoning` is what the
    model thought aloud: all that came before the first piece of the answer stands on that one.
    """

    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: str | None = None
    usage: Usage | None = None
    provider: str | None = None
    model: str | None = None
    key: str | None = None
    kind: ReplyKind = "full"
    age: float | None = None
    eta: float | None = None
    continued: bool = False
    reasoning: str = ""
