"""What a model thinks is handed on, and a conversation with Claude goes on with it or without."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from hydra_core.dialects import get_dialect
from hydra_core.messages import ChatRequest
from hydra_core.wire import Target

CLAUDE = get_dialect("anthropic", "anthropic")
THINKING = {"type": "enabled", "budget_tokens": 2000}
THOUGHT = {"type": "thinking", "thinking": "Look it up.", "signature": "c2ln"}
HIDDEN = {"type": "redacted_thinking", "data": "ZGF0YQ"}
USE = {"type": "tool_use", "id": "t1", "name": "find", "input": {"x": 1}}
TOOLS = [{"type": "function", "function": {"name": "find"}}]
ASKED = {"role": "user", "content": "How many?"}
RESULT = {"role": "tool", "tool_call_id": "t1", "content": "7"}
CALL = {"id": "t1", "type": "function", "function": {"name": "find", "arguments": '{"x":1}'}}
UNSIGNED = {"role": "assistant", "content": "", "tool_calls": [CALL]}
Sent = dict[str, Any]


def sent(messages: list[Sent], vendor: str = "anthropic", **params: Any) -> Sent:
    """The body of a request."""
    dialect = CLAUDE if vendor == "anthropic" else get_dialect("openai", vendor)
    target, request = Target("https://host/v1", "model"), ChatRequest(messages, params=params)
    body: Sent = orjson.loads(dialect.encode(target, request, stream=False).body)
    return body


@pytest.fixture
def answer(read):
    """Claude's first step: two thoughts and a call of a tool."""
    body = {"content": [THOUGHT, HIDDEN, USE], "stop_reason": "tool_use"}
    return read("anthropic", 200, body, dialect="anthropic").message


def test_thoughts_go_back_to_the_model_that_had_them(answer):
    """The message of a reply holds the thoughts as text and signed; signed ones are sent back."""
    assert answer["reasoning_content"] == "Look it up."
    body = sent([ASKED, answer, RESULT], thinking=THINKING, tools=TOOLS)
    assert body["thinking"] == THINKING
    assert body["messages"][1]["content"] == [THOUGHT, HIDDEN, USE]


def test_a_turn_that_another_provider_began_goes_on_without_thinking(answer):
    """Thoughts are asked for again with the user's next turn; signed ones of before stay."""
    body = sent([ASKED, UNSIGNED, RESULT], extra_body={"thinking": THINKING}, tools=TOOLS)
    assert "thinking" not in body
    body = sent([ASKED, UNSIGNED, RESULT, answer, RESULT], thinking=THINKING, tools=TOOLS)
    assert "thinking" not in body
    assert [block["type"] for block in body["messages"][3]["content"]] == ["tool_use"]
    body = sent([ASKED, answer, RESULT, UNSIGNED, RESULT], thinking=THINKING, tools=TOOLS)
    assert body["thinking"] == THINKING


def test_a_model_that_decides_itself_may_begin_without_a_thought():
    """Adaptive thinking stays on where a turn of tools has no thoughts."""
    body = sent([ASKED, UNSIGNED, RESULT], thinking={"type": "adaptive"}, tools=TOOLS)
    assert body["thinking"] == {"type": "adaptive"}


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"temperature": 0.1, "top_k": 5, "top_p": 0.5}, {"max_tokens": 6096}),
        ({"top_p": 0.97, "max_tokens": 3000}, {"top_p": 0.97, "max_tokens": 3000}),
        ({"extra_body": {"max_tokens": 3000}}, {"max_tokens": 3000}),
    ],
)
def test_what_thinking_excludes_is_left_out(params, expected):
    """No other temperature, no narrow samples; the thoughts' budget comes on top of our limit."""
    body = sent([ASKED], thinking=THINKING, **params)
    assert body.pop("thinking") == THINKING
    assert {name: body[name] for name in body if name not in ("model", "messages")} == expected


def test_a_forced_tool_is_called_without_thinking():
    """The API refuses both at once, and the form of the answer is what its reader relies on."""
    body = sent([ASKED], thinking=THINKING, tools=TOOLS, tool_choice="required")
    assert "thinking" not in body
    assert body["tool_choice"] == {"type": "any"}


def test_thoughts_are_not_sent_where_none_are_wanted(answer):
    """Without thinking, and to other vendors, signed thoughts and the parameter stay away."""
    assert sent([ASKED, answer, RESULT])["messages"][1]["content"] == [USE]
    for vendor in ("groq", "openai", "mistral", "cerebras", "gemini"):
        body = sent([ASKED, answer, RESULT], vendor, thinking=THINKING)
        assert "thinking" not in body
        assert "thinking_blocks" not in body["messages"][1]
    assert "thinking_blocks" in sent([ASKED, answer, RESULT], "my-gateway")["messages"][1]


def test_claudes_parameter_is_unknown_to_gemini_itself():
    """It refuses names that it does not know; its own ones in `extra_body` are sent."""
    extra = {"thinking": THINKING, "labels": {"a": "b"}}
    request = ChatRequest([ASKED], params={"extra_body": extra, "thinking": THINKING})
    target = Target("https://host/v1", "gemini-3")
    body = orjson.loads(
        get_dialect("gemini", "gemini").encode(target, request, stream=False).body
    )
    assert "thinking" not in body
    assert body["labels"] == {"a": "b"}


def events(dialect: str, *values: Sent) -> list[Any]:
    """The steps of a stream of these events."""
    reader = get_dialect(dialect, dialect).stream(200, {}, now=0.0)
    return reader.feed(b"".join(b"data: " + orjson.dumps(value) + b"\n\n" for value in values))


def test_streamed_thoughts_are_reasoning(read):
    """Claude's and Gemini's thoughts are reasoning in a stream, and in a whole reply."""
    delta = {"type": "thinking_delta", "thinking": "Hm"}
    (step,) = events("anthropic", {"type": "content_block_delta", "index": 0, "delta": delta})
    assert (step.reasoning, step.text, step.content) == ("Hm", "", False)
    parts = [{"text": "Hm", "thought": True}, {"text": "Yes"}]
    value = {"candidates": [{"content": {"parts": parts}, "finishReason": "STOP"}]}
    (step,) = events("gemini", value)
    assert (step.reasoning, step.text) == ("Hm", "Yes")
    whole = read("gemini", 200, value, dialect="gemini")
    assert (whole.message["reasoning_content"], whole.text) == ("Hm", "Yes")
