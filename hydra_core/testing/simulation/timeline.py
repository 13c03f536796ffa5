"""Virtual time as the callers' machine and the providers see it, and the log of what happened.

The machine may freeze: for a while nobody on it wakes, though its clock and the world
go on. It may be put to sleep: then its monotonic clock stands still, too, and the
providers are ahead of it from then on.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

from hydra_core.testing.clock import VirtualClock

if TYPE_CHECKING:
    from collections.abc import Callable


class Timeline:
    """The clock, the events and the log of one simulated world."""

    def __init__(self, *, keep_log: bool = False) -> None:
        self.clock = VirtualClock()
        self.lines: list[str] | None = [] if keep_log else None
        self._hash = sha256()
        self._asleep = 0.0
        self._frozen_from = self._frozen_until = -1.0

    @property
    def now(self) -> float:
        """The monotonic seconds of the callers' machine."""
        return self.clock.now()

    @property
    def provider_now(self) -> float:
        """The providers' seconds."""
        return self.clock.now() + self._asleep

    def sleep(self, seconds: float) -> None:
        """The machine is suspended; its monotonic clock does not count it."""
        self._asleep += seconds
        self.note(f"asleep {seconds:.3f}")

    def freeze(self, seconds: float) -> None:
        """From now on nobody on the machine wakes for so long; its clock goes on."""
        if self.now >= self._frozen_until:
            self._frozen_from = self.now
        self._frozen_until = max(self._frozen_until, self.now + seconds)
        self.note(f"frozen {seconds:.3f}")

    def was_frozen_at(self, moment: float) -> bool:
        """True when the machine could not act at `moment` and has been free only from now on."""
        return self._frozen_from <= moment and self._frozen_until >= self.now

    @property
    def awake_since(self) -> float:
        """When the machine could last not act; a moment to come while it is frozen."""
        return self._frozen_until

    def world_at(self, when: float, deed: Callable[[], None]) -> None:
        """Plan what happens outside of the machine."""
        self.clock.call_at(when, deed)

    def at(self, when: float, deed: Callable[[], None]) -> None:
        """Plan what the machine does; while it is frozen it does nothing."""

        def due() -> None:
            if self.clock.now() < self._frozen_until:
                self.clock.call_at(self._frozen_until, due)
            else:
                deed()

        self.clock.call_at(when, due)

    def note(self, event: str) -> None:
        """Write a line of the log."""
        line = f"{self.clock.now():.6f} {event}\n"
        self._hash.update(line.encode())
        if self.lines is not None:
            self.lines.append(line)

    @property
    def log_hash(self) -> str:
        """The SHA-256 of the log so far."""
        return self._hash.hexdigest()
