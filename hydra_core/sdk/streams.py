"""Streams on their way through to an SDK: read along, never rewritten.

The bytes are the provider's own. They are held back until the first event that a
reader would see, so that failing over is invisible until then; after it every byte
is handed on as it comes, and the lease is settled by what the stream has shown.
"""

from __future__ import annotations

import _thread
import contextlib
from typing import TYPE_CHECKING, Final

from hydra_core.drive.exchange import DRAIN
from hydra_core.drive.redaction import Sieve
from hydra_core.messages import Fault

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from hydra_core.drive.redaction import Forms
    from hydra_core.drive.stream_record import StreamRecord
    from hydra_core.drive.transport import AsyncOpenStream, OpenStream
    from hydra_core.sdk.reply import RawHeaders
    from hydra_core.wire import Failed, Verdict

_MOMENT: Final = 0.05  # seconds; closing takes a hundredth of it


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
        forms: Forms,
        raised: Callable[[Exception], Failed],
    ) -> None:
        """`status` and `headers` are the response's.

        `stall` is seconds between two pieces once the record has ended, `forms` the key's,
        `raised` what becomes of an exception of the transport.
        """
        self.record = record
        self.status = status
        self.headers = headers
        self.over = False
        self.broken: Verdict | None = None
        self._settle = settle
        self._clock = clock
        self._stall = stall
        self._sieve = Sieve(forms)
        self.raised = raised
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
        # As Latin-1, bytes are a text of the same length in which a key looks the same.
        shown = self._sieve.feed(piece.decode("latin-1")) if isinstance(piece, bytes) else ""
        self._held.append(shown.encode("latin-1"))
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
            held.append(self._sieve.rest().encode("latin-1"))
            self.settle()
        yield from filter(None, held)

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
            flow.feed(self._read(flow))
            yield from flow.take()
        if flow.broken is not None:
            raise self._broken(flow.broken)
        # Read the body's end, so that the connection can be kept.
        self._opened.read(DRAIN)

    def _read(self, flow: Flow) -> bytes | Failed | None:
        try:
            return self._opened.read(flow.seconds_left())
        except Exception as error:
            return flow.raised(error)

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
            flow.feed(await self._read(flow))
            for piece in flow.take():
                yield piece
        if flow.broken is not None:
            raise self._broken(flow.broken)
        await self._opened.read(DRAIN)

    async def _read(self, flow: Flow) -> bytes | Failed | None:
        try:
            return await self._opened.read(flow.seconds_left())
        except Exception as error:
            return flow.raised(error)

    async def aclose(self) -> None:
        """Settle, at once and without waiting, and let go of the response."""
        self._flow.settle()
        await self._opened.aclose()

    def __del__(self) -> None:
        self._flow.settle_later()
