"""What makes a request malformed: the rules a strict provider holds its callers to.

Each rule returns what is wrong, as the provider words it, or None.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_ROLES: Final = frozenset({"system", "developer", "user", "assistant", "tool"})
_PART_TYPES: Final = frozenset({"text", "image_url", "input_audio", "file", "refusal"})


def complaint(body: Any, *, strict: bool) -> str | None:
    """Why the request is malformed, or None; without `strict` only what cannot be answered is."""
    if not isinstance(body, dict):
        return "the body is not a JSON object"
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        return "'messages' is not a list with at least one message"
    if not all(isinstance(message, dict) for message in messages):
        return "an entry of 'messages' is not an object"
    if not isinstance(body.get("model"), str):
        return "you must provide a model parameter"
    if not strict:
        return None
    return next((wrong for rule in _STRICT if (wrong := rule(body))), None)


def _roles(body: dict[str, Any]) -> str | None:
    for message in body["messages"]:
        if message.get("role") not in _ROLES:
            return f"Invalid value: {message.get('role')!r}. Supported roles: {sorted(_ROLES)}"
    return None


def _parts(body: dict[str, Any]) -> str | None:
    for message in body["messages"]:
        content = message.get("content")
        if content is None and message.get("role") != "assistant":
            return f"a {message.get('role')} message has no content"
        if not isinstance(content, str | list | None):
            return "'content' is neither a string nor a list of parts"
        for part in content if isinstance(content, list) else ():
            kind = part.get("type") if isinstance(part, dict) else None
            if kind not in _PART_TYPES:
                return f"Invalid value: {kind!r}. Supported parts: {sorted(_PART_TYPES)}"
    return None


def _tools(body: dict[str, Any]) -> str | None:
    if "tools" not in body:
        return "'tool_choice' is only allowed with 'tools'" if body.get("tool_choice") else None
    tools = body["tools"]
    if not isinstance(tools, list) or not tools:
        return "[] is too short - 'tools'"
    for tool in tools:
        if not isinstance(tool, dict) or tool.get("type") != "function":
            return "a tool's type is not 'function'"
        if not (tool.get("function") or {}).get("name"):
            return "a tool's function has no name"
    return None


def _tool_results(body: dict[str, Any]) -> str | None:
    asked: set[str] = set()
    for message in body["messages"]:
        asked |= {call.get("id") for call in message.get("tool_calls") or ()}
        if message.get("role") == "tool" and message.get("tool_call_id") not in asked:
            return "messages with role 'tool' must answer a preceding message with 'tool_calls'"
    return None


_STRICT: Final[tuple[Callable[[dict[str, Any]], str | None], ...]] = (
    _roles,
    _parts,
    _tools,
    _tool_results,
)
