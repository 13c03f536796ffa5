"""What a figure was measured on: without it a figure says nothing."""

from __future__ import annotations

import os
import platform
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version


def cores() -> list[int]:
    """The processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def split_cores() -> tuple[int | None, int | None]:
    """One processor for the client and one for the provider; None where there is only one."""
    mine = cores()
    return (mine[0], mine[-1]) if len(mine) > 1 else (None, None)


def pin(cpu: int | None) -> None:
    """Keep this process on one processor, where the system can."""
    if cpu is not None and hasattr(os, "sched_setaffinity"):
        with suppress(OSError):
            os.sched_setaffinity(0, {cpu})


def describe(*packages: str) -> str:
    """Date-free facts in one line: processors, load, Python, and the versions of `packages`."""
    found = [f"{len(cores())} cores", f"load {_load()}", f"Python {platform.python_version()}"]
    for name in ("hydra-llm", *packages):
        with suppress(PackageNotFoundError):
            found.append(f"{name} {version(name)}")
    return ", ".join(found)


def _load() -> str:
    try:
        return f"{os.getloadavg()[0]:.1f}"
    except OSError:
        return "unknown"
