"""Hydra's replies and streams as LangChain's messages.

LangChain merges the chunks of a stream by concatenating strings and adding
numbers, so whatever must appear once is put on the last chunk alone.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from langchain_core.messages import AIMessage, AIMessageChunk, InvalidToolCall
from langchain_core.messages.ai import InputTokenDetails, OutputTokenDetails, UsageMetadata
from langchain_core.messages.tool import tool_call as make_tool_call
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

from hydra_core.dialects.completion import reasoning_of, token_count
from hydra_core.dialects.thoughts import BLOCKS, signed_blocks
from hydra_core.errors import StreamBroken

if TYPE_CHECKING:
    from hydra_core.messages import Chunk, Reply, ToolCall, Usage
    from hydra_core.swarm.values import SwarmResult

PROVIDER: Final = "hydra"
"""`model_provider` of every message and `ls_provider` of every trace: they must agree."""

_ROUTE: Final = ("kind", "provider", "key", "coverage", "eta", "age", "latency")
_ATTEMPT: Final = ("provider", "model", "key", "outcome", "status", "latency", "waited")


def chat_result(reply: Reply) -> ChatResult:
    """The reply as LangChain's result of one generation."""
    details = reply.raw.get("usage")
    usage = usage_metadata(reply.usage, details if isinstance(details, dict) else {})
    message = AIMessage(
        content=reply.text,
        additional_kwargs=_extras(reply.message),
        usage_metadata=usage,
        response_metadata=_metadata(
            reply.model, reply.finish_reason, {**_route(reply), **_attempts(reply)}, reply.usage
        ),
        **_parsed_calls(reply.tool_calls),
    )
    return ChatResult(
        generations=[ChatGeneration(message=message)],
        llm_output={"model_name": reply.model, "token_usage": _token_usage(reply.usage)},
    )


def swarm_message(result: SwarmResult) -> AIMessage:
    """A swarm's answer as a message, with its coverage and how many shards it took.

    The tokens of all shards are under `hydra`, not in `usage_metadata`: there their
    sum would look like one request that nearly fills the context window.
    """
    told: dict[str, Any] = {
        "kind": result.kind,
        "coverage": result.coverage,
        "eta": result.eta,
        "age": result.age,
        "cost_usd": result.usage.cost_usd,
        "resume_token": result.resume_token,
    }
    told = {name: value for name, value in told.items() if value is not None}
    told |= {"shards": len(result.shards), "usage": _token_usage(result.usage)}
    metadata = _metadata(None, None, told, None)
    return AIMessage(content=result.text, response_metadata=metadata)


class StreamReader:
    """Turns Hydra's chunks into LangChain's, and ends the stream only if it is whole."""

    def __init__(self) -> None:
        self._text: list[str] = []
        self._arguments: dict[int, str] = {}
        self._finish_reason: str | None = None
        self._usage: Usage | None = None
        self._last: Chunk | None = None

    def read(self, chunk: Chunk) -> ChatGenerationChunk | None:
        """The chunk to hand on; None when it carries nothing to show."""
        self._last = chunk
        self._finish_reason = chunk.finish_reason or self._finish_reason
        self._usage = chunk.usage or self._usage
        for call in chunk.tool_calls:
            self._arguments[call.index] = self._arguments.get(call.index, "") + call.arguments
        if not chunk.text and not chunk.tool_calls and not chunk.reasoning:
            return None
        self._text.append(chunk.text)
        message = AIMessageChunk(
            content=chunk.text,
            additional_kwargs=_thought(chunk.reasoning),
            tool_call_chunks=[
                tool_call_chunk(
                    name=call.name or None,
                    id=call.id or None,
                    args=call.arguments,
                    index=call.index,
                )
                for call in chunk.tool_calls
            ],
        )
        return ChatGenerationChunk(message=message)

    def end(self) -> ChatGenerationChunk:
        """The last chunk: usage, metadata and the mark that the stream is complete.

        Raises StreamBroken when it is not: without an end mark, or with a tool
        call whose arguments are cut, which LangChain would repair into another
        call (`{"n": 12` cut from `123`).
        """
        if self._last is None or (self._finish_reason is None and self._usage is None):
            raise StreamBroken(
                "the stream ended without a finish reason; ask again", partial="".join(self._text)
            )
        for arguments in self._arguments.values():
            self._check(arguments)
        usage = self._usage
        message = AIMessageChunk(
            content="",
            usage_metadata=usage_metadata(usage, {}) if usage else None,
            response_metadata=_metadata(
                self._last.model, self._finish_reason, _route(self._last), usage
            ),
            chunk_position="last",
        )
        return ChatGenerationChunk(message=message)

    def _check(self, arguments: str) -> None:
        try:
            json.loads(arguments or "{}", strict=False)
        except ValueError:
            raise StreamBroken(
                "the stream ended inside the arguments of a tool call (finish reason "
                f"{self._finish_reason!r}); allow more tokens, or ask again",
                partial="".join(self._text),
            ) from None


def usage_metadata(usage: Usage, details: dict[str, Any]) -> UsageMetadata | None:
    """Hydra's usage in LangChain's words; None when nothing was spent.

    `details` is the provider's own usage object, read for cached and reasoning tokens.
    """
    if not usage.total_tokens:
        return None
    found = UsageMetadata(
        input_tokens=usage.prompt_tokens,
        output_tokens=usage.completion_tokens,
        total_tokens=usage.total_tokens,
    )
    cached = _detail(details.get("prompt_tokens_details"), "cached_tokens")
    reasoning = _detail(details.get("completion_tokens_details"), "reasoning_tokens")
    if cached:
        found["input_token_details"] = InputTokenDetails(cache_read=cached)
    if reasoning:
        found["output_token_details"] = OutputTokenDetails(reasoning=reasoning)
    return found


def _detail(details: object, name: str) -> int | None:
    """A count within a usage; a malformed one must not cost the answer that it came with."""
    return token_count(details.get(name)) if isinstance(details, dict) else None


def combined_outputs(outputs: list[dict[str, Any] | None]) -> dict[str, Any]:
    """One `llm_output` for a batch: the token counts are summed."""
    total: dict[str, int] = {}
    for output in filter(None, outputs):
        for name, count in (output.get("token_usage") or {}).items():
            total[name] = total.get(name, 0) + count
    models = [output.get("model_name") for output in filter(None, outputs)]
    return {"token_usage": total, "model_name": models[0] if models else None}


def _token_usage(usage: Usage) -> dict[str, int]:
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
    }


def _parsed_calls(calls: tuple[ToolCall, ...]) -> dict[str, Any]:
    """The calls, apart from those whose arguments are no JSON object."""
    valid, invalid = [], []
    for call in calls:
        try:
            arguments = json.loads(call.arguments or "{}", strict=False)
        except ValueError:
            arguments = None
        if isinstance(arguments, dict):
            valid.append(make_tool_call(name=call.name, args=arguments, id=call.id))
        else:
            invalid.append(
                InvalidToolCall(
                    type="invalid_tool_call",
                    name=call.name,
                    args=call.arguments,
                    id=call.id,
                    error="the arguments are not a JSON object",
                )
            )
    return {"tool_calls": valid, "invalid_tool_calls": invalid}


def _extras(message: dict[str, Any]) -> dict[str, Any]:
    refusal = message.get("refusal")
    told = _thought(reasoning_of(message))
    if signed := signed_blocks(message):
        told[BLOCKS] = signed
    return {**told, "refusal": refusal} if refusal else told


def _thought(reasoning: str) -> dict[str, Any]:
    """Reasoning where LangChain's own packages put it, and where `content_blocks` finds it."""
    return {"reasoning_content": reasoning} if reasoning else {}


def _route(source: Reply | Chunk) -> dict[str, Any]:
    found = {name: getattr(source, name, None) for name in _ROUTE}
    return {name: value for name, value in found.items() if value is not None}


def _attempts(reply: Reply) -> dict[str, Any]:
    return {
        "attempts": [{name: getattr(each, name) for name in _ATTEMPT} for each in reply.attempts]
    }


def _metadata(
    model: str | None, finish_reason: str | None, route: dict[str, Any], usage: Usage | None
) -> dict[str, Any]:
    if usage is not None and usage.cost_usd is not None:
        route = {**route, "cost_usd": usage.cost_usd}
    return {
        "model_name": model or PROVIDER,
        "model_provider": PROVIDER,
        "finish_reason": finish_reason,
        "hydra": route,
    }
