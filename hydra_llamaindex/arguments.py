"""Which words a HydraLLM takes, what becomes of them, and what is refused with a remedy."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any, Final

from hydra_core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

PLACEHOLDER_KEY: Final = "kept-by-hydra"
"""Stands in OpenAILike's `api_key`, which would otherwise read OPENAI_API_KEY and show it."""

_NO_SERVER: Final = "http://hydra/v1"
_DEFAULTS: Final[Mapping[str, Any]] = {
    "max_retries": 0,
    "timeout": 0.0,
    "api_base": _NO_SERVER,
    "api_version": "",
}
_OWN_CONNECTIONS: Final = "Hydra makes its own connections; see `transport` in its configuration"
_OWN_KEYS: Final = (
    "keys belong to the configuration: HydraLLM(config={'providers': [{'name': ..., 'keys': "
    "[{'env': ...}]}]}), a file, or the environment"
)
_REFUSED: Final = {
    "api_keys": _OWN_KEYS,
    "http_client": _OWN_CONNECTIONS,
    "async_http_client": _OWN_CONNECTIONS,
    "openai_client": _OWN_CONNECTIONS,
    "async_openai_client": _OWN_CONNECTIONS,
    "default_headers": "headers belong to a provider of the configuration",
    "extra_headers": "headers belong to a provider of the configuration",
}
_NOT_SENT: Final = frozenset({"stream", "stream_options", "use_chat_completions"})


def constructor_arguments(given: Mapping[str, Any], *, known: frozenset[str]) -> dict[str, Any]:
    """OpenAILike's constructor arguments, with Hydra's defaults where nothing was given.

    OpenAILike drops an unknown word without a sound; here it is a ConfigError
    that names it and, where one is near, the word that was meant.
    """
    arguments = {**_DEFAULTS, **given}
    _refuse(arguments)
    if arguments.pop("api_key", PLACEHOLDER_KEY) not in (PLACEHOLDER_KEY, None):
        raise ConfigError(f"api_key: {_OWN_KEYS}")
    if "max_new_tokens" in arguments:
        arguments["max_tokens"] = arguments.pop("max_new_tokens")
    for name in sorted(arguments.keys() - known):
        near = difflib.get_close_matches(name, known, n=1)
        meant = f"did you mean {near[0]!r}?" if near else "is it a field of the request?"
        raise ConfigError(
            f"HydraLLM knows no argument {name!r}; {meant} "
            f"Fields of the request go into additional_kwargs={{{name!r}: ...}}"
        )
    if timeout := arguments["timeout"]:
        arguments["timeout"] = _DEFAULTS["timeout"]
        if arguments.get("deadline") is None:
            arguments["deadline"] = timeout
    return {**arguments, "api_key": PLACEHOLDER_KEY}


def call_options(
    own: Mapping[str, Any], additional: Mapping[str, Any], per_call: Mapping[str, Any]
) -> dict[str, Any]:
    """The options of one call to Hydra: the call's word wins, then `additional_kwargs`, then ours.

    The SDK's `timeout` and `extra_body` are read as what they mean. A value of
    None leaves the field out. Raises ConfigError for words that cannot be honoured.
    """
    options = {**own, **additional, **per_call}
    _refuse(options)
    timeout = options.pop("timeout", None)
    if per_call.get("deadline") is None and timeout is not None:
        options["deadline"] = timeout
    body = options.pop("extra_body", None) or {}
    return {
        name: value
        for name, value in {**options, **body}.items()
        if value is not None and name not in _NOT_SENT
    }


def _refuse(words: Mapping[str, Any]) -> None:
    for name, remedy in _REFUSED.items():
        if words.get(name) is not None:
            raise ConfigError(f"{name}: {remedy}")
