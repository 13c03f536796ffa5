"""What a caller said, as one ChatRequest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from hydra_core.drafts import drafted
from hydra_core.errors import RequestRejected
from hydra_core.messages import ChatRequest, Message

_BODY_FIELDS: Final = ("temperature", "max_tokens", "tools", "tool_choice", "response_format")
_TIMES: Final = ("deadline", "max_wait")
# Asking the abstract class alone costs ten times as much as finding that it is a dict.
_DICTS: Final = (dict, Mapping)
_chat_request = drafted(ChatRequest)


def chat_request(
    messages: str | list[Message], named: Mapping[str, Any], extra: Mapping[str, Any]
) -> ChatRequest:
    """The request of one call: `named` are its keyword arguments, `extra` goes into the body.

    Raises RequestRejected, naming the argument, for what no provider could answer.
    """
    if isinstance(messages, str):
        messages = [{"role": "user", "content": messages}]
    if not messages or not all(isinstance(message, _DICTS) for message in messages):
        raise RequestRejected(
            "messages must be a string or a non-empty list of dicts with role and content"
        )
    for name in _TIMES:
        seconds = named.get(name)
        if seconds is not None and not seconds >= 0:
            raise RequestRejected(f"{name} is seconds from now and must be 0 or more")
    params = {name: value for name in _BODY_FIELDS if (value := named.get(name)) is not None}
    if extra:
        params.update(extra)
    return _chat_request(
        messages,
        model=named.get("model"),
        provider=named.get("provider"),
        lane=named.get("lane"),
        params=params,
        deadline=named.get("deadline"),
        max_wait=named.get("max_wait"),
        priority=named.get("priority", 0),
    )
