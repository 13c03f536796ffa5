"""Goodput under limits: one batch of mixed requests over keys that cannot take it at once.

    python benchmarks/goodput.py [--pool NAME] [--window sliding|bucket] [--scale 0.05]
                                 [--rivals] [--together] [--alone] [--all]

The judge is the fake provider, in a process of its own: its log says what was
refused, which key was used while it had said wait, and whether any limit was
passed. Makespan is given over the bound of `bound.py`. Each contender runs in a
process of its own against a fresh provider; requests that surface an error are
sent again by the caller a second later, and counted. Where day limits end, the
rest must be answered with a wait, and `eta off` is by how much the worst of those
missed the true instant, in seconds of the provider.
"""

from __future__ import annotations

import argparse
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from threading import Barrier
from typing import TYPE_CHECKING

from bound import bound, served_today
from contenders import HYDRA, UNTOLD, Target, patience
from contest import Result, Terms, contest
from judged import Judge, Stage, VendorName, judged
from machine import describe
from pools import POOLS, USUAL, Pool, stated
from rich.console import Console
from rich.table import Table

from hydra_core.wire import DAY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

# Whose words the provider speaks: headers that state the limits, or nothing but a wait.
_VENDORS: dict[str, VendorName] = {f"{UNTOLD}, headers": "groq", UNTOLD: "plain"}
_NAIVE = "round-robin"
_LINE_UP = 300.0
_OURS = (HYDRA, f"{UNTOLD}, headers", UNTOLD)
_ROUTERS = ("router, defaults", "router, tuned", "router, usage-v2")
_COLUMNS = (
    "pool", "window", "who", "served", "surfaced", "told to wait", "lost",
    "refused", "refusals/request", "violations", "makespan s", "over bound", "eta off s",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Case:
    """One pool under one kind of window."""

    pool: Pool
    window: str
    sizes: tuple[int, ...]
    scale: float
    at_once: int

    def stage(self, who: str) -> Stage:
        """The provider for one contender."""
        return Stage(
            self.pool.keys(self.window), vendor=_VENDORS.get(who, "openai"), scale=self.scale
        )

    @property
    def daily(self) -> bool:
        """True when the day ends before the batch does."""
        return served_today(self.pool.accounts, len(self.sizes)) < len(self.sizes)


def run(case: Case, who: str, line_up: Callable[[], object] | None = None) -> list[str]:
    """One contender's cells, from `served` on; `line_up` waits until the others are ready."""
    stage = case.stage(who)
    with judged(stage) as judge:
        config = judge.config(tell=who == HYDRA, **patience(case.scale))
        if who in (UNTOLD, HYDRA):
            for provider in config["providers"]:
                provider.setdefault("window", case.window)
        target = Target(
            judge.base_url,
            tuple(key.value for key in stage.keys),
            tuple(stated(key) for key in stage.keys),
            config,
        )
        resends = 2 if case.daily else Terms().resends
        terms = Terms(at_once=case.at_once, scale=case.scale, resends=resends)
        result = contest(judge, who, target, case.sizes, terms, line_up=line_up)
        return _cells(case, result, judge)


def _cells(case: Case, result: Result, judge: Judge) -> list[str]:
    log = judge.log
    refused = sum(record.status == 429 for record in log)
    makespan = result.seconds / case.scale
    least = 0.0 if case.daily else bound(case.pool.accounts, case.sizes, case.window)
    return [
        f"{result.served}/{served_today(case.pool.accounts, len(case.sizes))}",
        str(result.surfaced),
        str(len(result.told_to_wait)),
        str(result.lost),
        str(refused),
        f"{refused / len(case.sizes):.1%}",
        str(len(judge.violations)),
        f"{makespan:.1f}",
        f"{makespan / least:.3f}" if least else "",
        _eta_off(case, result, judge),
    ]


def _eta_off(case: Case, result: Result, judge: Judge) -> str:
    """The worst error of the promised instants, in provider seconds; the truth is in the log.

    A sliding day gives its first request back one day after it was charged.
    """
    if not result.told_to_wait or case.window != "sliding":
        return ""
    firsts: dict[str, float] = {}
    for record in judge.log:
        if record.admitted:
            firsts.setdefault(record.account, record.at)
    origin = judge.log[0].at - min(call.begun for call in result.calls)
    truth = min(firsts.values()) + DAY * case.scale
    worst = max(abs(origin + (call.eta or 0.0) - truth) for call in result.told_to_wait)
    return f"{worst / case.scale:.1f}"


def _contenders(case: Case, *, alone: bool, rivals: bool) -> Iterator[str]:
    yield from _OURS[:1] if alone else _OURS
    if not alone and not case.daily:
        yield _NAIVE
    if rivals:
        yield from _ROUTERS


def _compete(
    case: Case, contenders: Sequence[str], *, together: bool
) -> Iterator[tuple[str, list[str]]]:
    """Each contender's cells; `together`: at the same time, save who would crowd the others out."""
    patient = [who for who in contenders if who != _NAIVE]
    width = len(patient) if together else 1
    one = partial(run, case, line_up=Barrier(width, timeout=_LINE_UP).wait)
    with ThreadPoolExecutor(max_workers=width) as threads:
        yield from zip(patient, threads.map(one, patient), strict=True)
    for who in set(contenders) - set(patient):
        yield who, run(case, who)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pool", action="append", choices=list(POOLS), help="default: some of all")
    parser.add_argument("--window", choices=("sliding", "bucket"), action="append")
    parser.add_argument(
        "--scale", type=float, help="a minute lasts 60 x this; default 0.05, with --rivals 1"
    )
    parser.add_argument("--at-once", type=int, default=64)
    parser.add_argument("--requests", type=int, help="fewer than the pool's own number")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--alone", action="store_true", help="Hydra only, told its limits")
    parser.add_argument("--all", action="store_true", help="every pool under both windows")
    parser.add_argument("--rivals", action="store_true", help="also LiteLLM's Router")
    parser.add_argument(
        "--together", action="store_true", help="contenders at once; for --scale 1, not for less"
    )
    return parser


def _cases(told: argparse.Namespace, scale: float) -> Iterator[tuple[str, Case]]:
    everything = [(pool, window) for pool in POOLS for window in ("sliding", "bucket")]
    everything.remove(("3 daily", "bucket"))  # it gives a request back every half an hour or so
    wanted = everything if told.all or told.pool or told.window else USUAL
    for name, window in wanted:
        if name in (told.pool or POOLS) and window in (told.window or ("sliding", "bucket")):
            sizes = tuple(POOLS[name].batch(told.seed)[: told.requests])
            yield name, Case(POOLS[name], window, sizes, scale, told.at_once)


def main() -> None:
    """Print one table."""
    told = _parser().parse_args()
    # The Router knows whole seconds and real minutes only; a scaled one would wrong it.
    scale = told.scale or (1.0 if told.rivals else 0.05)
    packages = ("litellm",) if told.rivals else ()
    table = Table(title=f"Goodput, a minute lasting {60 * scale:g} s", caption=describe(*packages))
    for column in _COLUMNS:
        table.add_column(column, justify="left" if column in ("pool", "who") else "right")
    for name, case in _cases(told, scale):
        if not case.daily:
            least = bound(case.pool.accounts, case.sizes, case.window)
            rest = [""] * (len(_COLUMNS) - 6)
            table.add_row(name, case.window, "lower bound", *rest, f"{least:.1f}", "1", "")
        contenders = tuple(_contenders(case, alone=told.alone, rivals=told.rivals))
        for who, cells in _compete(case, contenders, together=told.together):
            print(name, case.window, who, *cells, sep=" | ", file=sys.stderr, flush=True)
            table.add_row(name, case.window, who, *cells)
    Console(width=170).print(table)


if __name__ == "__main__":
    main()
