"""What a ChatHydra is given, which pool it speaks for, and what it says of itself."""

from __future__ import annotations

import os
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final, Literal, Self

from langchain_core.language_models import BaseChatModel
from langchain_core.language_models.base import LangSmithParams
from langchain_core.messages.utils import count_tokens_approximately
from pydantic import ConfigDict, Field, PrivateAttr, SecretStr, field_validator, model_validator

from hydra_core.registry import handle
from hydra_langchain.arguments import ALIASES, call_arguments, reject_unknown
from hydra_langchain.errors import model_errors
from hydra_langchain.from_wire import PROVIDER
from hydra_langchain.pool import KEYS_VARIABLE, ConfigSource, pool_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_core.language_models import ModelProfile
    from langchain_core.messages import BaseMessage

    from hydra_core.hydra import Hydra
    from hydra_core.registry import HydraHandle

DISTRIBUTION: Final = "hydra-llm"

_CHARS_PER_TOKEN: Final = 4  # as `count_tokens_approximately` assumes

_DEFAULTS: Final = (
    "extra_body",
    "lane",
    "max_tokens",
    "model",
    "on_exhausted",
    "priority",
    "provider",
    "stop",
    "temperature",
    "timeout",
)
"""Fields that a call falls back on."""

_NAMES: Final = {**ALIASES, "deadline": "timeout"}  # as a call and HydraLLM call it

_SHAPING: Final = ("extra_body", "lane", "max_tokens", "provider", "stop", "temperature")
"""Fields that change what a model says."""


class PooledModel(BaseChatModel):
    """The settings and the identity of a ChatHydra; its calls are in `chat_model`."""

    config: ConfigSource = Field(default=None, exclude=True, repr=False)
    model: str | None = None
    provider: str | None = None
    base_url: str | None = Field(default=None, repr=False)  # it may hold a password
    api_keys: SecretStr | None = Field(default=None, exclude=True, repr=False)
    lane: str | None = None
    swarm: Literal["auto", "off"] = "auto"
    on_exhausted: Literal["answer", "raise"] | None = None
    priority: int = 0
    temperature: float | None = None
    max_tokens: int | None = None
    timeout: float | None = None
    stop: list[str] | None = None
    max_retries: int | None = None
    streaming: bool | None = None
    extra_body: dict[str, Any] | None = None

    _known_routes: tuple[str, ...] | None = PrivateAttr(default=None)

    # A mistyped name must not print the value it came with: it may be a key.
    model_config = ConfigDict(hide_input_in_errors=True, protected_namespaces=())

    def __init__(
        self, config: ConfigSource = None, model: str | None = None, **fields: Any
    ) -> None:
        # Only what is given: pydantic remembers which fields were set.
        given: dict[str, Any] = {"config": config, "model": model}
        super().__init__(**{k: v for k, v in given.items() if v is not None}, **fields)

    @model_validator(mode="before")
    @classmethod
    def _name_fields(cls, given: dict[str, Any]) -> dict[str, Any]:
        named = {_NAMES.get(name, name): value for name, value in given.items()}
        reject_unknown(named, cls.model_fields, "ChatHydra")
        if named.get("base_url") is not None and named.get("api_keys") is None:
            named["api_keys"] = os.environ.get(KEYS_VARIABLE)
        return named

    @field_validator("config", mode="before")
    @classmethod
    def _hold_handle(cls, given: ConfigSource) -> HydraHandle | None:
        return None if given is None else handle(given)

    @field_validator("api_keys", mode="before")
    @classmethod
    def _join_keys(cls, given: Any) -> Any:
        return ",".join(given) if isinstance(given, list | tuple) else given

    @field_validator("stop", mode="before")
    @classmethod
    def _list_stop(cls, given: Any) -> Any:
        return [given] if isinstance(given, str) else given

    @model_validator(mode="after")
    def _set_hydra_version(self) -> Self:
        self._add_version(DISTRIBUTION, _version())
        return self

    @model_validator(mode="after")
    def _find_pool(self) -> Self:
        self._handle()
        return self

    def _handle(self) -> HydraHandle:
        """The pool behind this model, found anew: fields may be assigned."""
        return pool_of(
            self.config,
            provider=self.provider,
            base_url=self.base_url,
            api_keys=self.api_keys,
            model=self.model,
        )

    @property
    def hydra(self) -> Hydra:
        """The Hydra behind this model, built on first use.

        Raises ConfigError when the configuration cannot be used.
        """
        return self._handle().get()

    @property
    def model_name(self) -> str:
        """The model that is asked for; `auto` when each provider's default is."""
        return self.model or "auto"

    def __getstate__(self) -> dict[Any, Any]:
        """Without the keys: the handle finds its pool again, or says that it cannot."""
        state = super().__getstate__()
        own = {"config": self._handle(), "api_keys": None, "base_url": None}
        return {**state, "__dict__": {**state["__dict__"], **own}}

    def _resolve_model_profile(self) -> ModelProfile | None:
        groups = self.hydra.capacity(model=self.model, lane=self.lane)
        windows = [group.context_window for group in groups if group.context_window]
        outputs = [group.max_output for group in groups if group.max_output]
        found: ModelProfile = {}
        if windows:
            found["max_input_tokens"] = min(windows)
        if outputs:
            found["max_output_tokens"] = min(outputs)
        return found or None

    def get_num_tokens(self, text: str) -> int:
        """About how many tokens a text has: models of a pool have tokenizers of their own."""
        return -(-len(text) // _CHARS_PER_TOKEN)

    def get_num_tokens_from_messages(
        self, messages: list[BaseMessage], tools: Sequence[Any] | None = None
    ) -> int:
        """About how many tokens a conversation has, with the tools that are offered."""
        return count_tokens_approximately(messages, tools=list(tools) if tools else None)

    @property
    def _llm_type(self) -> str:
        return "hydra-chat"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        """What traces show and caches tell models apart by: no key, nor which one serves."""
        shown = {name: getattr(self, name) for name in _SHAPING}
        return {**shown, "model": self.model_name, "pool": self._routes()}

    def _routes(self) -> tuple[str, ...]:
        """Every `provider/model` that may serve: the same in every process, unlike an id."""
        if self._known_routes is None:
            with model_errors():
                groups = self.hydra.capacity(model=self.model, lane=self.lane)
            found = {f"{group.provider}/{group.model}" for group in groups}
            self._known_routes = tuple(sorted(found))
        return self._known_routes

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        params = LangSmithParams(
            ls_provider=PROVIDER,
            ls_model_type="chat",
            ls_model_name=str(kwargs.get("model") or self.model_name),
        )
        temperature = kwargs.get("temperature", self.temperature)
        if temperature is not None:
            params["ls_temperature"] = temperature
        max_tokens = kwargs.get("max_tokens", self.max_tokens)
        if max_tokens is not None:
            params["ls_max_tokens"] = max_tokens
        if found := stop or self.stop:
            params["ls_stop"] = found
        return params

    def _arguments(self, stop: list[str] | None, given: dict[str, Any]) -> dict[str, Any]:
        defaults = {name: getattr(self, name) for name in _DEFAULTS}
        return call_arguments(defaults, {**given, "stop": stop})


@cache
def _version() -> str:
    return version(DISTRIBUTION)
