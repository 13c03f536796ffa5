"""LangChain's messages in OpenAI's words, as strict servers accept them.

LangChain's own converter does most of it. What it leaves behind (reasoning
parts, tool calls repeated inside the content, a name on tool results) is
harmless to some servers and a 400 to others; this is where it goes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from langchain_core.messages import AIMessage, convert_to_openai_messages

from hydra_core.dialects.thoughts import BLOCKS, signed_blocks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_core.messages import BaseMessage

    from hydra_core.messages import Message

_SENT_PARTS: Final = frozenset(
    {"text", "image_url", "input_audio", "file", "video_url", "input_video"}
)
_DROPPED_PARTS: Final = frozenset(
    {
        "function_call",
        "invalid_tool_call",
        "non_standard",
        "reasoning",
        "redacted_thinking",
        "server_tool_call",
        "server_tool_call_chunk",
        "server_tool_result",
        "thinking",
        "tool_call",
        "tool_call_chunk",
        "tool_use",
    }
)
"""What models say for themselves: it is sent in its own field, or not at all."""


def openai_messages(messages: Sequence[BaseMessage]) -> list[Message]:
    """The conversation as OpenAI-format dicts.

    Raises ValueError for a content part that no OpenAI-compatible server knows.
    """
    sent: list[Message] = []
    for message in messages:
        # One message may become several: tool results inside a user message.
        converted = convert_to_openai_messages([message])
        sent.extend(_clean(each, message) for each in converted)
    return sent


def _clean(sent: Message, original: BaseMessage) -> Message:
    if isinstance(sent.get("content"), list):
        sent["content"] = _content(sent["content"])
    if sent["role"] == "tool":
        sent.pop("name", None)
    if isinstance(original, AIMessage) and sent["role"] == "assistant":
        _restore_invalid_calls(sent, original)
        if sent.get("tool_calls") and not sent["content"]:
            sent["content"] = None
        if signed := signed_blocks(original.additional_kwargs):
            sent[BLOCKS] = signed
    return sent


def _content(parts: list[dict[str, Any]]) -> list[dict[str, Any]] | str:
    kept = []
    for part in parts:
        kind = part.get("type")
        if kind in _SENT_PARTS:
            kept.append(part)
        elif kind not in _DROPPED_PARTS:
            raise ValueError(
                f"a message holds a content part of type {kind!r}, which has no place in an "
                f"OpenAI-format request; known types: {', '.join(sorted(_SENT_PARTS))}"
            )
    if all(part["type"] == "text" for part in kept):
        return "".join(part["text"] for part in kept)
    return kept


def _restore_invalid_calls(sent: Message, original: AIMessage) -> None:
    """Keep calls whose arguments did not parse: the tool result that follows refers to them."""
    broken = [
        {
            "type": "function",
            "id": call["id"],
            "function": {"name": call["name"], "arguments": call["args"] or ""},
        }
        for call in original.invalid_tool_calls
        if call["id"] and call["name"]
    ]
    if broken:
        sent["tool_calls"] = [*sent.get("tool_calls", []), *broken]
