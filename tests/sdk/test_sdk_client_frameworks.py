"""Frameworks' own OpenAI models over the clients, and what the documentation shows."""

import asyncio
import re
from pathlib import Path

import openai
import pytest
from langchain_openai import ChatOpenAI
from llama_index.core.llms import ChatMessage
from llama_index.llms.openai_like import OpenAILike

from hydra_core import Hydra
from hydra_core.testing import FakeProvider

GUIDE = Path(__file__).parents[2] / "docs" / "sdks.md"
EXAMPLES = re.findall(r"```python\n(.*?)```", GUIDE.read_text("utf-8"), flags=re.DOTALL)
BASE = "http://hydra/v1"


@pytest.fixture
def fake():
    """Two keys, the first of which is refused once."""
    with FakeProvider(["sk-canary-first-0123456789", "sk-canary-second-0123456789"]) as provider:
        provider.fail("rate_limit", key=0, times=1, retry_after=60)
        yield provider


@pytest.fixture
def hydra(fake):
    with Hydra(fake.config(strategy="priority", cache=False, max_wait=0.2)) as pool:
        yield pool


@pytest.fixture(params=["httpx", "httpx2"])
def clients(request, hydra):
    """Both clients of one library."""
    return hydra.http_client(request.param), hydra.async_http_client(request.param)


@pytest.fixture
def chat(clients):
    sync, on_loop = clients
    return ChatOpenAI(
        model="hydra", api_key="hydra", base_url=BASE, http_client=sync, http_async_client=on_loop
    )


@pytest.fixture
def like(clients):
    sync, on_loop = clients
    return OpenAILike(
        "hydra",
        api_key="hydra",
        api_base=BASE,
        is_chat_model=True,
        max_retries=0,
        http_client=sync,
        async_http_client=on_loop,
    )


def test_chat_openai_rotates(fake, chat):
    """LangChain's model is invoked and streamed over a refused key."""
    assert chat.invoke("Ahoy").content == "You said: Ahoy"
    assert "".join(chunk.content for chunk in chat.stream("Ahoy")) == "You said: Ahoy"
    assert (fake.refused, fake.served) == (1, 2)


def test_chat_openai_rotates_on_several_loops(fake, chat):
    """Its async door, on one loop after another, in batches and streams."""

    async def streamed():
        return "".join([chunk.content async for chunk in chat.astream("Ahoy")])

    for _ in range(2):
        assert [r.content for r in asyncio.run(chat.abatch(["Ahoy"] * 3))] == ["You said: Ahoy"] * 3
        assert asyncio.run(streamed()) == "You said: Ahoy"
    assert (fake.refused, fake.served) == (1, 8)


def test_openai_like_rotates(fake, like):
    """LlamaIndex's model completes and streams over a refused key."""
    assert like.complete("Ahoy").text == "You said: Ahoy"
    message = ChatMessage(role="user", content="Ahoy")
    assert [part.message.content for part in like.stream_chat([message])][-1] == "You said: Ahoy"
    assert (fake.refused, fake.served) == (1, 2)


def test_openai_like_rotates_on_several_loops(fake, like):
    """Its async door, on one loop after another."""

    async def streamed():
        return [part.text async for part in await like.astream_complete("Ahoy")][-1]

    for _ in range(2):
        assert asyncio.run(like.acomplete("Ahoy")).text == "You said: Ahoy"
        assert asyncio.run(streamed()) == "You said: Ahoy"
    assert (fake.refused, fake.served) == (1, 4)


def test_dead_keys_are_not_asked_again_by_a_framework(fake, chat, like):
    """With all keys dead, each model raises the SDK's own error after one request a key."""
    fake.clear_faults()
    fake.kill(0)
    fake.kill(1)
    with pytest.raises(openai.AuthenticationError):
        chat.invoke("Ahoy")
    with pytest.raises(openai.RateLimitError, match="pool_exhausted"):
        like.complete("Ahoy")
    assert len(fake.log) == 2


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_the_examples_of_the_guide_run(number, fake, tmp_path, monkeypatch, capsys):
    """Every example in the guide runs as it stands, with keys from the environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HYDRA_STATE_DIR", str(tmp_path))
    monkeypatch.setenv("OPENAI_API_KEYS", "sk-canary-first-0123456789,sk-canary-second-0123456789")
    monkeypatch.setenv("OPENAI_BASE_URL", fake.base_url)
    monkeypatch.setenv("OPENAI_MODELS", "fake-model")
    exec(compile(EXAMPLES[number], f"docs/sdks.md, example {number}", "exec"), {})  # noqa: S102
    assert capsys.readouterr().out == "You said: Hello\n"
    assert fake.served == 1
