"""A documents chain that answers from more text than one request can hold."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from langchain_core.callbacks import adispatch_custom_event, dispatch_custom_event
from langchain_core.documents import Document
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import PromptTemplate, format_document
from langchain_core.runnables import RunnableBinding, RunnableLambda, RunnablePassthrough

from hydra_langchain.arguments import call_arguments
from hydra_langchain.chat_model import ChatHydra
from hydra_langchain.errors import model_errors
from hydra_langchain.from_wire import swarm_message

if TYPE_CHECKING:
    from collections.abc import Callable

    from langchain_core.language_models import LanguageModelLike
    from langchain_core.output_parsers import BaseOutputParser
    from langchain_core.prompts import BasePromptTemplate
    from langchain_core.runnables import Runnable, RunnableConfig

    from hydra_core.hydra import Hydra
    from hydra_core.swarm.values import SwarmResult

SWARM_EVENT: Final = "hydra_swarm"
"""Custom event of every swarm: its kind, coverage, shards, tokens and ETA."""

_QUESTIONS: Final = ("input", "question", "query")
_WHOLE: Final = ("full", "cached")


def create_swarm_documents_chain(
    llm: LanguageModelLike,
    prompt: BasePromptTemplate[Any],
    *,
    output_parser: BaseOutputParser[Any] | None = None,
    document_prompt: BasePromptTemplate[Any] | None = None,
    document_separator: str = "\n\n",
    document_variable_name: str = "context",
) -> Runnable[dict[str, Any], Any]:
    """Answer from documents of any length: the stuff chain where it fits, else a swarm.

    `llm` is a ChatHydra, or one with bound arguments. The input is a dict with a
    list of documents under `document_variable_name` and the prompt's other
    variables. As long as the documents fit one shard, the prompt is filled with
    all of them and sent once. Beyond that every key reads a part for the question
    (the input's `input`, `question` or `query`, else the prompt's other
    variables, else the prompt itself), and the prompt is filled with what they
    found. A partial answer or a notice is handed on as it is: it says what was
    not read, and one more call could leave that out. The custom event
    `hydra_swarm` tells coverage, shards and tokens.

    Raises ValueError if the prompt lacks the documents' variable, TypeError if
    there is no ChatHydra in `llm`.
    """
    if document_variable_name not in prompt.input_variables:
        raise ValueError(
            f"Prompt must accept {document_variable_name} as an input variable. "
            f"Received prompt with input variables: {prompt.input_variables}"
        )
    model, bound = _model_in(llm)
    parser = output_parser or StrOutputParser()
    form = _Form(
        prompt,
        document_prompt or PromptTemplate.from_template("{page_content}"),
        document_separator,
        document_variable_name,
    )
    reader = _Reader(model, bound, form, prompt | llm | parser, parser)
    chain = RunnableLambda(reader.answer, afunc=reader.aanswer)
    return chain.with_config(run_name="swarm_documents_chain")


def _model_in(llm: LanguageModelLike) -> tuple[ChatHydra, dict[str, Any]]:
    """The ChatHydra, and the arguments that were bound to it on the way."""
    bound: dict[str, Any] = {}
    inner: Any = llm
    while isinstance(inner, RunnableBinding):
        bound = {**inner.kwargs, **bound}
        inner = inner.bound
    if not isinstance(inner, ChatHydra):
        raise TypeError(f"a swarm needs a ChatHydra to read with, not a {type(inner).__name__}")
    return inner, bound


@dataclass(frozen=True, slots=True)
class _Form:
    """How documents and the question stand in the prompt."""

    prompt: BasePromptTemplate[Any]
    document_prompt: BasePromptTemplate[Any]
    separator: str
    variable: str

    def texts(self, inputs: dict[str, Any]) -> list[str]:
        return [format_document(each, self.document_prompt) for each in inputs[self.variable]]

    def context(self, inputs: dict[str, Any]) -> str:
        return self.separator.join(self.texts(inputs))

    def question(self, inputs: dict[str, Any]) -> str:
        for name in _QUESTIONS:
            if isinstance(asked := inputs.get(name), str) and asked.strip():
                return asked
        others = [name for name in self.prompt.input_variables if name != self.variable]
        told = [inputs[name] for name in others if isinstance(inputs.get(name), str)]
        if told:
            return "\n".join(told)
        # A prompt without variables asks its question itself, around the documents.
        return self.prompt.format_prompt(**{**inputs, self.variable: ""}).to_string().strip()

    def sources(self, inputs: dict[str, Any], shard_chars: int) -> list[Document]:
        """The documents as a swarm reads them, neighbours packed up to one shard's length."""
        packed: list[Document] = []
        for text, original in zip(self.texts(inputs), inputs[self.variable], strict=True):
            if not text.strip():
                continue
            last = packed[-1].page_content if packed else None
            if last is not None and len(last) + len(self.separator) + len(text) <= shard_chars:
                packed[-1] = Document(f"{last}{self.separator}{text}")
            else:
                packed.append(Document(text, metadata=original.metadata))
        return packed


@dataclass(frozen=True, slots=True)
class _Reader:
    """Chooses between one request and a swarm, and carries the swarm out."""

    model: ChatHydra
    bound: dict[str, Any]
    form: _Form
    last_call: Runnable[dict[str, Any], Any]
    parser: BaseOutputParser[Any]

    def answer(self, inputs: dict[str, Any], config: RunnableConfig) -> Any:
        """The answer, or the Runnable that gives it: LangChain runs it and streams its tokens."""
        with model_errors():
            hydra, question = self.model.hydra, self.form.question(inputs)
            sources = self._sources(hydra, inputs, question)
            if not sources:
                return self._filled_with(self.form.context)
            result = hydra.swarm(question, sources, **self._target())
        dispatch_custom_event(SWARM_EVENT, _told(result), config=config)
        if result.kind in _WHOLE:
            return self._filled_with(lambda _: result.text)
        return self.parser.invoke(swarm_message(result), config)

    async def aanswer(self, inputs: dict[str, Any], config: RunnableConfig) -> Any:
        """As `answer`; the documents are measured and cut in a thread."""
        with model_errors():
            hydra, question = self.model.hydra, self.form.question(inputs)
            sources = await asyncio.to_thread(self._sources, hydra, inputs, question)
            if not sources:
                return self._filled_with(self.form.context)
            result = await hydra.aswarm(question, sources, **self._target())
        await adispatch_custom_event(SWARM_EVENT, _told(result), config=config)
        if result.kind in _WHOLE:
            return self._filled_with(lambda _: result.text)
        return await self.parser.ainvoke(swarm_message(result), config)

    def _filled_with(self, context: Callable[[dict[str, Any]], str]) -> Runnable[Any, Any]:
        fill = RunnablePassthrough.assign(**{self.form.variable: context})
        return fill.with_config(run_name="format_inputs") | self.last_call

    def _sources(self, hydra: Hydra, inputs: dict[str, Any], question: str) -> list[Document]:
        """What a swarm has to read; nothing when one request can hold it all."""
        context, asked = self.form.context(inputs), self._asked()
        # A swarm is told a model, never a provider alone: it would ask the others, too.
        one_provider = asked.get("provider") and not asked.get("model")
        if self.model.swarm == "off" or one_provider or not context.strip():
            return []
        plan = hydra.plan(Document(context), question, **self._target())
        if len(context) <= plan.shard_chars:
            return []
        return self.form.sources(inputs, plan.shard_chars)

    def _asked(self) -> dict[str, Any]:
        own = {name: getattr(self.model, name) for name in ("lane", "model", "provider", "timeout")}
        return call_arguments(own, self.bound)

    def _target(self) -> dict[str, Any]:
        """Where the swarm may go and how long it may take."""
        asked = self._asked()
        if "provider" in asked and "/" not in asked.get("model", "/"):
            asked["model"] = f"{asked['provider']}/{asked['model']}"
        return {name: asked[name] for name in ("deadline", "lane", "model") if name in asked}


def _told(result: SwarmResult) -> dict[str, Any]:
    told: dict[str, Any] = swarm_message(result).response_metadata["hydra"]
    return told
