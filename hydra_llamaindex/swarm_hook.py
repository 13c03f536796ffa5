"""A swarm where a response synthesizer asks about more context than one call reads well.

Synthesizers, and nothing else that must stay whole, hand over a prompt that
already holds `query_str` together with a `context_str`; evaluators look alike,
so the length decides as well.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from llama_index.core.base.llms.types import ChatMessage, ChatResponse
from llama_index.core.constants import DEFAULT_NUM_OUTPUTS
from llama_index.core.llms.callbacks import llm_chat_callback
from llama_index.core.prompts.default_prompt_selectors import (
    DEFAULT_TEXT_QA_PROMPT_SEL,
    DEFAULT_TREE_SUMMARIZE_PROMPT_SEL,
)
from llama_index.core.utils import get_tokenizer

from hydra_core.swarm.document import Document
from hydra_llamaindex.messages import assistant_message
from hydra_llamaindex.replies import ROUTE_KEY, usage_counts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from llama_index.core.prompts import BasePromptTemplate

    from hydra_core.swarm.values import SwarmResult
    from hydra_llamaindex.llm import HydraLLM

SHARD_TOKENS: Final = 16_000
"""A context up to this size is one call's work even where the window is larger."""

_CHARS_PER_TOKEN: Final = (1, 8)  # no text that is read has fewer or more


@dataclass(frozen=True, slots=True)
class SwarmQuestion:
    """A question, the text to read for it, and whether the prompt has words of its own."""

    text: str
    source: str
    own_words: bool


def swarm_question(
    llm: HydraLLM, prompt: BasePromptTemplate, arguments: Mapping[str, Any]
) -> SwarmQuestion | None:
    """The question for a swarm, or None when the prompt is one call's work.

    A prompt with an output parser is left alone: its format is not the swarm's.
    """
    query, context = prompt.kwargs.get("query_str"), arguments.get("context_str")
    parsed = prompt.output_parser is not None or llm.output_parser is not None
    one_provider = llm.provider is not None and not llm.model
    if llm.swarm == "off" or query is None or not isinstance(context, str) or parsed:
        return None
    if one_provider or not _exceeds(context, _one_call(llm)):
        return None
    return SwarmQuestion(str(query), context, own_words=_own_words(llm, prompt))


def ask_swarm(llm: HydraLLM, question: SwarmQuestion) -> ChatResponse:
    """Read the source in parallel; observers see one LLM event with the swarm's usage."""

    @llm_chat_callback()
    def chat(model: HydraLLM, messages: Sequence[ChatMessage]) -> ChatResponse:  # noqa: ARG001
        document = Document.of(question.source)
        return _response(model.hydra.swarm(question.text, document, **_options(model)))

    response: ChatResponse = chat(llm, [ChatMessage(question.text)])
    return response


async def aask_swarm(llm: HydraLLM, question: SwarmQuestion) -> ChatResponse:
    """As `ask_swarm`, on the running loop."""

    @llm_chat_callback()
    async def chat(model: HydraLLM, messages: Sequence[ChatMessage]) -> ChatResponse:  # noqa: ARG001
        document = Document.of(question.source)
        return _response(await model.hydra.aswarm(question.text, document, **_options(model)))

    response: ChatResponse = await chat(llm, [ChatMessage(question.text)])
    return response


def reworded(question: SwarmQuestion, response: ChatResponse) -> bool:
    """True when the prompt's own words should be asked over what the swarm has read.

    A partial answer or a notice goes to the reader as it is: it says what was not
    read, and a further call could leave that out.
    """
    return question.own_words and response.additional_kwargs[ROUTE_KEY]["kind"] in (
        "full",
        "cached",
    )


def _one_call(llm: HydraLLM) -> int:
    """Tokens of context that one call may take: what LlamaIndex's own packing allows, at most."""
    room = llm.metadata.context_window - (llm.max_tokens or DEFAULT_NUM_OUTPUTS)
    return max(1, min(SHARD_TOKENS, room))


def _exceeds(text: str, tokens: int) -> bool:
    """Counted with LlamaIndex's tokenizer, as its packing is, but only where it matters."""
    fewest, most = _CHARS_PER_TOKEN
    if len(text) <= tokens * fewest:
        return False
    return len(text) > tokens * most or len(get_tokenizer()(text)) > tokens


def _own_words(llm: HydraLLM, prompt: BasePromptTemplate) -> bool:
    usual = (DEFAULT_TEXT_QA_PROMPT_SEL, DEFAULT_TREE_SUMMARIZE_PROMPT_SEL)
    template = prompt.get_template(llm=llm)
    return bool(llm.system_prompt) or all(template != each.get_template(llm=llm) for each in usual)


def _options(llm: HydraLLM) -> dict[str, Any]:
    model = llm.model or None
    if model and llm.provider and "/" not in model:
        model = f"{llm.provider}/{model}"
    return {"model": model, "lane": llm.lane, "deadline": llm.deadline}


def _response(result: SwarmResult) -> ChatResponse:
    route = {
        "kind": result.kind,
        "coverage": result.coverage,
        "eta": result.eta,
        "age": result.age,
        "shards": len(result.shards),
        "citations": [asdict(citation) for citation in result.citations],
        "resume_token": result.resume_token,
    }
    counts = usage_counts(result.usage)
    return ChatResponse(
        message=assistant_message(result.text),
        raw={"usage": counts, ROUTE_KEY: route},
        additional_kwargs={**counts, ROUTE_KEY: route},
    )
