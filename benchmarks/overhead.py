"""What a call costs: CPU of the engine, of whole calls, of streams, over bare clients.

    python benchmarks/overhead.py [--calls 1000] [--rounds 5] [--rivals] [--frameworks]
                                  [--only engine|calls|streams]

CPU is `process_time`, which counts all threads of a client. Every client lives in a
process of its own on one processor, the provider on the other where there are two.
Clients take turns within each round, so that a noisy machine disturbs all alike;
medians are printed, with the range of the rounds, and ratios compare medians of one
run. `first` is the median wall time to the first piece of a stream.
"""

from __future__ import annotations

import argparse
import statistics
from contextlib import ExitStack
from typing import TYPE_CHECKING

from clients import BARE, CALLS, FRAMEWORKS, RIVALS, STREAMS
from engine_share import PARTS, EngineShare
from loopback import PIECES, loopback
from machine import describe, pin, split_cores
from rich.console import Console
from rich.table import Table
from worker import Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from worker import Cost

_SIZES = (1, 8, 1000, 10_000)
_AT_ONCE = (1, 64)
_STREAMS_AT_ONCE = (1, 16)
Seen = dict[tuple[str, int], list["Cost"]]


def engine(calls: int, rounds: int) -> Table:
    """The engine's own share, by number of deployments."""
    table = _table("Engine alone, no I/O: CPU microseconds per call", "deployments", *PARTS)
    shares = {size: EngineShare(size) for size in _SIZES}
    seen: dict[tuple[int, str], list[float]] = {}
    for _ in range(rounds):
        for size, share in shares.items():
            for part, cost in share.measure(calls).items():
                seen.setdefault((size, part), []).append(cost)
    for size in _SIZES:
        table.add_row(str(size), *(_spread(seen[size, part]) for part in PARTS))
    return table


def take_turns(
    url: str, names: Sequence[str], *, calls: int, rounds: int, at_once: Iterable[int]
) -> Seen:
    """Every client once per round and width, one after the other."""
    seen: Seen = {}
    with ExitStack() as stack:
        workers = {name: stack.enter_context(Worker(name, url)) for name in names}
        # Width by width: the connections that many calls at once leave idle would make the
        # single calls after them dearer, of one client for 5 s and of another for 20.
        for width in at_once:
            for _ in range(rounds):
                for name, worker in workers.items():
                    seen.setdefault((name, width), []).append(worker.measure(calls, width))
    return seen


def whole_calls(
    url: str, calls: int, rounds: int, *, rivals: bool, frameworks: bool
) -> Iterable[Table]:
    """Whole calls, one at a time and 64 at once."""
    names = [*CALLS, *(RIVALS if rivals else ()), *(FRAMEWORKS if frameworks else ())]
    seen = take_turns(url, names, calls=calls, rounds=rounds, at_once=_AT_ONCE)
    cpu = _medians(seen, lambda cost: cost.cpu)
    columns = [word for width in _AT_ONCE for word in (f"{width} at once", f"over {BARE}")]
    table = _table("Whole call: CPU microseconds", "client", *columns)
    for name in names:
        cells = []
        for width in _AT_ONCE:
            cells += [_spread([cost.cpu for cost in seen[name, width]]),
                      f"{cpu[name, width] / cpu[BARE, width]:.2f}"]  # fmt: skip
        table.add_row(name, *cells)
    yield table
    yield _ratios(cpu, rivals=rivals, frameworks=frameworks)


def _ratios(cpu: Mapping[tuple[str, int], float], *, rivals: bool, frameworks: bool) -> Table:
    pairs = [
        (f"hydra {transport}, 1000 keys", f"hydra {transport}, 8 keys")
        for transport in ("pyreqwest", "httpx2")
    ]
    pairs += [(f"hydra {transport}, 8 keys", "openai SDK") for transport in ("pyreqwest", "httpx2")]
    if rivals:
        pairs.append((next(iter(RIVALS)), "hydra pyreqwest, 8 keys"))
    if frameworks:
        for transport in ("pyreqwest", "httpx2"):
            pairs.append((f"HydraLLM.achat, {transport}", "OpenAILike.achat"))
            pairs.append((f"ChatHydra.ainvoke, {transport}", "ChatOpenAI.ainvoke"))
    table = _table("Ratios of these medians", "of", "over", *(f"{w} at once" for w in _AT_ONCE))
    for one, other in pairs:
        cells = (f"{cpu[one, width] / cpu[other, width]:.2f}" for width in _AT_ONCE)
        table.add_row(one, other, *cells)
    return table


def streams(url: str, calls: int, rounds: int) -> Table:
    """Streams: CPU for each of their pieces, and the time to the first."""
    names = [f"stream: {name}" for name in STREAMS]
    seen = take_turns(url, names, calls=calls, rounds=rounds, at_once=_STREAMS_AT_ONCE)
    cpu = _medians(seen, lambda cost: cost.cpu / PIECES)
    first = _medians(seen, lambda cost: cost.first / 1000)
    columns = [
        word
        for width in _STREAMS_AT_ONCE
        for word in (f"{width} at once", "over openai SDK", "first, ms")
    ]
    table = _table(f"Streams of {PIECES} chunks: CPU microseconds per chunk", "client", *columns)
    for name in names:
        cells = []
        for width in _STREAMS_AT_ONCE:
            cells += [f"{cpu[name, width]:.1f}",
                      f"{cpu[name, width] / cpu['stream: openai SDK', width]:.2f}",
                      f"{first[name, width]:.1f}"]  # fmt: skip
        table.add_row(name.removeprefix("stream: "), *cells)
    return table


def _medians(seen: Seen, of: Callable[[Cost], float]) -> dict[tuple[str, int], float]:
    return {which: statistics.median(map(of, costs)) for which, costs in seen.items()}


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.1f} ({min(values):.0f}-{max(values):.0f})"


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left")
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left")
    return table


def main() -> None:
    """Print the tables, then the machine."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--calls", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rivals", action="store_true", help="also LiteLLM's Router")
    parser.add_argument("--frameworks", action="store_true", help="also LlamaIndex and LangChain")
    parser.add_argument("--only", choices=("engine", "calls", "streams"), action="append")
    told = parser.parse_args()
    parts = told.only or ("engine", "calls", "streams")
    console = Console(width=120)
    client, server = split_cores()
    packages = ["httpx", "httpx2", "pyreqwest", "openai"]
    packages += ["litellm"] * told.rivals
    packages += ["llama-index-core", "langchain-openai"] * told.frameworks
    console.print(describe(*packages))
    if "engine" in parts:
        pin(client)
        console.print(engine(told.calls, told.rounds))
    with loopback(server) as url:
        if "calls" in parts:
            options = {"rivals": told.rivals, "frameworks": told.frameworks}
            for table in whole_calls(url, told.calls, told.rounds, **options):
                console.print(table)
        if "streams" in parts:
            console.print(streams(url, max(16, told.calls // 10), told.rounds))


if __name__ == "__main__":
    main()
