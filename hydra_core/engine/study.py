"""What is being found out about a quota group whose limits nobody told us.

Law 1: every call is entered, so that a limit learned late begins with the truth.
Law 2: a guess is a limit inferred from a refusal that named none. It is kept until it
       is contradicted: by what the provider let pass, by its words, or, when it has
       held us back for a while, by trying a little more.

All times are monotonic seconds.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hydra_core.engine.windows import Window
    from hydra_core.wire import LimitKind

# What a busy key does in a minute, with room to spare; older calls are forgotten first.
_MOST: Final = 4096

# A guess is doubted after it was near its limit for so many of its windows. Each time
# that the doubt proves wrong the next one comes that much later.
_PATIENCE: Final = 2.0
_STUBBORN: Final = 4.0
_NEAR: Final = 0.8
_MORE: Final = 1.1

Entry = list[float]
"""One call: [when it was sent, its tokens (0: refused, or never sent), when it was answered]."""
SENT, TOKENS, ANSWERED = 0, 1, 2
_NOT_YET: Final = float("inf")


@dataclass(slots=True)
class Guess:
    """One inferred limit: `low <= limit < high`, doubted again `patience` windows after `since`."""

    window: Window
    low: float
    high: float
    since: float
    patience: float = _PATIENCE


class Study:
    """The calls of one group, newest last, and the guesses about its limits."""

    __slots__ = ("_entries", "guesses", "supposed_at")

    def __init__(self) -> None:
        self.supposed_at = 0.0
        self._entries: deque[Entry] = deque(maxlen=_MOST)
        self.guesses: dict[Window, Guess] = {}

    def enter(self, tokens: float, now: float) -> Entry:
        """A call is sent."""
        entry = [now, tokens, _NOT_YET]
        self._entries.append(entry)
        return entry

    def join(self, other: Study) -> None:
        """The calls of another group, which proved to be the same, and the guesses about it."""
        entries = sorted((*self._entries, *other._entries), key=lambda entry: entry[SENT])
        self._entries = deque(entries, maxlen=_MOST)
        self.guesses = {**other.guesses, **self.guesses}

    def calls(self) -> Iterator[Entry]:
        """The calls that were not refused, oldest first."""
        return (entry for entry in self._entries if entry[TOKENS] > 0.0)

    def spent(self, kind: LimitKind, since: float) -> float:
        """What was sent after `since` and let pass, in units of `kind`."""
        amounts = (e[TOKENS] for e in self.calls() if e[SENT] > since and e[ANSWERED] < _NOT_YET)
        return sum(amounts) if kind == "tokens" else float(sum(1 for _ in amounts))

    def replay(self, window: Window, now: float) -> None:
        """Book in a new window what was sent before anybody knew of it."""
        for sent, tokens, answered in self.calls():
            if sent <= now - window.length:
                continue
            amount = tokens if window.kind == "tokens" else 1.0
            charge = window.charge(amount, sent)
            if answered < _NOT_YET:
                window.settle(charge, amount, answered)

    def suppose(self, guess: Guess) -> None:
        """Take up a guess; one that an earlier doubt led to is trusted for longer."""
        before = self.guesses.get(guess.window)
        if before is not None:
            guess.patience = before.patience * _STUBBORN
        self.guesses[guess.window] = guess
        self.supposed_at = guess.since

    def doubt(self, now: float) -> None:
        """A call went well: guesses that hold us back for no good reason give way."""
        for guess in self.guesses.values():
            window = guess.window
            used = window.used(now)
            if used < _NEAR * window.limit:
                continue
            if used > window.limit:
                passed = self.spent(window.kind, now - window.length)
                window.limit = max(window.limit, passed)
            if now - guess.since > guess.patience * window.length:
                guess.since = now
                window.limit = max(window.limit + 1.0, window.limit * _MORE)

    def forget(self, window: Window) -> None:
        """The provider's own words replace the guess."""
        window.tentative = False
        self.guesses.pop(window, None)
