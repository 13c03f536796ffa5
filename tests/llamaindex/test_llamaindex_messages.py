"""Messages cross to the wire and back with nothing lost."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import pytest
from llama_index.core.base.llms.types import (
    AudioBlock,
    CacheControl,
    CachePoint,
    ChatMessage,
    CitableBlock,
    CitationBlock,
    DocumentBlock,
    ImageBlock,
    MessageRole,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
    VideoBlock,
)

from hydra_core.errors import RequestRejected, StreamBroken
from hydra_core.messages import ToolCall
from hydra_llamaindex.messages import assistant_message, reads_media, to_wire

if TYPE_CHECKING:
    from pathlib import Path

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(32))
WAV = b"RIFF\x24\x00\x00\x00WAVEfmt " + bytes(16)


def wire(*blocks: object, role: MessageRole = MessageRole.USER, **extra: object) -> dict:
    return to_wire([ChatMessage(role=role, blocks=list(blocks), additional_kwargs=extra)])[0]


def test_text_blocks_reach_the_wire_as_the_message_shows_them() -> None:
    """Several text blocks are one string with the line breaks of `message.content`."""
    message = ChatMessage(blocks=[TextBlock(text="a"), TextBlock(text="b")])
    assert to_wire([message]) == [{"role": "user", "content": "a\nb"}]
    assert to_wire([message])[0]["content"] == message.content


@pytest.mark.parametrize(
    ("role", "sent"),
    [
        (MessageRole.CHATBOT, "assistant"),
        (MessageRole.MODEL, "assistant"),
        (MessageRole.DEVELOPER, "system"),
        (MessageRole.SYSTEM, "system"),
        (MessageRole.TOOL, "tool"),
    ],
)
def test_a_role_is_sent_in_words_that_every_server_knows(role: MessageRole, sent: str) -> None:
    """Roles that only some vendors know are translated."""
    assert wire(TextBlock(text="x"), role=role)["role"] == sent


@pytest.mark.parametrize("role", [MessageRole.ASSISTANT, MessageRole.TOOL, MessageRole.SYSTEM])
def test_an_image_survives_in_every_role(role: MessageRole) -> None:
    """LlamaIndex's own conversion drops images outside of user messages; this one does not."""
    sent = wire(TextBlock(text="see"), ImageBlock(url="https://example.org/a.png"), role=role)
    assert sent["content"] == [
        {"type": "text", "text": "see"},
        {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}},
    ]


def test_bytes_become_data_urls_of_their_own_type(tmp_path: Path) -> None:
    """An image in memory or in a file without a suffix is sent with its type found out."""
    path = tmp_path / "picture"
    path.write_bytes(PNG)
    expected = "data:image/png;base64," + base64.b64encode(PNG).decode()
    for block in (ImageBlock(image=PNG, detail="low"), ImageBlock(path=path)):
        part = wire(block)["content"][0]
        assert part["image_url"]["url"] == expected
    assert wire(ImageBlock(image=PNG, detail="low"))["content"][0]["image_url"]["detail"] == "low"


def test_sound_film_and_documents_have_their_parts() -> None:
    """Every block of the framework has a place on the wire; none raises."""
    content = wire(
        AudioBlock(audio=WAV, format="wav"),
        VideoBlock(url="https://example.org/film.mp4"),
        DocumentBlock(data=b"%PDF-1.7 x", title="a.pdf", document_mimetype="application/pdf"),
    )["content"]
    assert [part["type"] for part in content] == ["input_audio", "video_url", "file"]
    assert base64.b64decode(content[0]["input_audio"]["data"]) == WAV
    assert content[2]["file"]["file_data"].startswith("data:application/pdf;base64,")


def test_marks_and_thoughts_are_not_sent_and_citations_are_opened() -> None:
    """Cache marks and thinking are no content; citable text is."""
    sent = wire(
        ThinkingBlock(content="hm"),
        CachePoint(cache_control=CacheControl(type="ephemeral")),
        CitableBlock(title="t", source="s", content=[TextBlock(text="one")]),
        CitationBlock(
            cited_content=TextBlock(text="two"), source="s", title="t", additional_location_info={}
        ),
    )
    assert sent == {"role": "user", "content": "one\ntwo"}


def test_tool_calls_are_sent_once_from_blocks_or_from_extras() -> None:
    """Blocks win; a history that holds only the extras keeps its calls too."""
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}
    block = ToolCallBlock(tool_call_id="c1", tool_name="f", tool_kwargs={"x": 1})
    for sent in (
        wire(block, role=MessageRole.ASSISTANT, tool_calls=[call]),
        wire(role=MessageRole.ASSISTANT, tool_calls=[call]),
    ):
        assert sent == {"role": "assistant", "content": None, "tool_calls": [call]}


def test_a_tool_result_names_its_call_and_no_other_extra_leaks() -> None:
    """Only the fields of the protocol are copied from `additional_kwargs`."""
    sent = wire(TextBlock(text="7"), role=MessageRole.TOOL, tool_call_id="c1", hydra={"key": "k"})
    assert sent == {"role": "tool", "content": "7", "tool_call_id": "c1"}


def test_only_blocks_that_need_reading_are_read_off_the_loop() -> None:
    """Plain text is converted at once, media in a thread."""
    assert not reads_media([ChatMessage("text")])
    assert reads_media([ChatMessage(blocks=[ImageBlock(image=PNG)])])


def test_a_tool_call_cut_by_max_tokens_is_refused() -> None:
    """Half an argument never reaches a tool: LlamaIndex would repair the JSON."""
    cut = ToolCall("c1", "f", '{"n": 12')
    with pytest.raises(RequestRejected, match="max_tokens"):
        assistant_message("", [cut], finish_reason="length")


@pytest.mark.parametrize("finish", ["stop", "tool_calls", None])
@pytest.mark.parametrize(
    "arguments",
    ['{"n": 12', '{"path": "/a/b', '{"n": 1, "sure": tr', '{"n": -', '{"n": 1.', '{"n"'],
)
def test_a_tool_call_cut_without_a_word_is_refused(arguments: str, finish: str | None) -> None:
    """Some servers call it a usual end when an answer was cut."""
    with pytest.raises(StreamBroken, match="inside the arguments of tool 'f'") as broken:
        assistant_message("I ask.", [ToolCall("c1", "f", arguments)], finish_reason=finish)
    assert broken.value.partial == "I ask."


def test_a_whole_call_is_no_cut_one() -> None:
    """Line breaks within a text are read, and what is no JSON is left to LlamaIndex."""
    calls = [ToolCall("c1", "f", '{"t": "a\nb"}'), ToolCall("c2", "f", "{n: 1}")]
    message = assistant_message("", calls, finish_reason="length")
    kwargs = [b.tool_kwargs for b in message.blocks if isinstance(b, ToolCallBlock)]
    assert kwargs == [{"t": "a\nb"}, "{n: 1}"]


def test_tool_calls_stand_in_blocks_and_in_extras() -> None:
    """Agents read the blocks, streamed structured output reads the extras."""
    message = assistant_message("", [ToolCall("c1", "f", '{"n": 1}'), ToolCall("c2", "g", "[]")])
    kwargs = [b.tool_kwargs for b in message.blocks if isinstance(b, ToolCallBlock)]
    assert kwargs == [{"n": 1}, "[]"]
    assert [call["id"] for call in message.additional_kwargs["tool_calls"]] == ["c1", "c2"]
