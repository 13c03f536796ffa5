"""A streamed reply, whatever its dialect: bytes in, steps out, and one end.

Many servers and gateways do not stream and answer with one plain body, whatever was asked
for. That is a stream of one piece.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, Protocol

from hydra_core.dialects.completion import reasoning_of
from hydra_core.dialects.sse import LINE_CAP, ServerEvent, SseSplitter
from hydra_core.dialects.verdicts import invalid
from hydra_core.wire import Answer, LimitReading, StreamEvent

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

TOO_LONG: Final = f"a line of the stream exceeds {LINE_CAP} bytes"
_WHOLE_CAP: Final = 32 << 20  # bytes of a plain body, as of one that was asked for as such
_BEFORE_JSON: Final = b" \t\r\n\xef\xbb\xbf"  # blanks that keep a connection alive, and a mark


class Steps(Protocol):
    """What one dialect makes of the events of one stream."""

    def step(self, event: ServerEvent) -> StreamEvent | None:
        """Read one event; None when it says nothing."""
        ...

    def end(self) -> StreamEvent | None:
        """The body ended without an end mark: None if all had been said, else the failure."""
        ...


class EventReader:
    """Drives one dialect's `Steps` over the bytes of one stream; a `StreamReader`."""

    __slots__ = (
        "_body",
        "_eventful",
        "_last",
        "_read",
        "_splitter",
        "_steps",
        "in_one_piece",
        "readings",
        "scope_hint",
    )

    def __init__(
        self,
        steps: Steps,
        *,
        read: Callable[[bytes], Answer],
        readings: Sequence[LimitReading] = (),
        scope_hint: str | None = None,
    ) -> None:
        """`read` reads a body that is no event stream at all."""
        self._steps = steps
        self._read = read
        self._splitter = SseSplitter()
        self._body: bytearray | None = bytearray()  # as long as it may be a plain one
        self.in_one_piece = False
        self._last: StreamEvent | None = None  # the end mark or the failure
        self._eventful = False
        self.readings: tuple[LimitReading, ...] = tuple(readings)
        self.scope_hint = scope_hint

    def feed(self, data: bytes) -> list[StreamEvent]:
        """The events that these bytes complete; nothing follows the end or a failure."""
        found: list[StreamEvent] = []
        if self._last is not None:
            return found
        if self._body is not None:
            self._keep(self._body, data)
        for event in self._splitter.feed(data):
            self._eventful = True
            self._body = None
            step = self._steps.step(event)
            if step is None:
                continue
            found.append(step)
            if step.done or step.verdict is not None:
                self._last = step
                return found
        if self._splitter.overflow and not self._body:
            self._last = StreamEvent(verdict=invalid(TOO_LONG))
            found.append(self._last)
        return found

    def _keep(self, body: bytearray, data: bytes) -> None:
        """Keep the bytes of what begins as a JSON object does, which no event stream does."""
        body += data if body else data.lstrip(_BEFORE_JSON)
        if len(body) > _WHOLE_CAP or not body.startswith(b"{"[: len(body)]):
            self._body = None

    def finish(self) -> StreamEvent | None:
        """Say how the stream ended; a failure that `feed` has told is told again."""
        if self._last is not None:
            return self._last if self._last.verdict is not None else None
        event = self._splitter.finish()
        if event is None and self._body:
            self._last = self._whole(self._read(bytes(self._body)))
            return self._last
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
            return self._whole(self._read(bytes(self._splitter.stray)))
        failure = self._steps.end()
        last = step if step is not None else StreamEvent()
        if failure is None:
            return replace(last, done=True)
        return replace(last, verdict=failure.verdict)

    def _whole(self, answer: Answer) -> StreamEvent:
        """A whole reply as the only event of its stream; nothing of a bad one is shown."""
        if answer.verdict.fault is not None:
            return StreamEvent(verdict=answer.verdict, usage=answer.usage, raw=answer.raw)
        self.in_one_piece = True
        return StreamEvent(
            answer.text,
            answer.tool_calls,
            answer.finish_reason,
            answer.usage,
            done=True,
            content=bool(answer.text or answer.tool_calls),
            raw=answer.raw,
            reasoning=reasoning_of(answer.message),
        )
