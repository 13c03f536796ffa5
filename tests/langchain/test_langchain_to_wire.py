"""LangChain's messages as strict OpenAI-format servers accept them."""

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage

from hydra_langchain.to_wire import openai_messages

CALL = {"name": "add", "args": {"a": 1}, "id": "c1", "type": "tool_call"}


def test_plain_conversation():
    """Plain messages keep their text and get OpenAI's roles."""
    sent = openai_messages([SystemMessage("s"), HumanMessage("h", name="ann"), AIMessage("a")])
    assert sent == [
        {"role": "system", "content": "s"},
        {"role": "user", "content": "h", "name": "ann"},
        {"role": "assistant", "content": "a"},
    ]


def test_reasoning_is_not_sent_back():
    """Reasoning and thinking parts stay here: servers answer 400 to them."""
    content = [
        {"type": "reasoning", "reasoning": "hm"},
        {"type": "thinking", "thinking": "hm", "signature": "s"},
        {"type": "text", "text": "yes"},
    ]
    assert openai_messages([AIMessage(content)]) == [{"role": "assistant", "content": "yes"}]


def test_a_tool_call_is_sent_once():
    """A v1 message repeats its tool calls inside the content; they are sent in one place."""
    (sent,) = openai_messages([AIMessage([{**CALL}], tool_calls=[CALL])])
    assert sent["content"] is None
    assert [call["id"] for call in sent["tool_calls"]] == ["c1"]


def test_an_invalid_call_keeps_its_place():
    """A call that did not parse is sent as it was, for its tool result refers to it."""
    broken = {"name": "add", "args": '{"a": ', "id": "c2", "error": None}
    sent = openai_messages(
        [
            AIMessage("", invalid_tool_calls=[{**broken, "type": "invalid_tool_call"}]),
            ToolMessage("bad arguments", tool_call_id="c2", name="add"),
        ]
    )
    assert sent[0]["tool_calls"][0]["function"] == {"name": "add", "arguments": '{"a": '}
    assert sent[1] == {"role": "tool", "tool_call_id": "c2", "content": "bad arguments"}


def test_images_become_data_urls():
    """A standard image block becomes an `image_url` part."""
    image = {"type": "image", "base64": "AAAA", "mime_type": "image/png"}
    (sent,) = openai_messages([HumanMessage([{"type": "text", "text": "see"}, image])])
    assert sent["content"][1]["image_url"]["url"] == "data:image/png;base64,AAAA"


def test_an_unknown_part_is_named():
    """A part that no server knows raises an error naming its type, not a 400 far away."""
    with pytest.raises(ValueError, match="'hologram'"):
        openai_messages([HumanMessage([{"type": "hologram", "x": 1}])])


def test_the_conversation_is_left_as_it_was():
    """Converting changes nothing in the caller's messages."""
    message = AIMessage([{"type": "text", "text": "a"}, dict(CALL)], tool_calls=[CALL])
    before = message.model_copy(deep=True)
    openai_messages([message])
    assert message == before
