"""Azure OpenAI: OpenAI's dialect at other addresses, with a key header of its own."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from hydra_core.dialects.openai import OpenAIDialect

if TYPE_CHECKING:
    from hydra_core.messages import ChatRequest
    from hydra_core.wire import Target, WireRequest

# The stable version of the dated API; a base URL with `?api-version=` overrides it.
API_VERSION: Final = "2024-10-21"


class AzureDialect(OpenAIDialect):
    """Chat completions of Azure's deployments.

    The base URL is a resource (`https://res.openai.azure.com`, the model names
    the deployment), a deployment (`.../openai/deployments/dep`) or the undated
    API (`.../openai/v1`).
    """

    __slots__ = ()

    def encode(self, target: Target, request: ChatRequest, *, stream: bool) -> WireRequest:
        """Write the request, for the key in `api-key`."""
        wire = super().encode(target, request, stream=stream)
        return replace(wire, auth_header="api-key", auth_prefix="")

    def url(self, target: Target) -> str:
        """Where this target's completions are, with an `api-version` where one is needed."""
        base, _, query = target.base_url.partition("?")
        base = base.rstrip("/")
        if "/openai/" not in base + "/":
            base = f"{base}/openai"
        if base.endswith("/openai"):
            base = f"{base}/deployments/{quote(target.model, safe='')}"
        if "api-version=" not in query and not base.endswith("/openai/v1"):
            query = f"{query}&api-version={API_VERSION}" if query else f"api-version={API_VERSION}"
        return f"{base}/chat/completions?{query}" if query else f"{base}/chat/completions"
