"""Streams: nothing is seen of a failure before the first token, nothing is replayed after it."""

from __future__ import annotations

import itertools
import json
import time

import pytest

from hydra_core.errors import StreamBroken

TEXT = "You said: one two three four five six"
ASKED = TEXT.removeprefix("You said: ")
TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {
            "type": "object",
            "properties": {"town": {"type": "string"}},
            "required": ["town"],
        },
    },
}
SSE = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"


def delta(**fields):
    """One event of a stream, in bytes."""
    choice = {"index": 0, "delta": fields, "finish_reason": None}
    return b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n"


BEFORE = {
    "rate_limit": "rate_limit_minute",
    "auth": "auth",
    "server_error": "overloaded",
    "hang": "timeout",
    "slow": "timeout",
    "reset": "stream_broken",
    "cut": "stream_broken",
    "role_then_cut": "stream_broken",
    "stall": "timeout",
    "error_event": "overloaded",
    "bad_json": "invalid_response",
    "empty": "invalid_response",
    "html": "invalid_response",
}
AFTER = {
    "cut": "stream_broken",
    "stall": "timeout",
    "error_event": "overloaded",
    "bad_json": "invalid_response",
}


@pytest.mark.parametrize(("fault", "outcome"), BEFORE.items())
def test_a_fault_before_the_first_token_is_invisible(caller, pool, serve, fault, outcome):
    """The caller sees one whole stream, from the second key; only the report tells."""
    fake = serve()
    fake.fail(fault, key=0, times=1, after_chunks=0)
    hydra = pool(fake, first_token_timeout=0.2)
    chunks = caller.stream(hydra, ASKED)
    assert "".join(chunk.text for chunk in chunks) == TEXT
    assert {(chunk.key, chunk.kind) for chunk in chunks} == {("fake-2", "full")}
    assert [call.key for call in fake.log] == ["fake-1", "fake-2"]
    (error,) = hydra.health()["recent_errors"]
    assert (error["key"], error["fault"]) == ("fake-1", outcome)


@pytest.mark.parametrize(("fault", "outcome"), AFTER.items())
def test_a_fault_after_the_first_token_keeps_what_was_shown(caller, pool, serve, fault, outcome):
    """StreamBroken holds the text so far and the trail; no other key is asked."""
    fake = serve()
    fake.fail(fault, times=1, after_chunks=1)
    hydra = pool(fake, stall_timeout=0.2)
    with pytest.raises(StreamBroken) as caught:
        caller.stream(hydra, ASKED)
    assert caught.value.partial == "You said: one "
    assert [(a.key, a.outcome) for a in caught.value.attempts] == [("fake-1", outcome)]
    assert [call.key for call in fake.log] == ["fake-1"]
    fake.wait_idle()
    assert "".join(chunk.text for chunk in caller.stream(hydra, ASKED)) == TEXT


def test_what_was_shown_comes_before_the_error(caller, pool, serve):
    """Each piece is handed on as it comes; the error follows the last of them."""
    fake = serve()
    fake.fail("cut", times=1, after_chunks=2)
    shown, error = caller.shown(pool(fake), ASKED)
    assert shown == ["You said: one ", "two three four "]
    assert (type(error), error.partial) == (StreamBroken, "".join(shown))


def test_the_last_chunk_tells_usage_and_finish(caller, pool, serve):
    """Usage and the reason of the end come once, on a last chunk without text."""
    fake = serve()
    *chunks, last = caller.stream(pool(fake), ASKED)
    assert {(chunk.usage, chunk.finish_reason) for chunk in chunks} == {(None, None)}
    assert (last.text, last.finish_reason, last.kind) == ("", "stop", "full")
    (call,) = fake.log
    counted = (last.usage.prompt_tokens, last.usage.completion_tokens)
    assert counted == (call.prompt_tokens, call.completion_tokens)


def test_tool_calls_pass_through_as_they_come(caller, pool, serve):
    """The pieces of a tool call's arguments add up to JSON; there is no text beside them."""
    fake = serve()
    chunks = caller.stream(pool(fake), "weather in Oslo", tools=[TOOL])
    calls = [call for chunk in chunks for call in chunk.tool_calls]
    assert "".join(chunk.text for chunk in chunks) == ""
    assert {call.index for call in calls} == {0}
    assert [call.name for call in calls if call.name] == ["weather"]
    assert set(json.loads("".join(call.arguments for call in calls))) == {"town"}
    assert chunks[-1].finish_reason == "tool_calls"


def test_an_end_without_its_mark_is_no_end(caller, pool, serve, raw):
    """A body that ends cleanly but without the end mark was cut: it fails like one."""
    cut = raw(lambda _: [SSE, delta(role="assistant"), delta(content="Half an ans")])
    mute = raw(lambda _: [SSE, delta(role="assistant")])
    fake = serve()
    here = fake.config()["providers"]
    with pytest.raises(StreamBroken) as caught:
        caller.stream(pool(fake, providers=[cut.provider(), *here]), ASKED)
    assert caught.value.partial == "Half an ans"
    chunks = caller.stream(pool(fake, providers=[mute.provider(priority=-1), *here]), ASKED)
    assert "".join(chunk.text for chunk in chunks) == TEXT
    assert (len(cut.heads), len(mute.heads), len(fake.log)) == (1, 1, 1)


def test_signs_of_life_are_no_tokens(caller, pool, serve, raw):
    """Endless comments do not keep a stream alive that says nothing."""

    def pinging(_head):
        yield SSE
        for _ in itertools.repeat(None):
            time.sleep(0.02)
            yield b": ping\n\n"

    server = raw(pinging)
    fake = serve()
    providers = [server.provider(priority=-1), *fake.config()["providers"]]
    hydra = pool(fake, providers=providers, first_token_timeout=0.2)
    chunks = caller.stream(hydra, ASKED)
    assert {chunk.provider for chunk in chunks} == {"fake"}
    (error,) = hydra.health()["recent_errors"]
    assert (error["provider"], error["fault"]) == ("raw", "timeout")


def test_a_stream_of_one_byte_at_a_time_is_whole(caller, pool, serve, raw):
    """However the bytes are cut, the text is the same, also within a character."""
    words = "Änderung — 数据 🙂"
    data = b"".join(delta(content=word) for word in words.split(" ")) + b"data: [DONE]\n\n"
    server = raw(lambda _: [SSE, *(data[n : n + 1] for n in range(len(data)))])
    chunks = caller.stream(pool(serve(), providers=[server.provider()]), ASKED)
    assert [chunk.text for chunk in chunks[:-1]] == words.split(" ")
    assert chunks[-1].usage.completion_tokens > 0


def test_a_deadline_ends_a_stream_that_drips(caller, pool, serve):
    """The deadline of a call holds for the whole of its stream."""
    fake = serve(chunk_delay=0.1)
    with pytest.raises(StreamBroken) as caught:
        caller.stream(pool(fake), ASKED, deadline=0.35)
    assert caught.value.partial
    assert TEXT.startswith(caught.value.partial)
    fake.wait_idle()
    assert fake.log[0].finished is False


def test_a_deadline_ends_a_stream_that_never_pauses(caller, pool, serve, raw):
    """Tokens that come without a pause do not outrun the deadline."""
    server = raw(lambda _: itertools.chain([SSE], itertools.repeat(delta(content="more "))))
    with pytest.raises(StreamBroken, match="timeout"):
        caller.stream(pool(serve(), providers=[server.provider()]), ASKED, deadline=0.3)


def test_a_deadline_blames_no_key_whose_stream_still_came(caller, pool, serve, raw):
    """An impatient reader rests nobody who was speaking, and the error says what ran out."""
    drip = itertools.chain([SSE], itertools.repeat(delta(content="more ")))
    server = raw(lambda _: (time.sleep(0.02) or piece for piece in drip))
    hydra = pool(serve(), providers=[server.provider()])
    with pytest.raises(StreamBroken, match=r"the deadline has passed.*more time") as caught:
        caller.stream(hydra, ASKED, deadline=0.4)
    assert caught.value.attempts[-1].outcome == "timeout"
    (key,) = hydra.health()["providers"]["raw"]["keys"]
    assert (key["state"], key["available_in"], key["last_fault"]) == ("active", 0.0, None)


def test_a_deadline_in_a_silence_is_still_a_light_doubt(caller, pool, serve, raw):
    """A stream that had fallen silent when the time was up rests its key for a moment."""

    def falls_silent(_):
        yield from (SSE, delta(content="more "))
        time.sleep(1.0)

    server = raw(falls_silent)
    hydra = pool(serve(), providers=[server.provider()])
    with pytest.raises(StreamBroken, match="the deadline has passed"):
        caller.stream(hydra, ASKED, deadline=0.4)
    (key,) = hydra.health()["providers"]["raw"]["keys"]
    assert (key["state"], key["last_fault"]) == ("resting", "timeout")


def test_a_refusal_after_the_first_token_is_not_to_be_asked_again(caller, pool, serve, raw):
    """A filter that cuts a stream off is the provider's answer: no key rests, nobody retries."""
    end = b'data: {"choices": [{"index": 0, "delta": {}, "finish_reason": "content_filter"}]}\n\n'
    server = raw(lambda _: [SSE, delta(content="Once "), end, b"data: [DONE]\n\n"])
    hydra = pool(serve(), providers=[server.provider()])
    with pytest.raises(StreamBroken, match="the refusal is the provider's answer") as caught:
        caller.stream(hydra, ASKED)
    assert caught.value.partial == "Once "
    assert "ask again" not in str(caught.value)
    assert len(server.heads) == 1
    assert hydra.health()["providers"]["raw"]["keys"][0]["state"] == "active"
