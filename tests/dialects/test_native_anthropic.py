"""Anthropic's Messages API is asked in its own form and read into ours."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from hydra_core.dialects import get_dialect
from hydra_core.dialects.tool_calls import ToolCallMerger
from hydra_core.messages import ChatRequest, Fault, ToolCall, Usage
from hydra_core.wire import MINUTE, LimitReading, Target, WireRequest

DIALECT = get_dialect("anthropic", "anthropic")
CALL = {
    "id": "toolu_1",
    "type": "function",
    "function": {"name": "find", "arguments": '{"x":1}'},
}


def encode(messages: list[dict[str, Any]], *, stream: bool = False, **params: Any) -> WireRequest:
    """The request for some messages."""
    target = Target("https://api.anthropic.com/v1", "claude")
    return DIALECT.encode(target, ChatRequest(messages, params=params), stream=stream)


def stream(*events: dict[str, Any]) -> tuple[list[Any], Any]:
    """The steps and the ending of a stream of these events."""
    reader = DIALECT.stream(200, {}, now=0.0)
    body = b"".join(b"event: x\ndata: " + orjson.dumps(event) + b"\n\n" for event in events)
    return reader.feed(body), reader.finish()


def test_the_request():
    """System text apart, turns alternating, tool results with the user, and a token limit."""
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    request = encode(
        [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "Look"}, image]},
            {"role": "assistant", "content": None, "tool_calls": [CALL]},
            {"role": "tool", "tool_call_id": "toolu_1", "content": "7"},
            {"role": "user", "content": "And?"},
        ],
        temperature=1.5,
        stop="END",
        tools=[
            {"type": "function", "function": {"name": "find", "parameters": {"type": "object"}}}
        ],
        tool_choice="required",
        frequency_penalty=1,
    )
    source = {"type": "base64", "media_type": "image/png", "data": "AAAA"}
    use = {"type": "tool_use", "id": "toolu_1", "name": "find", "input": {"x": 1}}
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "7"}
    assert orjson.loads(request.body) == {
        "model": "claude",
        "max_tokens": 4096,
        "system": "Be brief.",
        "messages": [
            {
                "role": "user",
                "content": [{"type": "text", "text": "Look"}, {"type": "image", "source": source}],
            },
            {"role": "assistant", "content": [use]},
            {"role": "user", "content": [result, {"type": "text", "text": "And?"}]},
        ],
        "temperature": 1,
        "stop_sequences": ["END"],
        "tools": [{"name": "find", "input_schema": {"type": "object"}}],
        "tool_choice": {"type": "any"},
    }
    assert request.url == "https://api.anthropic.com/v1/messages"
    assert (request.auth_header, request.auth_prefix) == ("x-api-key", "")
    assert dict(request.headers)["anthropic-version"] == "2023-06-01"


@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        (None, {"type": "auto"}),
        ("none", {"type": "none"}),
        ({"function": {"name": "find"}}, {"type": "tool", "name": "find"}),
    ],
)
def test_tool_choices(choice, sent):
    """OpenAI's words for the choice of a tool become Anthropic's."""
    tools = [{"type": "function", "function": {"name": "find"}}]
    body = orjson.loads(encode([], tools=tools, tool_choice=choice, max_tokens=5).body)
    assert (body["tool_choice"], body["max_tokens"]) == (sent, 5)


def test_a_good_reply(read):
    """Text, tool calls, usage with what came from the cache, limits and account are read."""
    usage = {"input_tokens": 5, "cache_read_input_tokens": 90, "output_tokens": 7}
    content = [
        {"type": "thinking", "thinking": "hm"},
        {"type": "text", "text": "Yes."},
        {"type": "tool_use", "id": "t1", "name": "find", "input": {"x": 1}},
    ]
    body = {"type": "message", "content": content, "stop_reason": "tool_use", "usage": usage}
    headers = {
        "date": "Thu, 01 Oct 2026 12:00:00 GMT",
        "anthropic-organization-id": "0a1b",
        "anthropic-ratelimit-tokens-limit": "80000",
        "anthropic-ratelimit-tokens-remaining": "79000",
        "anthropic-ratelimit-tokens-reset": "2026-10-01T12:00:01Z",
        "anthropic-ratelimit-requests-limit": "50",
        "anthropic-ratelimit-requests-reset": "2026-10-01T11:59:00Z",
        "anthropic-ratelimit-input-tokens-limit": "40000",
    }
    answer = read("anthropic", 200, body, headers, dialect="anthropic")
    assert (answer.verdict.fault, answer.verdict.scope_hint) == (None, "0a1b")
    assert (answer.text, answer.finish_reason, answer.usage) == ("Yes.", "tool_calls", Usage(95, 7))
    assert answer.tool_calls == (ToolCall("t1", "find", '{"x":1}', 0),)
    assert answer.raw == body
    assert answer.verdict.readings == (
        LimitReading("requests", MINUTE, 50.0),
        LimitReading("tokens", MINUTE, 80_000.0, 79_000.0, 1.0),
    )


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ({"content": [], "stop_reason": "end_turn"}, Fault.INVALID_RESPONSE),
        ({"content": [{"type": "text", "text": "No"}], "stop_reason": "refusal"}, "filter"),
        ({"type": "message"}, Fault.INVALID_RESPONSE),
        ({"type": "error", "error": {"type": "overloaded_error"}}, Fault.OVERLOADED),
        (7, Fault.INVALID_RESPONSE),
    ],
)
def test_a_200_that_is_no_answer(read, body, fault):
    """Empty, refused and failed messages are failures."""
    expected = Fault.CONTENT_FILTER if fault == "filter" else fault
    assert read("anthropic", 200, body, dialect="anthropic").verdict.fault is expected


def test_a_good_stream():
    """Text and tool calls come as deltas, usage at the end, and `message_stop` ends it."""
    tool = {"type": "tool_use", "id": "t1", "name": "find", "input": {}}
    steps, last = stream(
        {"type": "message_start", "message": {"usage": {"input_tokens": 9, "output_tokens": 1}}},
        {"type": "ping"},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hi"}},
        {"type": "content_block_start", "index": 1, "content_block": tool},
        {
            "type": "content_block_delta",
            "index": 1,
            "delta": {"type": "input_json_delta", "partial_json": '{"x":1}'},
        },
        {
            "type": "message_delta",
            "delta": {"stop_reason": "tool_use"},
            "usage": {"output_tokens": 6},
        },
        {"type": "message_stop"},
    )
    assert [step.text for step in steps] == ["Hi", "", "", "", ""]
    assert steps[1].tool_calls == (ToolCall("t1", "find", "", 0),)
    assert steps[2].tool_calls == (ToolCall("", "", '{"x":1}', 0),)
    assert (steps[3].finish_reason, steps[3].usage) == ("tool_calls", Usage(9, 6))
    assert steps[4].done
    assert last is None


def test_what_a_block_begins_with_is_read():
    """Servers that speak this API send a text's beginning, or a whole input, with its block."""
    tool = {"type": "tool_use", "id": "t1", "name": "find", "input": {"x": 1}}
    streamed = {"type": "input_json_delta", "partial_json": '{"x":2}'}
    steps, last = stream(
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": "H"}},
        {"type": "content_block_start", "index": 1, "content_block": tool},
        {"type": "content_block_stop", "index": 1},
        {"type": "content_block_start", "index": 2, "content_block": {**tool, "id": "t2"}},
        {"type": "content_block_delta", "index": 2, "delta": streamed},
        {"type": "content_block_stop", "index": 2},
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}},
    )
    merger = ToolCallMerger()
    for call in (call for step in steps for call in step.tool_calls):
        merger.add(call)
    assert [call.arguments for call in merger.calls()] == ['{"x":1}', '{"x":2}']
    assert "".join(step.text for step in steps) == "H"
    assert last is None


@pytest.mark.parametrize(
    ("events", "fault"),
    [
        ([{"type": "error", "error": {"type": "overloaded_error"}}], Fault.OVERLOADED),
        ([{"type": "message_stop"}], Fault.INVALID_RESPONSE),
        ([{"type": "message_delta", "delta": {"stop_reason": "refusal"}}], Fault.CONTENT_FILTER),
        ([{"type": "ping"}], Fault.INVALID_RESPONSE),
    ],
)
def test_a_bad_stream(events, fault):
    """Errors, refusals, and ends too early are failures."""
    _, last = stream(*events)
    assert last.verdict.fault is fault
