"""ChatHydra: one LangChain chat model over many keys, providers and models."""

from __future__ import annotations

import os
from contextlib import aclosing, closing
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from langchain_core.language_models import BaseChatModel
from langchain_core.language_models.base import LangSmithParams
from langchain_core.runnables.retry import RunnableRetry
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import ConfigDict, Field, SecretStr, field_validator, model_validator

from hydra_core.registry import HydraHandle, handle
from hydra_langchain.arguments import (
    ALIASES,
    call_arguments,
    check_call,
    reject_unknown,
)
from hydra_langchain.errors import is_worth_retrying, model_errors
from hydra_langchain.from_wire import PROVIDER, StreamReader, chat_result, combined_outputs
from hydra_langchain.pool import KEYS_VARIABLE, pool_of
from hydra_langchain.structured import (
    StructureMethod,
    ToolChoice,
    parser_for,
    response_format_for,
    tool_choice_for,
    with_raw,
)
from hydra_langchain.to_wire import openai_messages

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence

    from langchain_core.callbacks import (
        AsyncCallbackManagerForLLMRun,
        CallbackManagerForLLMRun,
    )
    from langchain_core.language_models import LanguageModelInput, ModelProfile
    from langchain_core.messages import AIMessage, BaseMessage
    from langchain_core.outputs import ChatGenerationChunk, ChatResult
    from langchain_core.runnables import Runnable
    from langchain_core.runnables.retry import ExponentialJitterParams
    from langchain_core.tools import BaseTool

    from hydra_core.config import HydraConfig
    from hydra_core.hydra import Hydra

    ConfigSource: TypeAlias = (
        Hydra | HydraConfig | HydraHandle | Mapping[str, Any] | str | os.PathLike[str] | None
    )
else:
    ConfigSource = Any  # the registry checks it, and pydantic must not copy it

_DEFAULTS = (
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


class ChatHydra(BaseChatModel):
    """Chat with a whole pool of keys as if it were one model.

    `config` is None (every key the environment offers), a dict, the path of a
    configuration file, a HydraConfig or a Hydra; equal configurations share one
    pool, also across copies. Without one, `api_keys` (comma or newline
    separated) with `base_url` or `provider` make a small pool of their own.

    `timeout` is seconds for the whole call, waiting and failover included.
    `max_retries` is accepted and has no effect: a call may use every usable
    route. `streaming=False` makes `stream()` yield whole answers. What a call is
    given goes before what the model was given; an unknown argument raises
    TypeError. `response_metadata["hydra"]` tells the way of each answer.

    Raises ConfigError if the configuration cannot be found; errors of a call are
    both Hydra's and LangChain's (`hydra_langchain.errors`).
    """

    config: ConfigSource = Field(default=None, exclude=True, repr=False)
    model: str | None = None
    provider: str | None = None
    base_url: str | None = None
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

    # A mistyped name must not print the value it came with: it may be a key.
    model_config = ConfigDict(hide_input_in_errors=True, protected_namespaces=())

    def __init__(self, config: ConfigSource = None, **fields: Any) -> None:
        if config is not None:
            fields["config"] = config
        super().__init__(**fields)

    @model_validator(mode="before")
    @classmethod
    def _name_fields(cls, given: dict[str, Any]) -> dict[str, Any]:
        named = {ALIASES.get(name, name): value for name, value in given.items()}
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
    def _set_hydra_version(self) -> ChatHydra:
        self._add_version("hydra-llm", version("hydra-llm"))
        return self

    @model_validator(mode="after")
    def _find_pool(self) -> ChatHydra:
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

    @property
    def _llm_type(self) -> str:
        return "hydra-chat"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        """What traces show and caches tell models apart by: no key, nor which one serves."""
        shown = {name: getattr(self, name) for name in _DEFAULTS}
        return {**shown, "model": self.model_name, "pool": self._handle().id}

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

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,  # noqa: ARG002
        **kwargs: Any,
    ) -> ChatResult:
        arguments = self._arguments(stop, kwargs)
        with model_errors():
            return chat_result(self.hydra.chat(openai_messages(messages), **arguments))

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,  # noqa: ARG002
        **kwargs: Any,
    ) -> ChatResult:
        arguments = self._arguments(stop, kwargs)
        with model_errors():
            return chat_result(await self.hydra.achat(openai_messages(messages), **arguments))

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        arguments = self._arguments(stop, kwargs)
        reader = StreamReader()
        with (
            model_errors(),
            closing(self.hydra.stream(openai_messages(messages), **arguments)) as chunks,
        ):
            for chunk in chunks:
                if (shown := reader.read(chunk)) is not None:
                    if run_manager:
                        run_manager.on_llm_new_token(shown.text, chunk=shown)
                    yield shown
            yield reader.end()

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        arguments = self._arguments(stop, kwargs)
        reader = StreamReader()
        with model_errors():
            async with aclosing(
                self.hydra.astream(openai_messages(messages), **arguments)
            ) as chunks:
                async for chunk in chunks:
                    if (shown := reader.read(chunk)) is not None:
                        if run_manager:
                            await run_manager.on_llm_new_token(shown.text, chunk=shown)
                        yield shown
                yield reader.end()

    def _combine_llm_outputs(self, llm_outputs: list[dict[str, Any] | None], /) -> dict[str, Any]:
        return combined_outputs(llm_outputs)

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: ToolChoice = None,
        strict: bool | None = None,
        parallel_tool_calls: bool | None = None,
        response_format: dict[str, Any] | type | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Offer tools to the model; an empty list offers none.

        `tool_choice` is a tool's name, `auto`, `none`, `any` (or True: it must call
        one), or OpenAI's own object. Raises ValueError for a name that is none of
        the tools', TypeError for an argument we do not know.
        """
        check_call(kwargs)
        if response_format is not None:
            kwargs["response_format"] = response_format_for(response_format, strict=strict)
        if not tools:
            return self.bind(**kwargs)
        formatted = [convert_to_openai_tool(tool, strict=strict) for tool in tools]
        if tool_choice:
            kwargs["tool_choice"] = tool_choice_for(tool_choice, formatted)
        if parallel_tool_calls is not None:
            kwargs["parallel_tool_calls"] = parallel_tool_calls
        return self.bind(tools=formatted, **kwargs)

    def with_structured_output(
        self,
        schema: dict[str, Any] | type | None = None,
        *,
        include_raw: bool = False,
        method: StructureMethod = "function_calling",
        strict: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, Any]:
        """Make the answers instances of `schema` (a class), or dicts of its shape.

        A forced tool call is the default because most models of a mixed pool know
        it. With `json_mode` the prompt must describe the JSON, and `schema` may be
        None. Raises ValueError for a combination that cannot work.
        """
        check_call(kwargs)
        if schema is None and method != "json_mode":
            raise ValueError(f"with_structured_output(method={method!r}) needs a schema")
        if strict is not None and method == "json_mode":
            raise ValueError("json_mode promises no schema, so strict has no meaning there")
        llm = self._shaped(schema, method, strict, kwargs)
        parser = parser_for(schema, method)
        return with_raw(llm, parser) if include_raw else llm | parser

    def _shaped(
        self,
        schema: dict[str, Any] | type | None,
        method: StructureMethod,
        strict: bool | None,
        bound: dict[str, Any],
    ) -> Runnable[LanguageModelInput, AIMessage]:
        if schema is None:
            return self.bind(response_format={"type": "json_object"}, **bound)
        traced = {"kwargs": {"method": method, "strict": strict}, "schema": schema}
        bound = {"ls_structured_output_format": traced, **bound}
        if method == "json_mode":
            return self.bind(response_format={"type": "json_object"}, **bound)
        if method == "json_schema":
            return self.bind(response_format=response_format_for(schema, strict=strict), **bound)
        # Any one tool, not this one by name: some servers know only `required`.
        bound = {"parallel_tool_calls": False, **bound}
        return self.bind_tools([schema], tool_choice="any", strict=strict, **bound)

    def with_retry(
        self,
        *,
        retry_if_exception_type: tuple[type[BaseException], ...]
        | Callable[[BaseException], bool] = is_worth_retrying,
        wait_exponential_jitter: bool = True,
        exponential_jitter_params: ExponentialJitterParams | None = None,
        stop_after_attempt: int = 3,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Retry what may succeed if sent again; an exhausted pool would not, by default."""
        return RunnableRetry(
            bound=self,
            kwargs={},
            config={},
            retry_exception_types=retry_if_exception_type,
            wait_exponential_jitter=wait_exponential_jitter,
            exponential_jitter_params=exponential_jitter_params,
            max_attempt_number=stop_after_attempt,
        )
