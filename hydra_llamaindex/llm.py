"""HydraLLM: a pool of keys, providers and models where LlamaIndex expects one LLM."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, closing
from typing import TYPE_CHECKING, Any, Literal, cast

from llama_index.core.base.llms.generic_utils import (
    achat_to_completion_decorator,
    astream_chat_to_completion_decorator,
    chat_to_completion_decorator,
    stream_chat_to_completion_decorator,
)
from llama_index.core.base.llms.types import LLMMetadata
from llama_index.core.bridge.pydantic import Field, PrivateAttr, field_serializer
from llama_index.core.constants import DEFAULT_CONTEXT_WINDOW
from llama_index.core.instrumentation import get_dispatcher  # type: ignore[attr-defined]
from llama_index.core.instrumentation.events.llm import LLMPredictEndEvent, LLMPredictStartEvent
from llama_index.core.llms.loading import RECOGNIZED_LLMS

from hydra_core.registry import HydraHandle, handle
from hydra_llamaindex.arguments import PLACEHOLDER_KEY, call_options, constructor_arguments
from hydra_llamaindex.messages import reads_media, to_wire
from hydra_llamaindex.replies import StreamFold, chat_response
from hydra_llamaindex.swarm_hook import aask_swarm, ask_swarm, reworded, swarm_question
from hydra_llamaindex.tool_calling import ToolCalling

if TYPE_CHECKING:
    import os
    from collections.abc import AsyncGenerator, Generator, Mapping, Sequence

    from llama_index.core.base.llms.types import (
        ChatMessage,
        ChatResponse,
        ChatResponseAsyncGen,
        ChatResponseGen,
        CompletionResponse,
        CompletionResponseAsyncGen,
        CompletionResponseGen,
    )
    from llama_index.core.prompts import BasePromptTemplate
    from llama_index.core.types import TokenAsyncGen, TokenGen

    from hydra_core.config import HydraConfig
    from hydra_core.hydra import Hydra
    from hydra_core.messages import Chunk, Message

dispatcher = get_dispatcher(__name__)


class HydraLLM(ToolCalling):
    """Use many keys, providers and models as one LlamaIndex LLM.

        Settings.llm = HydraLLM()                        # keys from the environment
        Settings.llm = HydraLLM("hydra.toml", model="smart", lane="research")

    `config` is None, a path, a dict, a HydraConfig or a Hydra; models of one
    configuration share one Hydra, so a copy knows which keys are resting.
    `model` is a model, `provider/model`, an alias, or None for each provider's
    default. `deadline` (also as `timeout`) is seconds for a whole call, waiting
    included. `swarm="auto"` reads a context larger than one shard in parallel.

    OpenAILike's other words mean what they mean there, except that `max_retries`,
    `reuse_client` and `api_base` have no effect: Hydra owns retries and
    connections. What is given to a call wins over `additional_kwargs`, and that
    over the object's own settings. How an answer came about is in
    `response.additional_kwargs["hydra"]` and `response.raw["hydra"]`.

    Raises ConfigError for an unknown argument, and at the first call for an
    unusable configuration; calls raise the errors of `hydra_core.errors`.
    """

    config: HydraHandle = Field(description="The pool: keys, providers and models.")
    lane: str | None = Field(default=None, description="Use only keys reserved for this lane.")
    provider: str | None = Field(default=None, description="Use only this provider.")
    swarm: Literal["auto", "off"] = Field(
        default="auto", description="Read a context larger than one shard in parallel, or never."
    )
    deadline: float | None = Field(
        default=None, gt=0, description="Seconds for one whole call; None: as configured."
    )
    on_exhausted: Literal["answer", "raise"] | None = Field(
        default=None, description="With no capacity: answer honestly, or raise PoolExhausted."
    )
    priority: int = Field(default=0, description="Place among waiting calls; higher goes first.")
    api_key: str | None = Field(default=PLACEHOLDER_KEY, exclude=True, repr=False)
    context_window: int = Field(
        default=0, ge=0, description="Tokens; 0 means the smallest window of the pool."
    )
    is_chat_model: bool = True
    is_function_calling_model: bool = True

    _pool_window: int | None = PrivateAttr(default=None)

    def __init__(
        self,
        config: Hydra
        | HydraConfig
        | HydraHandle
        | Mapping[str, Any]
        | str
        | os.PathLike[str]
        | None = None,
        model: str | None = None,
        **kwargs: Any,
    ) -> None:
        arguments = constructor_arguments(kwargs, known=frozenset(type(self).model_fields))
        super().__init__(config=handle(config), model=model or "", **arguments)

    @field_serializer("config")
    def _config_reference(self, config: HydraHandle) -> Any:
        return config.reference

    @classmethod
    def class_name(cls) -> str:
        """The name under which `load_llm` finds the class."""
        return "hydra_llm"

    @property
    def hydra(self) -> Hydra:
        """The Hydra behind this model, built on first use; raises ConfigError."""
        return self.config.get()

    @property
    def metadata(self) -> LLMMetadata:
        """What LlamaIndex plans with; the window is the smallest that a call may meet."""
        return LLMMetadata(
            context_window=self.context_window or self._smallest_window(),
            num_output=self.max_tokens or -1,
            is_chat_model=self.is_chat_model,
            is_function_calling_model=self.is_function_calling_model,
            model_name=self.model or "hydra",
        )

    def _smallest_window(self) -> int:
        window = self._pool_window  # asked for once: pydantic keeps it behind a slow door
        if window is None:
            groups = self.hydra.capacity(model=self.model or None, lane=self.lane)
            known = [
                group.context_window
                for group in groups
                if group.context_window and self.provider in (None, group.provider)
            ]
            window = self._pool_window = min(known, default=DEFAULT_CONTEXT_WINDOW)
        return window

    def _options(self, per_call: Mapping[str, Any]) -> dict[str, Any]:
        own: dict[str, Any] = {
            "model": self.model or None,
            "provider": self.provider,
            "lane": self.lane,
            "deadline": self.deadline,
            "on_exhausted": self.on_exhausted,
            "priority": self.priority,
            "temperature": self.temperature,
            "max_tokens": self.max_tokens,
            "reasoning_effort": self.reasoning_effort,
            "modalities": self.modalities,
            "audio": self.audio_config,
        }
        if self.logprobs:
            own |= {"logprobs": True, "top_logprobs": self.top_logprobs}
        return call_options(own, self.additional_kwargs, per_call)

    def _chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        return chat_response(self.hydra.chat(to_wire(messages), **self._options(kwargs)))

    async def _achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        wire = await _to_wire(messages)
        return chat_response(await self.hydra.achat(wire, **self._options(kwargs)))

    def _stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseGen:
        # Nothing is leased before the first `next`: a generator that is never
        # started never runs its clean-up either.
        fold = StreamFold()
        chunks = self.hydra.stream(to_wire(messages), **self._options(kwargs))
        with closing(cast("Generator[Chunk, None, None]", chunks)) as stream:
            for chunk in stream:
                if (response := fold.add(chunk)) is not None:
                    yield response
        yield fold.end()

    async def _astream_chat(
        self, messages: Sequence[ChatMessage], **kwargs: Any
    ) -> ChatResponseAsyncGen:
        async def responses() -> ChatResponseAsyncGen:
            fold = StreamFold()
            chunks = self.hydra.astream(await _to_wire(messages), **self._options(kwargs))
            async with aclosing(cast("AsyncGenerator[Chunk, None]", chunks)) as stream:
                async for chunk in stream:
                    if (response := fold.add(chunk)) is not None:
                        yield response
            yield fold.end()

        return responses()

    def _complete(self, prompt: str, **kwargs: Any) -> CompletionResponse:
        return chat_to_completion_decorator(self._chat)(prompt, **kwargs)

    async def _acomplete(self, prompt: str, **kwargs: Any) -> CompletionResponse:
        return await achat_to_completion_decorator(self._achat)(prompt, **kwargs)

    def _stream_complete(self, prompt: str, **kwargs: Any) -> CompletionResponseGen:
        return stream_chat_to_completion_decorator(self._stream_chat)(prompt, **kwargs)

    async def _astream_complete(self, prompt: str, **kwargs: Any) -> CompletionResponseAsyncGen:
        return await astream_chat_to_completion_decorator(self._astream_chat)(prompt, **kwargs)

    def predict(self, prompt: BasePromptTemplate, **prompt_args: Any) -> str:
        """Answer a prompt; a context larger than one shard is read by a swarm."""
        question = swarm_question(self, prompt, prompt_args)
        if question is None:
            return str(super().predict(prompt, **prompt_args))
        response = ask_swarm(self, question)
        if reworded(question, response):
            return str(super().predict(prompt, **_reread(prompt_args, response)))
        return self._predicted(prompt, prompt_args, response)

    async def apredict(self, prompt: BasePromptTemplate, **prompt_args: Any) -> str:
        """As `predict`, on the running loop."""
        question = swarm_question(self, prompt, prompt_args)
        if question is None:
            return str(await super().apredict(prompt, **prompt_args))
        response = await aask_swarm(self, question)
        if reworded(question, response):
            return str(await super().apredict(prompt, **_reread(prompt_args, response)))
        return self._predicted(prompt, prompt_args, response)

    def stream(self, prompt: BasePromptTemplate, **prompt_args: Any) -> TokenGen:
        """As `predict`, token by token; a swarm's answer comes in one piece."""
        question = swarm_question(self, prompt, prompt_args)
        if question is None:
            return cast("TokenGen", super().stream(prompt, **prompt_args))
        response = ask_swarm(self, question)
        if reworded(question, response):
            again = super().stream(prompt, **_reread(prompt_args, response))
            return cast("TokenGen", again)
        text = self._predicted(prompt, prompt_args, response)
        return (token for token in (text,))

    async def astream(self, prompt: BasePromptTemplate, **prompt_args: Any) -> TokenAsyncGen:
        """As `stream`, on the running loop."""
        question = swarm_question(self, prompt, prompt_args)
        if question is None:
            return cast("TokenAsyncGen", await super().astream(prompt, **prompt_args))
        response = await aask_swarm(self, question)
        if reworded(question, response):
            again = await super().astream(prompt, **_reread(prompt_args, response))
            return cast("TokenAsyncGen", again)
        text = self._predicted(prompt, prompt_args, response)

        async def tokens() -> TokenAsyncGen:
            yield text

        return tokens()

    def _predicted(
        self, prompt: BasePromptTemplate, prompt_args: dict[str, Any], response: ChatResponse
    ) -> str:
        """The text of a swarm's answer, told to observers as a prediction of this prompt."""
        text = response.message.content or ""
        dispatcher.event(LLMPredictStartEvent(template=prompt, template_args=prompt_args))
        self._log_template_data(prompt, **prompt_args)
        dispatcher.event(LLMPredictEndEvent(output=text))
        return text


def _reread(prompt_args: dict[str, Any], response: ChatResponse) -> dict[str, Any]:
    return {**prompt_args, "context_str": response.message.content or ""}


async def _to_wire(messages: Sequence[ChatMessage]) -> list[Message]:
    """As `to_wire`, with files and downloads kept off the event loop."""
    if reads_media(messages):
        return await asyncio.to_thread(to_wire, messages)
    return to_wire(messages)


RECOGNIZED_LLMS[HydraLLM.class_name()] = HydraLLM
