"""LiteLLM's Router as a contender. Imported only when rivals are asked for.

Its arguments are those that its own documents recommend for each purpose; the
cost map is the packaged one, so nothing is fetched.
"""

from __future__ import annotations

import os
import uuid
from typing import TYPE_CHECKING, Any, Final

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
os.environ.setdefault("LITELLM_LOG", "ERROR")

from contenders import Ending, Target
from judged import ANSWER_TOKENS, prompt_of
from litellm.router import Router

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_GROUP = "pool"
_SPARE = "backup"

ARGUMENTS: Final[Mapping[str, Mapping[str, Any]]] = {
    "defaults": {},
    "tuned": {
        "retry_policy": {"RateLimitErrorRetries": 40, "DefaultRetries": 40},
        "enable_weighted_failover": True,
        "max_fallbacks": 40,
    },
    "usage-v2": {
        "routing_strategy": "usage-based-routing-v2",
        "retry_policy": {"RateLimitErrorRetries": 40, "DefaultRetries": 40},
        "enable_weighted_failover": True,
        "max_fallbacks": 40,
    },
    "faults": {
        "retry_policy": {"RateLimitErrorRetries": 40, "DefaultRetries": 40},
        "enable_weighted_failover": True,
        "num_retries": 3,
        "allowed_fails": 0,
        "fallbacks": [{_GROUP: [_SPARE]}],
    },
}
"""Arguments of `Router` beyond `model_list`, by purpose."""


def deployments(target: Target, group: str, *, limits: bool) -> list[dict[str, Any]]:
    """One entry for each key."""
    return [
        {
            "model_name": group,
            "litellm_params": {
                "model": "openai/fake-model",
                "api_base": target.base_url,
                "api_key": key,
                # Without this, `rpm` would also cap the calls at once.
                **({**_stated(own), "max_parallel_requests": 10_000} if limits else {}),
            },
            "model_info": {"id": f"{group}-{number}-{uuid.uuid4().hex[:8]}"},
        }
        for number, (key, own) in enumerate(zip(target.keys, target.limits, strict=True))
    ]


def _stated(limits: Mapping[str, int]) -> dict[str, int]:
    return {name: limits[name] for name in ("rpm", "tpm") if name in limits}


class LiteLLMRouter:
    """One Router in a process of its own."""

    def __init__(self, target: Target, purpose: str) -> None:
        models: Sequence[dict[str, Any]] = deployments(target, _GROUP, limits=purpose == "usage-v2")
        if purpose == "faults":
            models = [*models, *deployments(target, _SPARE, limits=False)]
        self._ids = [model["model_info"]["id"] for model in models]
        arguments = dict(ARGUMENTS[purpose])
        if purpose == "faults":
            arguments["timeout"] = target.timeout
        self._router = Router(model_list=list(models), **arguments)

    async def warm(self) -> None:
        """Build the client of every key by one call each."""
        for chosen in self._ids:
            await self._router.acompletion(
                model=chosen,
                messages=[{"role": "user", "content": prompt_of(ANSWER_TOKENS + 1)}],
                max_tokens=ANSWER_TOKENS,
            )

    async def ask(self, size: int, *, stream: bool = False) -> Ending:
        """Whatever it raises has surfaced."""
        try:
            reply: Any = await self._router.acompletion(
                model=_GROUP,
                messages=[{"role": "user", "content": prompt_of(size)}],
                max_tokens=ANSWER_TOKENS,
                stream=stream,
            )
            if stream:
                async for _ in reply:
                    pass
        except Exception as error:  # its errors have no common base
            return Ending(served=False, error=type(error).__name__)
        return Ending(served=True)

    async def aclose(self) -> None:
        """Its clients end with the process."""
