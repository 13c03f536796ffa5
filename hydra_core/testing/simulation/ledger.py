"""What was booked at one provider, as those who called it may count it.

Generous to the engine: every request counts for as long as the provider may count it, with
all the tokens that it was booked with; of a bucket there is no more than what answers and
refusals left of it; and what a header still counted when it was written, though it had come
back when the header was heard, may count once more.
"""

from __future__ import annotations

from collections import defaultdict, deque
from itertools import takewhile
from typing import TYPE_CHECKING, Final

from hydra_core.messages import Fault
from hydra_core.testing.limits import COUNTS_TOKENS, WINDOW_SECONDS
from hydra_core.testing.simulation.faults import CHARGED
from hydra_core.testing.simulation.level import Level
from hydra_core.wire import DAY, MINUTE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hydra_core.testing.keys import LimitName
    from hydra_core.testing.simulation.faults import Trouble
    from hydra_core.testing.simulation.provider import Outcome, Sent
    from hydra_core.testing.simulation.world import ProviderPlan

NEVER: Final = float("inf")
_LATE: Final = 1.0
"""Seconds after sending within which a provider may date a request."""

NAMES: Final[Mapping[tuple[str, float], LimitName]] = {
    ("requests", MINUTE): "rpm",
    ("tokens", MINUTE): "tpm",
    ("requests", DAY): "rpd",
    ("tokens", DAY): "tpd",
}
"""The limits by what they count and for how long."""

Place = tuple[str, str]
"""An account and a model, or a key and a model."""


class Booking:
    """One request as the engine had to book it: when, and how many tokens."""

    __slots__ = ("booked", "requests", "sent_at", "tokens")

    def __init__(self, sent_at: float, tokens: float) -> None:
        self.sent_at = sent_at
        self.requests = 1
        self.tokens = self.booked = tokens


class Ledger:
    """The requests to one provider, by account and model. Times are monotonic seconds."""

    def __init__(self, plan: ProviderPlan) -> None:
        self._plan = plan
        self._bookings: dict[Place, deque[Booking]] = defaultdict(deque)
        self._of: dict[int, Booking] = {}
        self._open: dict[Place, int] = defaultdict(int)
        self._freed_at: dict[Place, float] = defaultdict(float)
        self._levels = _levels(plan)
        self._stale: dict[tuple[Place, LimitName], tuple[float, float]] = {}

    def sent(self, sent: Sent, now: float) -> None:
        """A request leaves."""
        place = (sent.key.account, sent.model.name)
        booking = self._of[sent.number] = Booking(now, sent.booked)
        bookings = self._bookings[place]
        while bookings and bookings[0].sent_at < now - DAY - _LATE:
            bookings.popleft()
        bookings.append(booking)
        self._take(place, 1.0, sent.booked, now)
        self._open[place] += 1

    def closed(self, sent: Sent, fault: Trouble | None, now: float) -> None:
        """A request is over: only what it really took stays booked, or all if nobody knows."""
        booking = self._of.pop(sent.number)
        booking.requests, booking.tokens = _settled(sent, fault)
        place = (sent.key.account, sent.model.name)
        self._take(place, 0.0, max(0.0, booking.tokens - booking.booked), now)
        self._open[place] -= 1
        self._freed_at[place] = now

    def read(self, sent: Sent, outcome: Outcome, now: float) -> None:
        """What the words of an answer leave of each limit: by its headers, or by its numbers.

        Those of a refusal count as far as its wait bears them out.
        """
        place = (sent.key.account, sent.model.name)
        for reading in outcome.readings:
            if reading.remaining is None:
                continue
            name = NAMES[reading.kind, reading.window]
            level = self._levels.get((place, name))
            if level is not None:
                level.told(reading.remaining, now)
            else:
                self._misled(place, name, sent.sent_at, now)
        refusal = outcome.refusal
        if refusal is None or outcome.wait is None or self._plan.manners != "openai":
            return
        level = self._levels.get((place, refusal.name))
        if level is not None:
            returns = outcome.wait * refusal.limit / WINDOW_SECONDS[refusal.name]
            level.told(max(refusal.limit - refusal.used, refusal.requested - returns), now)

    def open_at(self, place: Place) -> int:
        """How many requests to this account and model are under way."""
        return self._open[place]

    def freed_at(self, place: Place) -> float:
        """When the last request to this account and model ended."""
        return self._freed_at[place]

    def room_at(self, place: Place, name: LimitName, need: float, now: float) -> float:
        """When `need` surely fits a limit; some moment that is over if it fits already."""
        limit, length = self._plan.limits[place].stated()[name], WINDOW_SECONDS[name]
        excess = need - limit
        if excess > 0.0:
            return NEVER
        level = self._levels.get((place, name))
        if level is not None:
            return level.fits(need) + _LATE
        until, stale = self._stale.get((place, name), (0.0, 0.0))
        if now < until and excess + stale > 0.0:
            return until
        excess += stale if now < until else 0.0
        for booking in reversed(self._bookings[place]):
            if booking.sent_at + _LATE + length <= now:
                break
            excess += booking.booked if name in COUNTS_TOKENS else 1.0
            if excess > 0.0:
                return booking.sent_at + _LATE + length
        return 0.0

    def booked(self, place: Place, name: LimitName, now: float) -> float:
        """The most that a limit's window may hold of what was booked."""
        level = self._levels.get((place, name))
        if level is not None:
            return level.used(now - _LATE)
        since = now - WINDOW_SECONDS[name] - _LATE
        recent = takewhile(lambda b: b.sent_at > since, reversed(self._bookings[place]))
        return sum(b.tokens if name in COUNTS_TOKENS else b.requests for b in recent)

    def _take(self, place: Place, requests: float, tokens: float, now: float) -> None:
        for name in self._plan.limits[place].stated():
            level = self._levels.get((place, name))
            if level is not None:
                level.take(tokens if name in COUNTS_TOKENS else requests, now)

    def _misled(self, place: Place, name: LimitName, sent_at: float, now: float) -> None:
        """A header may have counted what has come back since it was written.

        Who believes it counts that as another's use, for a whole window from now on.
        """
        length = WINDOW_SECONDS[name]
        since = sent_at - length - _LATE
        counted = (b for b in self._bookings[place] if since < b.sent_at <= now - length)
        gone = _sum(counted, name)
        if gone <= 0.0:
            return
        until, stale = self._stale.get((place, name), (0.0, 0.0))
        self._stale[place, name] = now + length, max(gone, stale if now < until else 0.0)


def _sum(bookings: Iterable[Booking], name: LimitName) -> float:
    return sum(b.booked if name in COUNTS_TOKENS else 1.0 for b in bookings)


def _levels(plan: ProviderPlan) -> dict[tuple[Place, LimitName], Level]:
    """The buckets of a provider, all full."""
    if plan.window != "bucket":
        return {}
    return {
        (place, name): Level(float(limit), WINDOW_SECONDS[name])
        for place, limits in plan.limits.items()
        for name, limit in limits.stated().items()
        if name in WINDOW_SECONDS
    }


def _settled(sent: Sent, fault: Trouble | None) -> tuple[int, float]:
    """Requests and tokens that stay booked, by the law of settlement."""
    if fault is None:
        return 1, float(sent.usage.total_tokens)
    if fault is Fault.UNREACHABLE:
        return 0, 0.0
    return 1, sent.booked if fault in CHARGED else 0.0
