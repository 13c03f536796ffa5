"""Servers that were asked for a stream and answer with one plain body, as many gateways do."""

from __future__ import annotations

import json

import pytest

from hydra_core.errors import PoolExhausted
from hydra_core.messages import Usage

CALL = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"at": "Pew"}'}}


def head(length=None, kind=b"application/json"):
    """The head of a good response; without a length the end of the connection is its end."""
    size = b"" if length is None else b"content-length: %d\r\n" % length
    return b"HTTP/1.1 200 OK\r\ncontent-type: " + kind + b"\r\nconnection: close\r\n" + size


def whole(value, indent=None, *, length=True):
    """A response whose body is this JSON."""
    body = json.dumps(value, indent=indent).encode()
    return head(len(body) if length else None) + b"\r\n" + body


def openai(message, finish="stop"):
    """A chat completion around this message."""
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish}
    usage = {"prompt_tokens": 3, "completion_tokens": 4}
    return {"object": "chat.completion", "choices": [choice], "usage": usage}


GEMINI = {
    "candidates": [{"content": {"parts": [{"text": "Pew was"}]}, "finishReason": "STOP"}],
    "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 4},
}
ANTHROPIC = {
    "type": "message",
    "content": [{"type": "text", "text": "Pew was"}],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 3, "output_tokens": 4},
}


@pytest.mark.parametrize(
    ("dialect", "body"),
    [
        ("openai", openai({"content": "Pew was"})),
        ("gemini", GEMINI),
        ("anthropic", ANTHROPIC),
    ],
)
@pytest.mark.parametrize("indent", [None, 1])
def test_a_plain_body_is_a_stream_of_one_piece(caller, pool, raw, dialect, body, indent):
    """Its text comes as one chunk, then the finish reason and the usage; nobody is blamed."""
    server = raw(lambda _: [whole(body, indent)])
    hydra = pool(providers=[server.provider(dialect=dialect)])
    chunks = caller.stream(hydra, "Who was Pew?")
    assert [chunk.text for chunk in chunks] == ["Pew was", ""]
    assert (chunks[-1].finish_reason, chunks[-1].kind) == ("stop", "full")
    assert chunks[-1].usage == Usage(3, 4)
    assert hydra.health()["recent_errors"] == []


def test_a_plain_body_may_be_long_and_come_in_pieces(caller, pool, raw):
    """A single line beyond what a line of a stream may have, after blanks that mean: alive."""
    text = "Ahoy! " * 300_000
    sent = whole(openai({"content": text}), length=False)
    at, half = sent.index(b"{"), len(sent) - len(text)
    server = raw(lambda _: [head(), b"\r\n\n", b"\n ", sent[at:half], sent[half:]])
    hydra = pool(providers=[server.provider()])
    assert "".join(chunk.text for chunk in caller.stream(hydra, "Ahoy")) == text


def test_tool_calls_and_reasoning_of_a_plain_body(caller, pool, raw):
    """They are there as in any stream."""
    message = {"content": None, "tool_calls": [CALL], "reasoning_content": "Let me look."}
    server = raw(lambda _: [whole(openai(message, "tool_calls"))])
    hydra = pool(providers=[server.provider()])
    first, last = caller.stream(hydra, "Where is Pew?")
    (call,) = first.tool_calls
    assert (call.id, call.name, call.arguments) == ("c1", "look", '{"at": "Pew"}')
    assert (first.reasoning, last.finish_reason) == ("Let me look.", "tool_calls")


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        ({"error": {"message": "slow down", "code": 429}}, "rate_limit_minute"),
        (openai({"content": ""}), "invalid_response"),
        ({"status": "ok"}, "invalid_response"),
    ],
)
def test_a_plain_body_that_is_no_answer_moves_on(caller, pool, raw, serve, body, outcome):
    """An error or an empty reply is what it is, and the next provider serves unseen."""
    server = raw(lambda _: [whole(body)])
    fake = serve()
    hydra = pool(fake, providers=[server.provider(), *fake.config()["providers"]])
    chunks = caller.stream(hydra, "Ahoy!")
    assert "".join(chunk.text for chunk in chunks) == "You said: Ahoy!"
    assert hydra.health()["recent_errors"][0]["fault"] == outcome


def test_a_plain_body_that_is_cut_is_no_answer(caller, pool, raw):
    """Half a JSON text is not completed by guessing."""
    cut = whole(openai({"content": "Pew was blind"}), length=False)[:-40]
    hydra = pool(providers=[raw(lambda _: [cut]).provider()], max_wait=0.0, on_exhausted="raise")
    with pytest.raises(PoolExhausted) as caught:
        caller.stream(hydra, "Who was Pew?")
    assert {attempt.outcome for attempt in caught.value.attempts} == {"invalid_response"}


def test_reasoning_comes_with_the_answer(caller, pool, raw):
    """What was thought before the first text stands on it, later thoughts come as they do."""

    def event(**delta):
        chunk = {"choices": [{"index": 0, "delta": delta}]}
        return b"data: " + json.dumps(chunk).encode() + b"\n\n"

    pieces = [
        head(kind=b"text/event-stream") + b"\r\n",
        event(role="assistant", content=""),
        event(reasoning_content="He tapped k"),
        event(reasoning_content="ey-canary-raw-1 and his stic"),
        event(reasoning_content="k"),
        event(content="Blind"),
        event(reasoning=" sure"),
        event(content=" Pew"),
        b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n',
    ]
    hydra = pool(providers=[raw(lambda _: pieces).provider()])
    chunks = caller.stream(hydra, "Who came?")
    told = [(chunk.text, chunk.reasoning) for chunk in chunks]
    assert told[0] == ("Blind", "He tapped **** and his stick")
    assert told[1:] == [("", " sure"), (" Pew", ""), ("", "")]


def test_reasoning_alone_commits_nothing(caller, pool, raw, serve):
    """A stream that breaks off while the model thinks is replaced, and its thoughts forgotten."""
    thought = b'data: {"choices":[{"index":0,"delta":{"reasoning":"Hm."}}]}\n\n'
    server = raw(lambda _: [head(kind=b"text/event-stream") + b"\r\n", thought])
    fake = serve()
    hydra = pool(fake, providers=[server.provider(), *fake.config()["providers"]])
    chunks = caller.stream(hydra, "Ahoy!")
    assert "".join(chunk.text for chunk in chunks) == "You said: Ahoy!"
    assert not any(chunk.reasoning for chunk in chunks)
