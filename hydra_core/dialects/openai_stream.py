"""The chunks of an OpenAI-compatible stream, read one at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from hydra_core.dialects.completion import empty, end_verdict, reasoning_of, text_of, usage_of
from hydra_core.dialects.json_body import loads
from hydra_core.dialects.structure import AnswerCalls
from hydra_core.dialects.tool_calls import ToolCallMerger
from hydra_core.dialects.verdicts import ReplyContext, invalid
from hydra_core.drafts import drafted
from hydra_core.wire import StreamEvent

if TYPE_CHECKING:
    from hydra_core.dialects.sse import ServerEvent
    from hydra_core.messages import ToolCall, Usage

_DONE: Final = b"[DONE]"
TRUNCATED: Final = "the stream ended without a finish reason and without [DONE]"
_event = drafted(StreamEvent)


class ChatSteps:
    """What the events of one chat stream mean; `streams.Steps`."""

    __slots__ = ("_answer", "_context", "_finish", "_merger", "_some")

    def __init__(self, context: ReplyContext) -> None:
        self._context = context
        self._merger = ToolCallMerger()
        self._answer = AnswerCalls()
        self._some = False  # anything a reader would see has come
        self._finish: str | None = None

    def step(self, event: ServerEvent) -> StreamEvent | None:
        """Read one chunk."""
        data = event.data.strip()
        if data == _DONE:
            return StreamEvent(
                verdict=None if self._some else empty(self._finish), done=True
            )
        if not data:
            return None
        try:
            chunk = loads(data)
        except ValueError:
            return StreamEvent(verdict=invalid("a chunk of the stream is no JSON"))
        if not isinstance(chunk, dict) or event.name == b"error" or _is_error(chunk):
            return self._failure(chunk)
        choice = _first_choice(chunk.get("choices"))
        if choice is None:
            return StreamEvent(usage=_usage(chunk), raw=chunk)
        if choice.get("error"):
            return self._failure({"error": choice["error"]})
        return self._chunk(chunk, choice)

    def end(self) -> StreamEvent | None:
        """A finish reason is an end mark too; some servers send no other."""
        if self._finish is None:
            return StreamEvent(verdict=invalid(TRUNCATED))
        return None if self._some else StreamEvent(verdict=empty(self._finish))

    def _chunk(self, chunk: dict[str, Any], choice: dict[str, Any]) -> StreamEvent:
        delta = choice.get("delta") or choice.get("message")
        delta = delta if isinstance(delta, dict) else {}
        text = text_of(delta.get("content")) or text_of(delta.get("refusal"))
        calls: tuple[ToolCall, ...] = ()
        if delta.get("tool_calls"):
            told, calls = self._answer.split(self._calls(delta["tool_calls"]))
            text += told
        content = bool(text or calls)
        self._some = self._some or content
        finish = choice.get("finish_reason")
        finish = self._answer.finish(finish) if isinstance(finish, str) else None
        verdict = None
        if finish is not None:
            self._finish = finish
            ended = end_verdict(self._context.good, finish, empty=False)
            verdict = None if ended.fault is None else ended
        thought = reasoning_of(delta)
        return _event(text, calls, finish, _usage(chunk), verdict, False, content, chunk, thought)

    def _calls(self, fragments: object) -> tuple[ToolCall, ...]:
        found = []
        for fragment in fragments if isinstance(fragments, list) else ():
            call = self._merger.add(fragment) if isinstance(fragment, dict) else None
            if call is not None:
                found.append(call)
        return tuple(found)

    def _failure(self, value: Any) -> StreamEvent:
        raw = value if isinstance(value, dict) else {}
        return StreamEvent(verdict=self._context.judge_value(value), raw=raw)


def _is_error(chunk: dict[str, Any]) -> bool:
    """True for the envelopes of an error inside a stream."""
    return bool(chunk.get("error")) or "error" in (chunk.get("object"), chunk.get("type"))


def _usage(chunk: dict[str, Any]) -> Usage | None:
    """The usage in a chunk, or where Groq puts it in its last one."""
    usage = chunk.get("usage")
    if usage is None:
        own = chunk.get("x_groq")
        usage = own.get("usage") if isinstance(own, dict) else None
    return None if usage is None else usage_of(usage)


def _first_choice(choices: object) -> dict[str, Any] | None:
    """The choice that is shown: the first, when several are streamed side by side."""
    for choice in choices if isinstance(choices, list) else ():
        if isinstance(choice, dict) and choice.get("index") in (0, None):
            return choice
    return None
