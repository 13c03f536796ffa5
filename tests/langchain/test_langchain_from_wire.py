"""Hydra's replies and streams as LangChain's messages."""

import functools
import operator

import pytest

from hydra_core.errors import StreamBroken
from hydra_core.messages import Attempt, Chunk, Reply, ToolCall, Usage
from hydra_langchain.from_wire import StreamReader, chat_result, combined_outputs, usage_metadata
from hydra_langchain.to_wire import openai_messages

ROUTE = {"provider": "groq", "model": "m", "key": "groq-2"}


def read(*chunks):
    reader = StreamReader()
    shown = [each.message for chunk in chunks if (each := reader.read(chunk)) is not None]
    return functools.reduce(operator.add, [*shown, reader.end().message])


def test_a_reply_tells_its_way():
    """Hydra's own data is under one key: kind, provider, key and every attempt."""
    reply = Reply(
        text="hi",
        message={"role": "assistant", "content": "hi"},
        finish_reason="stop",
        usage=Usage(3, 2),
        attempts=(Attempt(**{**ROUTE, "key": "groq-1"}, outcome="rate_limit_minute", status=429),),
        raw={"usage": {"prompt_tokens_details": {"cached_tokens": 1}}},
        **ROUTE,
    )
    message = chat_result(reply).generations[0].message
    told = message.response_metadata
    assert told["model_name"] == "m"
    assert told["finish_reason"] == "stop"
    assert told["hydra"]["key"] == "groq-2"
    assert told["hydra"]["attempts"][0]["outcome"] == "rate_limit_minute"
    assert message.usage_metadata["total_tokens"] == 5
    assert message.usage_metadata["input_token_details"] == {"cache_read": 1}


def test_an_honest_wait_says_when():
    """A wait notice is a message whose metadata says so, with the seconds to wait."""
    reply = Reply(text="Come back in 40 s.", message={}, kind="wait", eta=40.0)
    message = chat_result(reply).generations[0].message
    assert message.usage_metadata is None
    assert message.response_metadata["hydra"]["kind"] == "wait"
    assert message.response_metadata["hydra"]["eta"] == 40.0


def test_arguments_that_are_no_object_are_an_invalid_call():
    """Broken JSON in a whole reply is an invalid tool call, never a repaired one."""
    calls = (ToolCall("a", "add", '{"n": 12'), ToolCall("b", "now", "", index=1))
    message = chat_result(Reply(text="", message={}, tool_calls=calls)).generations[0].message
    assert [call["id"] for call in message.invalid_tool_calls] == ["a"]
    assert message.tool_calls[0]["args"] == {}


def test_merged_chunks_say_each_thing_once():
    """Summed and concatenated over a stream, usage and metadata are still single."""
    merged = read(
        Chunk(text="he", **ROUTE),
        Chunk(text="llo", usage=Usage(6, 1), **ROUTE),
        Chunk(finish_reason="stop", usage=Usage(6, 3), **ROUTE),
    )
    assert merged.content == "hello"
    assert merged.usage_metadata["total_tokens"] == 9
    assert merged.response_metadata["model_name"] == "m"
    assert merged.response_metadata["hydra"]["key"] == "groq-2"
    assert merged.chunk_position == "last"


def test_interleaved_calls_are_kept_apart():
    """Deltas of two calls that arrive in turns end as two whole calls."""
    merged = read(
        Chunk(tool_calls=(ToolCall("a", "f", '{"x":', 0), ToolCall("b", "g", "{", 1)), **ROUTE),
        Chunk(tool_calls=(ToolCall("", "", "1}", 0), ToolCall("", "", "}", 1)), **ROUTE),
        Chunk(finish_reason="tool_calls", usage=Usage(1, 1), **ROUTE),
    )
    calls = [(call["id"], call["name"], call["args"]) for call in merged.tool_calls]
    assert calls == [("a", "f", {"x": 1}), ("b", "g", {})]


def test_a_cut_tool_call_is_an_error():
    """`{"n": 12` cut from 123 would parse as 12, so the stream raises instead of ending."""
    with pytest.raises(StreamBroken, match="inside the arguments"):
        read(
            Chunk(text="so: ", tool_calls=(ToolCall("a", "f", '{"n": 12'),), **ROUTE),
            Chunk(finish_reason="length", usage=Usage(1, 1), **ROUTE),
        )


@pytest.mark.parametrize("chunks", [(), (Chunk(text="half", **ROUTE),)])
def test_a_stream_without_an_end_mark_is_an_error(chunks):
    """Neither a finish reason nor usage came: the stream was cut, whatever it said so far."""
    with pytest.raises(StreamBroken):
        read(*chunks)


def test_usage_of_a_batch_is_summed():
    """The counts of several calls are added, and calls without any are skipped."""
    one = {"model_name": "m", "token_usage": {"prompt_tokens": 2, "total_tokens": 3}}
    total = combined_outputs([one, None, one])
    assert total == {
        "model_name": "m",
        "token_usage": {"prompt_tokens": 4, "total_tokens": 6},
    }


@pytest.mark.parametrize("told", [["no"], "no", {"cached_tokens": "5", "reasoning_tokens": 2.5}])
def test_malformed_details_do_not_cost_the_answer(told):
    """What a server makes of an extra is left out; its tokens and its text are delivered."""
    details = {"prompt_tokens_details": told, "completion_tokens_details": told}
    assert usage_metadata(Usage(3, 2), details) == usage_metadata(Usage(3, 2), {})


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
def test_reasoning_of_a_reply_is_where_langchain_looks_for_it(name):
    """Under both names that servers use it becomes a block of reasoning, and no text."""
    reply = Reply("42", {"content": "42", name: "Six by seven."})
    message = chat_result(reply).generations[0].message
    assert message.additional_kwargs == {"reasoning_content": "Six by seven."}
    assert [block["type"] for block in message.content_blocks] == ["reasoning", "text"]
    assert message.text == "42"


def test_reasoning_of_a_stream_is_what_a_whole_reply_has():
    """Its pieces are merged into one; a piece of nothing else is handed on, too."""
    merged = read(
        Chunk("4", reasoning="Six by "),
        Chunk(reasoning="seven."),
        Chunk("2"),
        Chunk(finish_reason="stop", usage=Usage(3, 2)),
    )
    assert merged.additional_kwargs == {"reasoning_content": "Six by seven."}
    assert (merged.content_blocks[0]["type"], merged.text) == ("reasoning", "42")


def test_signed_thoughts_make_the_round_trip():
    """What Claude wants back with a tool's result is kept by LangChain's message for it."""
    signed = [{"type": "thinking", "thinking": "Six by seven.", "signature": "c2ln"}]
    reply = Reply("42", {"content": "42", "thinking_blocks": signed})
    (sent,) = openai_messages([chat_result(reply).generations[0].message])
    assert sent["thinking_blocks"] == signed
