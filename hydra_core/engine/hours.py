"""The hours in which a key may be used, on the monotonic clock."""

from __future__ import annotations

from collections.abc import Callable

from hydra_core.engine.windows import NEVER

Span = Callable[[float], tuple[float, float]]
"""Wall seconds -> the beginning and the end of the span that covers them, else of the next."""


class Hours:
    """When a key's owner lets it be used. Outside of them nothing passes.

    `span` tells the hours in wall seconds, `offset` what to add to monotonic seconds to get
    those. Only the span that matters now is kept; it is asked for anew when it is over.
    """

    __slots__ = ("_closes", "_offset", "_opens", "_span")

    def __init__(self, span: Span, *, offset: float) -> None:
        self._span = span
        self._offset = offset
        self._opens = self._closes = -NEVER

    def opens(self, now: float) -> float:
        """The first moment from `now` on at which the key may be used; `now` never runs back."""
        if now >= self._closes:
            self._opens, self._closes = self._look(now)
        return max(now, self._opens)

    def opens_after(self, at: float) -> float:
        """The same for a later moment, such as the end of a rest."""
        return max(at, self._look(at)[0])

    def reanchor(self, offset: float) -> None:
        """The wall clock was set, or the machine slept: look again."""
        self._offset = offset
        self._opens = self._closes = -NEVER

    def _look(self, at: float) -> tuple[float, float]:
        opens, closes = self._span(at + self._offset)
        return opens - self._offset, closes - self._offset
