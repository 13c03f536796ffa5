"""How many calls may be in flight at once where nobody told us.

Two reasons to hold back:

- slow start: while a group's limits are unknown, every call that is in flight when the
  first limit is met earns one more refusal. So a few are let go at once, and further
  ones when the last one's refusal would have been heard (`engine.echo`). Nearly all free
  limits are met within the first dozens of calls; who was let pass that often is soon let
  go at full speed: both grow with the calls that were let through, and N calls take no
  longer than eighty echoes, however large N is.
- a refusal that blames concurrency: one fewer than were in flight, then one more each
  time that the ceiling was in use and held for a while; the while doubles with each
  further refusal (additive increase, as TCP's congestion avoidance; Jacobson 1988).

All times are monotonic seconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hydra_core.engine.windows import NEVER

if TYPE_CHECKING:
    from hydra_core.engine.echo import Echo

# Between two calls, until anything was heard. A refusal travels at the speed of the
# network, whatever the time scale: within this the first call's will mostly be known.
_GAP: Final = 0.25
_GROWS: Final = 32.0  # so many calls earn one more at once
_QUICKENS: Final = 64.0  # and so many half the gap; with the cube of their number
_RISES: Final = 10.0  # until one more is tried
_RISES_LAST: Final = 1280.0


class SlowStart:
    """The pace at which a group of unknown limits is tried."""

    __slots__ = ("_echo", "_gap", "_sent", "_sent_at", "allowed")

    def __init__(self, gap: float = _GAP) -> None:
        """`gap`: seconds between two calls until anything was heard."""
        self.allowed = 1
        self._echo: Echo | None = None
        self._gap = gap
        self._sent = 0.0
        self._sent_at = -NEVER

    def sent(self, now: float, echo: Echo | None = None) -> None:
        """A call goes out, to where refusals are heard after `echo`."""
        self._echo = echo
        self.resume(self._sent + 1)
        self._sent_at = now

    @property
    def sent_before(self) -> float:
        """How many calls were let go."""
        return self._sent

    def resume(self, sent: float) -> None:
        """Go on where so many calls have been let go, by an earlier process perhaps."""
        self._sent = sent
        self.allowed = max(1, int(sent / _GROWS))

    def opens(self, in_flight: int, now: float) -> float:
        """When the next call may be sent while so many are in flight."""
        if in_flight < self.allowed:
            return now
        gap = self._gap if self._echo is None else self._echo.seconds or self._gap
        return max(now, self._sent_at + gap / (1.0 + (self._sent / _QUICKENS) ** 3))


class Ceiling:
    """The calls at once that a refusal showed to be bearable.

    `allowed` grows beyond `borne`, which the last refusal left, at the moment `lowered`.
    `tentative`: no refusal named it, so another limit may have refused.
    """

    __slots__ = ("_grown", "_pause", "_scale", "allowed", "borne", "lowered", "tentative")

    def __init__(
        self, allowed: int, now: float, scale: float, *, tentative: bool = False
    ) -> None:
        self.allowed = self.borne = allowed
        self.lowered = now
        self.tentative = tentative
        self._scale = scale
        self._grown = now
        self._pause = _RISES * scale

    def served(self, in_flight: int, now: float) -> bool:
        """A call went well while so many were in flight; True when one more is allowed now."""
        if in_flight < self.allowed or now - self._grown < self._pause:
            return False
        self._grown = now
        self.allowed += 1
        return True

    def refused(self, bearable: int, now: float) -> None:
        """More than `bearable` at once were too many."""
        self._pause = min(2.0 * self._pause, _RISES_LAST * self._scale)
        self.allowed = self.borne = min(self.allowed, bearable)
        self._grown = self.lowered = now
