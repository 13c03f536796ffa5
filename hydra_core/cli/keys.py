"""Every key as one row: its state, what it did, how much of its limits is used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from hydra_core.engine.durations import duration

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

HEADER: Final = ("key", "state", "calls", "failed", "in flight", "limits used")
NUMBERS: Final = frozenset({"calls", "failed", "in flight"})
_LONG: Final = 100.0  # seconds; a longer wait is read in minutes and hours
STYLES: Final = {
    "active": "green",
    "resting": "yellow",
    "saturated": "yellow",
    "dead": "red",
    "disabled": "dim",
}


@dataclass(frozen=True, slots=True)
class KeyRow:
    """One key as people read it; `state` is the bare word, `told` says for how long and why."""

    name: str
    state: str
    told: str
    calls: int
    failures: int
    in_flight: int
    limits: str

    @property
    def cells(self) -> tuple[str, ...]:
        """The row's texts, in the order of `HEADER`."""
        numbers = (self.calls, self.failures, self.in_flight)
        return (self.name, self.told, *map(str, numbers), self.limits)


def key_rows(health: Mapping[str, Any]) -> list[KeyRow]:
    """The rows of a health report, provider by provider."""
    providers = health["providers"].values()
    return [_row(key) for provider in providers for key in provider["keys"]]


def table(rows: Sequence[KeyRow]) -> str:
    """The rows under their header, in columns; numbers to the right."""
    lines = [HEADER, *(row.cells for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(_line(cells, widths) for cells in lines)


def counted(rows: Iterable[KeyRow]) -> str:
    """How many keys are in which state: `2 active, 1 dead`."""
    counts: dict[str, int] = dict.fromkeys(STYLES, 0)
    for row in rows:
        counts[row.state] = counts.get(row.state, 0) + 1
    return ", ".join(f"{count} {state}" for state, count in counts.items() if count)


def _row(key: Mapping[str, Any]) -> KeyRow:
    return KeyRow(
        name=key["name"],
        state=key["state"],
        told=_told(key),
        calls=key["calls"],
        failures=key["failures"],
        in_flight=key["in_flight"],
        limits=", ".join(_limit(kind, limit) for kind, limit in key["limits"].items()),
    )


def _told(key: Mapping[str, Any]) -> str:
    state, wait, fault = key["state"], key["available_in"], key["last_fault"]
    if wait:
        return f"{state} {duration(wait) if wait >= _LONG else f'{wait:.1f} s'}"
    return f"{state}: {fault}" if state == "dead" and fault else str(state)


def _limit(kind: str, limit: Mapping[str, float]) -> str:
    digits = 2 if kind.startswith("usd") else 0
    return f"{kind} {limit['used']:,.{digits}f}/{limit['limit']:,.{digits}f}"


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    aligned = (
        cell.rjust(width) if HEADER[column] in NUMBERS else cell.ljust(width)
        for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
    return "  ".join(aligned).rstrip()
