"""A documents chain that answers from more text than one request can hold."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from langchain_core.callbacks import adispatch_custom_event, dispatch_custom_event
from langchain_core.documents import Document
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import PromptTemplate, format_document
from langchain_core.runnables import RunnableBinding, RunnableLambda, RunnablePassthrough

from hydra_core.swarm.plan import SIZES
from hydra_langchain.arguments import call_arguments
from hydra_langchain.chat_model import ChatHydra
from hydra_langchain.errors import model_errors
from hydra_langchain.from_wire import swarm_message

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from langchain_core.language_models import LanguageModelLike
    from langchain_core.output_parsers import BaseOutputParser
    from langchain_core.prompts import BasePromptTemplate
    from langchain_core.runnables import Runnable, RunnableConfig

    from hydra_core.engine.capacity import GroupCapacity
    from hydra_core.swarm.values import SwarmResult

SWARM_EVENT: Final = "hydra_swarm"
"""Custom event of every swarm: its kind, coverage, shards, tokens and ETA."""

_QUESTIONS: Final = ("input", "question", "query")
_WHOLE: Final = ("full", "cached")
_ASKED: Final = ("lane", "max_tokens", "model", "provider", "timeout")

_CHARS_PER_TOKEN: Final = 3.0
"""Fewer than usual, so that what is thought to fit one request does."""

_AROUND: Final = 300
_USUAL_OUTPUT: Final = 1_000
"""Tokens kept free for the rest of the prompt, and for an answer of unknown length."""


def create_swarm_documents_chain(
    llm: LanguageModelLike,
    prompt: BasePromptTemplate[Any],
    *,
    output_parser: BaseOutputParser[Any] | None = None,
    document_prompt: BasePromptTemplate[Any] | None = None,
    document_separator: str = "\n\n",
    document_variable_name: str = "context",
    reword: bool | None = None,
) -> Runnable[dict[str, Any], Any]:
    """Answer from documents of any length: the stuff chain where it fits, else a swarm.

    `llm` is a ChatHydra, or one with bound arguments. The input is a dict with a
    list of documents under `document_variable_name` and the prompt's other
    variables. As long as one request can hold them, the prompt is filled with
    all documents and sent once. Beyond that every key reads a part for the question
    (the input's `input`, `question` or `query`, else the prompt's other
    variables, else the prompt itself), and the swarm's answer is the answer.

    `reword` asks the prompt once more over what the swarm found, for prompts that
    want more than an answer; its tokens stream. None: when there is an output
    parser, or a variable besides context and question (a chat history) that is not
    empty. A partial answer or a notice is never reworded: it says what was not
    read. The custom event `hydra_swarm` tells coverage, shards and tokens.

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
    if reword is None and output_parser is not None:
        reword = True
    reader = _Reader(model, bound, form, prompt | llm | parser, parser, reword)
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
        asked = self._asked(inputs)
        if len(asked) == 1:
            return str(*asked.values())
        if asked:
            return "\n".join(f"{name}: {value}" for name, value in asked.items())
        # A prompt without variables asks its question itself, around the documents.
        return self.prompt.format_prompt(**{**inputs, self.variable: ""}).to_string().strip()

    def says_more(self, inputs: dict[str, Any]) -> bool:
        """True when something goes into the prompt besides the documents and the question."""
        names = {*self.prompt.input_variables, *self.prompt.optional_variables}
        return any(
            inputs.get(name) for name in names - {self.variable} - self._asked(inputs).keys()
        )

    def _asked(self, inputs: dict[str, Any]) -> dict[str, str]:
        """The inputs that make up the question."""
        others = [name for name in self.prompt.input_variables if name != self.variable]
        told = {name: inputs.get(name) for name in (*_QUESTIONS, *others)}
        texts = {
            name: text for name, text in told.items() if isinstance(text, str) and text.strip()
        }
        usual = next((name for name in _QUESTIONS if name in texts), None)
        return texts if usual is None else {usual: texts[usual]}

    def sources(self, inputs: dict[str, Any], room: int) -> list[Document]:
        """The documents for a swarm, small neighbours joined: each would cost a call of its own."""
        joined: list[Document] = []
        for text, original in zip(self.texts(inputs), inputs[self.variable], strict=True):
            if not text.strip():
                continue
            last = joined[-1] if joined else None
            if last and len(last.page_content) + len(self.separator) + len(text) <= room:
                both = f"{last.page_content}{self.separator}{text}"
                one_work = last.metadata.get("source") == original.metadata.get("source")
                joined[-1] = Document(both, metadata=last.metadata if one_work else {})
            else:
                joined.append(Document(text, metadata=original.metadata))
        return joined


@dataclass(frozen=True, slots=True)
class _Reader:
    """Chooses between one request and a swarm, and carries the swarm out."""

    model: ChatHydra
    bound: dict[str, Any]
    form: _Form
    last_call: Runnable[dict[str, Any], Any]
    parser: BaseOutputParser[Any]
    reword: bool | None

    def answer(self, inputs: dict[str, Any], config: RunnableConfig) -> Any:
        """The answer, or the Runnable that gives it: LangChain runs it and streams its tokens."""
        with model_errors():
            sources = self._sources(inputs)
            if not sources:
                return self._filled_with(self.form.context)
            question = self.form.question(inputs)
            result = self.model.hydra.swarm(question, sources, **self._target())
        dispatch_custom_event(SWARM_EVENT, _told(result), config=config)
        if self._rewords(inputs, result):
            return self._filled_with(lambda _: result.text)
        return self.parser.invoke(swarm_message(result), config)

    async def aanswer(self, inputs: dict[str, Any], config: RunnableConfig) -> Any:
        """As `answer`, on the running loop."""
        with model_errors():
            sources = self._sources(inputs)
            if not sources:
                return self._filled_with(self.form.context)
            question = self.form.question(inputs)
            result = await self.model.hydra.aswarm(question, sources, **self._target())
        await adispatch_custom_event(SWARM_EVENT, _told(result), config=config)
        if self._rewords(inputs, result):
            return self._filled_with(lambda _: result.text)
        return await self.parser.ainvoke(swarm_message(result), config)

    def _rewords(self, inputs: dict[str, Any], result: SwarmResult) -> bool:
        wanted = self.form.says_more(inputs) if self.reword is None else self.reword
        return wanted and result.kind in _WHOLE

    def _filled_with(self, context: Callable[[dict[str, Any]], str]) -> Runnable[Any, Any]:
        fill = RunnablePassthrough.assign(**{self.form.variable: context})
        return fill.with_config(run_name="format_inputs") | self.last_call

    def _sources(self, inputs: dict[str, Any]) -> list[Document]:
        """What a swarm has to read; nothing when one request can hold it all."""
        asked = self._arguments()
        # A swarm is told a model, never a provider alone: it would ask the others, too.
        one_provider = asked.get("provider") and not asked.get("model")
        if self.model.swarm == "off" or one_provider:
            return []
        groups = self.model.hydra.capacity(model=asked.get("model"), lane=asked.get("lane"))
        room = one_request(groups, reserved=_AROUND + (asked.get("max_tokens") or _USUAL_OUTPUT))
        return self.form.sources(inputs, room) if len(self.form.context(inputs)) > room else []

    def _arguments(self) -> dict[str, Any]:
        own = {name: getattr(self.model, name) for name in _ASKED}
        return call_arguments(own, self.bound)

    def _target(self) -> dict[str, Any]:
        """Where the swarm may go and how long it may take."""
        asked = self._arguments()
        if "provider" in asked and "/" not in asked.get("model", "/"):
            asked["model"] = f"{asked['provider']}/{asked['model']}"
        return {name: asked[name] for name in ("deadline", "lane", "model") if name in asked}


def one_request(groups: Sequence[GroupCapacity], *, reserved: int) -> int:
    """Characters of documents that one request can hold on a key that is free now.

    `reserved` is the tokens for the rest of the prompt and the answer. The largest
    shard of a swarm is the most: beyond it models read less well than they claim.
    """
    free = [group for group in groups if group.available_in <= 0] or groups
    tokens = max((min(SIZES[-1], _takes(group) - reserved) for group in free), default=SIZES[-1])
    return int(max(0, tokens) * _CHARS_PER_TOKEN)


def _takes(group: GroupCapacity) -> float:
    windows = [window.limit for window in group.windows if window.kind == "tokens"]
    return min([group.context_window or math.inf, *windows])


def _told(result: SwarmResult) -> dict[str, Any]:
    told: dict[str, Any] = swarm_message(result).response_metadata["hydra"]
    return told
