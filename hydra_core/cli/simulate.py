"""`simulate`: the real engine in seeded worlds where everything goes wrong, and who broke a law."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from hydra_core.cli import as_json, exits
from hydra_core.cli.files import writable
from hydra_core.cli.parser import parser
from hydra_core.testing.simulation import LAWS, SimulationReport, run_seed, run_seeds

if TYPE_CHECKING:
    import argparse

    from hydra_core.cli.terminal import Terminal
    from hydra_core.testing.simulation import SeedResult

_EVENT: Final = re.compile(r"\d+\.\d{6} \w+")  # how each line of an event log begins
_LINES: Final = 20
"""Progress is told in about so many lines."""


def simulate(args: argparse.Namespace, terminal: Terminal) -> int:
    """Play the seeds and show what was found; status 1 if a law was broken."""
    if args.log is not None and args.seed is None:
        parser().error("--log writes the events of one world; name it with --seed")
    if args.config is not None:
        parser().error("simulate makes its own worlds and takes no --config")
    report = _replayed(args) if args.seed is not None else _played(args, terminal)
    if args.json:
        terminal.give(as_json.text(report))
    else:
        _show(report, terminal)
    for seed in report.failed_seeds:
        terminal.say(f"replay: hydra-llm simulate --seed {seed} --requests {args.requests}")
    return exits.FULL if report.clean else exits.ERROR


def _replayed(args: argparse.Namespace) -> SimulationReport:
    log = None if args.log is None else Path(args.log)
    if log is not None:
        log.touch()  # a file that cannot be written is told before the work
        writable("--log", args.log, lambda found: _EVENT.match(found) is not None)
    return SimulationReport.of([run_seed(args.seed, args.requests, log=log)], seconds=0.0)


def _played(args: argparse.Namespace, terminal: Terminal) -> SimulationReport:
    step = max(1, args.seeds // _LINES)
    played = broken = 0

    def told(result: SeedResult) -> None:
        nonlocal played, broken
        played += 1
        broken += not result.clean
        if not result.clean:
            terminal.say(f"seed {result.seed}: {result.violations[0]}")
        if played % step == 0 or played == args.seeds:
            terminal.say(f"{played} of {args.seeds} seeds, {broken} with a broken law")

    workers = args.workers or os.cpu_count() or 1
    return run_seeds(range(args.seeds), args.requests, workers=workers, told=told)


def _show(report: SimulationReport, terminal: Terminal) -> None:
    terminal.show("What was simulated", style="bold")
    for number, what in (
        (report.seeds, "seeds"),
        (report.requests, "requests"),
        (report.sends, "sent to providers"),
        (report.faults, "faults"),
        (report.cancelled, "cancelled by their callers"),
        (report.killed, "killed with their process"),
        (report.replies, "answered"),
        (report.errors, "ended with a typed error"),
    ):
        terminal.show(f"{number:>12,}  {what}")
    hours, rate = report.virtual_hours, report.requests / report.seconds if report.seconds else 0
    terminal.show(f"{hours:>12,.1f}  hours of virtual time")
    if rate:
        terminal.show(f"{report.seconds:>12,.1f}  seconds, {rate:,.0f} requests a second")
    terminal.show()
    terminal.show("What must be zero", style="bold")
    for law, what in LAWS.items():
        count = report.broken[law]
        terminal.show(f"{count:>12,}  {what}", style="bold red" if count else "")
    for seed, violation in report.violations:
        terminal.show(f"seed {seed}: {violation}", indent=2)
    terminal.show()
    terminal.show(f"log {report.log_hash}", wrap=False)
