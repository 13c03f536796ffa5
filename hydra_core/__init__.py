"""Hydra: many API keys, providers and models as one dependable language model.

    from hydra_core import Hydra

    with Hydra() as hydra:  # keys from the environment, .env, or a file
        print(hydra.chat("Who wrote Treasure Island?").text)

Nothing is imported before it is used, so that `import hydra_core` stays cheap.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hydra_core.config import HydraConfig
    from hydra_core.errors import (
        ConfigError,
        ContentRefused,
        ContextTooLong,
        DeadlineExceeded,
        HydraClosed,
        HydraError,
        InvalidArgument,
        PoolExhausted,
        RequestRejected,
        SourceError,
        StreamBroken,
    )
    from hydra_core.hydra import Hydra
    from hydra_core.messages import Attempt, ChatRequest, Chunk, Fault, Reply, ToolCall, Usage
    from hydra_core.swarm.document import Document
    from hydra_core.swarm.values import SwarmPlan, SwarmResult
    from hydra_core.vault import Secret

__version__ = "0.1.0"

__all__ = [
    "Attempt",
    "ChatRequest",
    "Chunk",
    "ConfigError",
    "ContentRefused",
    "ContextTooLong",
    "DeadlineExceeded",
    "Document",
    "Fault",
    "Hydra",
    "HydraClosed",
    "HydraConfig",
    "HydraError",
    "InvalidArgument",
    "PoolExhausted",
    "Reply",
    "RequestRejected",
    "Secret",
    "SourceError",
    "StreamBroken",
    "SwarmPlan",
    "SwarmResult",
    "ToolCall",
    "Usage",
    "__version__",
]

_HOMES = {
    "Hydra": "hydra",
    "HydraConfig": "config",
    "Document": "swarm.document",
    "SwarmPlan": "swarm.values",
    "SwarmResult": "swarm.values",
    "Secret": "vault",
    **dict.fromkeys(
        ("Attempt", "ChatRequest", "Chunk", "Fault", "Reply", "ToolCall", "Usage"), "messages"
    ),
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"hydra_core.{_HOMES.get(name, 'errors')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
