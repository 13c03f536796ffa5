"""Shared by the dialects' tests: a moment, and replies judged by vendor."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import orjson
import pytest

from hydra_core.dialects import get_dialect
from hydra_core.wire import Answer, Verdict

NOW = 1_790_000_000.0  # 2026-09-21T14:13:20Z

Read = Callable[..., Answer]


@pytest.fixture
def now() -> float:
    """The wall clock of a test, in epoch seconds."""
    return NOW


@pytest.fixture
def read() -> Read:
    """Read a reply as a vendor's dialect: `read(vendor, status, body, headers)`."""

    def _read(
        vendor: str,
        status: int,
        body: Any,
        headers: Mapping[str, str] | None = None,
        *,
        dialect: str = "openai",
    ) -> Answer:
        raw = body if isinstance(body, bytes) else orjson.dumps(body)
        return get_dialect(dialect, vendor).read(status, headers or {}, raw, now=NOW)

    return _read


@pytest.fixture
def judge(read: Read) -> Callable[..., Verdict]:
    """The verdict of `read`."""
    return lambda *args, **named: read(*args, **named).verdict
