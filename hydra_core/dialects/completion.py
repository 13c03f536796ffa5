"""A chat completion that came with 200: its parts, and whether it is an answer at all."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from hydra_core.dialects.structure import AnswerCalls, as_text
from hydra_core.dialects.tool_calls import ToolCallMerger
from hydra_core.drafts import drafted
from hydra_core.messages import Fault, ToolCall, Usage
from hydra_core.wire import Answer, Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

# More than any window of any model: such a count is a broken one.
_TOKENS_CAP: Final = 100_000_000
_USD_CAP: Final = 1e8  # no call costs as much
REASONING: Final = ("reasoning_content", "reasoning")
"""What servers call the field that holds a model's reasoning as text."""
# What opens a streamed message and says nothing by itself.
_OPENING: Final = frozenset({"role", "content"})
_GOOD_ENDS: Final = frozenset({"stop", "length", "tool_calls", None})
_answer = drafted(Answer)
_EMPTY: Final = "the reply holds no text, no tool call and no refusal"
_SPENT: Final = "max_tokens were used up, by thoughts perhaps, before any text; allow more of them"


def completion_of(value: dict[str, Any], choice: dict[str, Any], good: Verdict) -> Answer:
    """Read the first choice of a completion; `good` is the verdict if it is an answer."""
    message = choice.get("message")
    message = message if isinstance(message, dict) else {}
    text = text_of(message.get("content"))
    refusal = message.get("refusal")
    if not text and isinstance(refusal, str):
        text = refusal
    calls = whole_calls(message.get("tool_calls")) if message.get("tool_calls") else ()
    finish = choice.get("finish_reason")
    finish = finish if isinstance(finish, str) else None
    if calls:
        answer = AnswerCalls()
        told, others = answer.split(calls)
        finish = answer.finish(finish)
        if len(others) < len(calls):
            text, calls, message = told, others, as_text(message, told)
    return _answer(
        end_verdict(good, finish, empty=not text and not calls),
        text,
        message,
        calls,
        finish,
        usage_of(value.get("usage")),
        value,
    )


def end_verdict(good: Verdict, finish: str | None, *, empty: bool) -> Verdict:
    """The verdict on a reply by how it ended and whether it held anything."""
    fault = None if finish in _GOOD_ENDS else fault_of_finish(finish)
    if fault is not None:
        return replace(good, fault=fault, message=f"the reply ended with {finish!r}"[:500])
    if empty:
        spent = finish == "length"
        return replace(
            good,
            fault=Fault.INVALID_RESPONSE,
            message=_SPENT if spent else _EMPTY,
            out_of_tokens=spent,
        )
    return good


def empty(finish: str | None) -> Verdict:
    """The verdict on a stream that ended so and held nothing."""
    return end_verdict(Verdict(status=200), finish, empty=True)


def fault_of_finish(finish: str | None) -> Fault | None:
    """The fault that a finish reason stands for; None for the usual ends.

    Gemini writes `content_filter: PROHIBITED_CONTENT`, so the beginning decides.
    """
    if finish is None:
        return None
    if finish.startswith("content_filter"):
        return Fault.CONTENT_FILTER
    if finish == "insufficient_system_resource":
        return Fault.OVERLOADED
    return Fault.INVALID_RESPONSE if finish == "error" else None


def text_of(content: object) -> str:
    """The text of a message's content: a string, or the text parts of a list."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    texts = (part.get("text") for part in content if isinstance(part, dict))
    return "".join(text for text in texts if isinstance(text, str))


def reasoning_of(message: Mapping[str, Any]) -> str:
    """What a message, or a piece of one, holds of the model's reasoning, by either of its names."""
    for name in REASONING:
        found = message.get(name)
        if found and isinstance(found, str):
            return found
    return ""


def whole_calls(calls: object) -> tuple[ToolCall, ...]:
    """The tool calls of a whole message, numbered from 0."""
    merger = ToolCallMerger()
    for index, call in enumerate(calls if isinstance(calls, list) else ()):
        if isinstance(call, dict):
            merger.add({**call, "index": index})
    return merger.calls()


def usage_of(usage: object) -> Usage | None:
    """The tokens that a reply reports; None when absent or impossible.

    `cost` is OpenRouter's, in USD.
    """
    if not isinstance(usage, dict):
        return None
    prompt = token_count(usage.get("prompt_tokens", 0))
    completion = token_count(usage.get("completion_tokens", 0))
    if prompt is None or completion is None or not (prompt or completion):
        return None
    cost = usage.get("cost")
    return Usage(prompt, completion, None if cost is None else _dollars(cost))


def _dollars(cost: object) -> float | None:
    if not isinstance(cost, int | float) or isinstance(cost, bool) or not 0 <= cost < _USD_CAP:
        return None
    return float(cost)


def token_count(value: object) -> int | None:
    """A plausible number of tokens; None for text, fractions, negatives and absurd sizes."""
    if type(value) is int:  # what all but broken replies hold, and it spares the other questions
        return value if 0 <= value <= _TOKENS_CAP else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if 0 <= value <= _TOKENS_CAP and value == int(value) else None


def thinks_aloud(chunk: dict[str, Any]) -> bool:
    """True when a chunk of a stream carries something beside its role and text: reasoning."""
    choices = chunk.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    delta = first.get("delta") if isinstance(first, dict) else None
    return isinstance(delta, dict) and any(delta[name] for name in delta.keys() - _OPENING)
