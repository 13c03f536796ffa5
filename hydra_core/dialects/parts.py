"""OpenAI's messages taken apart, for dialects that put them together differently."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hydra_core.dialects.completion import text_of
from hydra_core.dialects.json_body import loads

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hydra_core.messages import Message


@dataclass(frozen=True, slots=True)
class Text:
    """A piece of text."""

    text: str


@dataclass(frozen=True, slots=True)
class Image:
    """An image: base64 `data` of a media type, or else a `url`."""

    url: str = ""
    media_type: str = ""
    data: str = ""


def system_text(messages: list[Message]) -> str:
    """All system and developer text, in order."""
    texts = (
        text_of(m.get("content")) for m in messages if m.get("role") in ("system", "developer")
    )
    return "\n\n".join(text for text in texts if text)


def content_parts(content: object) -> Iterator[Text | Image]:
    """The parts of a message's content; what is neither text nor image is left out."""
    if isinstance(content, str):
        if content:
            yield Text(content)
        return
    for part in content if isinstance(content, list) else ():
        if not isinstance(part, dict):
            continue
        if isinstance(part.get("text"), str) and part["text"]:
            yield Text(part["text"])
        elif part.get("type") == "image_url":
            image = part.get("image_url")
            url = image.get("url") if isinstance(image, dict) else image
            if isinstance(url, str):
                yield _image(url)


def _image(url: str) -> Image:
    head, comma, data = url.partition(",")
    if head.startswith("data:") and head.endswith(";base64") and comma:
        return Image(media_type=head[len("data:") : -len(";base64")], data=data)
    return Image(url=url)


@dataclass(frozen=True, slots=True)
class Call:
    """One tool call of an assistant's message, its arguments as an object."""

    id: str
    name: str
    arguments: dict[str, Any]
    extra: dict[str, Any]


def calls_of(message: Message) -> Iterator[Call]:
    """The tool calls in a message; arguments that are no JSON object become an empty one."""
    calls = message.get("tool_calls")
    for call in calls if isinstance(calls, list) else ():
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(function, dict):
            continue
        extra = call.get("extra_content")
        yield Call(
            str(call.get("id") or ""),
            str(function.get("name") or ""),
            json_object(function.get("arguments")) or {},
            extra if isinstance(extra, dict) else {},
        )


def json_object(value: object) -> dict[str, Any] | None:
    """A JSON object, given as itself or as text."""
    if isinstance(value, str):
        try:
            value = loads(value.encode(errors="replace"))
        except ValueError:
            return None
    return value if isinstance(value, dict) else None


def functions_of(tools: object) -> Iterator[dict[str, Any]]:
    """The function declarations among a request's tools."""
    for tool in tools if isinstance(tools, list) else ():
        function = tool.get("function") if isinstance(tool, dict) else None
        if isinstance(function, dict):
            yield function


def chosen_function(choice: object) -> str | None:
    """The one function that `tool_choice` asks for, if it names one."""
    function = choice.get("function") if isinstance(choice, dict) else None
    name = function.get("name") if isinstance(function, dict) else None
    return name if isinstance(name, str) else None
