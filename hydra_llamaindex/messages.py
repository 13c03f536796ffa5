"""Messages between LlamaIndex and the wire, with nothing lost on the way.

LlamaIndex's own conversion joins text blocks with nothing, drops images of
assistant, tool and system messages, copies unknown extras into the request, and
refuses some of the framework's own blocks; hence this one.
"""

from __future__ import annotations

import base64
import contextlib
import json
from typing import TYPE_CHECKING, Any, Final

import filetype  # type: ignore[import-untyped]
from llama_index.core.base.llms.types import (
    AudioBlock,
    ChatMessage,
    CitableBlock,
    CitationBlock,
    ContentBlock,
    DocumentBlock,
    ImageBlock,
    MessageRole,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
    VideoBlock,
)

from hydra_core.dialects.thoughts import BLOCKS, signed_blocks
from hydra_core.errors import RequestRejected, StreamBroken

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from hydra_core.errors import HydraError
    from hydra_core.messages import Message, ToolCall

_ROLES: Final = {
    MessageRole.CHATBOT: "assistant",
    MessageRole.MODEL: "assistant",
    MessageRole.DEVELOPER: "system",  # few servers besides OpenAI's know "developer"
}
_CUT_INSIDE: Final = ("Unterminated string", "Invalid \\u")  # in the words of `json`
_CUT_VALUES: Final = ("true", "false", "null", "-", ".")
_UNKNOWN_MEDIA: Final = "application/octet-stream"


def to_wire(messages: Sequence[ChatMessage]) -> list[Message]:
    """The messages in OpenAI's chat format; files and documents behind paths are read.

    Text blocks of one message are joined with a line break, as `message.content`
    shows them. Thinking and cache marks are not sent.
    """
    return [_message(message) for message in messages]


def reads_media(messages: Sequence[ChatMessage]) -> bool:
    """True when `to_wire` would read a file or fetch a document, which may take a while."""
    media = ImageBlock | AudioBlock | VideoBlock | DocumentBlock
    return any(isinstance(block, media) for message in messages for block in _flat(message.blocks))


def assistant_message(
    text: str,
    calls: Sequence[ToolCall] = (),
    *,
    thinking: str = "",
    signed: Sequence[dict[str, Any]] = (),
    finish_reason: str | None = None,
) -> ChatMessage:
    """What the model said, as LlamaIndex reads it.

    Tool calls stand in two places because agents read the blocks and streamed
    structured output reads `additional_kwargs`. Raises RequestRejected when
    `max_tokens` cut a tool call in the middle, StreamBroken when nobody says what
    did: LlamaIndex would repair the JSON and call the tool with a value that the
    model never finished.
    """
    blocks: list[ContentBlock] = []
    if thinking:
        blocks.append(ThinkingBlock(content=thinking))
    if text or not calls:
        blocks.append(TextBlock(text=text))
    for call in calls:
        if _is_cut(call.arguments):
            raise _cut_short(call, text, finish_reason)
        blocks.append(_call_block(call))
    extra: dict[str, Any] = {BLOCKS: list(signed)} if signed else {}
    if calls:
        extra["tool_calls"] = [_call_dict(c.id, c.name, c.arguments) for c in calls]
    return ChatMessage(role=MessageRole.ASSISTANT, blocks=blocks, additional_kwargs=extra)


def _message(message: ChatMessage) -> Message:
    role = _ROLES.get(message.role, message.role.value)
    extra = message.additional_kwargs
    if role == "assistant" and extra.get("reference_audio_id"):
        return {"role": role, "audio": {"id": extra["reference_audio_id"]}}
    wire: Message = {"role": role, "content": _content(message.blocks)}
    if role == "assistant":
        _add_calls(wire, message)
        if signed := signed_blocks(extra):
            wire[BLOCKS] = signed
    for name in ("tool_call_id", "name"):
        if extra.get(name) is not None:
            wire[name] = extra[name]
    return wire


def _content(blocks: Sequence[ContentBlock]) -> str | list[dict[str, Any]]:
    """Plain text where all is text, which every server takes; else a list of parts."""
    flat = list(_flat(blocks))
    if all(isinstance(block, TextBlock) for block in flat):
        return "\n".join(block.text for block in flat if isinstance(block, TextBlock))
    return [_PARTS[type(block)](block) for block in flat]


def _flat(blocks: Iterable[ContentBlock]) -> Iterator[ContentBlock]:
    """The blocks that have a place in the content: citations opened, marks left out."""
    for block in blocks:
        if isinstance(block, CitableBlock):
            yield from block.content
        elif isinstance(block, CitationBlock):
            yield block.cited_content
        elif type(block) in _PARTS:
            yield block


def _add_calls(wire: Message, message: ChatMessage) -> None:
    calls = [
        _call_dict(block.tool_call_id, block.tool_name, block.tool_kwargs)
        for block in message.blocks
        if isinstance(block, ToolCallBlock)
    ] or [_as_dict(call) for call in message.additional_kwargs.get("tool_calls") or ()]
    if calls:
        wire["tool_calls"] = calls
    if function := message.additional_kwargs.get("function_call"):
        wire["function_call"] = _as_dict(function)
    if (calls or function) and not wire["content"]:
        wire["content"] = None  # some servers refuse an empty string beside a call


def _as_dict(value: Any) -> dict[str, Any]:
    dumped = value if isinstance(value, dict) else value.model_dump(exclude_none=True)
    return dict(dumped)


def _call_dict(call_id: str | None, name: str, arguments: dict[str, Any] | str) -> dict[str, Any]:
    text = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
    return {
        "id": call_id or "",
        "type": "function",
        "function": {"name": name, "arguments": text or "{}"},
    }


def _call_block(call: ToolCall) -> ToolCallBlock:
    arguments: dict[str, Any] | str = call.arguments
    with contextlib.suppress(ValueError):
        parsed = json.loads(call.arguments or "{}", strict=False)
        if isinstance(parsed, dict):
            arguments = parsed
    return ToolCallBlock(tool_call_id=call.id, tool_name=call.name, tool_kwargs=arguments)


def _is_cut(arguments: str) -> bool:
    """True for the beginning of a JSON text, which LlamaIndex would complete by guessing."""
    try:
        json.loads(arguments or "{}", strict=False)
    except json.JSONDecodeError as error:
        rest = arguments[error.pos :].rstrip()
        return error.msg.startswith(_CUT_INSIDE) or any(v.startswith(rest) for v in _CUT_VALUES)
    return False


def _cut_short(call: ToolCall, text: str, finish_reason: str | None) -> HydraError:
    where = f"inside the arguments of tool {call.name!r}"
    if finish_reason == "length":
        return RequestRejected(
            f"the answer reached max_tokens {where}; raise max_tokens or ask for less"
        )
    return StreamBroken(
        f"the answer ended {where} (finish reason {finish_reason!r}); ask again, with a higher "
        "max_tokens if one is set",
        partial=text,
    )


def _text_part(block: TextBlock) -> dict[str, Any]:
    return {"type": "text", "text": block.text}


def _image_part(block: ImageBlock) -> dict[str, Any]:
    image = {"url": str(block.url) if block.url else _data_uri(block)}
    if block.detail:
        image["detail"] = block.detail
    return {"type": "image_url", "image_url": image}


def _video_part(block: VideoBlock) -> dict[str, Any]:
    url = str(block.url) if block.url else _data_uri(block)
    return {"type": "video_url", "video_url": {"url": url}}


def _audio_part(block: AudioBlock) -> dict[str, Any]:
    data = block.resolve_audio().read()
    kind = block.format or filetype.guess_extension(data) or "wav"
    return {
        "type": "input_audio",
        "input_audio": {"data": base64.b64encode(data).decode(), "format": kind},
    }


def _document_part(block: DocumentBlock) -> dict[str, Any]:
    return {"type": "file", "file": {"filename": block.title, "file_data": _data_uri(block)}}


def _data_uri(block: ImageBlock | VideoBlock | DocumentBlock) -> str:
    if isinstance(block, ImageBlock):
        data, stated = block.resolve_image().read(), block.image_mimetype
    elif isinstance(block, VideoBlock):
        data, stated = block.resolve_video().read(), block.video_mimetype
    else:
        data, stated = block.resolve_document().read(), block.document_mimetype
    media = stated or filetype.guess_mime(data) or _UNKNOWN_MEDIA
    return f"data:{media};base64,{base64.b64encode(data).decode()}"


_PARTS: Final[dict[type, Callable[[Any], dict[str, Any]]]] = {
    TextBlock: _text_part,
    ImageBlock: _image_part,
    VideoBlock: _video_part,
    AudioBlock: _audio_part,
    DocumentBlock: _document_part,
}
