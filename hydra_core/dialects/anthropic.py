"""Anthropic's own Messages API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from hydra_core.dialects.anthropic_request import anthropic_body
from hydra_core.dialects.completion import empty, end_verdict, token_count
from hydra_core.dialects.json_body import dumps, loads
from hydra_core.dialects.native import NativeDialect
from hydra_core.dialects.openai import request_headers
from hydra_core.dialects.structure import AnswerCalls
from hydra_core.dialects.thoughts import thoughts_of
from hydra_core.dialects.tool_calls import ToolCallMerger, arguments_text
from hydra_core.dialects.verdicts import ReplyContext, invalid
from hydra_core.messages import Usage
from hydra_core.wire import StreamEvent, WireRequest

if TYPE_CHECKING:
    from hydra_core.dialects.sse import ServerEvent
    from hydra_core.dialects.streams import Steps
    from hydra_core.messages import ChatRequest
    from hydra_core.wire import Target

API_VERSION: Final = "2023-06-01"
_FINISH: Final = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
_INPUT_COUNTS: Final = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")


class AnthropicDialect(NativeDialect):
    """Chat over `POST {base}/messages`, the key in `x-api-key`."""

    __slots__ = ()

    def encode(self, target: Target, request: ChatRequest, *, stream: bool) -> WireRequest:
        """Write the request; see `Dialect.encode`."""
        headers = request_headers(target, stream=stream)
        if all(name != "anthropic-version" for name, _ in headers):
            headers = (*headers, ("anthropic-version", API_VERSION))
        return WireRequest(
            "POST",
            f"{target.base_url.rstrip('/')}/messages",
            headers,
            dumps(anthropic_body(target.model, request, stream=stream)),
            auth_header="x-api-key",
            auth_prefix="",
        )

    def completion(self, value: dict[str, Any]) -> dict[str, Any] | None:
        """A message as OpenAI's completion; None when it has no content."""
        blocks = value.get("content")
        if not isinstance(blocks, list):
            return None
        blocks = [block for block in blocks if isinstance(block, dict)]
        texts = [block.get("text") for block in blocks if block.get("type") == "text"]
        message: dict[str, Any] = {
            "role": "assistant",
            "content": "".join(text for text in texts if isinstance(text, str)),
            **thoughts_of(blocks),
        }
        calls = [_call(block) for block in blocks if block.get("type") == "tool_use"]
        if calls:
            message["tool_calls"] = calls
        choice = {"index": 0, "message": message, "finish_reason": _finish(value)}
        return {"choices": [choice], "usage": _openai_usage(value.get("usage"))}

    def steps(self, context: ReplyContext) -> Steps:
        """The reader of a stream's events."""
        return MessageSteps(context)


class MessageSteps:
    """What the events of one streamed message mean; `streams.Steps`."""

    __slots__ = ("_answer", "_context", "_counts", "_finish", "_inputs", "_merger", "_some")

    def __init__(self, context: ReplyContext) -> None:
        self._context = context
        self._merger = ToolCallMerger()
        self._answer = AnswerCalls()
        self._counts: dict[str, Any] = {}
        self._inputs: dict[str, object] = {}  # whole ones, which hold if no fragment comes
        self._some = False
        self._finish: str | None = None

    def step(self, event: ServerEvent) -> StreamEvent | None:
        """Read one event."""
        try:
            value = loads(event.data)
        except ValueError:
            return StreamEvent(verdict=invalid("an event of the stream is no JSON"))
        if not isinstance(value, dict) or value.get("error") or value.get("type") == "error":
            raw = value if isinstance(value, dict) else {}
            return StreamEvent(verdict=self._context.judge_value(value), raw=raw)
        match value.get("type"):
            case "message_start":
                self._count(_dict(value.get("message")).get("usage"))
            case "content_block_start":
                return self._started(value, _dict(value.get("content_block")))
            case "content_block_delta":
                return self._delta(value, _dict(value.get("delta")))
            case "content_block_stop":
                return self._stopped(value)
            case "message_delta":
                return self._ended(value, _dict(value.get("delta")))
            case "message_stop":
                verdict = None if self._some else empty(self._finish)
                return StreamEvent(verdict=verdict, done=True, raw=value)
        return None

    def end(self) -> StreamEvent | None:
        """A stop reason is an end mark too."""
        if self._finish is None:
            return StreamEvent(verdict=invalid("the stream ended without a stop reason"))
        return None if self._some else StreamEvent(verdict=empty(self._finish))

    def _started(self, value: dict[str, Any], block: dict[str, Any]) -> StreamEvent | None:
        if block.get("type") == "text" and block.get("text"):
            return self._delta(value, {"type": "text_delta", "text": block["text"]})
        if block.get("type") != "tool_use":
            return None
        self._inputs[str(value.get("index"))] = block.get("input")
        fragment = {"id": block.get("id"), "function": {"name": block.get("name")}}
        return self._fragment(value, fragment)

    def _delta(self, value: dict[str, Any], delta: dict[str, Any]) -> StreamEvent | None:
        text = delta.get("text")
        if delta.get("type") == "text_delta" and isinstance(text, str):
            self._some = self._some or bool(text)
            return StreamEvent(text, content=bool(text), raw=value)
        thought = delta.get("thinking")
        if delta.get("type") == "thinking_delta" and isinstance(thought, str):
            return StreamEvent(reasoning=thought, raw=value)
        if delta.get("type") == "input_json_delta":
            if delta.get("partial_json"):
                self._inputs.pop(str(value.get("index")), None)
            return self._fragment(value, {"function": {"arguments": delta.get("partial_json")}})
        return None

    def _stopped(self, value: dict[str, Any]) -> StreamEvent | None:
        whole = self._inputs.pop(str(value.get("index")), None)
        return self._fragment(value, {"function": {"arguments": whole}}) if whole else None

    def _fragment(self, value: dict[str, Any], fragment: dict[str, Any]) -> StreamEvent | None:
        call = self._merger.add({"index": value.get("index"), **fragment})
        if call is None:
            return None
        text, calls = self._answer.split((call,))
        content = bool(text or calls)
        self._some = self._some or content
        return StreamEvent(text, calls, content=content, raw=value)

    def _ended(self, value: dict[str, Any], delta: dict[str, Any]) -> StreamEvent:
        self._count(value.get("usage"))
        finish = self._answer.finish(_finish(delta))
        verdict = None
        if finish is not None:
            self._finish = finish
            ended = end_verdict(self._context.good, finish, empty=False)
            verdict = None if ended.fault is None else ended
        return StreamEvent(
            finish_reason=finish, usage=_usage(self._counts), verdict=verdict, raw=value
        )

    def _count(self, usage: object) -> None:
        if isinstance(usage, dict):
            self._counts.update({k: v for k, v in usage.items() if v is not None})


def _call(block: dict[str, Any]) -> dict[str, Any]:
    arguments = arguments_text(block.get("input") or {})
    function = {"name": block.get("name"), "arguments": arguments}
    return {"id": block.get("id"), "type": "function", "function": function}


def _finish(source: dict[str, Any]) -> str | None:
    reason = source.get("stop_reason")
    return _FINISH.get(reason, reason) if isinstance(reason, str) else None


def _usage(usage: object) -> Usage | None:
    """Tokens read, from the cache or not, and tokens written."""
    if not isinstance(usage, dict):
        return None
    read = [token_count(usage.get(name) or 0) for name in _INPUT_COUNTS]
    written = token_count(usage.get("output_tokens") or 0)
    counts = [count for count in read if count is not None]
    if written is None or len(counts) < len(read) or not (sum(counts) or written):
        return None
    return Usage(sum(counts), written)


def _openai_usage(usage: object) -> dict[str, int] | None:
    found = _usage(usage)
    if found is None:
        return None
    return {
        "prompt_tokens": found.prompt_tokens,
        "completion_tokens": found.completion_tokens,
    }


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
