"""OpenAI's chat completions format: an answer as one JSON body or as stream events.

Tokens are four characters each unless the answerer says otherwise, so that what a
call costs is known when it arrives.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import orjson

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hydra_core.messages import ToolCall
    from hydra_core.testing.answer import FakeAnswer

CHARACTERS_PER_TOKEN: Final = 4
_WORDS_PER_CHUNK: Final = 3
_ARGUMENTS_PER_CHUNK: Final = 12
_WORD_GROUP: Final = re.compile(rf"(?:\S+\s*){{1,{_WORDS_PER_CHUNK}}}|\s+")

DONE: Final = b"data: [DONE]\n\n"


@dataclass(frozen=True, slots=True)
class Completion:
    """One answer with its cost settled, ready to be written."""

    id: str
    model: str
    created: int
    answer: FakeAnswer
    prompt_tokens: int
    completion_tokens: int

    def body(self) -> bytes:
        """The reply to a request without `stream`."""
        message: dict[str, Any] = {"role": "assistant", "content": self.answer.text}
        if self.answer.tool_calls:
            calls = [_call(call) for call in self.answer.tool_calls]
            message |= {"content": self.answer.text or None, "tool_calls": calls}
        choice: dict[str, Any] = {"index": 0, "message": message}
        if self.answer.finish_reason.startswith("content_filter:"):
            del choice["message"]  # so Gemini says it: a reason, and no message at all
        choice["finish_reason"] = self.answer.finish_reason
        return orjson.dumps(
            self._frame("chat.completion") | {"choices": [choice], "usage": self._usage()}
        )

    def events(self, *, include_usage: bool) -> tuple[bytes, ...]:
        """The reply to a request with `stream`: role, content, finish, usage if asked for, end."""
        events = [self._delta({"role": "assistant", "content": ""})]
        events += [self._delta({"content": text}) for text in _WORD_GROUP.findall(self.answer.text)]
        events += [
            self._delta({"tool_calls": [fragment]})
            for index, call in enumerate(self.answer.tool_calls)
            for fragment in _fragments(index, call)
        ]
        events.append(self._delta({}, self.answer.finish_reason))
        if include_usage:
            events.append(
                _event(
                    self._frame("chat.completion.chunk") | {"choices": [], "usage": self._usage()}
                )
            )
        return (*events, DONE)

    def _delta(self, delta: dict[str, Any], finish_reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
        return _event(self._frame("chat.completion.chunk") | {"choices": [choice]})

    def _frame(self, kind: str) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model}

    def _usage(self) -> dict[str, int]:
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": self.prompt_tokens + self.completion_tokens,
        }


def settle(answer: FakeAnswer, body: dict[str, Any]) -> tuple[FakeAnswer, int, int]:
    """The answer cut at the request's `max_tokens`, its prompt and its completion tokens."""
    prompt = count_prompt(body) if answer.prompt_tokens is None else answer.prompt_tokens
    said = answer.text + "".join(call.name + call.arguments for call in answer.tool_calls)
    tokens = count_tokens(said) if answer.completion_tokens is None else answer.completion_tokens
    limit = body.get("max_completion_tokens") or body.get("max_tokens")
    if isinstance(limit, int) and 0 < limit < tokens:
        kept = answer.text[: len(answer.text) * limit // tokens]
        answer = replace(answer, text=kept, tool_calls=(), finish_reason="length")
        tokens = limit
    elif answer.tool_calls and answer.finish_reason == "stop":
        answer = replace(answer, finish_reason="tool_calls")
    return answer, prompt, tokens


def count_tokens(text: str) -> int:
    """Four characters a token, rounded up."""
    return -(-len(text) // CHARACTERS_PER_TOKEN)


def count_prompt(body: dict[str, Any]) -> int:
    """The tokens of a request's messages; at least one."""
    return max(1, count_tokens("".join(_texts(body.get("messages")))))


def text_of(message: Any) -> str:
    """The text of one message, its text parts joined."""
    content = message.get("content") if isinstance(message, dict) else None
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "".join(str(part.get("text") or "") for part in parts if isinstance(part, dict))


def _texts(messages: Any) -> Iterator[str]:
    for message in messages if isinstance(messages, list) else ():
        yield text_of(message)
        if isinstance(message, dict) and message.get("tool_calls"):
            yield orjson.dumps(message["tool_calls"]).decode()


def _event(data: dict[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(data) + b"\n\n"


def _call(call: ToolCall) -> dict[str, Any]:
    function = {"name": call.name, "arguments": call.arguments}
    return {"id": call.id, "type": "function", "function": function}


def _fragments(index: int, call: ToolCall) -> Iterator[dict[str, Any]]:
    """A tool call as streams send it: its name first, then its arguments in pieces."""
    opening = {"name": call.name, "arguments": ""}
    yield {"index": index, "id": call.id, "type": "function", "function": opening}
    for start in range(0, len(call.arguments), _ARGUMENTS_PER_CHUNK):
        piece = call.arguments[start : start + _ARGUMENTS_PER_CHUNK]
        yield {"index": index, "function": {"arguments": piece}}
