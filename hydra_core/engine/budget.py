"""Budgets: what may be spent in a day, charged before sending and settled afterwards.

Law 1: what is booked is settled exactly once, with the lease that booked it.
Law 2: a budget is its owner's word, so it is a hard block: nothing is sent that might
       cost more than what is left of it, by no strategy, probe or second look.
Law 3: a call belongs to the day in which it was sent, whenever it is answered.

All times are monotonic seconds unless they are said to be wall seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal

from hydra_core.engine.durations import duration
from hydra_core.engine.model_facts import UNPRICED_USD
from hydra_core.engine.windows import NEVER

BudgetKind = Literal["usd", "tokens"]
UNITS: Final[tuple[BudgetKind, BudgetKind]] = ("usd", "tokens")
"""The order in which what a request needs, or took, is told: US dollars, then tokens."""

DayEnd = Callable[[float], float]
"""Wall seconds -> the wall seconds, later than these, at which the next day begins."""

Booking = tuple[int, float]
"""What one lease booked in one budget: the number of the day, and the amount."""

_ROUNDING: Final = 1e-9  # of many additions, as a share of the limit


class Budget:
    """`limit` US dollars or tokens a day, for one key, one provider or the whole pool.

    `name` is the same in every process; `whose` is how people call the one it bounds.
    `unit` is the place of what it counts among the needs of a request (`UNITS`).
    `day_end` knows when days begin; `offset` added to monotonic seconds gives wall seconds.
    """

    __slots__ = (
        "_day",
        "_day_end",
        "_held",
        "_most",
        "_offset",
        "_others",
        "_turned_away",
        "_used",
        "ends",
        "kind",
        "limit",
        "name",
        "turns_at",
        "unit",
        "whose",
    )

    def __init__(
        self,
        name: str,
        kind: BudgetKind,
        limit: float,
        *,
        whose: str,
        day_end: DayEnd,
        offset: float,
        now: float,
    ) -> None:
        self.name = name
        self.kind = kind
        self.unit = UNITS.index(kind)
        self.limit = limit
        self.whose = whose
        self._most = limit * (1.0 + _ROUNDING)
        self._day_end = day_end
        self._offset = offset
        self._day = 0
        self._used = 0.0
        self._held = 0.0  # the part of it that calls under way have booked
        self._others = 0.0  # and the part that other processes have spent
        self._turned_away = NEVER  # the smallest need that found no room
        self.ends = day_end(now + offset)  # wall seconds
        self.turns_at = self.ends - offset

    def __repr__(self) -> str:
        return f"<Budget {self.name}: {self._used:g} of {self.limit:g}>"

    def used(self, now: float) -> float:
        """What this day has spent, calls under way included."""
        if now >= self.turns_at:
            self.ends = self._day_end(now + self._offset)
            self.turns_at = self.ends - self._offset
            self._day += 1
            self._used = self._held = self._others = 0.0
        return self._used

    def own(self, now: float) -> float:
        """What this process has spent of this day, calls under way included."""
        return self.used(now) - self._others

    @property
    def day_length(self) -> float:
        """Seconds of the day that follows; few have 23 or 25 hours."""
        return self._day_end(self.ends) - self.ends

    def earliest(self, need: float, now: float) -> float:
        """When `need` may be spent: now, or when the day turns; `NEVER` if no day has as much.

        What costs nothing is kept out by no budget.
        """
        used = self._used if now < self.turns_at else self.used(now)
        if used + need <= self._most or need <= 0.0:
            return now
        return NEVER if need > self._most else self.turns_at

    def may_return(self, need: float, now: float) -> bool:
        """True when calls under way might leave enough of what they have booked."""
        return self.used(now) - self._held + need <= self._most

    def turn_away(self, need: float) -> None:
        """Somebody rests because `need` did not fit: `settle` tells when it may."""
        self._turned_away = min(self._turned_away, need)

    def book(self, amount: float, now: float) -> Booking:
        """Book `amount`; the result is what `settle` takes."""
        if now >= self.turns_at:
            self.used(now)
        self._used += amount
        self._held += amount
        return self._day, amount

    def settle(self, booking: Booking, amount: float, now: float) -> bool:
        """Correct a booking to what was spent; True when one turned away may fit now."""
        if now >= self.turns_at:
            self.used(now)
        day, booked = booking
        if day == self._day:
            self._used = max(0.0, self._used + amount - booked)
            self._held = max(0.0, self._held - booked)
        if self._used + self._turned_away > self._most:
            return False
        self._turned_away = NEVER
        return True

    def counts(self, booking: Booking, now: float) -> bool:
        """True while the day runs in which it was booked."""
        self.used(now)
        return booking[0] == self._day

    def hear(self, others: float, now: float) -> bool:
        """Other processes have spent so much of this day; True when that is less than was heard.

        `ends` (wall seconds) tells whether it was the same day.
        """
        less = others < self._others
        self._used = self.used(now) - self._others + others
        self._others = others
        return less

    def reanchor(self, offset: float, now: float) -> None:
        """The wall clock was set, or the machine slept.

        A clock that is set back brings no day twice: the running one ends when it would
        have ended, but at the latest with the day after this.
        """
        after_this = self._day_end(self._day_end(now + offset))
        self._offset = offset
        self.ends = min(self.ends, after_this)
        self.turns_at = self.ends - offset

    def told(self, need: float, now: float) -> str:
        """Why `need` cannot be spent at `now`, in a reader's words."""
        unit = "USD" if self.kind == "usd" else "tokens"
        spent, limit, more = map(self._amount, (self.used(now), self.limit, need))
        if self.kind == "usd" and need == UNPRICED_USD:
            return (
                f"budget of {self.whose}: {spent} USD of {limit} spent, and nobody knows the price "
                "of this model"
            )
        if need > self._most:
            return f"budget of {self.whose}: this may take {more} {unit}, a day has {limit}"
        under_way = self.may_return(need, now)
        return "".join(
            (
                f"budget of {self.whose}: {spent} {unit} of {limit} spent",
                " or booked by calls under way" if under_way else "",
                f", and this may take {more}" if self._used < self.limit else "",
                f", again in {duration(self.turns_at - now)}",
                " at the latest" if under_way else "",
            )
        )

    def _amount(self, amount: float) -> str:
        if self.kind == "tokens":
            return f"{amount:,.0f}"
        whole, _, cents = f"{amount:.6f}".rstrip("0").partition(".")
        return f"{whole}.{cents:0<2}"
