"""LangChain's cache, kept from storing what is no answer.

An honest wait ("come back in 40 s") is right for a minute. LangChain stores
whatever a model returns, for good, and offers no way to say no.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_core.caches import BaseCache
from langchain_core.outputs import ChatGeneration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_core.outputs import Generation


class FullAnswersOnly(BaseCache):
    """The cache it is given, for Hydra's full answers alone."""

    def __init__(self, inner: BaseCache) -> None:
        self._inner = inner

    def lookup(self, prompt: str, llm_string: str) -> Sequence[Generation] | None:
        return self._inner.lookup(prompt, llm_string)

    async def alookup(self, prompt: str, llm_string: str) -> Sequence[Generation] | None:
        return await self._inner.alookup(prompt, llm_string)

    def update(self, prompt: str, llm_string: str, return_val: Sequence[Generation]) -> None:
        if all(map(_is_full, return_val)):
            self._inner.update(prompt, llm_string, return_val)

    async def aupdate(self, prompt: str, llm_string: str, return_val: Sequence[Generation]) -> None:
        if all(map(_is_full, return_val)):
            await self._inner.aupdate(prompt, llm_string, return_val)

    def clear(self, **kwargs: Any) -> None:
        self._inner.clear(**kwargs)

    async def aclear(self, **kwargs: Any) -> None:
        await self._inner.aclear(**kwargs)


def _is_full(generation: Generation) -> bool:
    if not isinstance(generation, ChatGeneration):
        return True
    told = generation.message.response_metadata.get("hydra") or {}
    return bool(told.get("kind", "full") == "full")
