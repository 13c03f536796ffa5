"""Where `response_format` is unknown a tool's call is the answer, and is read as its text."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from hydra_core.dialects import get_dialect
from hydra_core.dialects.structure import ANSWER
from hydra_core.errors import RequestRejected
from hydra_core.messages import ChatRequest, ToolCall
from hydra_core.wire import Target

OBJECT = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
JSON = {"type": "json_object"}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "pirate", "schema": OBJECT}}
FIND = {"type": "function", "function": {"name": "find", "parameters": {"type": "object"}}}
DIALECTS = ("anthropic", "openai")  # Anthropic's own, and its compatible endpoint


def sent(dialect: str, **params: Any) -> dict[str, Any]:
    """The body that Anthropic gets."""
    request = ChatRequest([{"role": "user", "content": "Who?"}], params=params)
    target = Target("https://api.anthropic.com/v1", "claude")
    body: dict[str, Any] = orjson.loads(
        get_dialect(dialect, "anthropic").encode(target, request, stream=False).body
    )
    return body


def tools(body: dict[str, Any]) -> dict[str, Any]:
    """The schemas of a body's tools, by name, in either form."""
    rows = [tool.get("function", tool) for tool in body["tools"]]
    return {row["name"]: row.get("input_schema", row.get("parameters")) for row in rows}


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    ("wanted", "schema"),
    [(SCHEMA, OBJECT), (JSON, {"type": "object", "additionalProperties": True})],
)
def test_the_answer_is_asked_for_as_a_call(dialect, wanted, schema):
    """One tool with the schema, which the model must call; no field that is ignored."""
    body = sent(dialect, response_format=wanted)
    assert tools(body) == {ANSWER: schema}
    assert ANSWER in orjson.dumps(body["tool_choice"]).decode()
    assert "response_format" not in body


@pytest.mark.parametrize(
    ("params", "choice", "named"),
    [
        ({"tools": [FIND]}, "any", ["find", ANSWER]),
        ({"tools": [FIND], "tool_choice": "auto"}, "any", ["find", ANSWER]),
        ({"tools": [FIND], "tool_choice": "none"}, "tool", ["find", ANSWER]),
        ({"tools": [FIND], "tool_choice": "required"}, "any", ["find"]),
        ({"tools": [FIND], "tool_choice": {"function": {"name": "find"}}}, "tool", ["find"]),
        ({"thinking": {"type": "enabled", "budget_tokens": 9}}, "auto", [ANSWER]),
    ],
)
def test_a_callers_own_tools_stay_callable(params, choice, named):
    """They may be called first, and one that the caller forces is all there is."""
    body = sent("anthropic", response_format=SCHEMA, **params)
    assert (list(tools(body)), body["tool_choice"]["type"]) == (named, choice)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_plain_text_is_asked_for_plainly(dialect):
    """`{"type": "text"}` is no structure; nothing is sent in its place."""
    body = sent(dialect, response_format={"type": "text"})
    assert not {"tools", "tool_choice", "response_format"} & body.keys()


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_schema_of_no_object_is_refused(dialect):
    """The error says what to do with a list: a property of an object."""
    wanted = {"type": "json_schema", "json_schema": {"schema": {"type": "array"}}}
    with pytest.raises(RequestRejected, match=r"'array'; put it into a property of an object"):
        sent(dialect, response_format=wanted)


def whole(dialect: str, *names: str) -> dict[str, Any]:
    """A reply that calls tools with `{"x": 1}`."""
    if dialect == "anthropic":
        blocks = [{"type": "tool_use", "id": n, "name": n, "input": {"x": 1}} for n in names]
        return {"content": blocks, "stop_reason": "tool_use"}
    calls = [{"id": n, "function": {"name": n, "arguments": '{"x":1}'}} for n in names]
    message = {"role": "assistant", "content": None, "tool_calls": calls}
    return {"choices": [{"message": message, "finish_reason": "tool_calls"}]}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_call_is_read_as_text(read, dialect):
    """Text, message and finish reason are those of an answer that was written."""
    answer = read("anthropic", 200, whole(dialect, ANSWER), dialect=dialect)
    assert (answer.verdict.fault, answer.text, answer.finish_reason) == (None, '{"x":1}', "stop")
    assert answer.tool_calls == ()
    assert answer.message == {"role": "assistant", "content": '{"x":1}'}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_other_calls_are_calls(read, dialect):
    """A tool of the caller's is called as ever, also beside an answer."""
    call = ToolCall("find", "find", '{"x":1}', 0)
    answer = read("anthropic", 200, whole(dialect, "find"), dialect=dialect)
    assert (answer.text, answer.tool_calls, answer.finish_reason) == ("", (call,), "tool_calls")
    both = read("anthropic", 200, whole(dialect, "find", ANSWER), dialect=dialect)
    assert (both.text, both.tool_calls, both.finish_reason) == ('{"x":1}', (call,), "tool_calls")
    assert [c["function"]["name"] for c in both.message["tool_calls"]] == ["find"]


def deltas(dialect: str) -> list[dict[str, Any]]:
    """A stream that calls the answer tool, its arguments in two pieces."""
    pieces = ('{"x"', ":1}")
    if dialect == "openai":
        head = {"index": 0, "id": "a", "function": {"name": ANSWER, "arguments": ""}}
        parts = [head, *({"index": 0, "function": {"arguments": piece}} for piece in pieces)]
        rows = [{"choices": [{"delta": {"tool_calls": [part]}}]} for part in parts]
        return [*rows, {"choices": [{"delta": {}, "finish_reason": "tool_calls"}]}]
    block = {"type": "tool_use", "id": "a", "name": ANSWER, "input": {}}
    return [
        {"type": "content_block_start", "index": 0, "content_block": block},
        *(
            {
                "type": "content_block_delta",
                "index": 0,
                "delta": {"type": "input_json_delta", "partial_json": piece},
            }
            for piece in pieces
        ),
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}},
        {"type": "message_stop"},
    ]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_streamed_call_is_streamed_text(dialect):
    """The arguments come as text deltas, and the stream ends like any text."""
    reader = get_dialect(dialect, "anthropic").stream(200, {}, now=0.0)
    body = b"".join(b"data: " + orjson.dumps(row) + b"\n\n" for row in deltas(dialect))
    steps = reader.feed(body)
    assert reader.finish() is None
    assert [step.text for step in steps if step.content] == ['{"x"', ":1}"]
    assert not any(step.tool_calls for step in steps)
    assert [step.finish_reason for step in steps if step.finish_reason] == ["stop"]
