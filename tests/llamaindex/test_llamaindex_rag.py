"""Query engines, chat engines and the swarm behind them, unchanged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from llama_index.core import (
    Document,
    MockEmbedding,
    PromptHelper,
    PromptTemplate,
    VectorStoreIndex,
)
from llama_index.core.callbacks import CallbackManager, TokenCountingHandler
from llama_index.core.prompts.default_prompt_selectors import DEFAULT_TEXT_QA_PROMPT_SEL
from llama_index.core.response_synthesizers import ResponseMode, get_response_synthesizer
from llama_index.core.schema import NodeWithScore, TextNode

from hydra_core import registry
from hydra_core.testing import ExtractiveModel, FakeProvider
from hydra_llamaindex import HydraLLM

if TYPE_CHECKING:
    from collections.abc import Iterator

CANARIES = ("fk-canary-first-0123456789", "fk-canary-second-0123456789")
FACTS = [f"The anchor weighs 412 pounds, said the {who}." for who in ("mate", "cook", "smith")]
QUESTION = "How many pounds does the anchor weigh?"
MODES = [ResponseMode.COMPACT, ResponseMode.REFINE, ResponseMode.TREE_SUMMARIZE]
FILLER = "The sea was calm and nothing was seen from the deck until the evening came. "


@pytest.fixture
def reader() -> Iterator[FakeProvider]:
    """A provider whose model answers from the prompt only; its first key is refused once."""
    with FakeProvider(CANARIES, answer=ExtractiveModel()) as served:
        served.fail("rate_limit", key=0, times=1)
        yield served


@pytest.fixture
def library(reader: FakeProvider) -> Iterator[HydraLLM]:
    yield HydraLLM(reader.config(strategy="priority", cache=False))
    registry.forget()


def index() -> VectorStoreIndex:
    documents = [Document(text=fact) for fact in FACTS]
    return VectorStoreIndex.from_documents(documents, embed_model=MockEmbedding(embed_dim=8))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("streaming", [False, True])
def test_a_query_engine_answers(mode: ResponseMode, streaming: bool, library: HydraLLM) -> None:
    """Every response mode works over the pool, whole and streamed."""
    engine = index().as_query_engine(
        llm=library, response_mode=mode, streaming=streaming, similarity_top_k=3
    )
    assert "412" in str(engine.query(QUESTION))


@pytest.mark.parametrize("mode", MODES)
async def test_a_query_engine_answers_on_a_loop(mode: ResponseMode, library: HydraLLM) -> None:
    """The same through `aquery`."""
    engine = index().as_query_engine(llm=library, response_mode=mode, similarity_top_k=3)
    assert "412" in str(await engine.aquery(QUESTION))


@pytest.mark.parametrize("mode", ["context", "condense_plus_context", "condense_question"])
def test_a_chat_engine_answers_twice(mode: str, library: HydraLLM) -> None:
    """A conversation keeps its history and its pool."""
    engine = index().as_chat_engine(chat_mode=mode, llm=library, similarity_top_k=3)
    assert "412" in str(engine.chat(QUESTION))
    assert str(engine.chat("And who said so?"))


def ask(llm: HydraLLM, counter: TokenCountingHandler, **options: Any) -> str:
    """Three nodes that together are far more than a shard, in one window that would take them."""
    synthesizer = get_response_synthesizer(
        llm=llm,
        callback_manager=CallbackManager([counter]),
        prompt_helper=PromptHelper(context_window=400_000),
        **options,
    )
    texts = [FILLER * 700 + fact + " " + FILLER * 700 for fact in FACTS]
    nodes = [NodeWithScore(node=TextNode(text=text)) for text in texts]
    return str(synthesizer.synthesize(QUESTION, nodes=nodes))


@pytest.mark.parametrize("streaming", [False, True])
def test_a_large_context_is_read_by_a_swarm(
    streaming: bool, library: HydraLLM, reader: FakeProvider
) -> None:
    """Nothing but the model changes, and the answer rests on shards read in parallel."""
    counter = TokenCountingHandler()
    assert "412" in ask(library, counter, streaming=streaming)
    assert len(counter.llm_token_counts) == 1
    assert reader.served > 2
    assert all(record.prompt_tokens < 32_000 for record in reader.log)


def test_a_template_of_ones_own_is_asked_over_what_the_swarm_read(library: HydraLLM) -> None:
    """The words of a custom prompt are kept: it is asked again with the swarm's reading."""
    own = PromptTemplate("Context:\n{context_str}\nBe brief.\n\nQuestion: {query_str}")
    counter = TokenCountingHandler()
    assert "412" in ask(library, counter, text_qa_template=own)
    swarm, again = counter.llm_token_counts
    assert swarm.prompt_token_count > 16_000 > again.prompt_token_count
    assert "Be brief." in again.prompt


def test_the_swarm_can_be_switched_off(library: HydraLLM, reader: FakeProvider) -> None:
    """`swarm="off"` sends the context as it is."""
    quiet = HydraLLM(library.config, swarm="off")
    ask(quiet, TokenCountingHandler())
    assert max(record.prompt_tokens for record in reader.log) > 32_000


def test_prompts_that_must_stay_whole_are_left_alone(
    library: HydraLLM, reader: FakeProvider
) -> None:
    """A context without a question in the prompt itself is no question for a swarm."""
    prompt = PromptTemplate("{context_str}\n{query_str}")
    library.predict(prompt, context_str=FILLER * 2000, query_str=QUESTION)
    assert [record.status for record in reader.log] == [429, 200]


async def test_a_swarm_reads_on_a_loop(library: HydraLLM, reader: FakeProvider) -> None:
    """`apredict` and `astream` start the asynchronous swarm."""
    prompt = DEFAULT_TEXT_QA_PROMPT_SEL.partial_format(query_str=QUESTION)
    context = FILLER * 900 + FACTS[0] + FILLER * 900
    assert "412" in await library.apredict(prompt, context_str=context)
    stream = await library.astream(prompt, context_str=context)
    assert "412" in "".join([token async for token in stream])
    assert all(record.prompt_tokens < 32_000 for record in reader.log)
