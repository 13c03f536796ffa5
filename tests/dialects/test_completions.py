"""A 200 is an answer only if it holds one."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from hydra_core.dialects import get_dialect
from hydra_core.messages import Fault, ToolCall, Usage

INVALID = Fault.INVALID_RESPONSE


def completion(message: Any, finish: Any = "stop", **fields: Any) -> dict[str, Any]:
    """A whole reply of one choice."""
    return {"choices": [{"index": 0, "message": message, "finish_reason": finish}], **fields}


def test_an_answer_has_all_its_parts(read):
    """Text, message, finish reason, usage and the raw reply come out of a good 200."""
    message = {"role": "assistant", "content": "Call me Ishmael."}
    usage = {"prompt_tokens": 9, "completion_tokens": 4, "cost": 0.002}
    body = completion(message, usage=usage, id="c1")
    answer = read("openai", 200, body, {"openai-organization": "acme"})
    assert answer.verdict.fault is None
    assert answer.verdict.scope_hint == "acme"
    assert (answer.text, answer.message, answer.finish_reason) == (
        "Call me Ishmael.",
        message,
        "stop",
    )
    assert answer.usage == Usage(9, 4, 0.002)
    assert answer.raw == body


def test_blank_lines_before_the_body(read):
    """DeepSeek keeps a connection alive with blank lines; nothing but blanks is no answer."""
    answer = read("deepseek", 200, b'\n\n \n{"choices":[{"message":{"content":"Hi"}}]}')
    assert answer.text == "Hi"
    assert read("deepseek", 200, b"\n\n\n").verdict.fault is INVALID


def test_content_in_parts_is_joined(read):
    """Text parts are the answer; thinking parts are not."""
    parts = [{"type": "thinking", "thinking": []}, {"type": "text", "text": "A"}, {"text": "B"}]
    assert read("mistral", 200, completion({"content": parts})).text == "AB"


def test_tool_calls_are_read(read):
    """Calls are numbered in order, and arguments sent as an object become JSON text."""
    calls = [
        {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}},
        {"id": "b", "type": "function", "function": {"name": "g", "arguments": {"y": 2}}},
    ]
    answer = read("groq", 200, completion({"content": None, "tool_calls": calls}, "tool_calls"))
    assert answer.verdict.fault is None
    assert answer.tool_calls == (ToolCall("a", "f", '{"x":1}', 0), ToolCall("b", "g", '{"y":2}', 1))


def test_a_refusal_is_an_answer(read):
    """A model that refuses has answered."""
    answer = read("openai", 200, completion({"content": None, "refusal": "I will not."}))
    assert (answer.verdict.fault, answer.text) == (None, "I will not.")


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (completion({"content": ""}), INVALID),
        (completion({"content": None, "tool_calls": []}), INVALID),
        (completion({}, "MALFORMED_FUNCTION_CALL"), INVALID),
        (completion({"content": {}}), INVALID),
        (completion({"content": ""}, "length"), INVALID),
        ({"choices": [{"finish_reason": "content_filter: PROHIBITED_CONTENT"}]}, "filter"),
        (completion({"content": "Half"}, "content_filter"), "filter"),
        (completion({"content": "Half"}, "insufficient_system_resource"), Fault.OVERLOADED),
        (completion({"content": "Half"}, "error"), INVALID),
        ({"choices": []}, INVALID),
        ({"choices": [None]}, INVALID),
        ({"choices": None}, INVALID),
        ({}, INVALID),
        ([], INVALID),
        ("text", INVALID),
        (None, INVALID),
        ({"error": {"message": "x", "code": 429}}, Fault.RATE_LIMIT_MINUTE),
        ([{"error": {"message": "x", "code": 503}}], Fault.OVERLOADED),
        ({"error": {"message": "x", "type": "insufficient_quota"}}, Fault.QUOTA_EXHAUSTED_BILLING),
        ({"error": {"message": "x", "type": "server_error"}}, Fault.OVERLOADED),
        ({"error": "something"}, INVALID),
        ({"object": "error", "message": "Rate limit exceeded"}, Fault.RATE_LIMIT_MINUTE),
        ({"choices": [{"error": {"code": 502, "message": "x"}}]}, Fault.OVERLOADED),
        ({"error": {"code": 429}, "choices": [{"message": {"content": "x"}}]}, "rate"),
    ],
)
def test_a_200_that_is_no_answer(read, body, fault):
    """Errors inside a 200, empty replies and bad endings are failures."""
    named = {"filter": Fault.CONTENT_FILTER, "rate": Fault.RATE_LIMIT_MINUTE}
    assert read("someone", 200, body).verdict.fault is named.get(fault, fault)


def test_an_empty_answer_still_reports_its_usage(read):
    """What an empty reply cost is known, so that it can be settled."""
    body = completion({"content": ""}, usage={"prompt_tokens": 7, "completion_tokens": 0})
    assert read("someone", 200, body).usage == Usage(7, 0)


def test_null_errors_are_no_errors(read):
    """Some servers send `error: null` beside a good answer."""
    assert read("someone", 200, {**completion({"content": "Hi"}), "error": None}).text == "Hi"


@pytest.mark.parametrize(
    "usage",
    [
        None,
        [],
        {},
        "9",
        {"prompt_tokens": -1, "completion_tokens": 2},
        {"prompt_tokens": "9", "completion_tokens": 2},
        {"prompt_tokens": 1e18, "completion_tokens": 2},
        {"prompt_tokens": 9.5, "completion_tokens": 2},
        {"prompt_tokens": True, "completion_tokens": 2},
        {"prompt_tokens": None, "completion_tokens": 2},
    ],
)
def test_impossible_usage_is_none(read, usage):
    """Counts that cannot be true are not reported, so the estimate stands."""
    answer = read("someone", 200, completion({"content": "Hi"}, usage=usage))
    assert (answer.verdict.fault, answer.usage) == (None, None)


@pytest.mark.parametrize(
    ("dialect", "chunks"),
    [
        ("openai", [{"choices": [{"delta": {"content": ""}, "finish_reason": "length"}]}]),
        ("gemini", [{"candidates": [{"finishReason": "MAX_TOKENS"}]}]),
        ("anthropic", [{"type": "message_delta", "delta": {"stop_reason": "max_tokens"}}]),
    ],
)
def test_a_limit_reached_in_thought_is_named(dialect, chunks):
    """A model may think until its tokens are used up: the remedy is a higher limit."""
    reader = get_dialect(dialect, "someone").stream(200, {}, now=0.0)
    reader.feed(b"".join(b"data: " + orjson.dumps(chunk) + b"\n\n" for chunk in chunks))
    last = reader.finish()
    assert last is not None
    assert (last.verdict.fault, "max_tokens" in last.verdict.message) == (INVALID, True)
    assert last.verdict.out_of_tokens


@pytest.mark.parametrize(("finish", "spent"), [("length", True), ("stop", False)])
def test_only_a_limit_reached_makes_an_empty_reply_the_requests_fault(read, finish, spent):
    """A reply that is empty for no reason speaks against who sent it."""
    assert read("openai", 200, completion({"content": ""}, finish)).verdict.out_of_tokens is spent
