"""Cooldown and breaker: two reasons to leave a deployment alone, kept apart.

Law 1: a cooldown is the provider's word (a stated wait, a spent quota, a dead key).
       No strategy, score, probe or panic passes it.
Law 2: a breaker is our inference. Exactly one request at a time may probe it.
Law 3: this file does not know what it guards: a key, an account, a quota group, a
       deployment, a provider's model, a whole provider or this machine's network.

No end of a rest is jittered: those who wait stand in one line, and each start that a rest's
end allows wakes one of them (engine.waiting), so there is no herd to spread.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hydra_core.engine.windows import NEVER

if TYPE_CHECKING:
    from hydra_core.messages import Fault

# The provider's waits are believed up to a day: a token limit that asked for
# 114 hours has been seen. After a day one request finds out.
LONGEST_WAIT: Final = 86_400.0

# A breaker opens when more than half of at least this many recent calls failed.
# Precedents: Envoy and LiteLLM count 5; one failure of one call is no outage.
_ENOUGH: Final = 5
_OPEN_FIRST: Final = 5.0
_OPEN_CAP: Final = 80.0
# What happened before fades: each new outcome outweighs those twenty calls ago.
_FADE: Final = 0.9


class Rest:
    """Until when one scope is left alone, and why.

    `hard_until` is a cooldown, `soft_until` our own guess; both are monotonic
    seconds, 0 when over. `strikes` counts the faults in a row, which double a
    guess; a success clears it. `breaker` is the one that guards the whole scope, if any.
    `died_at` and `alive_at` are when it was last refused for good, and last proved well.
    """

    __slots__ = (
        "_struck_at",
        "alive_at",
        "breaker",
        "died_at",
        "fault",
        "hard_until",
        "name",
        "soft_until",
        "strikes",
    )

    def __init__(self, name: str) -> None:
        self.name = name
        self.hard_until = 0.0
        self.soft_until = 0.0
        self.strikes = 0
        self.fault: Fault | None = None
        self.breaker: Breaker | None = None
        self.died_at = self.alive_at = -NEVER
        self._struck_at = 0.0

    def cool(self, until: float, fault: Fault) -> None:
        """The provider said wait until then; a longer wait already known stays, and its reason."""
        if until >= self.hard_until:
            self.hard_until = until
            self.fault = fault

    def die(self, fault: Fault, at: float) -> None:
        """Refused for good at that moment: no timer ends it."""
        self.cool(NEVER, fault)
        self.died_at = max(self.died_at, at)

    def proved(self, at: float) -> None:
        """It was well at that moment; what is heard of an earlier one changes nothing."""
        if at > self.alive_at:
            self.alive_at = at

    def doubt(self, until: float, fault: Fault) -> None:
        """We infer ill health until then; what rests it for longer stays the reason."""
        self.soft_until = max(self.soft_until, until)
        if until >= self.hard_until:
            self.fault = fault

    def backoff(self, first: float, cap: float, *, begun: float, now: float) -> float:
        """The rest in seconds after one more fault; it doubles with each, up to `cap`.

        Calls that were under way together fail together: those `begun` before the
        last strike tell nothing new and do not double it.
        """
        if begun >= self._struck_at:
            self.strikes += 1
            self._struck_at = now
        return min(cap, first * 2.0 ** min(self.strikes - 1, 30))

    def recover(self) -> None:
        """A call went well: our guesses are over. A cooldown runs on."""
        self.strikes = 0
        self._struck_at = 0.0
        self.soft_until = 0.0

    def absorb(self, other: Rest) -> bool:
        """The two scopes prove to be one: the later rest holds. True when that is the other's."""
        before = self.hard_until, self.soft_until
        if other.hard_until > self.hard_until:
            self.hard_until, self.fault = other.hard_until, other.fault
        elif other.soft_until > max(self.soft_until, self.hard_until):
            self.fault = other.fault
        self.soft_until = max(self.soft_until, other.soft_until)
        self.strikes = max(self.strikes, other.strikes)
        self._struck_at = max(self._struck_at, other._struck_at)
        return (self.hard_until, self.soft_until) != before

    def revive(self, now: float) -> None:
        """The key was refused wrongly, as is known by `now`: forget everything."""
        self.recover()
        self.proved(now)
        self.hard_until = 0.0
        self.fault = None

    @property
    def dead(self) -> bool:
        """True when no timer ends the rest."""
        return self.hard_until == NEVER


class Breaker:
    """Opens when most calls fail, or when told; then one probe at a time decides.

    So that an outage is not met key by key. `over` is the rest of what it guards, `fault`
    what opened it. It opens for `first` seconds, and for twice as long after each failed
    probe, up to `cap`.
    """

    __slots__ = (
        "_born",
        "_calls",
        "_cap",
        "_failures",
        "_first",
        "_opened",
        "fault",
        "open_until",
        "opened_at",
        "over",
        "probing",
    )

    def __init__(self, over: Rest, *, first: float = _OPEN_FIRST, cap: float = _OPEN_CAP) -> None:
        self.over = over
        self.fault: Fault | None = None
        self.opened_at = 0.0
        self.open_until = 0.0
        self.probing = False
        self._first = first
        self._cap = cap
        self._opened = 0
        self._calls = 0.0
        self._failures = 0.0
        self._born: list[Rest] = []

    def state(self, now: float) -> str:
        """`closed`, `open`, or `half-open` (one probe decides)."""
        if not self.open_until:
            return "closed"
        return "open" if now < self.open_until else "half-open"

    def passed(self) -> bool:
        """A call went well; True when that closed an open breaker."""
        self._calls = self._calls * _FADE + 1.0
        self._failures *= _FADE
        if not self.open_until:
            return False
        self.close()
        return True

    def failed(self, now: float, scale: float, fault: Fault | None = None) -> bool:
        """A call failed; True when that opened the breaker (again)."""
        if now < self.open_until:
            return False  # it was under way when the breaker opened: nothing new
        self._calls = self._calls * _FADE + 1.0
        self._failures = self._failures * _FADE + 1.0
        tripped = self._calls > _ENOUGH - 1 and self._failures > self._calls / 2
        if not (tripped or self.open_until):
            return False
        self.trip(now, scale, fault)
        return True

    def trip(self, now: float, scale: float, fault: Fault | None) -> None:
        """Open, whatever was counted."""
        self._opened += 1
        self.fault = fault
        self.opened_at = now
        self.open_until = now + scale * min(self._cap, self._first * 2.0 ** (self._opened - 1))

    def outlast(self, rest: Rest, until: float) -> None:
        """Doubt the one that failed its probe past the next; it ends when the breaker closes."""
        if self.fault is not None:
            rest.doubt(until, self.fault)
            self._born.append(rest)

    def close(self) -> None:
        """The outage is over, and with it every doubt that it caused."""
        self._calls = self._failures = self.open_until = 0.0
        self._opened = 0
        for rest in self._born:
            rest.recover()
        self._born.clear()
