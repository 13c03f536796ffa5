"""The values that cross between the wire, the dialects and the engine.

A dialect turns a `ChatRequest` into a `WireRequest` and the bytes that come back
into an `Answer`; the engine learns from the answer's `Verdict` without knowing
which provider spoke. No value here holds a secret: the driver attaches the key.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hydra_core.messages import Fault, Message, ToolCall, Usage

MINUTE = 60.0
HOUR = 3_600.0
DAY = 86_400.0

LimitKind = Literal["requests", "tokens", "concurrency"]

WindowShape = Literal["sliding", "bucket", "fixed"]
"""How a provider counts a limit: over the last seconds, as a refilling bucket, or by resets."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where a request goes: all that a dialect needs to write it."""

    base_url: str
    model: str
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class WireRequest:
    """One HTTP request without its credential.

    The driver adds the header `auth_header: auth_prefix + key` (nothing for a
    keyless server) at the last moment.
    """

    method: str
    url: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    auth_header: str = "authorization"
    auth_prefix: str = "Bearer "


@dataclass(frozen=True, slots=True)
class LimitReading:
    """What one reply's headers say of one limit of the quota group.

    `window` is its length in seconds (60, 3600, 86400); `reset` the seconds
    until the limit is whole again, as the provider states it. None: not stated.
    """

    kind: LimitKind
    window: float
    limit: float | None = None
    remaining: float | None = None
    reset: float | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one exchange means. `fault` None: it went well.

    `retry_after` is the provider's own wait in seconds, unclamped, or None.
    `kind`, `window`, `limit`, `used`, `requested` describe the limit that
    refused, where the provider's words name it. `scope_hint` identifies the
    account as the provider names it (an organization, team or user id); the
    same hint on two keys means one quota. `concurrency_limit` is a ceiling on
    simultaneous calls that the provider stated. `affordable_tokens` is the
    largest `max_tokens` the account can pay for. `whole_account` is True when
    the refusal holds for all models of the account; `every_account` when it
    holds for the model with any account, as a cap on a request's bytes does.
    `out_of_tokens` is True when a reply holds nothing because its `max_tokens` were used
    up before: the request asked for too few, and nobody is to blame.
    `message` is the provider's own text, cut to 500 characters; the driver
    redacts it.
    """

    fault: Fault | None = None
    status: int | None = None
    message: str = ""
    code: str | None = None
    retry_after: float | None = None
    kind: LimitKind | None = None
    window: float | None = None
    limit: float | None = None
    used: float | None = None
    requested: float | None = None
    scope_hint: str | None = None
    concurrency_limit: int | None = None
    affordable_tokens: int | None = None
    whole_account: bool = False
    every_account: bool = False
    out_of_tokens: bool = False
    readings: tuple[LimitReading, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """One whole response, read: the verdict, and the reply's parts if it went well.

    `quality` says how far it has the form that was asked for (0 to 1), None where none was.
    `shown`: its reader has seen it, as that of a stream has, so no other can replace it.
    `cut`: it still came when its call's own time was up, so its end is nobody's fault.
    `sent` False: nothing of the request left, so the provider cannot have charged for it.
    """

    verdict: Verdict
    text: str = ""
    message: Message = field(default_factory=dict)
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: str | None = None
    usage: Usage | None = None
    raw: dict[str, Any] = field(default_factory=dict)
    quality: float | None = None
    shown: bool = False
    cut: bool = False
    sent: bool = True


@dataclass(frozen=True, slots=True)
class StreamEvent:
    """One step of a stream, read.

    `verdict` is set when the event is a failure. `done` marks the provider's
    end mark (`[DONE]`, `message_stop`, or a `finish_reason` where none is sent).
    `content` is True when the event carries something a reader would see (text
    or a tool call), which is what commits a stream. `reasoning` is what the model thinks
    aloud, which does not.
    """

    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: str | None = None
    usage: Usage | None = None
    verdict: Verdict | None = None
    done: bool = False
    content: bool = False
    raw: dict[str, Any] = field(default_factory=dict)
    reasoning: str = ""


@dataclass(frozen=True, slots=True)
class Replied:
    """A whole HTTP response came back. Header names are lower case; repeats are joined by ", "."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Failed:
    """No usable HTTP response. `written` False: the provider cannot have charged for it."""

    fault: Fault
    detail: str
    written: bool = True
