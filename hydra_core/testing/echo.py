"""A model that repeats what it was told: the smallest that keeps the whole protocol."""

from __future__ import annotations

import hashlib
from typing import Any

import orjson

from hydra_core.messages import ToolCall
from hydra_core.testing.answer import FakeAnswer
from hydra_core.testing.completions import text_of
from hydra_core.testing.schema import instance

_SHOWN = 200  # characters of the user's text that come back


class EchoModel:
    """Answers with the user's own words; calls tools and fills schemas when asked to.

    Given `text`, it says that instead. With tools it calls the one that
    `tool_choice` names, else the one the user's text names, else the first, with
    arguments built from its schema; after a tool's result it answers in text.
    JSON response formats get JSON that fits.
    """

    def __init__(self, text: str | None = None) -> None:
        self._text = text

    def answer(self, body: dict[str, Any]) -> FakeAnswer:
        """Answer one request; the same request always gets the same answer."""
        messages = body["messages"]
        last = messages[-1]
        said = next((text_of(m) for m in reversed(messages) if m.get("role") == "user"), "")
        if last.get("role") == "tool":
            return FakeAnswer(self._text or f"The tool says: {text_of(last)[:_SHOWN]}")
        tool = _chosen(body, said)
        if tool is not None:
            return FakeAnswer(tool_calls=(_call(tool, said),))
        schema = _wanted(body)
        if schema is not None:
            return FakeAnswer(orjson.dumps(instance(schema, said)).decode())
        return FakeAnswer(self._text or f"You said: {said[:_SHOWN]}".rstrip())


def _chosen(body: dict[str, Any], said: str) -> dict[str, Any] | None:
    """The function to call, or None to answer in text."""
    functions = [tool.get("function") or {} for tool in body.get("tools") or ()]
    choice = body.get("tool_choice")
    if not functions or choice == "none":
        return None
    if isinstance(choice, dict):
        named = (choice.get("function") or {}).get("name")
        return next((function for function in functions if function.get("name") == named), None)
    return next(
        (function for function in functions if function.get("name", " ") in said), functions[0]
    )


def _call(function: dict[str, Any], said: str) -> ToolCall:
    name = str(function.get("name"))
    schema = function.get("parameters") or {"type": "object", "properties": {}}
    arguments = orjson.dumps(instance(schema, said)).decode()
    mark = hashlib.sha256(f"{name} {arguments}".encode()).hexdigest()[:12]
    return ToolCall(f"call_{mark}", name, arguments)


def _wanted(body: dict[str, Any]) -> dict[str, Any] | None:
    """The schema that the response format asks for, or None for plain text."""
    form = body.get("response_format") or {}
    if form.get("type") == "json_object":
        return {"type": "object", "properties": {"answer": {"type": "string"}}}
    if form.get("type") == "json_schema":
        return dict((form.get("json_schema") or {}).get("schema") or {"type": "object"})
    return None
