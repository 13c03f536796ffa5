"""Test a pipeline against a provider that is real on the wire and judges its callers.

`FakeProvider` serves OpenAI's HTTP protocol on loopback, under the limits and in
the words of a vendor, and keeps its own log; `VirtualClock` drives simulations
without waiting. The names are loaded when first used, so importing this package
costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hydra_core.testing.answer import Answerer, FakeAnswer
    from hydra_core.testing.clock import VirtualClock
    from hydra_core.testing.echo import EchoModel
    from hydra_core.testing.extractive import ExtractiveModel
    from hydra_core.testing.judge import CallRecord, Violation
    from hydra_core.testing.keys import FakeCall, FakeKey, FakeLimits
    from hydra_core.testing.provider import FakeProvider

__all__ = [
    "Answerer",
    "CallRecord",
    "EchoModel",
    "ExtractiveModel",
    "FakeAnswer",
    "FakeCall",
    "FakeKey",
    "FakeLimits",
    "FakeProvider",
    "Violation",
    "VirtualClock",
]

_HOME = {
    "Answerer": "answer",
    "CallRecord": "judge",
    "EchoModel": "echo",
    "ExtractiveModel": "extractive",
    "FakeAnswer": "answer",
    "FakeCall": "keys",
    "FakeKey": "keys",
    "FakeLimits": "keys",
    "FakeProvider": "provider",
    "Violation": "judge",
    "VirtualClock": "clock",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
