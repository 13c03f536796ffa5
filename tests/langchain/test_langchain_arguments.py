"""What a call of ChatHydra may be given."""

import pytest

from hydra_core.testing import FakeProvider
from hydra_langchain import ChatHydra
from hydra_langchain.arguments import call_arguments


def test_a_mistyped_argument_is_named_with_its_correction():
    """A typo raises TypeError that names it and what was probably meant."""
    with pytest.raises(TypeError, match=r"'temperatur'; did you mean 'temperature'\?"):
        call_arguments({}, {"temperatur": 0.1})


def test_the_call_goes_before_the_model():
    """What a call is given wins over the model's defaults; what it leaves out is kept."""
    sent = call_arguments({"temperature": 0.9, "lane": "bc3"}, {"temperature": 0.0})
    assert sent == {"temperature": 0.0, "lane": "bc3"}


def test_timeout_is_the_deadline_of_the_whole_call():
    """`timeout` becomes the deadline unless a deadline is given beside it."""
    assert call_arguments({"timeout": 60.0}, {}) == {"deadline": 60.0}
    assert call_arguments({"timeout": 60.0}, {"deadline": 5.0}) == {"deadline": 5.0}
    assert call_arguments({"timeout": 60.0}, {"timeout": 7.0}) == {"deadline": 7.0}


@pytest.mark.parametrize("tools", [None, []])
def test_no_tools_means_no_word_of_tools(tools):
    """Without tools the request speaks neither of tools nor of a choice among them."""
    given = {"tools": tools, "tool_choice": "required", "parallel_tool_calls": False, "stop": []}
    assert call_arguments({}, given) == {}


def test_extra_body_may_not_repeat_a_known_argument():
    """A known argument hidden in `extra_body` would override silently, so it is refused."""
    with pytest.raises(ValueError, match="extra_body repeats 'model'"):
        call_arguments({}, {"extra_body": {"model": "m"}})


def test_extra_body_of_model_and_call_are_joined():
    """Fields of one provider alone reach the body, the call's own before the model's."""
    sent = call_arguments({"extra_body": {"a": 1, "b": 1}}, {"extra_body": {"b": 2}})
    assert sent == {"a": 1, "b": 2}


def test_other_models_words_are_understood():
    """Names that users bring from other chat models mean what they meant there."""
    given = {"max_completion_tokens": 5, "stop_sequences": ["x"], "request_timeout": 3}
    assert call_arguments({}, given) == {"max_tokens": 5, "stop": ["x"], "deadline": 3}


def test_a_model_takes_a_deadline_as_a_call_does():
    """`deadline=` of a ChatHydra is its `timeout`: seconds for each whole call."""
    with FakeProvider(["key-canary-1"], latency=30.0) as slow:
        model = ChatHydra(slow.config(store="memory"), deadline=0.2)
        assert model.timeout == 0.2
        assert model.invoke("hello").response_metadata["hydra"]["kind"] == "wait"
