"""Fixed windows: limits whose units all return at known instants, such as midnight."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from hydra_core.engine.windows import AMOUNT, DATE, NEVER, OURS, Charge, Window, guard_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from hydra_core.wire import LimitKind


class FixedWindow(Window):
    """All units return at known instants: every `length` seconds from `resets_at` on.

    A calendar's days are not all as long: where summer time begins or ends they have 23 or
    25 hours. For these, `next_reset` tells the first reset after an instant.

    Within a guard of the reset nobody knows on which side of it the provider counts a
    request, so it counts on both until its answer tells. A booking's date is the number
    of the last window that may count it.
    """

    __slots__ = (
        "_carried",
        "_epoch",
        "_guard",
        "_next_reset",
        "_others",
        "resets_at",
    )

    shape = "fixed"

    def __init__(
        self,
        kind: LimitKind,
        limit: float,
        length: float,
        *,
        resets_at: float,
        next_reset: Callable[[float], float] | None = None,
        configured: bool = True,
    ) -> None:
        super().__init__(kind, limit, length, configured=configured)
        self._next_reset = next_reset
        self._guard = guard_of(length)
        self._reset_at(resets_at)
        self._others = 0.0  # what of it others used, as the provider said
        self._carried = 0.0  # what the next window may count as well
        self._epoch = 0.0

    def _reset_at(self, instant: float) -> None:
        self.resets_at = instant
        self.steady_until = instant + self._guard

    def used(self, now: float) -> float:
        """Units spent since the last reset."""
        if now >= self.steady_until:
            self._turn(max(self.resets_at, now - self._guard))
        return self.spent

    def _turn(self, settled: float) -> None:
        """At least one reset has been passed; the last that lies before `settled` counts."""
        following = self._following()
        if settled < following:
            self.spent = self._carried
            self._epoch += 1.0
        else:
            if self._next_reset is None:
                following += self.length * (1.0 + (settled - following) // self.length)
            else:
                following = self._next_reset(settled)
            self.spent = 0.0
            self._epoch += 2.0  # or more: no booking knows of the ones between
        self._reset_at(following)
        self._carried = self._others = 0.0

    def _following(self) -> float:
        """The reset after the next one."""
        if self._next_reset is None:
            return self.resets_at + self.length
        # The provider may date the reset a little early or late: half a day on, the one
        # after it is certain.
        return self._next_reset(self.resets_at + self.length / 2.0)

    def earliest(self, need: float, now: float) -> float:
        """Now, or the next reset (plus the guard: our clock may run ahead of theirs)."""
        if self.used(now) + need <= self.limit:
            return now
        if need > self.limit:
            return NEVER
        opens = self.steady_until
        if self._carried + need <= self.limit:
            return opens
        return self._following() + self._guard

    def charge(self, amount: float, now: float) -> Charge:
        """Book `amount` in the window that is open, and near its end in the next as well."""
        self.used(now)
        self.spent += amount
        if now < self.resets_at - self._guard:
            return [self._epoch, amount, OURS]
        self._carried += amount
        return [self._epoch + 1.0, amount, OURS]

    def settle(
        self, charge: Charge, amount: float, now: float, *, answered: bool = True
    ) -> None:
        """Correct a booking of a window that is still open."""
        self.used(now)
        if charge[DATE] < self._epoch:
            return
        more = amount - charge[AMOUNT]
        self.spent += more
        if charge[DATE] > self._epoch:
            if answered and now < self.resets_at:  # it arrived before the reset
                self._carried -= charge[AMOUNT]
                charge[DATE] = self._epoch
            else:
                self._carried += more
        charge[AMOUNT] = amount

    def observe(self, used: float, reset: float | None, now: float) -> None:
        """Believe a larger count, and the provider's own instant of reset."""
        unseen = min(used, self.limit) - self.used(now)
        if unseen > 0.0:
            self.spent += unseen
            self._others += unseen
        if reset is not None:
            self._reset_at(now + reset)

    def follow(self, shift: float, now: float) -> None:
        """The wall clock was set ahead by `shift` seconds, or the machine slept: so its days do.

        A clock that is set back brings no day twice: the running one ends when it would have
        ended, but at the latest with the day after this. Without a calendar nothing changes.
        """
        if self._next_reset is not None:
            after_this = self._next_reset(self._next_reset(now))
            self._reset_at(min(self.resets_at - shift, after_this))

    def absorb(self, other: Self, bookings: Iterable[Charge], now: float) -> None:
        """Count all that `other` counts, up to the later of the two resets."""
        ours = self.used(now) - self._others + other.used(now) - other._others
        self.spent = max(self.spent, other.spent, ours)
        self._others = self.spent - ours
        self._carried += other._carried
        self._reset_at(max(self.resets_at, other.resets_at))
        self._unite(other)
        for booking in bookings:
            booking[DATE] += self._epoch - other._epoch

    def others(self, now: float) -> float:
        """Those of the used units that we did not send ourselves, but were told of."""
        return min(self._others, self.used(now))

    def frees(self, now: float, most: int) -> list[tuple[float, float]]:  # noqa: ARG002 - one row
        """Everything, at the reset."""
        used = self.used(now)
        return [(max(0.0, self.resets_at - now), used)] if used > 0.0 else []
