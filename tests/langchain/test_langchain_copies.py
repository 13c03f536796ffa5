"""Copies of a ChatHydra: every way LangChain makes them, and then a call."""

import asyncio
import copy
import pickle

import pytest
from langchain_core.runnables import ConfigurableField
from pydantic import ValidationError

from hydra_core import registry
from hydra_core.errors import ConfigError
from hydra_langchain import ChatHydra

COPIES = {
    "pickle": lambda chat: pickle.loads(pickle.dumps(chat)),  # noqa: S301
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "model_copy": lambda chat: chat.model_copy(deep=True),
}


@pytest.mark.parametrize("make", COPIES.values(), ids=COPIES.keys())
@pytest.mark.parametrize("used", [False, True])
def test_a_copy_knows_which_keys_rest(chat, fake, make, used):
    """A copy, made before or after the first call, is the same pool and works."""
    if used:
        chat.invoke("first")
    twin = make(chat)
    assert twin.hydra is chat.hydra
    assert twin.invoke("hello").content == "You said: hello"
    assert asyncio.run(twin.ainvoke("hello")).content == "You said: hello"
    assert [call.status for call in fake.log].count(429) <= 1


def test_configured_fields_share_the_pool(chat):
    """`configurable_fields` builds a new model for each call; the pool stays one."""
    configurable = chat.configurable_fields(max_tokens=ConfigurableField(id="limit"))
    bound = configurable.with_config(configurable={"limit": 3})
    assert bound.invoke("one two three four five").response_metadata["finish_reason"] == "length"
    assert len(list(bound.stream("one two three four five"))) > 1
    rebuilt, _ = configurable._prepare({"configurable": {"limit": 3}})
    assert rebuilt.hydra is chat.hydra


def test_configured_alternatives_work(chat, fake):
    """Another ChatHydra may stand in by configuration."""
    other = ChatHydra(fake.config(cache=False), max_tokens=1)
    both = chat.configurable_alternatives(ConfigurableField(id="llm"), short=other)
    short = both.with_config(configurable={"llm": "short"}).invoke("one two three four five")
    assert short.response_metadata["finish_reason"] == "length"


def test_loops_may_come_and_go(chat):
    """Each `asyncio.run` has its own loop, and calls in all of them work."""
    answers = [asyncio.run(chat.ainvoke(word)).content for word in "abc"]
    assert answers == ["You said: a", "You said: b", "You said: c"]


def test_inline_keys_do_not_travel(chat):
    """In another process a pickled model says that its keys did not come along."""
    data = pickle.dumps(chat)
    registry.forget()
    with pytest.raises(ConfigError, match="another process"):
        pickle.loads(data)  # noqa: S301


def test_a_mistyped_setting_is_named():
    """A typo in the constructor names itself and its correction, never a value."""
    with pytest.raises(ConfigError, match="'temperatur'; did you mean 'temperature'") as caught:
        ChatHydra(temperatur=0.5, api_key="sk-secret")
    assert "sk-secret" not in str(caught.value)
    with pytest.raises(ValidationError) as wrong:
        ChatHydra(max_tokens="sk-secret")
    assert "sk-secret" not in str(wrong.value)


def test_keys_without_an_owner_are_refused(fake):
    """Bare keys need a provider; a configuration and keys beside it are ambiguous."""
    with pytest.raises(ConfigError, match="whose they are"):
        ChatHydra(api_keys="a,b")
    with pytest.raises(ConfigError, match="both config and api_keys"):
        ChatHydra(fake.config(), api_keys="a,b")


def test_bare_keys_make_a_pool(fake):
    """A base URL and keys, separated by commas or lines, are enough."""
    fake.clear_faults()
    keys = "sk-canary-0123456789abcdef-1,\n sk-canary-0123456789abcdef-2"
    chat = ChatHydra(base_url=fake.base_url, api_key=keys, model_name="fake-model")
    assert chat.invoke("hi").content == "You said: hi"
    assert chat.model_name == chat.model == "fake-model"
    assert len(chat.hydra.health()["providers"]["custom"]["keys"]) == 2
