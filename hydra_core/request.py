"""What a caller said, as one ChatRequest."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import inf
from typing import Any, Final, TypeGuard

from hydra_core.drafts import drafted
from hydra_core.errors import InvalidArgument
from hydra_core.messages import ChatRequest, Message, Reply

_BODY_FIELDS: Final = ("temperature", "max_tokens", "tools", "tool_choice", "response_format")
# Asking the abstract class alone costs ten times as much as finding that it is a dict.
_DICTS: Final = (dict, Mapping)
_chat_request = drafted(ChatRequest)
# Beyond what anybody means, and below what a float or the JSON of a request can hold.
_MOST_SECONDS: Final = 1e12
_MOST_TOKENS: Final = 10**12
_LARGEST: Final = 1e300


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _seconds(value: object) -> bool:
    return _is_number(value) and (0 <= value <= _MOST_SECONDS or value == inf)


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _count(value: object) -> bool:
    return isinstance(value, int) and _whole(value) and 0 < value <= _MOST_TOKENS


def is_count(value: object) -> bool:
    """True for a number of tokens, none included, as far as there can be any."""
    return _is_number(value) and 0 <= value <= _MOST_TOKENS


def _number(value: object) -> bool:
    return _is_number(value) and abs(value) <= _LARGEST


def _text(value: object) -> bool:
    return isinstance(value, str)


def _choice(value: object) -> bool:
    return isinstance(value, (str, *_DICTS))


def _table(value: object) -> bool:
    return isinstance(value, _DICTS)


def _dicts(value: object) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(item, _DICTS) for item in value)


# What each argument must be, since a strange one would surface in the midst of a call as
# an error that names no argument, or not at all.
_FORMS: Final[dict[str, tuple[Callable[[object], bool], str]]] = {
    "model": (_text, "must be a model's name, provider/model or an alias"),
    "provider": (_text, "must be the name of a configured provider"),
    "lane": (_text, "must be the name of a lane"),
    "deadline": (_seconds, "is seconds from now and must be 0 or more"),
    "max_wait": (_seconds, "is seconds from now and must be 0 or more"),
    "max_tokens": (_count, "must be a whole number of 1 or more"),
    "max_completion_tokens": (_count, "must be a whole number of 1 or more"),
    "temperature": (_number, "must be a finite number"),
    "tools": (_dicts, "must be a list of dicts in OpenAI's format"),
    "tool_choice": (_choice, "must be a word such as 'auto', or a dict that names a function"),
    "response_format": (_table, "must be a dict such as {'type': 'json_object'}"),
    "extra_body": (_table, "must be a dict of more fields for the request's body"),
    "priority": (_whole, "must be a whole number; the higher is served first"),
    "on_progress": (callable, "must be a function that takes each event"),
    "on_exhausted": (lambda value: value in ("answer", "raise"), "must be 'answer' or 'raise'"),
}
# Types that need no further look; most calls give nothing else.
_USUAL: Final = {"model": str, "provider": str, "lane": str, "priority": int}
# What other clients take per call and a request's body has no place for.
_ELSEWHERE: Final = {
    "stream": "call stream() or astream() instead",
    "timeout": "say it as deadline, in seconds",
    "api_key": "keys belong into the configuration",
    "base_url": "addresses belong into the configuration, bound to their keys",
    "api_base": "addresses belong into the configuration, bound to their keys",
    "extra_headers": "headers belong to a provider of the configuration",
}


def chat_request(
    messages: str | list[Message], named: Mapping[str, Any], extra: Mapping[str, Any]
) -> ChatRequest:
    """The request of one call: `named` are its keyword arguments, `extra` goes into the body.

    Raises InvalidArgument, naming the argument, for what no provider could answer.
    """
    messages = listed(messages)
    given = checked(named) if named else {}
    params: dict[str, Any] = {name: given[name] for name in _BODY_FIELDS if name in given}
    if "tools" in params and not params["tools"]:
        del params["tools"]  # OpenAI refuses an empty list; it says the same as none
    if extra:
        params.update(_body_fields(extra))
    return _chat_request(
        messages,
        model=given.get("model"),
        provider=given.get("provider"),
        lane=given.get("lane"),
        params=params,
        deadline=given.get("deadline"),
        max_wait=given.get("max_wait"),
        priority=given.get("priority", 0),
    )


def listed(messages: str | list[Message]) -> list[Message]:
    """The messages as a list. Raises InvalidArgument for what is neither text nor messages."""
    if isinstance(messages, str):
        return [{"role": "user", "content": messages}]
    if not messages or not _dicts(messages):
        raise InvalidArgument(
            "messages must be a string or a non-empty list of dicts with role and content"
        )
    return messages


def lease_request(named: Mapping[str, Any]) -> ChatRequest:
    """The request of a call that somebody else will send; `named` are keyword arguments.

    Raises InvalidArgument, naming the argument, for what cannot be meant.
    """
    if not is_count(named["tokens"]):
        raise InvalidArgument("tokens must be a number of 0 or more: what the call may use")
    given = checked(named)
    return ChatRequest(
        [],
        model=given.get("model"),
        provider=given.get("provider"),
        lane=given.get("lane"),
        deadline=given.get("deadline"),
        max_wait=given.get("max_wait"),
    )


def checked(named: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that were given, each in its form. Raises InvalidArgument, naming it."""
    given = {name: value for name, value in named.items() if value is not None and name in _FORMS}
    for name, value in given.items():
        if type(value) is not _USUAL.get(name):
            _check(name, value)
    return given


def judged(reply: object, quality: object) -> None:
    """Look at what feedback was given. Raises InvalidArgument, naming the argument."""
    if not isinstance(reply, Reply):
        raise InvalidArgument("reply must be the Reply that chat() or achat() returned")
    check_quality(quality)


def check_quality(quality: object) -> None:
    """Look at a reader's opinion. Raises InvalidArgument unless it is a number from 0 to 1."""
    if not isinstance(quality, int | float) or not 0.0 <= quality <= 1.0:
        raise InvalidArgument("quality is a number from 0 (useless) to 1 (right)")


def _check(name: str, value: object) -> None:
    fits, form = _FORMS[name]
    if not fits(value):
        raise InvalidArgument(f"{name} {form}")


def _body_fields(extra: Mapping[str, Any]) -> dict[str, Any]:
    fields = {name: value for name, value in extra.items() if value is not None}
    if fields.get("stream") is False:
        del fields["stream"]
    for name, value in fields.items():
        if name in _ELSEWHERE:
            raise InvalidArgument(f"{name} is no argument here: {_ELSEWHERE[name]}")
        if name in _FORMS:
            _check(name, value)
    return fields
