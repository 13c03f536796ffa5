"""Every way to make one call or read one stream, for the overhead benchmark.

Each client is built in a process of its own (`worker`), so that no import, thread or
callback of one is paid by another.
"""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, Final

PROMPT: Final = "Who was blind and came to the inn? Answer in one sentence. " * 4
_KEY: Final = "bench-key-value-000000"
_BODY: Final = {"model": "m", "messages": [{"role": "user", "content": PROMPT}]}
_HEADERS: Final = {"authorization": f"Bearer {_KEY}"}

Work = Callable[[], Awaitable[float]]
"""One call; its result is the seconds until the first piece of the answer."""
Builder = Callable[[str, AsyncExitStack], Awaitable[Work]]


def config(url: str, keys: int, transport: str = "auto") -> dict[str, Any]:
    """A pool of so many keys of one provider, with limits that are never reached."""
    limits = {"rpm": 1_000_000, "tpm": 100_000_000}
    return {
        "store": "memory",
        "transport": transport,
        "providers": [
            {
                "name": "bench",
                "base_url": url,
                "models": ["m"],
                "keys": [
                    {"name": f"k{n}", "value": f"bench-key-value-{n:06d}", "limits": limits}
                    for n in range(keys)
                ],
            }
        ],
    }


@dataclass(frozen=True, slots=True)
class Hydra:
    """Hydra itself: whole replies or streams."""

    keys: int
    transport: str
    stream: bool = False

    async def __call__(self, url: str, stack: AsyncExitStack) -> Work:
        from hydra_core import Hydra as Pool

        pool = await stack.enter_async_context(Pool(config(url, self.keys, self.transport)))

        async def ask() -> float:
            begun = time.perf_counter()
            await pool.achat(PROMPT)
            return time.perf_counter() - begun

        async def read() -> float:
            return await _first(pool.astream(PROMPT))

        return read if self.stream else ask


@dataclass(frozen=True, slots=True)
class Bare:
    """An HTTP client and nothing else; a stream is read line by line and decoded."""

    module: str
    stream: bool = False

    async def __call__(self, url: str, stack: AsyncExitStack) -> Work:
        import json
        from importlib import import_module

        client = await stack.enter_async_context(import_module(self.module).AsyncClient())
        where = f"{url}/chat/completions"

        async def ask() -> float:
            begun = time.perf_counter()
            response = await client.post(where, json=_BODY, headers=_HEADERS)
            response.json()
            return time.perf_counter() - begun

        async def read() -> float:
            begun, first = time.perf_counter(), 0.0
            body = {**_BODY, "stream": True}
            async with client.stream("POST", where, json=body, headers=_HEADERS) as response:
                async for line in response.aiter_lines():
                    if line.startswith("data: {"):
                        first = first or time.perf_counter() - begun
                        json.loads(line[6:])
            return first

        return read if self.stream else ask


async def _pyreqwest(url: str, stack: AsyncExitStack) -> Work:
    import orjson
    from pyreqwest.client import ClientBuilder

    client = await stack.enter_async_context(ClientBuilder().build())
    where, body = f"{url}/chat/completions", orjson.dumps(_BODY)
    headers = {**_HEADERS, "content-type": "application/json"}

    async def ask() -> float:
        begun = time.perf_counter()
        response = await client.post(where).headers(headers).body_bytes(body).build().send()
        orjson.loads((await response.bytes()).to_bytes())
        return time.perf_counter() - begun

    return ask


@dataclass(frozen=True, slots=True)
class OpenAI:
    """OpenAI's own SDK."""

    stream: bool = False

    async def __call__(self, url: str, stack: AsyncExitStack) -> Work:
        from openai import AsyncOpenAI

        client = await stack.enter_async_context(AsyncOpenAI(base_url=url, api_key=_KEY))

        async def ask() -> float:
            begun = time.perf_counter()
            await client.chat.completions.create(**_BODY)  # type: ignore[call-overload]
            return time.perf_counter() - begun

        async def read() -> float:
            begun = time.perf_counter()
            chunks = await client.chat.completions.create(stream=True, **_BODY)  # type: ignore[call-overload]
            return await _first(chunks, begun)

        return read if self.stream else ask


async def _first(chunks: Any, begun: float | None = None) -> float:
    """Read a stream to its end; the seconds until its first piece."""
    start = time.perf_counter() if begun is None else begun
    first = 0.0
    async for _ in chunks:
        first = first or time.perf_counter() - start
    return first


@dataclass(frozen=True, slots=True)
class Router:
    """LiteLLM's Router on its defaults over so many keys."""

    keys: int

    async def __call__(self, url: str, stack: AsyncExitStack) -> Work:  # noqa: ARG002
        os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
        os.environ.setdefault("LITELLM_LOG", "ERROR")
        import litellm

        entries = [
            {
                "model_name": "pool",
                "litellm_params": {
                    "model": "openai/m",
                    "api_base": url,
                    "api_key": f"bench-key-value-{number:06d}",
                },
                "model_info": {"id": f"key-{number}"},
            }
            for number in range(self.keys)
        ]
        router = litellm.Router(model_list=entries)
        for entry in entries:  # it builds the client of each key at its first use
            await router.acompletion(model=entry["model_info"]["id"], messages=_BODY["messages"])

        async def ask() -> float:
            begun = time.perf_counter()
            await router.acompletion(model="pool", messages=_BODY["messages"])
            return time.perf_counter() - begun

        return ask


@dataclass(frozen=True, slots=True)
class HydraLLM:
    """Hydra behind LlamaIndex."""

    transport: str

    async def __call__(self, url: str, stack: AsyncExitStack) -> Work:
        from llama_index.core.llms import ChatMessage

        from hydra_core import Hydra as Pool
        from hydra_llamaindex import HydraLLM as Model

        pool = await stack.enter_async_context(Pool(config(url, 8, self.transport)))
        llm = Model(pool)
        message = [ChatMessage(role="user", content=PROMPT)]
        return lambda: _timed(llm.achat(message))


async def _openai_like(url: str, stack: AsyncExitStack) -> Work:  # noqa: ARG001
    from llama_index.core.llms import ChatMessage
    from llama_index.llms.openai_like import OpenAILike

    llm = OpenAILike(model="m", api_base=url, api_key=_KEY, is_chat_model=True)
    message = [ChatMessage(role="user", content=PROMPT)]
    return lambda: _timed(llm.achat(message))


@dataclass(frozen=True, slots=True)
class ChatHydra:
    """Hydra behind LangChain."""

    transport: str

    async def __call__(self, url: str, stack: AsyncExitStack) -> Work:
        from hydra_core import Hydra as Pool
        from hydra_langchain import ChatHydra as Model

        pool = await stack.enter_async_context(Pool(config(url, 8, self.transport)))
        chat = Model(config=pool)
        return lambda: _timed(chat.ainvoke(PROMPT))


async def _chat_openai(url: str, stack: AsyncExitStack) -> Work:  # noqa: ARG001
    from langchain_openai import ChatOpenAI

    chat = ChatOpenAI(model="m", base_url=url, api_key=_KEY)  # type: ignore[arg-type]
    return lambda: _timed(chat.ainvoke(PROMPT))


async def _timed(call: Awaitable[object]) -> float:
    begun = time.perf_counter()
    await call
    return time.perf_counter() - begun


BARE: Final = "bare httpx"
CALLS: Final[Mapping[str, Builder]] = {
    BARE: Bare("httpx"),
    "bare httpx2": Bare("httpx2"),
    "bare pyreqwest": _pyreqwest,
    **{
        f"hydra {transport}, {keys} keys": Hydra(keys, transport)
        for transport in ("pyreqwest", "httpx2")
        for keys in (1, 8, 1000)
    },
    "openai SDK": OpenAI(),
}
RIVALS: Final[Mapping[str, Builder]] = {"litellm Router, 8 keys": Router(8)}
FRAMEWORKS: Final[Mapping[str, Builder]] = {
    "OpenAILike.achat": _openai_like,
    "HydraLLM.achat, pyreqwest": HydraLLM("pyreqwest"),
    "HydraLLM.achat, httpx2": HydraLLM("httpx2"),
    "ChatOpenAI.ainvoke": _chat_openai,
    "ChatHydra.ainvoke, pyreqwest": ChatHydra("pyreqwest"),
    "ChatHydra.ainvoke, httpx2": ChatHydra("httpx2"),
}
STREAMS: Final[Mapping[str, Builder]] = {
    f"{BARE}, lines": Bare("httpx", stream=True),
    "hydra pyreqwest": Hydra(8, "pyreqwest", stream=True),
    "hydra httpx2": Hydra(8, "httpx2", stream=True),
    "openai SDK": OpenAI(stream=True),
}
ALL: Final[Mapping[str, Builder]] = {
    **CALLS, **RIVALS, **FRAMEWORKS, **{f"stream: {name}": of for name, of in STREAMS.items()}
}  # fmt: skip
