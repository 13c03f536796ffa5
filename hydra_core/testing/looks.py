"""Since when what a loop reads now may have lain there unread."""

from __future__ import annotations

import selectors
import time
from collections import deque

ROUNDS_TO_ACCEPT = 3  # of asyncio's loop, from seeing a new connection to `connection_made`


class Looks(selectors.DefaultSelector):
    """Tells what has just arrived from what has lain unread while the loop was busy.

    What is there before the loop begins to wait came at any time since it last
    looked; what ends the wait came then.
    """

    def __init__(self) -> None:
        super().__init__()
        self._looked = time.monotonic()
        self._since = deque([self._looked] * ROUNDS_TO_ACCEPT, maxlen=ROUNDS_TO_ACCEPT)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """As every selector's, noting since when what it finds may have been there."""
        found = super().select(0)
        waited = not found and (timeout is None or timeout > 0)
        if waited:
            found = super().select(timeout)
        now = time.monotonic()
        self._since.append(now if waited else self._looked)
        self._looked = now
        return found

    def since(self, *, new: bool) -> float:
        """The earliest instant at which what is read now, or who is new now, can have come."""
        return self._since[0 if new else -1]
