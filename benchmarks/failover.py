"""Failover: what callers notice when one key of eight dies under load.

    python benchmarks/failover.py [--fault NAME] [--requests 300] [--rivals]

Requests arrive one by one at a steady rate; in the middle of it the key that was used
last begins to fail. A call is affected when the provider's log shows a try of it that
went wrong. Its latency runs from its first arrival at the provider to the end of its
last try, and `added` is that over the median of the unaffected calls of the same run;
`allowed` is one more round trip, or the time limit for what is silent, plus 5 ms.
Beside Hydra, on its defaults but for the time limits that all share, runs a list
walked from its start each time, as frameworks' fallbacks do.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from contenders import HYDRA, Target
from contest import Terms, contest
from judged import Judge, Stage, judged
from machine import describe
from rich.console import Console
from rich.table import Table

from hydra_core.testing import CallRecord, FakeKey

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_KEYS = 8
_LATENCY = 0.05
_EVERY = 0.01
_TIMEOUT = 1.0
_SMALLEST = 100
_COLUMNS = (
    "fault", "who", "answered", "visible errors", "affected", "unaffected p50 ms",
    "added p50", "added p95", "added max", "allowed",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Fault:
    """How the key dies. `slow`: only a time limit shows it; `inherent`: text was shown."""

    name: str
    stream: bool = False
    slow: bool = False
    inherent: bool = False
    named: Mapping[str, Any] = field(default_factory=dict)

    def strike(self, judge: Judge) -> None:
        """Let the key that was used last fail from now on."""
        judge.fail(self.name, key=judge.log[-1].key, **self.named)


FAULTS: Mapping[str, Fault] = {
    "401": Fault("auth"),
    "429 for a minute": Fault("rate_limit", named={"retry_after": 60.0}),
    "no answer": Fault("hang", slow=True),
    "reply cut": Fault("cut"),
    "stream cut before text": Fault("role_then_cut", stream=True),
    "stream stalls before text": Fault("stall", stream=True, slow=True, named={"after_chunks": 0}),
    "stream cut after text": Fault("cut", stream=True, inherent=True),
}


@dataclass(frozen=True, slots=True)
class Affected:
    """Latencies in seconds, by the provider's log."""

    touched: tuple[float, ...]
    untouched: tuple[float, ...]

    @classmethod
    def of(cls, log: Sequence[CallRecord]) -> Affected:
        """Tries of one request have the same body, and no two requests have."""
        tries: defaultdict[str, list[CallRecord]] = defaultdict(list)
        for record in log:
            tries[record.body_hash].append(record)
        touched: list[float] = []
        untouched: list[float] = []
        for of_one in tries.values():
            took = max(record.at + record.latency for record in of_one) - of_one[0].at
            wrong = any(record.fault is not None for record in of_one)
            (touched if wrong else untouched).append(took)
        return cls(tuple(touched), tuple(untouched))

    def cells(self, fault: Fault) -> list[str]:
        """From `affected` on, in milliseconds."""
        usual = statistics.median(self.untouched) if self.untouched else _LATENCY
        added = sorted((took - usual) * 1e3 for took in self.touched)
        allowed = (_TIMEOUT if fault.slow else usual) * 1e3 + 5.0
        spread = [f"{_quantile(added, share):.0f}" if added else "" for share in (0.5, 0.95, 1.0)]
        return [str(len(added)), f"{usual * 1e3:.0f}", *spread, f"{allowed:.0f}"]


def _quantile(values: Sequence[float], share: float) -> float:
    return values[min(len(values) - 1, int(share * len(values)))]


def run(fault: Fault, who: str, requests: int) -> list[str]:
    """One contender's cells, from `answered` on."""
    keys = tuple(FakeKey(f"bench-key-{number}") for number in range(_KEYS))
    stage = Stage(keys, latency=_LATENCY)
    limits: dict[str, Any] = {"attempt_timeout": _TIMEOUT, "first_token_timeout": _TIMEOUT}
    with judged(stage) as judge:
        target = Target(
            judge.base_url,
            tuple(key.value for key in keys),
            ({},) * _KEYS,
            judge.config(cache=False, **limits),
            timeout=_TIMEOUT,
        )
        terms = Terms(resends=0, every=_EVERY, stream=fault.stream)
        sizes = range(_SMALLEST, _SMALLEST + requests)
        half = requests * _EVERY / 2
        result = contest(judge, who, target, sizes, terms, midway=(half, fault.strike))
        errors = len(result.calls) - result.served
        seen = Affected.of(judge.log)
    inherent = " (text was shown)" if fault.inherent and errors else ""
    return [f"{result.served}/{requests}", f"{errors}{inherent}", *seen.cells(fault)]


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--fault", action="append", choices=list(FAULTS), help="default: all")
    parser.add_argument("--requests", type=int, default=300)
    parser.add_argument("--alone", action="store_true", help="Hydra only")
    parser.add_argument("--rivals", action="store_true", help="also LiteLLM's Router, tuned")
    told = parser.parse_args()
    contenders = [HYDRA, *["in order"] * (not told.alone), *["router, faults"] * told.rivals]
    packages = ("litellm",) if told.rivals else ()
    title = f"One of {_KEYS} keys dies; {1 / _EVERY:.0f} requests a second; added in ms"
    table = Table(title=title, caption=describe(*packages))
    for column in _COLUMNS:
        table.add_column(column, justify="left" if column in ("fault", "who") else "right")
    for name in told.fault or FAULTS:
        for who in contenders:
            cells = run(FAULTS[name], who, told.requests)
            print(name, who, *cells, sep=" | ", file=sys.stderr, flush=True)
            table.add_row(name, who, *cells)
    Console(width=150).print(table)


if __name__ == "__main__":
    main()
