"""JSON from a provider that knows no `response_format`, over real HTTP."""

from __future__ import annotations

import orjson
import pytest

TOOL = {"type": "tool_use", "id": "toolu_1", "name": "hydra_answer", "input": {"name": "Pew"}}
STREAM = [
    {"type": "message_start", "message": {"usage": {"input_tokens": 9}}},
    {"type": "content_block_start", "index": 0, "content_block": {**TOOL, "input": {}}},
    *(
        {
            "type": "content_block_delta",
            "index": 0,
            "delta": {"type": "input_json_delta", "partial_json": piece},
        }
        for piece in ('{"name":', '"Pew"}')
    ),
    {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 7}},
    {"type": "message_stop"},
]


def anthropic(head: str) -> list[bytes]:
    """A message, or its stream, that calls the tool which stands for the answer."""
    if "text/event-stream" in head.lower():
        kind = b"text/event-stream"
        body = b"".join(b"data: " + orjson.dumps(event) + b"\n\n" for event in STREAM)
    else:
        kind, usage = b"application/json", {"input_tokens": 9, "output_tokens": 7}
        body = orjson.dumps({"content": [TOOL], "stop_reason": "tool_use", "usage": usage})
    return [b"HTTP/1.1 200 OK\r\ncontent-type: " + kind + b"\r\nconnection: close\r\n\r\n" + body]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_anthropic_gives_json(caller, pool, raw, stream):
    """The reply's text is the JSON that was asked for, its end that of a text."""
    server = raw(anthropic)
    hydra = pool(providers=[server.provider(dialect="anthropic")], max_wait=0.0)
    asked = {"response_format": {"type": "json_object"}}
    if stream:
        chunks = caller.stream(hydra, "Who?", **asked)
        text, end = "".join(chunk.text for chunk in chunks), chunks[-1]
    else:
        end = caller.chat(hydra, "Who?", **asked)
        text = end.text
        assert end.tool_calls == ()
    assert orjson.loads(text) == {"name": "Pew"}
    assert (end.finish_reason, end.usage.total_tokens, end.kind) == ("stop", 16, "full")
