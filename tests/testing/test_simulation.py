"""A tenth of the whole simulation: no law breaks, in any of these worlds, whatever goes wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import cache

import pytest

from hydra_core.testing.simulation import LAWS, run_seed, run_seeds

SEEDS, REQUESTS = range(50), 2_000
HASHES = """
import json, sys
from hydra_core.testing.simulation import run_seed
print(json.dumps([run_seed(seed, 300).log_hash for seed in (3, 11, 19)]))
"""


@cache
def the_tenth():
    """Fifty seeds of two thousand requests, on every core there is."""
    return run_seeds(SEEDS, REQUESTS, workers=os.cpu_count() or 1)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("law", LAWS)
def test_no_law_breaks_in_a_hundred_thousand_requests(law):
    """Each count that must be zero is zero; a seed that breaks one can be replayed alone."""
    report = the_tenth()
    assert report.broken[law] == 0, [f"seed {seed}: {one}" for seed, one in report.violations]


@pytest.mark.timeout(300)
def test_the_worlds_are_hard_enough():
    """Much goes wrong in them, of every kind, and most calls are answered all the same."""
    report = the_tenth()
    assert report.requests == len(SEEDS) * REQUESTS
    assert report.faults > 20_000
    assert report.cancelled > 1_000
    assert report.replies > report.requests / 2
    assert len(report.by_fault) >= 14
    assert sum(report.by_end.values()) == report.requests


def test_the_same_seed_gives_the_same_log_in_any_process():
    """Nothing depends on the order of a set, on an address or on the time of day."""
    hashes = set()
    for hash_seed in ("1", "2"):
        ended = subprocess.run(  # noqa: S603 - our own interpreter
            [sys.executable, "-c", HASHES],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
        )
        hashes.add(tuple(json.loads(ended.stdout)))
    assert len(hashes) == 1
    assert len(set(hashes.pop())) == 3


def test_a_log_tells_every_event_of_its_seed(tmp_path):
    """The log written to a file has each call's beginning and end, and belongs to the hash."""
    log = tmp_path / "events.log"
    result = run_seed(5, 100, log=log)
    lines = log.read_text("utf-8").splitlines()
    assert sum(" call " in line for line in lines) == 100
    assert sum(" end " in line for line in lines) == 100
    assert sum(" send " in line for line in lines) == result.sends
    assert result.log_hash == run_seed(5, 100).log_hash


def test_the_report_does_not_depend_on_the_number_of_processes():
    """Two processes find what one finds."""
    one = run_seeds(range(3), 60)
    assert run_seeds(range(3), 60, workers=2) == one
