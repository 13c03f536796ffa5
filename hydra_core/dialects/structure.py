"""JSON from endpoints that know no `response_format`: the answer is the call of a tool.

Anthropic has documented this way to structured answers since it has tools: one tool takes the
schema, and the model is made to call it. The call's arguments are then the answer's text.
A reply needs no memory of its request: the tool's name tells.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from hydra_core.errors import RequestRejected

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hydra_core.messages import Message, ToolCall

ANSWER: Final = "hydra_answer"
"""The tool's name; no tool of a caller may be called so."""

_ANYTHING: Final = {"type": "object", "additionalProperties": True}


def by_tool(params: dict[str, Any]) -> dict[str, Any]:
    """The parameters with a tool in place of `response_format`, where that asks for JSON.

    A caller's own tools may still be called first. Where the caller forces one of them, or the
    model thinks before it calls (then no call can be forced), that stays as it is.
    Raises RequestRejected when the schema is not that of an object.
    """
    wanted = params.get("response_format")
    kind = wanted.get("type") if isinstance(wanted, dict) else None
    if "response_format" in params:
        params = {name: value for name, value in params.items() if name != "response_format"}
    if not isinstance(wanted, dict) or kind not in ("json_object", "json_schema"):
        return params
    own, choice = params.get("tools") or [], params.get("tool_choice")
    if own and choice not in (None, "auto", "none"):
        return params
    function = {
        "name": ANSWER,
        "description": "Give your whole answer by calling this once, as its arguments.",
        "parameters": _schema(wanted),
    }
    forced: Any = {"type": "function", "function": {"name": ANSWER}}
    if own and choice != "none":
        forced = "required"
    thinking = params.get("thinking")
    if isinstance(thinking, dict) and thinking.get("type") != "disabled":
        forced = "auto"
    return {
        **params,
        "tools": [*own, {"type": "function", "function": function}],
        "tool_choice": forced,
        "parallel_tool_calls": False,
    }


def _schema(wanted: dict[str, Any]) -> dict[str, Any]:
    described = wanted.get("json_schema")
    schema = described.get("schema") if isinstance(described, dict) else None
    if not isinstance(schema, dict):
        return _ANYTHING
    if schema.get("type", "object") != "object":
        raise RequestRejected(
            "response_format: this provider gives JSON objects only, and the schema is that of "
            f"{str(schema.get('type'))[:40]!r}; put it into a property of an object"
        )
    return {"type": "object", **schema}


def as_text(message: Message, text: str) -> Message:
    """The message as if the answer had been written, and not called."""
    told = {**message, "content": text}
    calls = [call for call in told.pop("tool_calls") if _named(call) != ANSWER]
    return {**told, "tool_calls": calls} if calls else told


def _named(call: object) -> object:
    function = call.get("function") if isinstance(call, dict) else None
    return function.get("name") if isinstance(function, dict) else None


class AnswerCalls:
    """Tells the answer from the calls of other tools, in a whole reply or delta by delta."""

    __slots__ = ("_answer", "_others")

    def __init__(self) -> None:
        self._answer: int | None = None
        self._others = False

    def split(self, calls: Iterable[ToolCall]) -> tuple[str, tuple[ToolCall, ...]]:
        """The text of the answer among these calls, and all other calls."""
        text: list[str] = []
        others: list[ToolCall] = []
        for call in calls:
            if call.name == ANSWER and self._answer is None:
                self._answer = call.index
            if call.index == self._answer:
                text.append(call.arguments)
            else:
                others.append(call)
        self._others = self._others or bool(others)
        return "".join(text), tuple(others)

    def finish(self, reason: str | None) -> str | None:
        """How the reply ended, as if the answer had been text."""
        answered = self._answer is not None and not self._others
        return "stop" if answered and reason == "tool_calls" else reason
