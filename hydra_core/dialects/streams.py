"""A streamed reply, whatever its dialect: bytes in, steps out, and one end."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, Protocol

from hydra_core.dialects.sse import LINE_CAP, ServerEvent, SseSplitter
from hydra_core.dialects.verdicts import invalid
from hydra_core.wire import LimitReading, StreamEvent, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

TOO_LONG: Final = f"a line of the stream exceeds {LINE_CAP} bytes"


class Steps(Protocol):
    """What one dialect makes of the events of one stream."""

    def step(self, event: ServerEvent) -> StreamEvent | None:
        """Read one event; None when it says nothing."""
        ...

    def end(self) -> StreamEvent | None:
        """The body ended without an end mark: None if all had been said, else the failure."""
        ...

    def no_stream(self, body: bytes) -> Verdict:
        """The body was no event stream at all: classify it."""
        ...


class EventReader:
    """Drives one dialect's `Steps` over the bytes of one stream; a `StreamReader`."""

    __slots__ = ("_eventful", "_last", "_splitter", "_steps", "readings", "scope_hint")

    def __init__(
        self,
        steps: Steps,
        *,
        readings: Sequence[LimitReading] = (),
        scope_hint: str | None = None,
    ) -> None:
        self._steps = steps
        self._splitter = SseSplitter()
        self._last: StreamEvent | None = None  # the end mark or the failure
        self._eventful = False
        self.readings: tuple[LimitReading, ...] = tuple(readings)
        self.scope_hint = scope_hint

    def feed(self, data: bytes) -> list[StreamEvent]:
        """The events that these bytes complete; nothing follows the end or a failure."""
        found: list[StreamEvent] = []
        if self._last is not None:
            return found
        for event in self._splitter.feed(data):
            self._eventful = True
            step = self._steps.step(event)
            if step is None:
                continue
            found.append(step)
            if step.done or step.verdict is not None:
                self._last = step
                return found
        if self._splitter.overflow:
            self._last = StreamEvent(verdict=invalid(TOO_LONG))
            found.append(self._last)
        return found

    def finish(self) -> StreamEvent | None:
        """Say how the stream ended; a failure that `feed` has told is told again."""
        if self._last is not None:
            return self._last if self._last.verdict is not None else None
        event = self._splitter.finish()
        step = self._steps.step(event) if event is not None else None
        if step is not None and (step.done or step.verdict is not None):
            self._last = step
            return step if step.verdict is not None else None
        self._last = self._ending(step, eventful=self._eventful or event is not None)
        return self._last if self._last.verdict is not None or step is not None else None

    def _ending(self, step: StreamEvent | None, *, eventful: bool) -> StreamEvent:
        if self._splitter.overflow:
            return StreamEvent(verdict=invalid(TOO_LONG))
        if not eventful and self._splitter.stray:
            return StreamEvent(verdict=self._steps.no_stream(bytes(self._splitter.stray)))
        failure = self._steps.end()
        last = step if step is not None else StreamEvent()
        if failure is None:
            return replace(last, done=True)
        return replace(last, verdict=failure.verdict)
