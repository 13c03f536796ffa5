"""What a fake model says, and who decides it.

A `FakeProvider` knows the protocol and the limits, and nothing about language:
it asks an `Answerer` for the words. Writing one is a function of the request
body, so a test can make a model say whatever the case needs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from hydra_core.messages import ToolCall


@dataclass(frozen=True, slots=True)
class FakeAnswer:
    """One answer of a fake model.

    `prompt_tokens` and `completion_tokens` None means four characters a token.
    The provider cuts `text` at the request's `max_tokens` by itself and then
    reports the finish reason `length`.
    """

    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: str = "stop"
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


@runtime_checkable
class Answerer(Protocol):
    """Whoever turns a chat request into an answer, deterministically."""

    def answer(self, body: dict[str, Any]) -> FakeAnswer:
        """Return the answer to `body`, the decoded JSON of one chat request."""
        ...
