"""What a simulation found: counts that must be zero, and what happened on the way."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

LAWS: Final[Mapping[str, str]] = {
    "unexplained": "unexplained user errors",
    "lost": "requests lost",
    "late": "ended after the deadline",
    "double_charge": "double charges",
    "undercharge": "charges forgotten",
    "leak": "leaked leases",
    "cooling": "uses of a cooling key",
    "overshoot": "quota overshoots",
    "misrouted": "requests misrouted",
    "misread": "refusals misread",
    "crash": "crashes",
}
"""What must never happen, in the words of a table."""

_SHOWN: Final = 20


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken law: which, when (seconds of virtual time), and what was seen."""

    law: str
    at: float
    what: str

    def __str__(self) -> str:
        return f"{LAWS[self.law]} at {self.at:.3f} s: {self.what}"


@dataclass(frozen=True, slots=True)
class SeedResult:
    """How one seed's world went.

    `ends` counts how the calls ended (`reply`, `cancelled`, `killed`, or an error's name), `faults`
    what providers did wrong, by name; `seconds` is virtual time, `log_hash` the SHA-256
    of the event log.
    """

    seed: int
    requests: int
    sends: int
    deployments: int
    seconds: float
    ends: Mapping[str, int]
    faults: Mapping[str, int]
    broken: Mapping[str, int]
    violations: tuple[Violation, ...]
    log_hash: str

    @property
    def clean(self) -> bool:
        """No law was broken."""
        return not self.broken


@dataclass(frozen=True, slots=True)
class SimulationReport:
    """Many seeds together. `broken` has every law of `LAWS`, with 0 where it held."""

    seeds: int
    requests: int
    sends: int
    faults: int
    cancelled: int
    killed: int
    replies: int
    errors: int
    virtual_hours: float
    broken: Mapping[str, int]
    failed_seeds: tuple[int, ...]
    by_fault: Mapping[str, int]
    by_end: Mapping[str, int]
    violations: tuple[tuple[int, Violation], ...]
    log_hash: str
    seconds: float = field(default=0.0, compare=False)

    @property
    def clean(self) -> bool:
        """No law was broken in any seed."""
        return not self.failed_seeds

    @classmethod
    def of(cls, results: Iterable[SeedResult], *, seconds: float) -> SimulationReport:
        """Add up seeds; the order does not matter. `seconds` is how long it really took."""
        ordered = sorted(results, key=lambda result: result.seed)
        ends: Counter[str] = Counter()
        faults: Counter[str] = Counter()
        broken: Counter[str] = Counter(dict.fromkeys(LAWS, 0))
        digest = sha256()
        for result in ordered:
            ends.update(result.ends)
            faults.update(result.faults)
            broken.update(result.broken)
            digest.update(result.log_hash.encode())
        requests = sum(result.requests for result in ordered)
        found = [(result.seed, one) for result in ordered for one in result.violations]
        return cls(
            seeds=len(ordered),
            requests=requests,
            sends=sum(result.sends for result in ordered),
            faults=faults.total(),
            cancelled=ends["cancelled"],
            killed=ends["killed"],
            replies=ends["reply"],
            errors=ends.total() - ends["reply"] - ends["cancelled"] - ends["killed"],
            virtual_hours=sum(result.seconds for result in ordered) / 3600.0,
            broken=dict(broken),
            failed_seeds=tuple(result.seed for result in ordered if not result.clean),
            by_fault=dict(faults.most_common()),
            by_end=dict(ends.most_common()),
            violations=tuple(found[:_SHOWN]),
            log_hash=digest.hexdigest(),
            seconds=seconds,
        )
