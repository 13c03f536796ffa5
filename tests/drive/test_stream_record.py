"""How long a stream may pause, and what counts as a sign of life."""

from __future__ import annotations

import orjson
import pytest

from hydra_core.assemble import assemble
from hydra_core.config import HydraConfig
from hydra_core.dialects import get_dialect
from hydra_core.drive.stream_record import StreamPatience, StreamRecord
from hydra_core.messages import Fault


def record(dialect: str = "openai") -> StreamRecord:
    """A stream that began at 0 and may take 20 s to its first token."""
    config = {
        "store": "memory",
        "providers": [{"name": "p", "base_url": "http://127.0.0.1:1/v1", "models": ["m"]}],
    }
    pool = assemble(HydraConfig.model_validate(config), now=0.0)
    return StreamRecord(
        pool.manager.deployments[0],
        get_dialect(dialect, "p").stream(200, {}, now=0.0),
        StreamPatience(first_token=20.0, stall=5.0),
        begun=0.0,
        deadline=1000.0,
        prompt_tokens=10,
    )


def event(**delta: str) -> bytes:
    """One chunk of a stream."""
    return b"data: " + orjson.dumps({"choices": [{"index": 0, "delta": delta}]}) + b"\n\n"


def test_a_model_that_thinks_aloud_is_alive():
    """Reasoning is not shown, and yet the wait for the first token begins anew with it."""
    stream = record()
    assert stream.feed(event(role="assistant", content=""), now=1.0) == []
    assert stream.feed(event(reasoning_content="Pew was blind"), now=19.0) == []
    assert stream.seconds_left(19.0) == 20.0
    assert [chunk.text for chunk in stream.feed(event(content="Pew"), now=38.0)] == ["Pew"]


@pytest.mark.parametrize(
    ("dialect", "thinks"),
    [
        (
            "anthropic",
            {
                "type": "content_block_delta",
                "delta": {"type": "thinking_delta", "thinking": "Pew was blind"},
            },
        ),
        (
            "gemini",
            {"candidates": [{"content": {"parts": [{"text": "Pew was", "thought": True}]}}]},
        ),
    ],
)
def test_a_model_is_alive_in_its_own_words(dialect, thinks):
    """Native thoughts are as good a sign of life as those of an OpenAI-compatible server."""
    stream = record(dialect)
    assert stream.feed(b"data: " + orjson.dumps(thinks) + b"\n\n", now=19.0) == []
    assert stream.seconds_left(19.0) == 20.0


def test_comments_are_no_sign_of_life():
    """A server that only sends comments fails at the first-token timeout."""
    stream = record()
    stream.feed(b": keep-alive\n\n", now=19.0)
    stream.feed(b": keep-alive\n\n", now=20.0)
    assert stream.answer is not None
    assert stream.answer.verdict.fault is Fault.TIMEOUT
