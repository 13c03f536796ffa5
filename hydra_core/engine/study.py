"""What is being found out about a quota group whose limits nobody told us.

Law 1: every call is entered, so that a limit learned late begins with the truth.
Law 2: a guess is a limit inferred from a refusal that named none. It is kept until it
       is contradicted: by what the provider let pass, by its words, or, when it has
       held us back for a while, by trying a little more (see `guess`).

All times are monotonic seconds.
"""

from __future__ import annotations

from collections import deque
from itertools import takewhile
from typing import TYPE_CHECKING, Final, NamedTuple

from hydra_core.engine.guess import PATIENCE, Guess
from hydra_core.engine.windows import NEVER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hydra_core.engine.deployment import Lease
    from hydra_core.engine.supposition import Case
    from hydra_core.engine.windows import Window
    from hydra_core.wire import LimitKind

# What a busy key does in a minute, with room to spare; older calls are forgotten first.
_MOST: Final = 4096

# So much of a limit in use holds us back.
_NEAR: Final = 0.8
# What a bucket let pass says the less of it the longer ago that was.
_BACK: Final = 4.0


class Call(NamedTuple):
    """One call that was let pass, or may have been: `answered` is infinite until that is sure.

    `tokens` are what it used, or booked so far; `lost`: nobody will ever answer.
    """

    sent: float
    tokens: float
    answered: float
    lost: bool = False


class Study:
    """The calls of one group, newest last, and the guesses about its limits.

    `supposed_at` is when a limit was supposed last, `case` the refusal that it explains.
    """

    __slots__ = ("_leases", "case", "guesses", "supposed_at")

    def __init__(self) -> None:
        self.supposed_at = 0.0
        self.case: Case | None = None
        self._leases: deque[Lease] = deque(maxlen=_MOST)
        self.guesses: dict[Window, Guess] = {}

    def enter(self, lease: Lease) -> None:
        """A call is sent."""
        self._leases.append(lease)

    def join(self, other: Study) -> None:
        """The calls of another group, which proved to be the same, and the guesses about it."""
        leases = sorted((*self._leases, *other._leases), key=lambda lease: lease.granted)
        self._leases = deque(leases, maxlen=_MOST)
        self.guesses = {**other.guesses, **self.guesses}

    def calls(self, *, until: float = NEVER) -> list[Call]:
        """The calls sent up to `until` that were not refused, oldest first."""
        return [
            Call(lease.granted, lease.used, lease.ended, lease.settled and lease.ended == NEVER)
            for lease in self._leases
            if lease.used > 0.0 and lease.granted <= until
        ]

    def company(self, refused: Lease, since: float) -> tuple[int, int]:
        """Of the calls sent after `since`, how many were under way at its sending, and had ended.

        Those that were refused as well are neither.
        """
        moment = refused.granted
        others = [lease for lease in self._latest(since) if lease is not refused]
        ended = sum(1 for lease in others if lease.ended <= moment)
        return len(others) - ended, ended

    def _latest(self, since: float) -> Iterator[Lease]:
        """The calls sent after `since` that were not refused, newest first."""
        latest = takewhile(lambda lease: lease.granted > since, reversed(self._leases))
        return (lease for lease in latest if lease.used > 0.0)

    def _busy(self, guess: Guess, more: float, now: float) -> bool:
        """So much was asked within the last period that a little more limit would be used.

        A bucket whose limit was raised looks empty until it has filled up to it.
        """
        window = guess.window
        if guess.looks.due(window.length, now):
            latest = self._latest(now - window.length)
            asked = sum(c.used if window.kind == "tokens" else 1.0 for c in latest)
            guess.busy = asked + more > _NEAR * window.limit
        return guess.busy

    def proven(self, kind: LimitKind, length: float) -> float:
        """The most units of `kind` that surely were let pass within one `length` of seconds."""
        calls = [call for call in self.calls() if call.answered < NEVER]
        most = passed = 0.0
        older = iter(calls)
        oldest = next(older, None)
        for call in sorted(calls, key=lambda call: call.answered):
            passed += call.tokens if kind == "tokens" else 1.0
            # Who was sent too early to be surely within it is left out, answered or not.
            while oldest is not None and oldest.sent < call.answered - length:
                passed -= oldest.tokens if kind == "tokens" else 1.0
                oldest = next(older, None)
            most = max(most, passed)
        return most

    def least(self, kind: LimitKind, length: float, shape: str, now: float) -> float:
        """The least that a limit per `length` seconds can be, since what was sent was let pass.

        A bucket was full at most when the first of some calls came, and has gained no more
        since than the time allows for.
        """
        back = _BACK * length if shape == "bucket" else 2.0 * length
        calls = [lease for lease in self._latest(now - back) if lease.ended < NEVER]
        last = max((lease.ended for lease in calls), default=0.0)
        spent = least = 0.0
        for lease in calls:
            spent += lease.used if kind == "tokens" else 1.0
            ago = last - lease.granted
            if shape == "bucket":
                least = max(least, spent / (1.0 + ago / length))
            elif ago < length:
                least = spent
        return least

    def used(self, kind: LimitKind, length: float, shape: str, limit: float, now: float) -> float:
        """What would count of a limit that is not booked, after all calls that may have come."""
        back = _BACK * length if shape == "bucket" else length
        used, since = 0.0, -NEVER
        for lease in reversed([*self._latest(now - back)]):
            if shape == "bucket":
                used = max(0.0, used - (lease.granted - since) * limit / length)
                since = lease.granted
            used += lease.used if kind == "tokens" else 1.0
        return max(0.0, used - (now - since) * limit / length) if shape == "bucket" else used

    def replay(self, window: Window, now: float) -> None:
        """Book in a new window what was sent before anybody knew of it."""
        for lease in self._leases:
            if lease.granted <= now - window.length or not lease.used:
                continue
            amount = lease.used if window.kind == "tokens" else 1.0
            charge = window.charge(amount, lease.granted)
            if lease.settled:
                ended = min(lease.ended, now)
                window.settle(charge, amount, ended, answered=lease.ended < NEVER)
            else:
                lease.charges = (*lease.charges, (window, charge))

    def suppose(
        self, window: Window, now: float, patience: int = PATIENCE, high: float = NEVER
    ) -> None:
        """The limit of this window is a guess from now on; `high` was refused."""
        window.tentative = True
        self.guesses[window] = Guess(window, window.limit, now, patience=patience, high=high)

    def passed(self, tokens: float, now: float) -> None:
        """A call of so many tokens went well: guesses that hold us back in vain give way."""
        for guess in self.guesses.values():
            window = guess.window
            used = window.used(now)
            if used > window.limit:
                proved = self.least(window.kind, window.length, window.shape, now)
                window.limit = max(window.limit, proved)
            # Who holds back one more like this is near, however far from its limit it stands.
            more = tokens if window.kind == "tokens" else 1.0
            if used + more > _NEAR * window.limit and self._busy(guess, more, now):
                guess.doubt(now)

    def refused(self, tokens: float, now: float) -> bool:
        """A call of so many tokens was refused; True when doubts explain it, which are over now."""
        found = False
        for guess in self.guesses.values():
            # The call itself still counts as a request, and no more as tokens.
            more = tokens if guess.window.kind == "tokens" else 0.0
            asked = guess.window.used(now) + more
            if guess.doubted and asked > guess.limit:
                guess.uphold(asked, now)
                found = True
        return found

    def forget(self, window: Window) -> None:
        """The limit of this window is certain: somebody stated it."""
        window.tentative = False
        self.guesses.pop(window, None)
