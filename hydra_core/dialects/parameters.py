"""What each vendor refuses in a request, and what is sent instead."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from hydra_core.dialects.signatures import with_signatures
from hydra_core.dialects.structure import by_tool
from hydra_core.dialects.thoughts import BLOCKS

if TYPE_CHECKING:
    from hydra_core.messages import Message

_CALL_ID_LENGTH: Final = 9


@dataclass(frozen=True, slots=True)
class Parameters:
    """One vendor's differences from OpenAI's chat request. All names are body fields.

    `reasoning_models` is a pattern; models that match it refuse
    `reasoning_drop` too, and want `reasoning_rename`. `ceilings` are the
    largest accepted values. `message_drop` are fields of a message that are refused: a
    conversation may have begun with another provider, whose answers have fields of their own.
    `stream_usage` False: `stream_options` is refused.
    `call_ids_of_nine`: ids of tool calls must be nine letters or digits.
    `signed_calls`: newer models want a signature with the calls that they are shown.
    `json_by_tool`: `response_format` is ignored, and a tool takes its place.
    """

    drop: frozenset[str] = frozenset()
    rename: tuple[tuple[str, str], ...] = ()
    reasoning_models: str = ""
    reasoning_drop: frozenset[str] = frozenset()
    reasoning_rename: tuple[tuple[str, str], ...] = ()
    ceilings: tuple[tuple[str, float], ...] = ()
    message_drop: frozenset[str] = frozenset({BLOCKS})
    stream_usage: bool = True
    nests_extra_body: bool = False
    call_ids_of_nine: bool = False
    signed_calls: bool = False
    json_by_tool: bool = False

    def fit(self, params: dict[str, Any], model: str) -> dict[str, Any]:
        """A copy of the parameters that this vendor accepts for this model."""
        fitted = self._with_extra_body(params)
        if self.json_by_tool:
            fitted = by_tool(fitted)
        dropped, renamed = self.drop, self.rename
        if self.reasoning_models and _pattern(self.reasoning_models).search(model):
            dropped, renamed = dropped | self.reasoning_drop, renamed + self.reasoning_rename
        for name, accepted in renamed:
            if name in fitted:
                fitted.setdefault(accepted, fitted.pop(name))
        if not dropped.isdisjoint(fitted):
            fitted = {name: value for name, value in fitted.items() if name not in dropped}
        for name, ceiling in self.ceilings:
            value = fitted.get(name)
            if isinstance(value, int | float) and value > ceiling:
                fitted[name] = ceiling
        return fitted

    def fit_messages(self, messages: list[Message], model: str) -> list[Message]:
        """The messages as this model of the vendor accepts them; the same list if they fit."""
        unwanted = self.message_drop
        if unwanted and not all(unwanted.isdisjoint(message) for message in messages):
            messages = [
                {name: value for name, value in message.items() if name not in unwanted}
                for message in messages
            ]
        if self.call_ids_of_nine:
            messages = [_with_short_ids(message) for message in messages]
        if self.signed_calls:
            messages = with_signatures(messages, model)
        return messages

    def _with_extra_body(self, params: dict[str, Any]) -> dict[str, Any]:
        """OpenAI's SDK puts the fields of `extra_body` into the body itself; so do we."""
        fitted = dict(params)
        extra = fitted.get("extra_body")
        if self.nests_extra_body and isinstance(extra, dict) and "google" in extra:
            return fitted  # Google's own options live under this name
        if "extra_body" in fitted:
            del fitted["extra_body"]
            fitted.update(extra if isinstance(extra, dict) else {})
        return fitted


PLAIN: Final = Parameters()


@cache
def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text, re.IGNORECASE)


def _with_short_ids(message: Message) -> Message:
    calls = message.get("tool_calls")
    changed = dict(message)
    if isinstance(calls, list):
        changed["tool_calls"] = [
            {**call, "id": _short_id(call.get("id"))} if isinstance(call, dict) else call
            for call in calls
        ]
    if "tool_call_id" in message:
        changed["tool_call_id"] = _short_id(message["tool_call_id"])
    return changed


def _short_id(value: object) -> str:
    """The same short id for the same long one, so that calls and results still match."""
    text = str(value)
    if len(text) == _CALL_ID_LENGTH and text.isascii() and text.isalnum():
        return text
    digest = hashlib.sha256(text.encode(errors="replace")).hexdigest()
    return digest[:_CALL_ID_LENGTH]
