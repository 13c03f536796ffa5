"""Rate-limit headers as table rows: which header states which limit, over which window."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from hydra_core.dialects import times
from hydra_core.drafts import drafted
from hydra_core.wire import DAY, LimitKind, LimitReading

Reset = Callable[[str, float], float | None]
"""Reads a reset header: its text and the reply's own time give the seconds until then."""

_reading = drafted(LimitReading)


@dataclass(frozen=True, slots=True)
class LimitRow:
    """Where one limit is stated. An empty header name: the vendor does not state it.

    `window` None: the window that the refusal's own words name. `wait_only`
    rows tell how long to wait when they are spent, but are no reading, because
    they count a part of what another row counts.
    """

    kind: LimitKind
    window: float | None
    limit: str = ""
    remaining: str = ""
    reset: str = ""
    clock: Reset | None = None
    wait_only: bool = False


class Layout:
    """The limit headers of one vendor. `dated` when a reset may be an instant.

    Of several rows for one limit the last that is there counts.
    """

    __slots__ = ("_readable", "_rows", "_several", "dated")

    def __init__(self, *rows: LimitRow, dated: bool = False) -> None:
        self._rows: Final = rows
        self._readable: Final = tuple(row for row in rows if not row.wait_only)
        limits = {(row.kind, row.window) for row in self._readable}
        self._several: Final = len(limits) < len(self._readable)
        self.dated: Final = dated

    def readings(
        self, headers: Mapping[str, str], reference: float, refused_window: float | None = None
    ) -> tuple[LimitReading, ...]:
        """Every limit that these headers state; `refused_window` serves rows without one."""
        found = []
        for row in self._readable:
            limit, remaining = headers.get(row.limit), headers.get(row.remaining)
            window = row.window or refused_window
            if (limit is None and remaining is None) or window is None:
                continue
            reading = _reading(
                row.kind,
                window,
                None if limit is None else times.number(limit),
                None if remaining is None else times.number(remaining),
                _reset(row, headers, reference),
            )
            if reading.limit is not None or reading.remaining is not None:
                found.append(reading)
        if self._several:
            found = list({(reading.kind, reading.window): reading for reading in found}.values())
        return tuple(found)

    def spent_reset(
        self, headers: Mapping[str, str], reference: float, refused_window: float | None = None
    ) -> float | None:
        """Seconds until the slowest spent limit is whole again; an upper bound for the wait.

        A limit over a shorter window than the one that refused says nothing of that one: on
        a day's refusal OpenAI and Groq show the buckets of the minute.
        """
        waits = [
            wait
            for row in self._rows
            if (row.window or DAY) >= (refused_window or 0.0)
            and times.number(headers.get(row.remaining, "")) == 0.0
            and (wait := _reset(row, headers, reference)) is not None
        ]
        return max(waits, default=None)


def _reset(row: LimitRow, headers: Mapping[str, str], reference: float) -> float | None:
    text = headers.get(row.reset)
    if text is None or row.clock is None:
        return None
    return row.clock(text, reference)


def go_clock(text: str, reference: float) -> float | None:
    """A Go duration, relative to the reply."""
    del reference
    return times.go_duration(text)


def millis_clock(text: str, reference: float) -> float | None:
    """A bare number of milliseconds, relative to the reply."""
    del reference
    return times.milliseconds(text)


def paired(
    kind: LimitKind, window: float | None, suffix: str, clock: Reset | None = None
) -> LimitRow:
    """A row of the common naming `x-ratelimit-{limit,remaining,reset}<suffix>`."""
    return LimitRow(
        kind,
        window,
        f"x-ratelimit-limit{suffix}",
        f"x-ratelimit-remaining{suffix}",
        f"x-ratelimit-reset{suffix}" if clock else "",
        clock,
    )
