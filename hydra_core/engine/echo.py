"""How soon a refusal would be heard: what it takes to try limits that nobody told.

A refusal is decided before any work is done, so it comes no later than the quickest
answer, and mostly much sooner. Whoever sends the next call before he would have heard
the last one's refusal earns one more of them.

All times are seconds.
"""

from __future__ import annotations

from typing import Final

from hydra_core.engine.windows import NEVER

# What a network and the provider's door may take, whatever the answers take ...
_NETWORK: Final = 0.25
# ... and how much of its quickest answer a busy provider may take to refuse: but where an
# answer takes long, it is its writing that does, and not the door.
_SHARE: Final = 1.0 / 3.0
_DOOR: Final = 0.5
_MARGIN: Final = 1.5


class Echo:
    """The quickest answer and the slowest refusal of one model at one provider."""

    __slots__ = ("_answer", "_refusal", "seconds")

    def __init__(self) -> None:
        self.seconds: float | None = None  # until a refusal is heard; None: nothing was heard yet
        self._answer = NEVER
        self._refusal = 0.0

    def answered(self, latency: float) -> None:
        """An answer came after so many seconds."""
        if latency < self._answer:
            self._answer = latency
            self._take()

    def refused(self, latency: float) -> None:
        """A refusal did. A single slow one is forgotten by halves."""
        self._refusal = max(latency, (self._refusal + latency) / 2.0)
        self._take()

    def _take(self) -> None:
        if self._refusal:
            self.seconds = _MARGIN * self._refusal
        else:
            self.seconds = max(min(self._answer, _NETWORK), min(self._answer * _SHARE, _DOOR))
