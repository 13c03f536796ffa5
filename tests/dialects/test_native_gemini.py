"""Google's generateContent API is asked in its own form and read into ours."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from hydra_core.dialects import get_dialect
from hydra_core.messages import ChatRequest, Fault, ToolCall, Usage
from hydra_core.wire import Target, WireRequest

DIALECT = get_dialect("gemini", "gemini")
INVALID = Fault.INVALID_RESPONSE


def encode(messages: list[dict[str, Any]], *, stream: bool = False, **params: Any) -> WireRequest:
    """The request for some messages."""
    target = Target("https://g.example/v1beta", "gemini-x")
    return DIALECT.encode(target, ChatRequest(messages, params=params), stream=stream)


def response(*parts: dict[str, Any], finish: str | None = None, **fields: Any) -> dict[str, Any]:
    """One response with one candidate."""
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": list(parts)}}
    return {"candidates": [candidate | ({"finishReason": finish} if finish else {})], **fields}


def stream(*events: Any) -> tuple[list[Any], Any]:
    """The steps and the ending of a stream of these events."""
    reader = DIALECT.stream(200, {}, now=0.0)
    body = b"".join(b"data: " + orjson.dumps(event) + b"\r\n\r\n" for event in events)
    return reader.feed(body), reader.finish()


def test_the_request():
    """Turns, tools, structure and limits are written in Google's words."""
    call = {"id": "c1", "type": "function", "function": {"name": "find", "arguments": '{"x":1}'}}
    call["extra_content"] = {"google": {"thought_signature": "sig"}}
    request = encode(
        [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Look"},
            {"role": "assistant", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c1", "content": "7"},
        ],
        max_tokens=9,
        top_p=0.5,
        stop="END",
        logit_bias={},
        response_format={"type": "json_schema", "json_schema": {"schema": {"type": "object"}}},
        tools=[
            {"type": "function", "function": {"name": "find", "parameters": {"type": "object"}}}
        ],
        tool_choice={"type": "function", "function": {"name": "find"}},
    )
    body = orjson.loads(request.body)
    model = {"functionCall": {"name": "find", "args": {"x": 1}}, "thoughtSignature": "sig"}
    result = {"functionResponse": {"name": "find", "response": {"result": "7"}}}
    assert body["contents"] == [
        {"role": "user", "parts": [{"text": "Look"}]},
        {"role": "model", "parts": [model]},
        {"role": "user", "parts": [result]},
    ]
    assert body["systemInstruction"] == {"parts": [{"text": "Be brief."}]}
    assert body["generationConfig"] == {
        "maxOutputTokens": 9,
        "topP": 0.5,
        "stopSequences": ["END"],
        "responseMimeType": "application/json",
        "responseJsonSchema": {"type": "object"},
    }
    calling = body["toolConfig"]["functionCallingConfig"]
    assert calling == {"mode": "ANY", "allowedFunctionNames": ["find"]}
    assert (request.auth_header, request.auth_prefix) == ("x-goog-api-key", "")


@pytest.mark.parametrize(
    ("streamed", "method"),
    [(False, "generateContent"), (True, "streamGenerateContent?alt=sse")],
)
def test_the_address(streamed, method):
    """The model and the method are part of the path; the key never is."""
    url = encode([], stream=streamed).url
    assert url == f"https://g.example/v1beta/models/gemini-x:{method}"


def test_a_good_reply(read):
    """Text without thoughts, tool calls and all tokens written are read."""
    usage = {"promptTokenCount": 5, "candidatesTokenCount": 7, "thoughtsTokenCount": 30}
    body = response(
        {"text": "hm", "thought": True},
        {"text": "Yes."},
        {"functionCall": {"name": "find", "args": {"x": 1}}, "thoughtSignature": "sig"},
        finish="STOP",
        usageMetadata=usage,
        responseId="r1",
    )
    answer = read("gemini", 200, body, dialect="gemini")
    assert answer.verdict.fault is None
    assert (answer.text, answer.finish_reason, answer.usage) == ("Yes.", "tool_calls", Usage(5, 37))
    assert answer.tool_calls == (ToolCall("call_r1_0", "find", '{"x":1}', 0),)
    extra = answer.message["tool_calls"][0]["extra_content"]
    assert extra == {"google": {"thought_signature": "sig"}}


@pytest.mark.parametrize(
    ("status", "body", "fault"),
    [
        (200, {"promptFeedback": {"blockReason": "SAFETY"}}, Fault.CONTENT_FILTER),
        (200, response({"text": "x"}, finish="PROHIBITED_CONTENT"), Fault.CONTENT_FILTER),
        (200, response({"text": "x"}, finish="RECITATION"), Fault.CONTENT_FILTER),
        (200, response(finish="MALFORMED_FUNCTION_CALL"), INVALID),
        (200, response(finish="STOP"), INVALID),
        (200, {"candidates": []}, INVALID),
        (200, {"candidates": [{"content": {}}]}, INVALID),
        (503, {"error": {"code": 503, "status": "UNAVAILABLE"}}, Fault.OVERLOADED),
        (404, {"error": {"code": 404, "message": "not found"}}, Fault.MODEL_UNAVAILABLE),
    ],
)
def test_what_is_no_answer(read, status, body, fault):
    """Blocked, malformed, empty and refused replies are failures."""
    assert read("gemini_native", status, body, dialect="gemini").verdict.fault is fault


def test_a_good_stream():
    """The end of the body is the end mark; calls keep counting over events."""
    call = {"functionCall": {"name": "find", "args": {}, "id": "a"}}
    steps, last = stream(
        response({"text": "Hi"}),
        response(call),
        response(call | {"functionCall": {"name": "find", "args": {}, "id": "b"}}),
        response(finish="STOP", usageMetadata={"promptTokenCount": 3, "candidatesTokenCount": 2}),
    )
    assert [step.text for step in steps] == ["Hi", "", "", ""]
    assert [call.index for step in steps for call in step.tool_calls] == [0, 1]
    assert (steps[3].finish_reason, steps[3].usage) == ("tool_calls", Usage(3, 2))
    assert last is None


def test_what_follows_a_finish_reason_is_read():
    """Some models give a reason with every event, or count their tokens in one of its own."""
    usage = {"promptTokenCount": 3, "candidatesTokenCount": 2}
    steps, last = stream(
        response({"text": "Hi "}, finish="FINISH_REASON_UNSPECIFIED"),
        response({"text": "there"}, finish="STOP"),
        response({"text": "!"}, finish="STOP"),
        {"usageMetadata": usage},
    )
    assert "".join(step.text for step in steps) == "Hi there!"
    assert [step.finish_reason for step in steps] == [None, "stop", "stop", None]
    assert steps[-1].usage == Usage(3, 2)
    assert last is None


@pytest.mark.parametrize(
    ("events", "fault"),
    [
        ([response({"text": "Hi"})], INVALID),
        ([response(finish="STOP")], INVALID),
        ([response({"text": "Hi"}, finish="SAFETY")], Fault.CONTENT_FILTER),
        ([{"promptFeedback": {"blockReason": "OTHER"}}], Fault.CONTENT_FILTER),
        ([{"error": {"code": 503}}], Fault.OVERLOADED),
        ([[]], INVALID),
        ([], INVALID),
    ],
)
def test_a_bad_stream(events, fault):
    """Errors, filters, empty and cut streams are failures."""
    _, last = stream(*events)
    assert last.verdict.fault is fault


@pytest.mark.parametrize(
    ("model", "signatures"),
    [
        ("gemini-3-flash-preview", ["skip_thought_signature_validator", None]),
        ("gemini-flash-latest", ["skip_thought_signature_validator", None]),
        ("gemini-2.5-flash", [None, None]),
    ],
)
def test_calls_that_nobody_signed(model, signatures):
    """Newer models refuse a step whose first call is unsigned, as the calls of others are."""
    calls = [
        {"id": name, "type": "function", "function": {"name": "find", "arguments": "{}"}}
        for name in ("a", "b")
    ]
    target = Target("https://g.example/v1beta", model)
    request = ChatRequest([{"role": "assistant", "tool_calls": calls}])
    body = orjson.loads(DIALECT.encode(target, request, stream=False).body)
    parts = body["contents"][0]["parts"]
    assert [part.get("thoughtSignature") for part in parts] == signatures
