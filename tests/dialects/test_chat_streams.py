"""A chat stream gives its text, calls and usage, and tells a good end from a bad one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hydra_core.dialects import get_dialect
from hydra_core.messages import Fault, ToolCall, Usage
from hydra_core.wire import LimitReading, StreamEvent

INVALID = Fault.INVALID_RESPONSE
DONE = b"data: [DONE]\n\n"


def event(value: Any, name: bytes = b"") -> bytes:
    """One server-sent event around a JSON value."""
    return (b"event: " + name + b"\n" if name else b"") + b"data: " + orjson.dumps(value) + b"\n\n"


def chunk(text: str | None = None, finish: str | None = None, **fields: Any) -> bytes:
    """One chunk with a text delta."""
    delta = {} if text is None else {"content": text}
    return event({"choices": [{"index": 0, "delta": delta, "finish_reason": finish}], **fields})


def run(*pieces: bytes, vendor: str = "someone") -> tuple[list[StreamEvent], StreamEvent | None]:
    """What `feed` gives for these pieces, and what `finish` says."""
    reader = get_dialect("openai", vendor).stream(200, {}, now=0.0)
    return [step for piece in pieces for step in reader.feed(piece)], reader.finish()


def faults(*pieces: bytes) -> list[Fault | None]:
    """The faults of all events, then the one that `finish` tells, if any."""
    steps, last = run(*pieces)
    found = [step.verdict.fault for step in steps if step.verdict is not None]
    return [*found, last.verdict.fault if last is not None and last.verdict else None]


def test_a_good_stream():
    """Text comes as it arrives, usage with the last chunk, then the end mark."""
    usage = {"prompt_tokens": 3, "completion_tokens": 2}
    steps, last = run(
        b": OPENROUTER PROCESSING\n\n",
        event({"choices": [], "prompt_filter_results": []}),
        event({"choices": [{"index": 0, "delta": {"role": "assistant"}}]}),
        chunk("Call me "),
        chunk("Ishmael."),
        chunk(finish="stop"),
        event({"choices": [], "usage": usage}),
        DONE,
    )
    assert [step.content for step in steps] == [False, False, True, True, False, False, False]
    assert "".join(step.text for step in steps) == "Call me Ishmael."
    assert [step.finish_reason for step in steps if step.finish_reason] == ["stop"]
    assert [step.usage for step in steps if step.usage] == [Usage(3, 2)]
    assert [step.done for step in steps] == [False] * 6 + [True]
    assert last is None


def test_the_headers_are_read():
    """Limits and account come from the response's headers."""
    headers = {"x-ratelimit-limit-tokens": "9", "openai-organization": "acme"}
    reader = get_dialect("openai", "openai").stream(200, headers, now=0.0)
    assert reader.readings == (LimitReading("tokens", 60.0, 9.0),)
    assert reader.scope_hint == "acme"


def test_tool_calls_are_normalised():
    """Two calls in one chunk, ids repeated: each id and name is told once."""

    def calls(*fragments: tuple[str, str]) -> bytes:
        pieces = [
            {"index": 0, "id": call, "function": {"name": "f", "arguments": arguments}}
            for call, arguments in fragments
        ]
        return event({"choices": [{"index": 0, "delta": {"tool_calls": pieces}}]})

    steps, last = run(calls(("a", "{"), ("b", "[")), calls(("a", "}"), ("b", "]")), DONE)
    assert steps[0].tool_calls == (ToolCall("a", "f", "{", 0), ToolCall("b", "f", "[", 1))
    assert steps[1].tool_calls == (ToolCall("", "", "}", 0), ToolCall("", "", "]", 1))
    assert steps[0].content
    assert last is None


@pytest.mark.parametrize(
    ("pieces", "told"),
    [
        ([chunk("Hi"), chunk(finish="stop")], [None]),  # a finish reason is an end mark
        ([chunk("Hi"), DONE], [None]),
        ([chunk("Hi"), DONE, DONE, chunk("more")], [None]),
        ([chunk("Hi")], [INVALID]),
        ([], [INVALID]),
        ([b": ping\n\n"], [INVALID]),
        ([chunk("Hi"), b"data: [DON"], [INVALID, INVALID]),
        ([DONE], [INVALID, INVALID]),
        ([chunk(finish="stop"), DONE], [INVALID, INVALID]),
        ([chunk(finish="stop")], [INVALID]),
        ([chunk("Hi"), b"data: [DONE]"], [None]),
        ([chunk("Hi"), b"data: {nonsense\n\n"], [INVALID, INVALID]),
        ([chunk("Hi"), b"data: 7\n\n"], [INVALID, INVALID]),
        ([b'data: {"choices":[{"delta":{"content":"\xff"}}]}\n\n'], [INVALID, INVALID]),
        ([b"data: " + b"x" * 1_100_000], [INVALID, INVALID]),
    ],
)
def test_how_a_stream_ends(pieces, told):
    """Only a finish reason or [DONE], after some content, ends a stream well."""
    steps, last = run(*pieces)
    found = [step.verdict.fault for step in steps if step.verdict]
    found.append(last.verdict.fault if last is not None and last.verdict else None)
    assert found[-1] == told[-1]
    assert set(found) <= set(told)


@pytest.mark.parametrize(
    ("piece", "fault"),
    [
        (event({"error": {"message": "x", "code": 502}}), Fault.OVERLOADED),
        (event({"error": {"message": "x", "code": "rate_limit_exceeded"}}), "rate"),
        (event({"error": {"message": "x", "code": 429}, "choices": []}), "rate"),
        (event({"type": "overloaded_error", "message": "x"}, b"error"), Fault.OVERLOADED),
        (event({"type": "error", "error": {"type": "overloaded_error"}}), Fault.OVERLOADED),
        (event({"object": "error", "message": "x", "code": 404}), Fault.MODEL_UNAVAILABLE),
        (event([{"error": {"message": "x", "code": 503}}]), Fault.OVERLOADED),
        (event({"choices": [{"delta": {}, "error": {"code": 502}}]}), Fault.OVERLOADED),
        (chunk(finish="error"), INVALID),
        (chunk(finish="content_filter: SAFETY"), Fault.CONTENT_FILTER),
        (chunk("Half", finish="insufficient_system_resource"), Fault.OVERLOADED),
    ],
)
def test_failures_inside_a_stream(piece, fault):
    """An error that comes as an event is judged like a reply, and nothing follows it."""
    expected = Fault.RATE_LIMIT_MINUTE if fault == "rate" else fault
    assert faults(piece, chunk("more"), DONE) == [expected, expected]


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (b'{"error": {"message": "x", "code": 429}}', Fault.RATE_LIMIT_MINUTE),
        (b'{\n "error": {\n  "message": "x",\n  "code": 503\n }\n}', Fault.OVERLOADED),
        (b"<html>login</html>", INVALID),
        (b"\n\n", INVALID),
    ],
)
def test_a_body_that_is_no_stream(body, fault):
    """A plain body in place of a stream is judged as the error that it is."""
    assert faults(body) == [fault]


def test_the_last_chunk_without_a_blank_line():
    """A last chunk that ends with the body is told by `finish`, as the end."""
    steps, last = run(chunk("Hi"), chunk(" you", finish="stop").rstrip())
    assert [step.text for step in steps] == ["Hi"]
    assert last is not None
    assert (last.text, last.done, last.verdict) == (" you", True, None)


def test_groqs_usage_is_found():
    """Groq puts the usage of a stream into a field of its own."""
    usage = {"prompt_tokens": 3, "completion_tokens": 2}
    steps, _ = run(chunk("Hi"), chunk(finish="stop", x_groq={"usage": usage}), vendor="groq")
    assert steps[-1].usage == Usage(3, 2)


def test_only_the_first_choice_is_shown():
    """Choices that are streamed side by side are not mixed."""
    other = event({"choices": [{"index": 1, "delta": {"content": "other"}}]})
    steps, _ = run(chunk("Hi"), other, DONE)
    assert "".join(step.text for step in steps) == "Hi"


def test_a_character_cut_in_two_chunks():
    """Halves of a surrogate pair in two chunks break neither the stream nor later writers."""
    steps, last = run(
        b'data: {"choices":[{"delta":{"content":"\\ud83d"}}]}\n\n',
        b'data: {"choices":[{"delta":{"content":"\\ude00"}}]}\n\n',
        DONE,
    )
    assert "".join(step.text for step in steps) == "\ufffd\ufffd"
    assert last is None


PIECES = st.lists(
    st.sampled_from(
        [
            chunk("a"),
            chunk("\u2028\U0001f600"),
            chunk(finish="stop"),
            b": ping\r\n\r\n",
            chunk("b").replace(b"\n", b"\r"),
            event({"error": {"code": 429}}),
            event({"choices": [], "usage": {"prompt_tokens": 1}}),
            DONE,
            b"stray\n",
            b"data: {",
        ]
    ),
    max_size=6,
).map(b"".join)


@given(body=PIECES, size=st.integers(1, 40))
def test_any_cut_gives_the_same_steps(body, size):
    """Events and ending do not depend on how the bytes arrive."""
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    whole, cut = run(body), run(*pieces)
    assert [replace(step, raw={}) for step in cut[0]] == [replace(s, raw={}) for s in whole[0]]
    assert cut[1] == whole[1]
