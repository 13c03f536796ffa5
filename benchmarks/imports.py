"""What an import costs: seconds and memory of `import NAME` in fresh interpreters.

    python benchmarks/imports.py [--rounds 10] [--rivals]

The modules take turns within each round; medians are printed. A bare interpreter's
time is measured too and is part of none of the figures: the clock runs inside.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys

from machine import describe
from rich.console import Console
from rich.table import Table

_OURS = ("hydra_core", "httpx2", "openai")
_RIVALS = ("litellm",)
_CODE = """
import os, resource, sys, time
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
begun = time.perf_counter()
import {name}
{then}
took = time.perf_counter() - begun
print(took, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, len(sys.modules))
"""
# `import hydra_core` is lazy, so the class that everybody uses is measured as well.
_THEN = {"hydra_core.Hydra": "hydra_core.Hydra"}


def once(name: str) -> tuple[float, float, int]:
    """Milliseconds, MB at most, and modules loaded after one import."""
    code = _CODE.format(name=name.partition(".")[0], then=_THEN.get(name, ""))
    done = subprocess.run(  # noqa: S603 - our own interpreter and our own text
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    took, memory, modules = done.stdout.split()
    return float(took) * 1e3, int(memory) / 1024, int(modules)


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--rivals", action="store_true", help="also litellm")
    told = parser.parse_args()
    names = [_OURS[0], *_THEN, *_OURS[1:], *(_RIVALS if told.rivals else ())]
    for name in names:
        once(name)  # compiles what is not compiled yet
    seen: dict[str, list[tuple[float, float, int]]] = {name: [] for name in names}
    for _ in range(told.rounds):
        for name in names:
            seen[name].append(once(name))
    medians = {
        name: [statistics.median(column) for column in zip(*rows, strict=True)]
        for name, rows in seen.items()
    }
    table = Table(
        title=f"import, median of {told.rounds} fresh interpreters",
        caption=describe("httpx2", "openai", *(_RIVALS if told.rivals else ())),
    )
    for column in ("import", "ms", "range", "over httpx2", "MB", "modules"):
        table.add_column(column, justify="left" if column == "import" else "right")
    for name, (took, memory, modules) in medians.items():
        times = [row[0] for row in seen[name]]
        table.add_row(
            name, f"{took:.0f}", f"{min(times):.0f}-{max(times):.0f}",
            f"{took / medians['httpx2'][0]:.2f}", f"{memory:.0f}", f"{modules:.0f}",
        )  # fmt: skip
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
