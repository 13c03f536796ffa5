"""Who competes: Hydra told or not told its limits, naive loops, and LiteLLM's Router.

A contender answers one request or says why not; sending again is the caller's
part (`contest`), so that every contender's surfaced errors are counted alike.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

import httpx2
from judged import ANSWER_TOKENS, prompt_of

from hydra_core import Hydra
from hydra_core.errors import HydraError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

HORIZON: Final = 3600.0
"""Provider seconds: a caller who is told to come back later than that goes home."""
_QUICK = 20.0


@dataclass(frozen=True, slots=True)
class Target:
    """The provider as contenders are told of it: address, keys and their limits.

    `config` is Hydra's configuration. `limits` are those of each key, in the order
    of `keys`: for those who are to be told.
    """

    base_url: str
    keys: tuple[str, ...]
    limits: tuple[Mapping[str, int], ...]
    config: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Ending:
    """How one request ended. `eta`: seconds until it may be sent again, where it was told."""

    served: bool
    eta: float | None = None
    error: str = ""


class Contender(Protocol):
    """One way of using many keys. Built in the process in which it competes."""

    async def warm(self) -> None:
        """Build what is built lazily; the judge forgets all of it afterwards."""

    async def ask(self, size: int) -> Ending:
        """One request whose prompt and answer are `size` tokens together."""

    async def aclose(self) -> None:
        """Give up the connections."""


class ByHydra:
    """Hydra on its defaults, with the caller's patience."""

    def __init__(self, target: Target) -> None:
        self._hydra = Hydra(dict(target.config))

    async def warm(self) -> None:
        """Nothing: what Hydra builds lazily is part of its makespan."""

    async def ask(self, size: int) -> Ending:
        """A wait is no answer, but it says when to ask again."""
        try:
            reply = await self._hydra.achat(prompt_of(size), max_tokens=ANSWER_TOKENS)
        except HydraError as error:
            return Ending(served=False, eta=getattr(error, "eta", None), error=str(error))
        return Ending(served=reply.kind == "full", eta=reply.eta, error=reply.kind)

    async def aclose(self) -> None:
        """Close it."""
        await self._hydra.aclose()


class RoundRobin:
    """The next key for every try, and at once the next one after a refusal."""

    def __init__(self, target: Target) -> None:
        self._url = f"{target.base_url}/chat/completions"
        self._keys = target.keys
        self._turn = 0
        self._client = httpx2.AsyncClient(timeout=_QUICK)

    async def warm(self) -> None:
        """Nothing to build."""

    async def ask(self, size: int) -> Ending:
        """Any answer but a refusal for its rate ends the request."""
        body = {
            "model": "fake-model",
            "max_tokens": ANSWER_TOKENS,
            "messages": [{"role": "user", "content": prompt_of(size)}],
        }
        while True:
            self._turn += 1
            key = self._keys[self._turn % len(self._keys)]
            with suppress(httpx2.HTTPError):
                response = await self._client.post(
                    self._url, json=body, headers={"authorization": f"Bearer {key}"}
                )
                if response.status_code != 429:
                    return Ending(served=response.status_code == 200)

    async def aclose(self) -> None:
        """Close the client."""
        await self._client.aclose()


class InOrder:
    """`with_fallbacks` as frameworks have it: the list from its start, every time anew."""

    def __init__(self, target: Target) -> None:
        self._url = f"{target.base_url}/chat/completions"
        self._keys = target.keys
        self._client = httpx2.AsyncClient(timeout=_QUICK)

    async def warm(self) -> None:
        """Nothing to build."""

    async def ask(self, size: int) -> Ending:
        """The first key that answers; nothing is remembered of those that did not."""
        body = {
            "model": "fake-model",
            "max_tokens": ANSWER_TOKENS,
            "messages": [{"role": "user", "content": prompt_of(size)}],
        }
        said = ""
        for key in self._keys:
            try:
                response = await self._client.post(
                    self._url, json=body, headers={"authorization": f"Bearer {key}"}
                )
            except httpx2.HTTPError as error:
                said = type(error).__name__
                continue
            if response.status_code == 200:
                return Ending(served=True)
            said = f"status {response.status_code}"
        return Ending(served=False, error=said)

    async def aclose(self) -> None:
        """Close the client."""
        await self._client.aclose()


def _router(arguments: str) -> Callable[[Target], Contender]:
    def build(target: Target) -> Contender:
        from litellm_router import LiteLLMRouter  # seconds of import, and an optional package

        return LiteLLMRouter(target, arguments)

    return build


HYDRA: Final = "hydra, told"
UNTOLD: Final = "hydra, untold"

CONTENDERS: Final[Mapping[str, Callable[[Target], Contender]]] = {
    HYDRA: ByHydra,
    UNTOLD: ByHydra,
    f"{UNTOLD}, headers": ByHydra,
    "round-robin": RoundRobin,
    "in order": InOrder,
    "router, defaults": _router("defaults"),
    "router, tuned": _router("tuned"),
    "router, usage-v2": _router("usage-v2"),
    "router, faults": _router("faults"),
}


def patience(scale: float, **overrides: object) -> dict[str, object]:
    """Hydra's settings where the caller would rather wait, up to `HORIZON`, than be told to."""
    most = HORIZON * scale
    return {"max_wait": most, "timeout": most, "cache": False, **overrides}
