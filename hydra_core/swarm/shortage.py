"""When missing capacity returns, and when waiting for it is no use any more."""

from __future__ import annotations

from dataclasses import dataclass, replace
from heapq import merge
from itertools import islice
from math import inf
from typing import TYPE_CHECKING, Final

from hydra_core.errors import PoolExhausted
from hydra_core.messages import Fault
from hydra_core.swarm.bound import earliest_starts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hydra_core.engine.capacity import GroupCapacity

HORIZON: Final = 3_600.0
"""Seconds that a swarm without a deadline waits for a limit that says when it lets calls through.

A limit per minute or hour is waited for; a daily one is answered with what was read, when the
rest can be, and the token to go on with.
"""

FIRST_PAUSE: Final = 0.25
LONGEST_PAUSE: Final = 30.0
"""Bounds of the pause between two tries when the engine promises capacity at once, in seconds."""

OUTAGES: Final = frozenset(
    (
        Fault.UNREACHABLE,
        Fault.TIMEOUT,
        Fault.OVERLOADED,
        Fault.STREAM_BROKEN,
        Fault.INVALID_RESPONSE,
        Fault.UNKNOWN,
        Fault.AUTH,
    )
)
"""Faults after which nobody knows when calls are served again: a wait is then a guess of ours.

A refused sign-in has an ETA only while it is suspect itself, since several keys are refused alike.
"""

_FAULTS: Final = {fault.value: fault for fault in Fault}

_BROKEN_PROMISES: Final = 4
"""How many times its patience a swarm goes on being promised capacity that is not there."""

_MOST_PROMISES: Final = 5
"""How often the writing of the answer is put off by a promise."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """How many map calls the quota allows, one being kept for the synthesis.

    `until` is when more can start, in seconds from the swarm's start.
    """

    calls: float
    until: float | None

    def changed(self, by: int) -> Allowance:
        """The allowance after a call was started (-1) or came back unserved (1)."""
        return replace(self, calls=self.calls + by)


def allowance_of(
    capacity: Sequence[GroupCapacity],
    *,
    calls: int,
    tokens: int,
    horizon: float,
    kept: int = 1,
    least: int = 1,
) -> Allowance | None:
    """What of `calls` equal calls the quota allows before `horizon`; None when all and `kept` more.

    Without this a map that takes the last permit leaves facts that nobody can turn
    into an answer. Concurrency is left out: a lane comes back, a permit does not.
    `least` calls are allowed in any case.
    """
    starts = merge(*(earliest_starts(group, tokens, 0.0) for group in capacity))
    first = list(islice(starts, calls + kept))
    possible = sum(start < horizon for start in first)
    if possible == calls + kept:
        return None
    later = first[possible] if possible < len(first) else None
    return Allowance(max(least, possible - kept), later)


def trouble_of(error: Exception | None) -> Fault | None:
    """Why the last attempt behind an error failed, else why keys rest; None when none does."""
    if not isinstance(error, PoolExhausted):
        return None
    if error.attempts:
        return _FAULTS.get(error.attempts[-1].outcome)
    return next((_FAULTS[cause] for cause in error.causes if cause in _FAULTS), None)


def is_outage(error: PoolExhausted) -> bool:
    """Whether calls fail, and no key is well that but waits for its limits."""
    limited = error.limit_eta is not None and error.limit_eta <= HORIZON
    return trouble_of(error) in OUTAGES and not limited


def pause_before(error: Exception, *, waited: float, tries: int) -> float | None:
    """Seconds after which a call that no deadline hurries is made again; None: not at all."""
    if not isinstance(error, PoolExhausted) or error.eta is None or tries > _MOST_PROMISES:
        return None
    eta = error.eta if error.limit_eta is None else error.limit_eta
    if is_outage(error) or waited + eta > HORIZON:
        return None
    return max(eta, FIRST_PAUSE)


class Shortage:
    """What is known of missing capacity: since when, why, and when it ends.

    `over_at` is when calls may start again, `until` when the provider's limits say
    that capacity returns; None when nobody knows. `trouble` is why the last attempt
    failed. `patience` is how many seconds an outage is borne, `horizon` how many a
    limit is waited for that says when it ends.
    """

    def __init__(self, *, patience: float, horizon: float) -> None:
        self.over_at = 0.0
        self.until: float | None = None
        self.trouble: Fault | None = None
        self._patience = patience
        self._horizon = horizon
        self._rounds = 0
        self._progress_at = 0.0
        self._broken_at: float | None = None

    @property
    def outage(self) -> bool:
        """Whether calls fail, rather than being held back by a limit."""
        return self.trouble in OUTAGES

    def exhausted(self, error: PoolExhausted, now: float) -> None:
        """A call found no capacity, though a key may be well that but waits for its limits."""
        limited = error.limit_eta
        if limited is None or limited > self._horizon:
            self.seen(error.eta, now, trouble_of(error))
            return
        # Others may fail meanwhile: what a well key promises is what is waited for.
        self.trouble = None
        self.seen(error.eta, now, promised=limited)
        self.until = now + limited

    def seen(
        self,
        eta: float | None,
        now: float,
        trouble: Fault | None = None,
        *,
        promised: float = 0.0,
    ) -> None:
        """A call found no capacity; refusals of one round count once.

        In `promised` seconds there surely is some: no promise is broken before.
        """
        if now >= self.over_at:
            self._rounds += 1
            if self._rounds > 1 and self._broken_at is None:
                self._broken_at = now + promised
        self.trouble = trouble or self.trouble
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0**self._rounds)
        self.until = None if eta is None or self.outage else now + eta
        self.over_at = inf if eta is None else now + max(eta, pause)

    def ended(self, now: float) -> None:
        """A call was served: whatever was missing is there again."""
        self.over_at, self.until, self.trouble = 0.0, None, None
        self._rounds, self._progress_at, self._broken_at = 0, now, None

    def served_since(self, moment: float) -> bool:
        """Whether any call was served after this moment."""
        return self._progress_at > moment

    def hopeless(self, now: float, close_at: float) -> bool:
        """Whether capacity comes back too late, or nothing has been served for too long."""
        if not self._rounds:
            return False
        if self.over_at >= close_at:
            return True
        if self.outage:
            return now - self._progress_at >= self._patience
        if (
            self._broken_at is not None
            and now - self._broken_at > self._patience * _BROKEN_PROMISES
        ):
            return True
        return self.over_at - now > self._horizon
