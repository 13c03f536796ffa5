"""A quota group's part in a rehearsal: its limits while it starts one request after the other.

The group itself books nothing: what the windows count now is taken down once, and then followed in
thought. Each booking is given back as its provider's kind of limit gives back, and what a call
booked and did not use when it ends, after the usual latency.
"""

from __future__ import annotations

from bisect import insort
from itertools import islice
from math import inf
from typing import TYPE_CHECKING, Final

from hydra_core.engine.bucket import Bucket
from hydra_core.engine.choice import need_of
from hydra_core.engine.deployment import mean_latency
from hydra_core.engine.fixed_window import FixedWindow
from hydra_core.engine.windows import guard_of, latest_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hydra_core.engine.budget import Budget
    from hydra_core.engine.deployment import Deployment
    from hydra_core.engine.quota import QuotaGroup
    from hydra_core.engine.size import Size
    from hydra_core.engine.windows import Window

# So many of a limit's next returns are known one by one; the others come evenly, in bunches.
_RETURNS: Final = 128
_BUNCHES: Final = 16
_ROUNDING: Final = 1e-6
_DAYS: Final = 366  # a line is followed so far through a budget


class _Limit:
    """One limit as it will be: what is used at `at`, and when how much of that returns."""

    __slots__ = ("_at", "_gone", "_lag", "_period", "_rate", "_returns", "_used", "limit")

    def __init__(self, limit: float, now: float, *, period: float) -> None:
        self.limit = limit
        self._used = 0.0
        self._at = now
        self._period = period
        self._lag = 0.0
        self._rate = 0.0
        self._returns: list[tuple[float, float]] = []
        self._gone = 0  # so many of them have returned

    @classmethod
    def of(cls, window: Window, now: float) -> _Limit:
        """A limit as it is now."""
        made = cls(window.limit, now, period=window.length)
        made._used = window.used(now)
        if isinstance(window, Bucket):
            made._rate, made._period = window.limit / window.length, inf
            made._used = window.limit - window.room(now)
        elif isinstance(window, FixedWindow):
            made._period = -window.length
            made._returns = [(window.resets_at + guard_of(window.length), inf)]
        else:
            made._lag = latest_of(window.length)
            made._returns = sorted((now + due, much) for due, much in window.frees(now, _RETURNS))
            made._bunch(made._used - sum(much for _, much in made._returns), now + window.length)
        return made

    def _bunch(self, rest: float, last: float) -> None:
        """So much more returns, from the latest return that is known until `last`."""
        if rest > _ROUNDING:
            first = self._returns[-1][0] if self._returns else last
            step, each = (last - first) / _BUNCHES, rest / _BUNCHES
            self._returns += [(first + step * n, each) for n in range(1, _BUNCHES + 1)]

    @classmethod
    def slots(cls, group: QuotaGroup, most: int, latency: float, now: float) -> _Limit:
        """The calls at once: those under way end one after the other, as far as one can know."""
        made = cls(float(most), now, period=latency)
        busy = min(group.in_flight, most)
        made._used = float(busy)
        made._returns = [(now + latency * (n + 1) / (busy + 1), 1.0) for n in range(busy)]
        return made

    def earliest(self, need: float) -> float:
        """When so much more fits, if nothing is booked before."""
        most = self.limit - need + _ROUNDING
        used, at, rate = self._used, self._at, self._rate
        for due, amount in islice(self._returns, self._gone, None):
            if used <= most:
                return at
            if rate and at + (used - most) / rate <= due:
                break
            used, at = max(0.0, used - rate * (due - at) - amount), due
        if used <= most:
            return at
        return at + (used - most) / rate if rate else inf

    def used_by(self, moment: float) -> float:
        """What of it is used then, if nothing is booked before."""
        used, at, rate = self._used, self._at, self._rate
        for due, amount in islice(self._returns, self._gone, None):
            if due > moment:
                break
            used, at = max(0.0, used - rate * (due - at) - amount), due
        return max(0.0, used - rate * (moment - at))

    def book(self, booked: float, settled: float, start: float, latency: float) -> None:
        """Somebody starts; whoever is booked after him starts no earlier."""
        while self._gone < len(self._returns) and self._returns[self._gone][0] <= start:
            due, amount = self._returns[self._gone]
            self._gone += 1
            self._used = max(0.0, self._used - self._rate * (due - self._at) - amount)
            self._at = due
            if amount == inf:
                insort(self._returns, (due - self._period, inf), lo=self._gone)
        self._used = max(0.0, self._used - self._rate * (start - self._at))
        self._at = start
        self._used += booked
        if booked > settled:
            insort(self._returns, (start + latency, booked - settled), lo=self._gone)
        if 0.0 < self._period < inf:
            returns = start + min(latency, self._lag) + self._period
            insort(self._returns, (returns, settled), lo=self._gone)


class Purse:
    """What a day's budget has left for those who start, the calls under way counted."""

    __slots__ = ("_length", "_limit", "_turns", "_used", "booked", "unit")

    def __init__(self, budget: Budget, now: float) -> None:
        self.unit = budget.unit
        self.booked = 0  # how many have drawn on it
        self._limit = budget.limit + _ROUNDING
        self._used = {0: budget.used(now)}  # by the day, today being 0
        self._turns = budget.turns_at
        self._length = budget.day_length

    def earliest(self, need: float, at: float) -> float:
        """When so much may be spent, from `at` on, if nothing is booked before."""
        day = self._day(at)
        for later in range(day, day + _DAYS):
            if self._used.get(later, 0.0) + need <= self._limit or need <= 0.0:
                return at if later == day else self._turns + self._length * (later - 1)
        return inf

    def _day(self, at: float) -> int:
        return 0 if at < self._turns else 1 + int((at - self._turns) // self._length)

    def book(self, amount: float, start: float) -> None:
        """Somebody starts."""
        self.booked += 1
        day = self._day(start)
        self._used[day] = self._used.get(day, 0.0) + amount


class StandIn:
    """Plays one quota group: when it could start a request, after those that it was given.

    `members` are its keys in question, `purses` the budgets of all groups; `usual` is the
    latency in seconds while none is known.
    """

    __slots__ = ("_at", "_hours", "_latency", "_limits", "_purses", "_started", "members")

    def __init__(
        self,
        members: Sequence[Deployment],
        purses: dict[Budget, Purse],
        usual: float,
        now: float,
    ) -> None:
        self.members = members
        self._started = 0
        group, allowance = members[0].group, members[0].allowance
        self._latency = mean_latency(members) or usual
        self._at = max(now, min(max(d.hard_until, d.soft_until) for d in members))
        self._hours = None if allowance is None else allowance.hours
        self._purses: list[Purse] = []
        for budget in () if allowance is None else allowance.budgets:
            if budget not in purses:
                purses[budget] = Purse(budget, now)
            self._purses.append(purses[budget])
        # Each with what it counts: tokens, or requests; and whether it is but a guess.
        self._limits = [
            (_Limit.of(window, now), window.kind == "tokens", window.tentative)
            for window in group.windows
        ]
        if group.concurrency is not None:
            slots = _Limit.slots(group, group.concurrency, self._latency, now)
            self._limits.append((slots, False, False))

    @property
    def stamp(self) -> int:
        """Another one after each booking that may change what was told before."""
        if not self._purses:
            return self._started
        return self._started + sum(purse.booked for purse in self._purses)

    def earliest(self, size: Size) -> tuple[float, float]:
        """When it could start one more of this size, and the strain (see QuotaGroup.weigh)."""
        start, booked = self._at, need_of(self.members[0], size)
        worst = taken = 0.0
        for limit, tokens, tentative in self._limits:
            need = booked if tokens else 1.0
            begin = limit.earliest(min(need, limit.limit) if tentative else need)
            if begin > start:
                start = begin
            taken += need / limit.limit
            strain = (limit.used_by(start) + need) / limit.limit
            if strain > worst:
                worst = strain
        return self._allowed(size, start), worst + taken

    def _allowed(self, size: Size, start: float) -> float:
        """When its owner lets it start, from `start` on."""
        if self._purses:
            needs = self.members[0].model.needs(size)
            for purse in self._purses:
                start = inf if start == inf else purse.earliest(needs[purse.unit], start)
        return start if self._hours is None or start == inf else self._hours.opens_after(start)

    def start(self, size: Size, start: float) -> None:
        """It starts one of this size then."""
        self._started += 1
        self._at = start
        model = self.members[0].model
        booked, usual = need_of(self.members[0], size), model.usual_tokens(size)
        settled = min(booked, usual)
        for limit, tokens, _ in self._limits:
            limit.book(*(booked, settled) if tokens else (1.0, 1.0), start, self._latency)
        if self._purses:
            took = model.usual_usd(size) or 0.0, usual
            for purse in self._purses:
                purse.book(took[purse.unit], start)
