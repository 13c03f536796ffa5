"""The benchmarks run, and the bound against which they measure is right."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from types import ModuleType

pytest.importorskip("scipy", reason="the bound is a linear program")

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture(scope="module")
def bound() -> ModuleType:
    """`benchmarks/bound.py`, which is a script's module and not in any package."""
    spec = importlib.util.spec_from_file_location("benchmarks_bound", BENCHMARKS / "bound.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def run(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A benchmark as a user runs it."""
    done = subprocess.run(  # noqa: S603 - our own interpreter and our own scripts
        [sys.executable, str(BENCHMARKS / script), *arguments],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done


def rows(done: subprocess.CompletedProcess[str]) -> list[list[str]]:
    """The rows that a script printed as it went, cell by cell."""
    return [line.split(" | ") for line in done.stderr.splitlines() if " | " in line]


@pytest.mark.parametrize(
    ("window", "count", "seconds"),
    [
        ("sliding", 10, 0.0),  # the first window takes them all
        ("sliding", 11, 60.0),  # one has to wait for the second window
        ("sliding", 20, 60.0),
        ("sliding", 21, 120.0),
        ("bucket", 10, 0.0),
        ("bucket", 15, 30.0),  # half a minute refills five
        ("bucket", 20, 60.0),
    ],
)
def test_requests_bound_one_account(
    bound: ModuleType, window: str, count: int, seconds: float
) -> None:
    """Ten requests a minute: what does not fit at once waits for its window or its refill."""
    found = bound.bound([bound.Limits(rpm=10, tpm=10_000)], [100] * count, window)
    assert found == pytest.approx(seconds, abs=0.02)


def test_tokens_bound_one_account(bound: ModuleType) -> None:
    """1,000 tokens a minute: 2,500 tokens need 1.5 minutes of refilling after a full bucket."""
    found = bound.bound([bound.Limits(rpm=1000, tpm=1000)], [500] * 5, "bucket")
    assert found == pytest.approx(90.0, abs=0.02)


def test_unequal_accounts_share_by_what_fits(bound: ModuleType) -> None:
    """Large requests fit one account only, so its limit alone bounds them."""
    small, large = bound.Limits(rpm=100, tpm=500), bound.Limits(rpm=4, tpm=10_000)
    assert bound.bound([small, large], [1000] * 4, "sliding") == 0.0
    assert bound.bound([small, large], [1000] * 5, "sliding") == pytest.approx(60.0, abs=0.02)


def test_no_schedule_holds_an_oversized_request(bound: ModuleType) -> None:
    """A request beyond every token limit is an error, not an endless search."""
    with pytest.raises(ValueError, match="fits no account"):
        bound.bound([bound.Limits(rpm=10, tpm=100)], [101], "sliding")


def test_day_limits_bound_what_is_served(bound: ModuleType) -> None:
    """A batch larger than the day's requests is served up to them, unless one has no limit."""
    daily = bound.Limits(rpm=10, tpm=100, rpd=25)
    assert bound.served_today([daily, daily], 80) == 50
    assert bound.served_today([daily, daily], 30) == 30
    assert bound.served_today([daily, bound.Limits(rpm=10, tpm=100)], 80) == 80


def test_goodput_serves_the_whole_batch() -> None:
    """Everything is served, nobody is used while it had said wait, and no error surfaces."""
    done = run("goodput.py", "--pool", "3 equal", "--window", "bucket", "--alone",
               "--requests", "60", "--scale", "0.02")  # fmt: skip
    (row,) = rows(done)
    pool, window, who, served, surfaced, told_to_wait, lost = row[:7]
    assert (pool, window, who, served) == ("3 equal", "bucket", "hydra, told", "60/60")
    assert (surfaced, told_to_wait, lost) == ("0", "0", "0")


def test_goodput_loses_nothing_when_the_day_ends() -> None:
    """What the day does not allow is answered with a wait: none is lost."""
    done = run("goodput.py", "--pool", "3 daily", "--window", "sliding", "--alone")
    (row,) = rows(done)
    assert row[3:7] == ["75/75", "0", "45", "0"]


def test_failover_shows_no_error() -> None:
    """A key that dies under load is nobody's error."""
    done = run("failover.py", "--fault", "401", "--requests", "60", "--alone")
    (row,) = rows(done)
    assert row[:4] == ["401", "hydra, told", "60/60", "0"]


@pytest.mark.parametrize("transport", ["pyreqwest", "httpx2"])
def test_cancel_ends_well(transport: str) -> None:
    """The script's own verdict, its exit status, is that nothing was lost."""
    assert transport in run("cancel.py", "--calls", "100", "--transport", transport).stdout


@pytest.mark.parametrize(
    ("part", "line"),
    [("engine", "10000"), ("streams", "hydra pyreqwest")],
)
def test_overhead_prints_its_tables(part: str, line: str) -> None:
    """The smallest run of each part prints the rows that are asked for."""
    assert line in run("overhead.py", "--only", part, "--calls", "16", "--rounds", "1").stdout


def test_imports_measures_fresh_interpreters() -> None:
    """Hydra's row is there beside its HTTP client's."""
    shown = run("imports.py", "--rounds", "1").stdout
    assert "hydra_core" in shown
    assert "httpx2" in shown
