"""Whether a reply has the form that was asked for. Its sense is for its reader to judge.

These signs cost a parse, and only where a form was asked for: JSON by `response_format`,
tool calls by `tools`. A reply that its own token limit cut off proves nothing.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from hydra_core.messages import ChatRequest, ToolCall
    from hydra_core.wire import Answer

FIT: Final = 0.5
"""A reply below this is not in the form that was asked for."""

# JSON between fences is no JSON to who asked for it, but many readers take the fences off.
_FENCED_JSON: Final = 0.5
_FENCE: Final = re.compile(r"\A\s*```[a-z]*\s*\n(.*)\n\s*```\s*\Z", re.DOTALL | re.IGNORECASE)


def shaped(request: ChatRequest, answer: Answer) -> Answer:
    """The answer with its `quality` noted, where the request asked for a form."""
    params = request.params
    if answer.verdict.fault is not None or not ("response_format" in params or "tools" in params):
        return answer
    quality = form_of(params, answer)
    return answer if quality is None else replace(answer, quality=quality)


def form_of(params: dict[str, Any], answer: Answer) -> float | None:
    """How far the answer has the form asked for, 0 to 1; None: nothing can be said.

    Tool calls: the share that name a declared tool and whose arguments are a JSON object.
    JSON: 1 if the text parses, and is an object where `json_object` was asked for.
    """
    if answer.finish_reason == "length":
        return None
    if answer.tool_calls:
        return _called(params.get("tools") or [], answer.tool_calls)
    choice = params.get("tool_choice")
    if not answer.shown and (choice == "required" or isinstance(choice, dict)):
        return 0.0
    kind = (params.get("response_format") or {}).get("type")
    if kind not in ("json_object", "json_schema") or (answer.shown and not answer.text):
        return None
    objects_only = kind == "json_object"
    if _parses(answer.text, objects_only=objects_only):
        return 1.0
    fenced = _FENCE.match(answer.text)
    if fenced is not None and _parses(fenced[1], objects_only=objects_only):
        return _FENCED_JSON
    return 0.0


def _called(tools: list[Any], calls: tuple[ToolCall, ...]) -> float:
    declared = {
        function.get("name")
        for tool in tools
        if isinstance(tool, dict) and isinstance(function := tool.get("function"), dict)
    }
    good = sum(
        (not declared or call.name in declared)
        # No arguments at all are how some providers call a tool that takes none.
        and (not call.arguments.strip() or _parses(call.arguments, objects_only=True))
        for call in calls
    )
    return good / len(calls)


def _parses(text: str, *, objects_only: bool) -> bool:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) or not objects_only
