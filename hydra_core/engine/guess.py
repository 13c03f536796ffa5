"""A limit that is supposed, and how it is doubted: seldom, and by ever larger steps.

Law: a doubt costs one refusal at most, so doubts are rationed by calls that went well.
     Where the limit lies between two numbers, halving what is left finds it soonest.

All times are monotonic seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from hydra_core.engine.inference import usual_numbers
from hydra_core.engine.windows import NEVER

if TYPE_CHECKING:
    from hydra_core.engine.windows import Window

# A guess that holds us back is doubted once a hundred calls and two of its windows have
# passed, so doubts alone cost less than one refusal in a hundred calls. The first step is
# small; one that is not refuted disproves the guess, so the next ones are large and come
# soon. One that is refuted makes us four times as patient.
PATIENCE: Final = 100
_WINDOWS: Final = 2.0
_STUBBORN: Final = 4
_STEP: Final = 1.0 / 32.0
# One that little speaks for, as after a refusal that came of something else, is doubted as
# soon as it holds us back, in larger steps; refuted doubts make it as firm as any other.
UNSURE: Final = 6
_LEAP: Final = 0.25
# One that was found by halving the question is neither.
_LIKELY: Final = 25

# Looking back takes as long as there are calls, so it is done so many times in one period.
_TIMES: Final = 16.0


@dataclass(slots=True)
class Seldom:
    """When something costly, such as a look at all that went before, was last done."""

    last: float = -NEVER

    def due(self, length: float, now: float) -> bool:
        """Do it again: True at most 16 times in a period of `length` seconds."""
        if now - self.last < length / _TIMES:
            return False
        self.last = now
        return True


@dataclass(slots=True)
class Guess:
    """One inferred limit; `since` is when it was last considered, `calls` how many went since.

    `high`: so much was refused, as far as we know. `busy`: when last looked at, so much was
    asked that a little more limit would be used.
    """

    window: Window
    limit: float
    since: float
    calls: int = 0
    patience: int = PATIENCE
    step: float = field(init=False)
    high: float = NEVER
    busy: bool = False
    looks: Seldom = field(default_factory=Seldom)

    def __post_init__(self) -> None:
        self.step = _LEAP if self.patience < PATIENCE else _STEP

    @property
    def doubted(self) -> bool:
        """More is being tried than what was inferred."""
        return self.window.limit > self.limit

    def doubt(self, now: float) -> None:
        """A call went well near the limit: sooner or later, try a little more."""
        self.calls += 1
        wait = _WINDOWS * min(1.0, self.patience / PATIENCE) * self.window.length
        if self.calls < self.patience or now - self.since < wait:
            return
        if self.doubted:
            # Limits are exact: who lets a little more pass never had this one.
            self.limit = self.window.limit
            self.patience, self.step = UNSURE, min(1.0, max(_LEAP, 2.0 * self.step))
        self.since, self.calls = now, 0
        likely = self._likely()
        if likely:
            self.window.limit = likely[len(likely) // 2]
        elif self.high < NEVER:
            # None is left: this is it, most likely, unless the refusal came of something else.
            self.high, self.patience, self.step = NEVER, max(self.patience, _LIKELY), _LEAP
        else:
            self.window.limit += max(1.0, self.step * self.window.limit)

    def _likely(self) -> list[float]:
        """The limits that people make between what was let pass and what was refused."""
        if self.high == NEVER:
            return []
        more = self.limit * (1.0 + _STEP)
        return usual_numbers(more, self.high, whole=self.window.kind == "requests")

    def uphold(self, high: float, now: float) -> None:
        """A call was refused that only the doubt had let go: so much there is not."""
        self.window.limit = self.limit
        self.since, self.calls = now, 0
        if self.high < NEVER:
            self.high = min(self.high, high)
        if not self._likely():
            self.patience, self.step = max(PATIENCE, self.patience) * _STUBBORN, _STEP
