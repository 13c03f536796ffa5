"""Reading whole books: split, map over all keys at once, verify, synthesise, account.

The names below are loaded at first use, so that `import hydra_core` stays cheap.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from hydra_core.swarm.document import Document
    from hydra_core.swarm.progress import SwarmProgress
    from hydra_core.swarm.run import arun_swarm, plan_swarm, run_swarm
    from hydra_core.swarm.values import SwarmPlan, SwarmResult

__all__ = [
    "Document",
    "SwarmPlan",
    "SwarmProgress",
    "SwarmResult",
    "arun_swarm",
    "plan_swarm",
    "run_swarm",
]

_HOMES: Final = {
    "Document": "document",
    "SwarmPlan": "values",
    "SwarmProgress": "progress",
    "SwarmResult": "values",
    "arun_swarm": "run",
    "plan_swarm": "run",
    "run_swarm": "run",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
