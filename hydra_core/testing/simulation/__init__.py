"""Deterministic simulation: the real engine in seeded worlds, judged by providers that count.

Each seed is a world of providers, keys, accounts and limits in which everything goes
wrong: refusals with and without a stated wait, outages, dead keys, hung calls, cut
streams, frozen machines, callers who leave. Time is virtual, so hours take seconds, and
one seed always gives the same history.
"""

from __future__ import annotations

from hydra_core.testing.simulation.many import run_seeds
from hydra_core.testing.simulation.report import LAWS, SeedResult, SimulationReport, Violation
from hydra_core.testing.simulation.run import run_seed

__all__ = ["LAWS", "SeedResult", "SimulationReport", "Violation", "run_seed", "run_seeds"]
