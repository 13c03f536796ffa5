"""OpenAI's chat request, written as Anthropic's Messages request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from hydra_core.dialects.completion import text_of
from hydra_core.dialects.parts import (
    Image,
    Text,
    calls_of,
    chosen_function,
    content_parts,
    functions_of,
    system_text,
)
from hydra_core.dialects.structure import by_tool
from hydra_core.dialects.thoughts import fit_thinking, named_thinking, signed_blocks

if TYPE_CHECKING:
    from hydra_core.messages import ChatRequest, Message

# The API wants a limit. Large enough for an answer, small enough to reserve little.
DEFAULT_MAX_TOKENS: Final = 4_096
_SAME: Final = ("temperature", "top_p", "top_k", "thinking", "metadata", "service_tier")
_CHOICES: Final = {"auto": "auto", "required": "any", "none": "none"}


def anthropic_body(model: str, request: ChatRequest, *, stream: bool) -> dict[str, Any]:
    """The JSON of a Messages request. Parameters that it does not know are left out."""
    params = by_tool(named_thinking(request.params))
    body: dict[str, Any] = {
        "model": model,
        "max_tokens": request.max_tokens or DEFAULT_MAX_TOKENS,
        "messages": _turns(request.messages),
    }
    system = system_text(request.messages)
    if system:
        body["system"] = system
    body.update({name: params[name] for name in _SAME if params.get(name) is not None})
    temperature = body.get("temperature")
    if isinstance(temperature, int | float):
        body["temperature"] = min(temperature, 1)
    stop = params.get("stop")
    if stop:
        body["stop_sequences"] = [stop] if isinstance(stop, str) else stop
    tools = [_tool(function) for function in functions_of(params.get("tools"))]
    if tools:
        body["tools"] = tools
        body["tool_choice"] = _choice(params)
    extra = params.get("extra_body")
    if isinstance(extra, dict):
        body.update(extra)
    fit_thinking(body, unlimited=request.max_tokens is None and "max_tokens" not in (extra or ()))
    if stream:
        body["stream"] = True
    return body


def _tool(function: dict[str, Any]) -> dict[str, Any]:
    schema = function.get("parameters") or {"type": "object", "properties": {}}
    tool = {"name": function.get("name"), "input_schema": schema}
    if function.get("description"):
        tool["description"] = function["description"]
    return tool


def _choice(params: dict[str, Any]) -> dict[str, Any]:
    wanted = params.get("tool_choice")
    name = chosen_function(wanted)
    choice: dict[str, Any] = (
        {"type": "tool", "name": name}
        if name
        else {"type": _CHOICES.get(wanted, "auto") if isinstance(wanted, str) else "auto"}
    )
    if params.get("parallel_tool_calls") is False and choice["type"] != "none":
        choice["disable_parallel_tool_use"] = True
    return choice


def _turns(messages: list[Message]) -> list[dict[str, Any]]:
    """Turns of user and assistant; neighbours of one role are one turn, as the API wants it."""
    turns: list[dict[str, Any]] = []
    for message in messages:
        role = message.get("role")
        if role in ("system", "developer"):
            continue
        role = "assistant" if role == "assistant" else "user"
        blocks = _blocks(message)
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] += blocks
        elif blocks:
            turns.append({"role": role, "content": blocks})
    return turns


def _blocks(message: Message) -> list[dict[str, Any]]:
    if message.get("role") == "tool":
        return [
            {
                "type": "tool_result",
                "tool_use_id": message.get("tool_call_id"),
                "content": text_of(message.get("content")),
            }
        ]
    uses = [
        {"type": "tool_use", "id": call.id, "name": call.name, "input": call.arguments}
        for call in calls_of(message)
    ]
    texts = [_block(part) for part in content_parts(message.get("content"))]
    return signed_blocks(message) + texts + uses


def _block(part: Text | Image) -> dict[str, Any]:
    if isinstance(part, Text):
        return {"type": "text", "text": part.text}
    if part.url:
        return {"type": "image", "source": {"type": "url", "url": part.url}}
    source = {"type": "base64", "media_type": part.media_type, "data": part.data}
    return {"type": "image", "source": source}
