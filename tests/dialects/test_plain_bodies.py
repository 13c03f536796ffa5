"""A body that may be a plain reply instead of a stream: how much of it is kept, and until when."""

from __future__ import annotations

import json

from hydra_core.dialects import get_dialect
from hydra_core.dialects.openai_stream import TRUNCATED

MIB = 1 << 20


def reader():
    """What reads a response that was asked for as a stream."""
    return get_dialect("openai", "someone").stream(200, {}, now=0.0)


def test_no_more_is_kept_than_a_reply_may_be_long():
    """A body that does not end fails as a line that does not end: memory has its bounds."""
    endless = reader()
    told = [step for _ in range(33) for step in endless.feed(b"{" * MIB)]
    assert [step.verdict.fault.value for step in told] == ["invalid_response"]
    assert endless.finish() is told[0]


def test_a_stream_that_begins_with_a_stray_object_is_read_as_a_stream():
    """One that breaks off has broken off: with its events no reply has come as a whole."""
    stream = reader()
    said = json.dumps({"choices": [{"index": 0, "delta": {"content": "Ahoy"}}]}).encode()
    (step,) = stream.feed(b'{"status": "ok"}\n\ndata: ' + said + b"\n\n")
    last = stream.finish()
    assert (step.text, last.verdict.message) == ("Ahoy", TRUNCATED)
    assert not stream.in_one_piece
