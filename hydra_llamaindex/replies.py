"""Hydra's replies and streams as LlamaIndex's chat responses.

`raw` is a dict in OpenAI's form with `usage`, because token counters call
`dict()` on it; what Hydra knows of the way the answer took is under "hydra".
"""

from __future__ import annotations

import contextlib
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Final

from llama_index.core.base.llms.types import ChatResponse, LogProb

from hydra_core.dialects.completion import reasoning_of
from hydra_core.dialects.thoughts import signed_blocks
from hydra_core.dialects.tool_calls import ToolCallMerger
from hydra_core.messages import Attempt, Usage
from hydra_llamaindex.messages import assistant_message

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hydra_core.messages import Chunk, Reply

ROUTE_KEY: Final = "hydra"
"""Where `raw` and `additional_kwargs` hold kind, provider, model, key, attempts, coverage."""

# Its values are strings and numbers: `asdict` would copy each of them, several times as slowly.
_ATTEMPT: Final = tuple(field.name for field in fields(Attempt))


def chat_response(reply: Reply) -> ChatResponse:
    """A whole reply; raises as `assistant_message` when a tool call was cut."""
    route = {
        "kind": reply.kind,
        "provider": reply.provider,
        "model": reply.model,
        "key": reply.key,
        "coverage": reply.coverage,
        "eta": reply.eta,
        "age": reply.age,
        "latency": reply.latency,
        "attempts": [
            {name: getattr(attempt, name) for name in _ATTEMPT} for attempt in reply.attempts
        ],
    }
    message = assistant_message(
        reply.text,
        reply.tool_calls,
        thinking=reasoning_of(reply.message),
        signed=signed_blocks(reply.message),
        finish_reason=reply.finish_reason,
    )
    return ChatResponse(
        message=message,
        raw={**reply.raw, **_usage(reply.usage, reply.raw), ROUTE_KEY: route},
        logprobs=_logprobs(reply.raw),
        additional_kwargs={**usage_counts(reply.usage), ROUTE_KEY: route},
    )


def usage_counts(usage: Usage) -> dict[str, int]:
    """Token counts by OpenAI's names; none when none were reported: a counter then estimates."""
    if not usage.total_tokens:
        return {}
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
    }


class StreamFold:
    """Folds a stream's deltas into the cumulative responses that LlamaIndex expects.

    Tool calls appear in `end()` alone: LlamaIndex completes cut JSON, so a call
    shown before the stream is whole could run with half an argument.
    """

    def __init__(self) -> None:
        self._text = ""
        self._thoughts = ""
        self._calls = ToolCallMerger()
        self._last: Chunk | None = None
        self._finish: str | None = None
        self._usage: Usage | None = None

    def add(self, chunk: Chunk) -> ChatResponse | None:
        """Take one chunk; a response when it has text or reasoning to show, else None."""
        self._last = chunk
        self._finish = chunk.finish_reason or self._finish
        self._usage = chunk.usage or self._usage
        for delta in chunk.tool_calls:
            self._calls.add(delta)
        if not chunk.text and not chunk.reasoning:
            return None
        self._text += chunk.text
        self._thoughts += chunk.reasoning
        thought = {"thinking_delta": chunk.reasoning} if chunk.reasoning else {}
        return ChatResponse(
            message=assistant_message(self._text, thinking=self._thoughts),
            delta=chunk.text,
            raw=self._raw({"content": chunk.text}),
            additional_kwargs={ROUTE_KEY: self._route(), **thought},
        )

    def end(self) -> ChatResponse:
        """The last response: tool calls, usage, and no new text.

        Raises as `assistant_message` when a tool call was cut.
        """
        usage = self._usage or Usage()
        message = assistant_message(
            self._text,
            tuple(self._calls.calls()),
            thinking=self._thoughts,
            finish_reason=self._finish,
        )
        delta: dict[str, Any] = dict(message.additional_kwargs)
        return ChatResponse(
            message=message,
            delta="",
            raw={**self._raw(delta, self._finish), **_usage(usage)},
            additional_kwargs={**usage_counts(usage), ROUTE_KEY: self._route()},
        )

    def _route(self) -> dict[str, Any]:
        last = self._last
        if last is None:
            return {}
        names = ("kind", "provider", "model", "key", "eta", "age")
        return {name: getattr(last, name) for name in names}

    def _raw(self, delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
        return {
            "object": "chat.completion.chunk",
            "model": self._last.model if self._last else None,
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
            ROUTE_KEY: self._route(),
        }


def _usage(usage: Usage, raw: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The provider's own usage, which may say more, else ours; never None."""
    return {"usage": (raw or {}).get("usage") or usage_counts(usage)}


def _logprobs(raw: dict[str, Any]) -> list[list[LogProb]] | None:
    """The alternatives for each token; malformed ones must not cost the answer they came with."""
    with contextlib.suppress(AttributeError, LookupError, TypeError, ValueError):
        content = raw["choices"][0]["logprobs"]["content"]
        return [
            [
                LogProb(token=top["token"], logprob=top["logprob"], bytes=top.get("bytes") or [])
                for top in token.get("top_logprobs") or ()
            ]
            for token in content
        ] or None
    return None
