"""Tools and structured output work over a refused key, whole and streamed."""

from __future__ import annotations

import pytest
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.base.llms.types import ChatMessage, ToolCallBlock
from llama_index.core.prompts import PromptTemplate
from llama_index.core.tools import FunctionTool
from pydantic import BaseModel

from hydra_llamaindex import HydraLLM

PROMPT = PromptTemplate("Who is it? {text}")
TEXT = "the cook 'Anna' is 41"


class Person(BaseModel):
    """A person on board."""

    name: str
    age: int


def sound(name: str, fathoms: int) -> str:
    """Sound the depth at a place."""
    return f"{name}: {fathoms} fathoms"


LLAMAINDEX_OWN = pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecationWarning")
TOOL = FunctionTool.from_defaults(sound)


def test_structured_output_comes_by_tool_and_by_schema(llm: HydraLLM) -> None:
    """Both ways of asking for an object give the object."""
    expected = Person(name="Anna", age=41)
    native = HydraLLM(llm.config, should_use_structured_outputs=True)
    for model in (llm, native):
        assert model.structured_predict(Person, PROMPT, text=TEXT) == expected
        assert list(model.stream_structured_predict(Person, PROMPT, text=TEXT))[-1] == expected


async def test_structured_output_comes_on_a_loop_too(llm: HydraLLM) -> None:
    """The same, asynchronously."""
    expected = Person(name="Anna", age=41)
    assert await llm.astructured_predict(Person, PROMPT, text=TEXT) == expected
    stream = await llm.astream_structured_predict(Person, PROMPT, text=TEXT)
    assert [person async for person in stream][-1] == expected


def test_a_structured_llm_wraps_the_model(llm: HydraLLM) -> None:
    """`as_structured_llm` answers every call with the object."""
    structured = llm.as_structured_llm(Person)
    assert structured.complete(TEXT).raw == Person(name="Anna", age=41)
    assert structured.chat([ChatMessage(TEXT)]).raw == Person(name="Anna", age=41)


def test_the_callers_dicts_and_history_are_left_alone(llm: HydraLLM) -> None:
    """Asking with tools adds nothing to what the caller holds."""
    history, options = [ChatMessage("before")], {"temperature": 0.5}
    llm.chat_with_tools([TOOL], user_msg="sound 'Vigo' 12", chat_history=history)
    native = HydraLLM(llm.config, should_use_structured_outputs=True)
    native.structured_predict(Person, PROMPT, llm_kwargs=options, text=TEXT)
    assert (len(history), options) == (1, {"temperature": 0.5})


def test_only_fields_that_change_the_meaning_are_sent(llm: HydraLLM) -> None:
    """`strict` and `parallel_tool_calls` are OpenAI's own; other servers may refuse them."""
    plain = llm._prepare_chat_with_tools([TOOL], user_msg="x")
    assert "strict" not in plain["tools"][0]["function"]
    assert "parallel_tool_calls" not in plain
    several = llm._prepare_chat_with_tools([TOOL, TOOL], user_msg="x", strict=True)
    assert several["tools"][0]["function"]["strict"] is True
    assert several["parallel_tool_calls"] is False
    assert llm._prepare_chat_with_tools([], user_msg="x").keys() == {"messages"}


def test_a_streamed_tool_call_is_shown_once_and_whole(llm: HydraLLM) -> None:
    """Nobody may run a tool with half an argument: the call is in the last response only."""
    responses = list(llm.stream_chat_with_tools([TOOL], user_msg="sound 'Vigo' 12"))
    shown = [[b for b in r.message.blocks if isinstance(b, ToolCallBlock)] for r in responses]
    assert not any(shown[:-1])
    assert shown[-1][0].tool_kwargs == {"name": "Vigo", "fathoms": 12}
    assert llm.get_tool_calls_from_response(responses[-1])[0].tool_name == "sound"


@LLAMAINDEX_OWN
async def test_an_agent_uses_a_tool(llm: HydraLLM) -> None:
    """A FunctionAgent calls the tool, reads its result and answers."""
    agent = FunctionAgent(tools=[TOOL], llm=llm)
    answer = await agent.run("sound 'Vigo' 12")
    assert "Vigo: 12 fathoms" in str(answer)
    assert [call.tool_kwargs for call in answer.tool_calls] == [{"name": "Vigo", "fathoms": 12}]


@LLAMAINDEX_OWN
async def test_an_agent_without_streaming_uses_a_tool(llm: HydraLLM) -> None:
    """The same through whole replies."""
    agent = FunctionAgent(tools=[TOOL], llm=llm, streaming=False)
    assert "Vigo: 12 fathoms" in str(await agent.run("sound 'Vigo' 12"))
