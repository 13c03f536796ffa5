"""Who competes: Hydra told or not told its limits, naive loops, and LiteLLM's Router.

A contender answers one request or says why not; sending again is the caller's
part (`contest`), so that every contender's surfaced errors are counted alike.
"""

from __future__ import annotations

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


@dataclass(frozen=True, slots=True)
class Target:
    """The provider as contenders are told of it: address, keys and their limits.

    `config` is Hydra's configuration. `limits` are those of each key, in the order
    of `keys`: for those who are to be told. `timeout` is how many seconds one try of
    the others may take.
    """

    base_url: str
    keys: tuple[str, ...]
    limits: tuple[Mapping[str, int], ...]
    config: Mapping[str, Any]
    timeout: float = 60.0


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

    async def ask(self, size: int, *, stream: bool = False) -> Ending:
        """One request whose prompt and answer are `size` tokens together.

        A stream is read to its end; one that breaks off after text has surfaced an error.
        """

    async def aclose(self) -> None:
        """Give up the connections."""


class ByHydra:
    """Hydra on its defaults, with the caller's patience."""

    def __init__(self, target: Target) -> None:
        self._config = dict(target.config)
        self._hydra = Hydra(self._config)

    async def warm(self) -> None:
        """Another pool asks once: modules are loaded, but the one that competes knows nothing."""
        async with Hydra(self._config) as other:
            await other.achat("warm up", max_tokens=ANSWER_TOKENS)

    async def ask(self, size: int, *, stream: bool = False) -> Ending:
        """A wait is no answer, but it says when to ask again."""
        try:
            if stream:
                return await self._read(size)
            reply = await self._hydra.achat(prompt_of(size), max_tokens=ANSWER_TOKENS)
        except HydraError as error:
            return Ending(served=False, eta=getattr(error, "eta", None), error=str(error))
        return Ending(served=reply.kind == "full", eta=reply.eta, error=reply.kind)

    async def _read(self, size: int) -> Ending:
        kind = ""
        async for chunk in self._hydra.astream(prompt_of(size), max_tokens=ANSWER_TOKENS):
            kind = chunk.kind
        return Ending(served=kind == "full", error=kind)

    async def aclose(self) -> None:
        """Close it."""
        await self._hydra.aclose()


class _Naive:
    """What both naive loops share: one client, and one try with one key."""

    def __init__(self, target: Target) -> None:
        self._url = f"{target.base_url}/chat/completions"
        self._keys = target.keys
        self._client = httpx2.AsyncClient(timeout=target.timeout)

    async def warm(self) -> None:
        """Nothing to build."""

    async def aclose(self) -> None:
        """Close the client."""
        await self._client.aclose()

    async def _try(self, key: str, size: int, *, stream: bool) -> tuple[int, bool]:
        """The status (0: no HTTP answer) and whether anything of a body was shown."""
        body = {
            "model": "fake-model",
            "max_tokens": ANSWER_TOKENS,
            "messages": [{"role": "user", "content": prompt_of(size)}],
            "stream": stream,
        }
        headers = {"authorization": f"Bearer {key}"}
        shown = False
        try:
            async with self._client.stream(
                "POST", self._url, json=body, headers=headers
            ) as response:
                async for _ in response.aiter_lines():
                    shown = stream and response.status_code == 200
                return response.status_code, shown
        except httpx2.HTTPError:
            return 0, shown


class RoundRobin(_Naive):
    """The next key for every try, and at once the next one after any failure."""

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        self._turn = 0

    async def ask(self, size: int, *, stream: bool = False) -> Ending:
        """Only a stream that broke off after its first piece surfaces."""
        while True:
            self._turn += 1
            key = self._keys[self._turn % len(self._keys)]
            status, shown = await self._try(key, size, stream=stream)
            if status == 200 or shown:
                return Ending(served=status == 200)


class InOrder(_Naive):
    """`with_fallbacks` as frameworks have it: the list from its start, every time anew."""

    async def ask(self, size: int, *, stream: bool = False) -> Ending:
        """The first key that answers; nothing is remembered of those that did not."""
        status = 0
        for key in self._keys:
            status, shown = await self._try(key, size, stream=stream)
            if status == 200 or shown:
                return Ending(served=status == 200, error=str(status))
        return Ending(served=False, error=str(status))


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
