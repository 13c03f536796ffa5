"""Google's own generateContent API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from hydra_core.dialects.completion import empty, end_verdict, token_count, usage_of
from hydra_core.dialects.gemini_request import gemini_body
from hydra_core.dialects.json_body import dumps, loads
from hydra_core.dialects.native import NativeDialect
from hydra_core.dialects.openai import request_headers
from hydra_core.dialects.tool_calls import ToolCallMerger, arguments_text
from hydra_core.dialects.verdicts import ReplyContext, invalid
from hydra_core.wire import StreamEvent, WireRequest

if TYPE_CHECKING:
    from hydra_core.dialects.sse import ServerEvent
    from hydra_core.dialects.streams import Steps
    from hydra_core.messages import ChatRequest
    from hydra_core.wire import Target

_FILTERED: Final = "content_filter"
_FINISH: Final = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "MALFORMED_FUNCTION_CALL": "error",
    "UNEXPECTED_TOOL_CALL": "error",
    **dict.fromkeys(("SAFETY", "PROHIBITED_CONTENT", "RECITATION", "BLOCKLIST", "SPII"), _FILTERED),
}


class GeminiDialect(NativeDialect):
    """Chat over `POST {base}/models/{model}:generateContent`, the key in a header."""

    __slots__ = ()

    def encode(self, target: Target, request: ChatRequest, *, stream: bool) -> WireRequest:
        """Write the request; see `Dialect.encode`."""
        method = "streamGenerateContent?alt=sse" if stream else "generateContent"
        model = quote(target.model.removeprefix("models/"), safe="")
        return WireRequest(
            "POST",
            f"{target.base_url.rstrip('/')}/models/{model}:{method}",
            request_headers(target, stream=stream),
            dumps(gemini_body(target.model, request)),
            auth_header="x-goog-api-key",
            auth_prefix="",
        )

    def completion(self, value: dict[str, Any]) -> dict[str, Any] | None:
        """A response as OpenAI's completion; None when it has no candidate and no block."""
        candidate = _candidate(value)
        if candidate is None:
            return None
        text, calls, thought = _content(candidate, str(value.get("responseId") or ""), 0)
        message: dict[str, Any] = {"role": "assistant", "content": text}
        if thought:
            message["reasoning_content"] = thought
        if calls:
            message["tool_calls"] = calls
        choice = {"index": 0, "message": message, "finish_reason": _finish(candidate, calls)}
        return {"choices": [choice], "usage": _openai_usage(value.get("usageMetadata"))}

    def steps(self, context: ReplyContext) -> Steps:
        """The reader of a stream's events."""
        return ContentSteps(context)


class ContentSteps:
    """What the events of one content stream mean; `streams.Steps`.

    There is no end mark but the end of the body: some models give a finish reason with
    every event, and some count their tokens in an event after it.
    """

    __slots__ = ("_calls", "_context", "_finish", "_merger", "_some")

    def __init__(self, context: ReplyContext) -> None:
        self._context = context
        self._merger = ToolCallMerger()
        self._calls = 0
        self._some = False
        self._finish: str | None = None

    def step(self, event: ServerEvent) -> StreamEvent | None:
        """Read one event; each is a whole response with a piece of the content."""
        try:
            value = loads(event.data)
        except ValueError:
            return StreamEvent(verdict=invalid("an event of the stream is no JSON"))
        if not isinstance(value, dict) or value.get("error"):
            raw = value if isinstance(value, dict) else {}
            return StreamEvent(verdict=self._context.judge_value(value), raw=raw)
        usage = usage_of(_openai_usage(value.get("usageMetadata")))
        candidate = _candidate(value)
        if candidate is None:
            return StreamEvent(usage=usage, raw=value)
        response_id = str(value.get("responseId") or "")
        text, calls, thought = _content(candidate, response_id, self._calls)
        deltas = [
            self._merger.add({**call, "index": self._calls + at}) for at, call in enumerate(calls)
        ]
        self._calls += len(calls)
        content = bool(text or calls)
        self._some = self._some or content
        finish = _finish(candidate, self._calls)
        verdict = None
        if finish is not None:
            self._finish = finish
            ended = end_verdict(self._context.good, finish, empty=False)
            verdict = None if ended.fault is None else ended
        return StreamEvent(
            text,
            tuple(delta for delta in deltas if delta is not None),
            finish,
            usage,
            verdict,
            content=content,
            raw=value,
            reasoning=thought,
        )

    def end(self) -> StreamEvent | None:
        """Once a finish reason has come, the end of the body is the end mark."""
        if not self._some:
            return StreamEvent(verdict=empty(self._finish))
        if self._finish is None:
            return StreamEvent(verdict=invalid("the stream ended without a finish reason"))
        return None


def _candidate(value: dict[str, Any]) -> dict[str, Any] | None:
    """The first candidate; a blocked prompt counts as one that was filtered."""
    candidates = value.get("candidates")
    first = candidates[0] if isinstance(candidates, list) and candidates else None
    if isinstance(first, dict):
        return first
    feedback = value.get("promptFeedback")
    blocked = isinstance(feedback, dict) and feedback.get("blockReason")
    return {"finishReason": "SAFETY"} if blocked else None


def _content(
    candidate: dict[str, Any], response_id: str, first: int
) -> tuple[str, list[dict[str, Any]], str]:
    """The text, the tool calls and the thoughts of a candidate; `first` numbers its first call."""
    content = candidate.get("content")
    parts = content.get("parts") if isinstance(content, dict) else None
    texts: list[str] = []
    thoughts: list[str] = []
    calls: list[dict[str, Any]] = []
    for part in parts if isinstance(parts, list) else ():
        if not isinstance(part, dict):
            continue
        if isinstance(part.get("text"), str):
            (thoughts if part.get("thought") else texts).append(part["text"])
        function = part.get("functionCall")
        if isinstance(function, dict):
            calls.append(_call(part, function, f"call_{response_id}_{first + len(calls)}"))
    return "".join(texts), calls, "".join(thoughts)


def _call(part: dict[str, Any], function: dict[str, Any], fallback_id: str) -> dict[str, Any]:
    arguments = arguments_text(function.get("args") or {})
    call = {
        "id": function.get("id") or fallback_id,
        "type": "function",
        "function": {"name": function.get("name"), "arguments": arguments},
    }
    if part.get("thoughtSignature"):
        call["extra_content"] = {"google": {"thought_signature": part["thoughtSignature"]}}
    return call


def _finish(candidate: dict[str, Any], calls: object) -> str | None:
    reason = candidate.get("finishReason")
    if not isinstance(reason, str) or reason == "FINISH_REASON_UNSPECIFIED":
        return None
    finish = _FINISH.get(reason, reason)
    return "tool_calls" if finish == "stop" and calls else finish


def _openai_usage(usage: object) -> dict[str, int] | None:
    """Prompt and answer; what the model thought is part of what it wrote."""
    if not isinstance(usage, dict):
        return None
    prompt = token_count(usage.get("promptTokenCount") or 0)
    written = token_count(usage.get("candidatesTokenCount") or 0)
    thought = token_count(usage.get("thoughtsTokenCount") or 0)
    if prompt is None or written is None or thought is None:
        return None
    return {"prompt_tokens": prompt, "completion_tokens": written + thought}
