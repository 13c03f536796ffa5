"""What a call may be given, and the remedy for what it may not.

LangChain hands keyword arguments through untouched, and most models forward
them all: a typo then changes nothing and is never noticed.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any, Final

from hydra_langchain.errors import UnknownArgument

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

ALIASES: Final = {
    "api_key": "api_keys",
    "max_completion_tokens": "max_tokens",
    "model_name": "model",
    "openai_api_base": "base_url",
    "request_timeout": "timeout",
    "stop_sequences": "stop",
}
"""Names that users of other chat models know -> ours."""

_CALL: Final = frozenset(
    {
        "deadline",
        "lane",
        "max_tokens",
        "max_wait",
        "model",
        "on_exhausted",
        "priority",
        "provider",
        "response_format",
        "temperature",
        "tool_choice",
        "tools",
    }
)
"""Named parameters of `Hydra.chat`."""

_BODY: Final = frozenset(
    {
        "frequency_penalty",
        "logit_bias",
        "min_p",
        "parallel_tool_calls",
        "presence_penalty",
        "reasoning_effort",
        "repetition_penalty",
        "seed",
        "service_tier",
        "stop",
        "top_k",
        "top_p",
        "user",
        "verbosity",
    }
)
"""Fields of the request body that are sent on as they are."""

_WITH_TOOLS: Final = frozenset({"parallel_tool_calls", "tool_choice", "tools"})
_HANDLED: Final = frozenset({"extra_body", "ls_structured_output_format", "stream", "timeout"})
_SENT: Final = _CALL | _BODY
_NOT_EXTRA: Final = _SENT | {"messages", "stream", "stream_options"}
_KNOWN: Final = _CALL | _BODY | _HANDLED | (ALIASES.keys() - {"api_key", "openai_api_base"})


def reject_unknown(names: Iterable[str], known: Collection[str], what: str) -> None:
    """Raise UnknownArgument, naming the first unknown name and the one probably meant."""
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, sorted(known), n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise UnknownArgument(f"{what} knows no argument {name!r}{hint}")


def check_call(names: Iterable[str]) -> None:
    """Raise UnknownArgument for a name that no call, nor anything bound to one, may have."""
    reject_unknown(
        names, _KNOWN, "a call of ChatHydra (fields of one provider alone go into extra_body)"
    )


def call_arguments(defaults: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The keyword arguments for `Hydra.chat`: the call's own, then the model's defaults.

    `timeout` is the deadline of the whole call in seconds. Raises UnknownArgument for
    an argument we do not know, ValueError if `extra_body` repeats a known one.
    """
    check_call(given)
    renamed = {ALIASES.get(name, name): value for name, value in given.items()}
    merged = {**defaults, **{name: v for name, v in renamed.items() if v is not None}}
    body = {**(defaults.get("extra_body") or {}), **(renamed.get("extra_body") or {})}
    if repeated := body.keys() & _NOT_EXTRA:
        raise ValueError(
            f"extra_body repeats {', '.join(map(repr, sorted(repeated)))}; give it directly"
        )
    timeout = merged.pop("timeout", None)
    if merged.get("deadline") is None:
        merged["deadline"] = timeout
    sent = {name: v for name, v in merged.items() if name in _SENT and v is not None}
    # Some servers answer 400 to an empty list, and to a choice among no tools.
    if not sent.get("tools"):
        sent = {name: value for name, value in sent.items() if name not in _WITH_TOOLS}
    if not sent.get("stop"):
        sent.pop("stop", None)
    return {**body, **sent}
