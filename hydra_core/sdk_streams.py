"""Streams on their way through to an SDK: read along, never rewritten.

The bytes are the provider's own. They are held back until the first event that a
reader would see, so that failing over is invisible until then; after it every byte
is handed on as it comes, and the lease is settled by what the stream has shown.
"""

from __future__ import annotations

import _thread
import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from hydra_core.dialects.completion import usage_of
from hydra_core.dialects.json_body import loads
from hydra_core.dialects.verdicts import invalid
from hydra_core.drive.exchange import DRAIN
from hydra_core.drive.redaction import redact_bytes
from hydra_core.messages import Fault
from hydra_core.wire import StreamEvent

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from hydra_core.dialects.base import StreamReader
    from hydra_core.dialects.sse import ServerEvent
    from hydra_core.drive.stream_record import StreamRecord
    from hydra_core.drive.transport import AsyncOpenStream, OpenStream
    from hydra_core.messages import Usage
    from hydra_core.sdk_reply import RawHeaders
    from hydra_core.vault import Secret
    from hydra_core.wire import Failed, Verdict

_DONE: Final = b"[DONE]"
_LAST_EVENTS: Final = frozenset({"response.completed", "response.incomplete"})
_FAILED_EVENTS: Final = frozenset({"error", "response.failed"})
_MOMENT: Final = 0.05  # seconds; closing takes a hundredth of it
# What opens a message and says nothing yet.
_SILENT: Final = frozenset({"role", "content"})


def any_usage(value: dict[str, Any]) -> Usage | None:
    """The tokens that a reply or an event reports, in the words of either of OpenAI's APIs."""
    inner = value.get("response")
    usage = value.get("usage") or (inner.get("usage") if isinstance(inner, dict) else None)
    if not isinstance(usage, dict):
        return None
    return usage_of(
        {
            "prompt_tokens": usage.get("prompt_tokens", usage.get("input_tokens", 0)),
            "completion_tokens": usage.get("completion_tokens", usage.get("output_tokens", 0)),
        }
    )


class EventSteps:
    """The events of an endpoint that no dialect reads; `dialects.streams.Steps`.

    Every event that is no error counts as shown: what matters in it is not known here.
    """

    __slots__ = ("_judge", "_some")

    def __init__(self, judge: Callable[[bytes], Verdict]) -> None:
        """`judge` classifies an error by its JSON."""
        self._judge = judge
        self._some = False

    def step(self, event: ServerEvent) -> StreamEvent | None:
        """Read one event."""
        data = event.data.strip()
        if data == _DONE:
            return StreamEvent(done=True)
        try:
            value = loads(data)
        except ValueError:
            return StreamEvent(verdict=invalid("an event of the stream is no JSON"))
        kind = value.get("type") if isinstance(value, dict) else "error"
        if kind in _FAILED_EVENTS or value.get("error"):
            return StreamEvent(verdict=self._judge(data))
        self._some = True
        done = kind in _LAST_EVENTS
        return StreamEvent(_text(value), usage=any_usage(value), done=done, content=True)

    def end(self) -> StreamEvent | None:
        """Without a known end mark, the end of the body is one; a cut body is told apart."""
        return None if self._some else StreamEvent(verdict=invalid("the stream was empty"))

    def no_stream(self, body: bytes) -> Verdict:
        """Classify a plain body sent in place of a stream."""
        return self._judge(body)


class ReasoningShown:
    """A dialect's `StreamReader` for a caller who is shown a model's reasoning, too."""

    def __init__(self, reader: StreamReader) -> None:
        self._reader = reader
        self.readings = reader.readings
        self.scope_hint = reader.scope_hint

    def feed(self, data: bytes) -> list[StreamEvent]:
        """See `StreamReader.feed`."""
        return [
            replace(event, content=True) if not event.content and _reasons(event.raw) else event
            for event in self._reader.feed(data)
        ]

    def finish(self) -> StreamEvent | None:
        """See `StreamReader.finish`."""
        return self._reader.finish()


def _text(value: dict[str, Any]) -> str:
    choices = value.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else value
    found = first.get("text", value.get("delta")) if isinstance(first, dict) else None
    return found if isinstance(found, str) else ""


def _reasons(raw: dict[str, Any]) -> bool:
    choices = raw.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    delta = first.get("delta") if isinstance(first, dict) else None
    return isinstance(delta, dict) and any(delta[name] for name in delta.keys() - _SILENT)


class Flow:
    """One stream on its way through; knows when it may be shown, and settles once.

    `settle` is called once, with the record: its answer is None when the stream was left
    before its end. `broken` says how it broke off, where the SDK could not see that.
    """

    def __init__(
        self,
        record: StreamRecord,
        settle: Callable[[StreamRecord], None],
        *,
        status: int,
        headers: RawHeaders,
        clock: Callable[[], float],
        stall: float,
        secret: Secret | None,
    ) -> None:
        """`status` and `headers` are the response's.

        `stall` is seconds between two pieces once the record has ended.
        """
        self.record = record
        self.status = status
        self.headers = headers
        self.over = False
        self.broken: Verdict | None = None
        self._settle = settle
        self._clock = clock
        self._stall = stall
        self._secret = secret
        self._held: list[bytes] = []
        self._settled = False

    @property
    def decided(self) -> bool:
        """True once the stream may be shown, or has failed before that."""
        return self.record.shown or self.record.answer is not None

    @property
    def failed(self) -> bool:
        """True when it failed before anything of it was shown."""
        answer = self.record.answer
        return answer is not None and answer.verdict.fault is not None and not self.record.shown

    def seconds_left(self) -> float:
        """How long the next piece may take."""
        if self.record.answer is not None:
            return self._stall
        return self.record.seconds_left(self._clock())

    def feed(self, piece: bytes | Failed | None) -> None:
        """Take the next piece of the body; `take` gives out what may be handed on."""
        if isinstance(piece, bytes):
            self._held.append(redact_bytes(piece, self._secret))
        before = self.record.answer
        if before is None:
            self.record.feed(piece, self._clock())
        answer = self.record.answer
        verdict = None if answer is None else answer.verdict
        told = isinstance(piece, bytes) and (verdict is None or verdict.fault is not Fault.TIMEOUT)
        # After an error that the SDK is shown itself, the rest is passed on up to its end.
        self.over = not told or (verdict is not None and verdict.fault is None)
        if not told and before is None and verdict is not None and verdict.fault is not None:
            self.broken = verdict

    def take(self) -> Iterator[bytes]:
        """What has come and was not handed on yet. At the end the lease is settled first."""
        held, self._held = self._held, []
        if self.over:
            self.settle()
        yield from held

    def settle(self) -> None:
        """End the lease; idempotent, and safe whatever the stream's state."""
        if not self._settled:
            self._settled = True
            self._settle(self.record)

    def settle_later(self) -> None:
        """`settle` from a finaliser, which may have interrupted a thread within a lock.

        So it is done on another thread; a bare one, because `Thread.start` takes a lock too.
        """
        if not self._settled:
            with contextlib.suppress(RuntimeError):  # the interpreter is ending
                _thread.start_new_thread(self.settle, ())


class SyncBody:
    """The body of a streamed response; mixed with a client library's own stream type."""

    def __init__(
        self, flow: Flow, opened: OpenStream, broken: Callable[[Verdict], Exception]
    ) -> None:
        """`broken` makes the client library's exception for a stream that broke off."""
        self._flow = flow
        self._opened = opened
        self._broken = broken
        self._closed = False

    def __iter__(self) -> Iterator[bytes]:
        flow = self._flow
        yield from flow.take()
        while not flow.over:
            flow.feed(self._opened.read(flow.seconds_left()))
            yield from flow.take()
        if flow.broken is not None:
            raise self._broken(flow.broken)
        # Read the body's end, so that the connection can be kept.
        self._opened.read(DRAIN)

    def close(self) -> None:
        """Let go of the response and settle. Idempotent.

        An SDK's forgotten stream calls this when it is collected, wherever the collector
        struck: perhaps within the gate's lock, or on the thread that serves the
        connections. So it is done on a thread of its own, which takes a moment at most,
        and no longer than that is waited for.
        """
        if self._closed:
            return
        self._closed = True
        done = _thread.allocate_lock()
        done.acquire()
        with contextlib.suppress(RuntimeError):  # the interpreter is ending
            _thread.start_new_thread(self._let_go, (done,))
            done.acquire(timeout=_MOMENT)

    def _let_go(self, done: _thread.LockType) -> None:
        try:
            self._flow.settle()
            self._opened.close()
        finally:
            done.release()

    def __del__(self) -> None:
        self._flow.settle_later()


class AsyncBody:
    """`SyncBody` for an event loop."""

    def __init__(
        self, flow: Flow, opened: AsyncOpenStream, broken: Callable[[Verdict], Exception]
    ) -> None:
        """See `SyncBody`."""
        self._flow = flow
        self._opened = opened
        self._broken = broken

    async def __aiter__(self) -> AsyncIterator[bytes]:
        flow = self._flow
        for piece in flow.take():
            yield piece
        while not flow.over:
            flow.feed(await self._opened.read(flow.seconds_left()))
            for piece in flow.take():
                yield piece
        if flow.broken is not None:
            raise self._broken(flow.broken)
        await self._opened.read(DRAIN)

    async def aclose(self) -> None:
        """Settle, at once and without waiting, and let go of the response."""
        self._flow.settle()
        await self._opened.aclose()

    def __del__(self) -> None:
        self._flow.settle_later()
