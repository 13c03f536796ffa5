"""Replies and chunks become responses that LlamaIndex's own readers understand."""

from __future__ import annotations

from typing import Any

import pytest
from llama_index.core.base.llms.types import ThinkingBlock
from llama_index.core.callbacks.token_counting import get_tokens_from_response

from hydra_core.messages import Chunk, Reply, ToolCall, Usage
from hydra_llamaindex.messages import to_wire
from hydra_llamaindex.replies import StreamFold, chat_response


def test_usage_is_read_by_llamaindex_however_it_came() -> None:
    """The provider's own usage wins, Hydra's fills in, and none at all is not zero."""
    own = {"usage": {"prompt_tokens": 6, "completion_tokens": 7, "details": {}}}
    reply = Reply("x", {}, usage=Usage(1, 2))
    assert get_tokens_from_response(chat_response(reply)) == (1, 2)
    stated = Reply("x", {}, usage=Usage(1, 2), raw=own)
    assert get_tokens_from_response(chat_response(stated)) == (6, 7)
    silent = chat_response(Reply("x", {}, raw={"usage": None}))
    assert get_tokens_from_response(silent) == (0, 0)
    assert silent.raw["usage"] == {}


def test_thinking_has_its_block_and_no_place_in_the_answer() -> None:
    """Both names that servers use for reasoning are read."""
    for name in ("reasoning_content", "reasoning"):
        message = chat_response(Reply("42", {name: "hm"})).message
        assert isinstance(message.blocks[0], ThinkingBlock)
        assert message.content == "42"


def test_signed_thoughts_make_the_round_trip() -> None:
    """What Claude wants back with a tool's result is kept by LlamaIndex's message for it."""
    signed = [{"type": "thinking", "thinking": "Six by seven.", "signature": "c2ln"}]
    message = chat_response(Reply("42", {"content": "42", "thinking_blocks": signed})).message
    (sent,) = to_wire([message])
    assert sent == {"role": "assistant", "content": "42", "thinking_blocks": signed}


def test_thinking_is_streamed_as_it_is_told_whole() -> None:
    """Each piece is told as `thinking_delta`, the block holds all of them so far."""
    fold = StreamFold()
    first = fold.add(Chunk("4", reasoning="Six by "))
    second = fold.add(Chunk(reasoning="seven."))
    assert first is not None
    assert second is not None
    told = [response.additional_kwargs.get("thinking_delta") for response in (first, second)]
    assert told == ["Six by ", "seven."]
    fold.add(Chunk(finish_reason="stop", usage=Usage(3, 4)))
    for message in (second.message, fold.end().message):
        assert isinstance(message.blocks[0], ThinkingBlock)
        assert message.blocks[0].content == "Six by seven."
        assert message.content == "4"


def test_logprobs_are_passed_on() -> None:
    """Alternatives per token, as LlamaIndex lists them."""
    top = [{"token": "a", "logprob": -0.1, "bytes": None}]
    raw = {"choices": [{"logprobs": {"content": [{"token": "a", "top_logprobs": top}]}}]}
    found = chat_response(Reply("a", {}, raw=raw)).logprobs
    assert [[(p.token, p.logprob) for p in token] for token in found or []] == [[("a", -0.1)]]


def test_an_empty_stream_still_ends_with_a_response() -> None:
    """LlamaIndex's events refuse a stream without any response."""
    fold = StreamFold()
    assert fold.end().message.content == ""


def test_fragments_of_two_tool_calls_become_two_calls() -> None:
    """Interleaved arguments are kept apart, and shown at the end only."""
    fold = StreamFold()
    for delta in (
        ToolCall("a", "f", '{"x":', 0),
        ToolCall("b", "g", '{"y":', 1),
        ToolCall("", "", " 1}", 0),
        ToolCall("", "", " 2}", 1),
    ):
        assert fold.add(Chunk(tool_calls=(delta,))) is None
    fold.add(Chunk(finish_reason="tool_calls", usage=Usage(3, 4), key="k-1"))
    end = fold.end()
    calls = [(b.tool_call_id, b.tool_name, b.tool_kwargs) for b in end.message.blocks]
    assert calls == [("a", "f", {"x": 1}), ("b", "g", {"y": 2})]
    assert (end.raw["usage"]["total_tokens"], end.raw["hydra"]["key"]) == (7, "k-1")


@pytest.mark.parametrize(
    "told",
    ["no", {"content": "no"}, {"content": [{"top_logprobs": [{"token": "a"}]}]}, {"content": [7]}],
)
def test_malformed_logprobs_do_not_cost_the_answer(told: Any) -> None:
    """What a server makes of an extra is left out; its text is delivered."""
    raw = {"choices": [{"message": {"content": "Aye"}, "logprobs": told}]}
    response = chat_response(Reply("Aye", {"role": "assistant", "content": "Aye"}, raw=raw))
    assert (response.message.content, response.logprobs) == ("Aye", None)
