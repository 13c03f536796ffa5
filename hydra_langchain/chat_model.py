"""ChatHydra: one LangChain chat model over many keys, providers and models."""

from __future__ import annotations

from contextlib import aclosing, closing
from typing import TYPE_CHECKING, Any, cast

from langchain_core.caches import BaseCache
from langchain_core.globals import get_llm_cache
from langchain_core.runnables.retry import RunnableRetry
from langchain_core.utils.function_calling import convert_to_openai_tool

from hydra_langchain.arguments import check_call
from hydra_langchain.cache import FullAnswersOnly
from hydra_langchain.errors import is_worth_retrying, model_errors
from hydra_langchain.from_wire import StreamReader, chat_result, combined_outputs
from hydra_langchain.pooled import PooledModel
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
    from collections.abc import (
        AsyncGenerator,
        AsyncIterator,
        Callable,
        Generator,
        Iterator,
        Sequence,
    )

    from langchain_core.callbacks import (
        AsyncCallbackManagerForLLMRun,
        CallbackManagerForLLMRun,
    )
    from langchain_core.language_models import LanguageModelInput
    from langchain_core.messages import AIMessage, BaseMessage
    from langchain_core.outputs import ChatGenerationChunk, ChatResult
    from langchain_core.runnables import Runnable
    from langchain_core.runnables.retry import ExponentialJitterParams
    from langchain_core.tools import BaseTool

    from hydra_core.messages import Chunk


class ChatHydra(PooledModel):
    """Chat with a whole pool of keys as if it were one model.

    `config` is None (every key the environment offers), a dict, the path of a
    configuration file, a HydraConfig or a Hydra; equal configurations share one
    pool, also across copies. Without one, `api_keys` (comma or newline
    separated) with `base_url` or `provider` make a small pool of their own.

    `timeout` (also as `deadline`) is seconds for the whole call, waiting and failover included.
    `max_retries` is accepted and has no effect: a call may use every usable
    route. `streaming=False` makes `stream()` yield whole answers. What a call is
    given goes before what the model was given; an unknown argument raises
    UnknownArgument. `response_metadata["hydra"]` tells the way of each answer.

    Raises ConfigError if the configuration cannot be found; errors of a call are
    both Hydra's and LangChain's (`hydra_langchain.errors`).
    """

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
        with model_errors(), closing(self._chunks(messages, arguments)) as chunks:
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
            async with aclosing(self._achunks(messages, arguments)) as chunks:
                async for chunk in chunks:
                    if (shown := reader.read(chunk)) is not None:
                        if run_manager:
                            await run_manager.on_llm_new_token(shown.text, chunk=shown)
                        yield shown
                yield reader.end()

    # Generators, though announced as iterators: closing them is what frees the key's slot.
    def _chunks(
        self, messages: list[BaseMessage], arguments: dict[str, Any]
    ) -> Generator[Chunk, None, None]:
        chunks = self.hydra.stream(openai_messages(messages), **arguments)
        return cast("Generator[Chunk, None, None]", chunks)

    def _achunks(
        self, messages: list[BaseMessage], arguments: dict[str, Any]
    ) -> AsyncGenerator[Chunk, None]:
        chunks = self.hydra.astream(openai_messages(messages), **arguments)
        return cast("AsyncGenerator[Chunk, None]", chunks)

    def _generate_with_cache(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        generate = super(ChatHydra, self._guarding_cache())._generate_with_cache
        return generate(messages, stop=stop, run_manager=run_manager, **kwargs)

    async def _agenerate_with_cache(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        generate = super(ChatHydra, self._guarding_cache())._agenerate_with_cache
        return await generate(messages, stop=stop, run_manager=run_manager, **kwargs)

    def _guarding_cache(self) -> ChatHydra:
        """This model, or where a cache is in use a copy of it whose cache takes answers only."""
        inner = self.cache if isinstance(self.cache, BaseCache) else get_llm_cache()
        if self.cache is False or inner is None:
            return self
        return self.model_copy(update={"cache": FullAnswersOnly(inner)})

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
        the tools', UnknownArgument for one we do not know.
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
