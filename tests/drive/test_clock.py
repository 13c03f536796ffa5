"""The engine's clock goes on while the machine sleeps."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from hydra_core.drive.clock import uptime

SLEPT = """
import time
real = time.clock_gettime
slept = 0.0
def gettime(number):
    return real(number) + (slept if number == time.CLOCK_BOOTTIME else 0.0)
time.clock_gettime = gettime
from hydra_core import Hydra
from hydra_core.testing import FakeProvider
with FakeProvider(["key-canary-1"]) as fake:
    fake.fail("rate_limit", times=1, retry_after=3600)
    with Hydra(fake.config(cache=False, max_wait=0.0)) as hydra:
        assert [hydra.chat("hello").kind for _ in range(2)] == ["wait", "wait"]
        slept = 8 * 3600.0
        assert hydra.chat("hello").kind == "full"
"""


def test_it_never_runs_backwards():
    """A thousand looks, none before the one before."""
    looks = [uptime() for _ in range(1000)]
    assert looks == sorted(looks)


@pytest.mark.skipif(not hasattr(time, "CLOCK_BOOTTIME"), reason="sleep is counted otherwise here")
def test_a_cooldown_runs_out_while_the_machine_sleeps():
    """An hour's wait is over after a night's suspend, which `time.monotonic` does not count."""
    command = [sys.executable, "-c", SLEPT]
    done = subprocess.run(command, check=False, timeout=50, capture_output=True, text=True)  # noqa: S603
    assert done.returncode == 0, done.stderr
