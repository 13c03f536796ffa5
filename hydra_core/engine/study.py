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

# A guess that holds us back is doubted once a hundred calls and two of its windows have
# passed, so doubts alone cost less than one refusal in a hundred calls. The first step is
# small; each doubt that is not refuted doubles it, one that is makes us four times as patient.
PATIENCE: Final = 100
_WINDOWS: Final = 2.0
_STUBBORN: Final = 4
_NEAR: Final = 0.8
_STEP: Final = 1.0 / 32.0

Entry = list[float]
"""One call: [when it was sent, its tokens (0: refused, or never sent), when it was answered]."""
SENT, TOKENS, ANSWERED = 0, 1, 2
_NOT_YET: Final = float("inf")


@dataclass(slots=True)
class Guess:
    """One inferred limit; `since` is when it was last considered, `calls` how many went since."""

    window: Window
    limit: float
    since: float
    calls: int = 0
    patience: int = PATIENCE
    step: float = _STEP

    @property
    def doubted(self) -> bool:
        """More is being tried than what was inferred."""
        return self.window.limit > self.limit

    def reached(self, now: float) -> float:
        """The share of the limit that is in use by our books."""
        return self.window.used(now) / self.window.limit

    def doubt(self, now: float) -> None:
        """A call went well near the limit: sooner or later, try a little more."""
        self.calls += 1
        if self.calls < self.patience or now - self.since < _WINDOWS * self.window.length:
            return
        if self.doubted:
            self.limit = self.window.limit
            self.step *= 2.0
        self.window.limit += max(1.0, self.step * self.window.limit)
        self.since, self.calls = now, 0

    def uphold(self, now: float) -> None:
        """A call was refused that only the doubt had let go."""
        self.window.limit = self.limit
        self.since, self.calls = now, 0
        self.patience, self.step = self.patience * _STUBBORN, _STEP


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

    def suppose(self, window: Window, now: float, patience: int = PATIENCE) -> None:
        """The limit of this window is a guess from now on."""
        window.tentative = True
        self.guesses[window] = Guess(window, window.limit, now, patience=patience)

    def passed(self, now: float) -> None:
        """A call went well: guesses that hold us back for no good reason give way."""
        for guess in self.guesses.values():
            reached = guess.reached(now)
            if reached > 1.0:
                spent = self.spent(guess.window.kind, now - guess.window.length)
                guess.window.limit = max(guess.window.limit, spent)
            if reached > _NEAR:
                guess.doubt(now)

    def refused(self, now: float) -> bool:
        """A call was refused; True when doubts explain it, which are over now."""
        found = False
        for guess in self.guesses.values():
            if guess.doubted and guess.window.used(now) > guess.limit:
                guess.uphold(now)
                found = True
        return found

    def forget(self, window: Window) -> None:
        """The limit of this window is certain: somebody stated it."""
        window.tentative = False
        self.guesses.pop(window, None)
