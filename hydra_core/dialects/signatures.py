"""Signatures of tool calls, which Gemini's newer models want back with a call of theirs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from hydra_core.messages import Message

_WANTED_BY: Final = re.compile(r"^(?:models/)?gemini-(?![12]\b)")
# Google's own word for a call that has none: another model made it, or it was lost on the way.
# https://ai.google.dev/gemini-api/docs/thought-signatures
_UNSIGNED: Final = {"google": {"thought_signature": "skip_thought_signature_validator"}}


def with_signatures(messages: list[Message], model: str) -> list[Message]:
    """The messages as this model accepts them; the same list when nothing differs.

    Each step's first call must be signed, or the request is refused with 400. A
    signature travels in the call's `extra_content`, which few clients keep.
    """
    if not _WANTED_BY.match(model) or not any(map(_lacks_signature, messages)):
        return messages
    return [_signed(message) if _lacks_signature(message) else message for message in messages]


def _lacks_signature(message: Message) -> bool:
    calls = message.get("tool_calls")
    first = calls[0] if isinstance(calls, list) and calls else None
    return isinstance(first, dict) and not signature_of(first.get("extra_content"))


def signature_of(extra: object) -> str | None:
    """The signature in a call's `extra_content`."""
    google = extra.get("google") if isinstance(extra, dict) else None
    signature = google.get("thought_signature") if isinstance(google, dict) else None
    return signature if isinstance(signature, str) and signature else None


def _signed(message: Message) -> Message:
    first, *others = message["tool_calls"]
    extra: dict[str, Any] = first.get("extra_content") or {}
    return {**message, "tool_calls": [{**first, "extra_content": {**extra, **_UNSIGNED}}, *others]}
