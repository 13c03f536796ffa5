"""A transport for threads, made of an asynchronous one and a thread that runs its loop.

Blocking inside the client's own code instead would be cheaper, but there a wait
cannot be cut short: no timeout per piece of a stream, no limit for a body that
drips, and Ctrl-C is not seen until the server answers.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import weakref
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from hydra_core.drive.transport import generation, inherited
from hydra_core.errors import HydraClosed
from hydra_core.wire import Failed

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping

    from hydra_core.drive.transport import AsyncOpenStream, AsyncTransport
    from hydra_core.vault import Secret
    from hydra_core.wire import Replied, WireRequest

T = TypeVar("T")

# Seconds; some systems do not interrupt a lock without a timeout on Ctrl-C.
_GLANCE = 1.0
_SHUTDOWN = 2.0


class _Errand(Generic[T]):
    """One coroutine run on the loop's thread while the calling thread waits."""

    __slots__ = ("_coroutine", "_done", "_task")

    def __init__(self, coroutine: Coroutine[Any, Any, T]) -> None:
        self._coroutine = coroutine
        self._task: asyncio.Task[T] | None = None
        self._done = threading.Lock()
        self._done.acquire()

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._coroutine)
        self._task.add_done_callback(self._finish)

    def _finish(self, task: asyncio.Task[T]) -> None:
        if not task.cancelled():
            task.exception()  # seen, even when the caller has stopped waiting for it
        self._done.release()

    def cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def wait(self) -> T:
        while not self._done.acquire(timeout=_GLANCE):
            pass
        if self._task is None or self._task.cancelled():
            raise HydraClosed("the transport was closed during the call")
        return self._task.result()


class LoopThread:
    """An event loop on a daemon thread, started with the first errand."""

    def __init__(self) -> None:
        # Reentrant: a dropped stream may be collected, and post its closing, while it is held.
        self._lock = threading.RLock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._finalizer: weakref.finalize[..., LoopThread] | None = None
        self._stopped = False

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run the coroutine there and wait for its end; an interrupted wait cancels it.

        Raises HydraClosed once the thread was stopped.
        """
        errand = _Errand(coroutine)
        loop = self._post(errand)
        if loop is None:
            coroutine.close()
            raise HydraClosed("the transport was closed; build a new one")
        try:
            return errand.wait()
        except BaseException:
            with contextlib.suppress(RuntimeError):  # the loop ended meanwhile
                loop.call_soon_threadsafe(errand.cancel)
            raise

    def post(self, coroutine: Coroutine[Any, Any, object]) -> None:
        """Run the coroutine there without waiting; drop it once the thread was stopped."""
        if self._post(_Errand(coroutine)) is None:
            coroutine.close()

    def stop(self) -> None:
        """Cancel what still runs there and end the thread. Idempotent."""
        with self._lock:
            self._stopped = True
        if self._finalizer is not None:
            self._finalizer()

    def _post(self, errand: _Errand[Any]) -> asyncio.AbstractEventLoop | None:
        # Under the lock, so that no errand can slip in behind the last round of the loop.
        with self._lock:
            ended = self._finalizer is not None and not self._finalizer.alive
            if self._stopped or ended:  # ended: the interpreter's exit came before
                return None
            if self._loop is None:
                self._loop = self._start()
            self._loop.call_soon_threadsafe(errand.start)
            return self._loop

    def _start(self) -> asyncio.AbstractEventLoop:
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=_serve, args=(loop,), name="hydra-transport", daemon=True)
        thread.start()
        # Also runs at interpreter exit, and when a transport is dropped without `close`.
        self._finalizer = weakref.finalize(self, _stop, loop, thread, generation())
        return loop


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
        loop.run_until_complete(_cancel_all())
    finally:
        loop.close()


async def _cancel_all() -> None:
    await asyncio.sleep(0)  # errands that were posted before the stop become tasks
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _stop(loop: asyncio.AbstractEventLoop, thread: threading.Thread, born: int) -> None:
    if born != generation():  # the thread runs in the parent; its wake-up socket is shared
        return
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(loop.stop)
    if thread is not threading.current_thread():
        thread.join(_SHUTDOWN)


class BlockingStream:
    """An open response for one thread at a time; its pieces come from the loop's thread."""

    def __init__(self, thread: LoopThread, stream: AsyncOpenStream, url: str) -> None:
        self._thread = thread
        self._stream = stream
        self._url = url
        self._generation = generation()
        self._closed = False
        self.status: int = stream.status
        self.headers: Mapping[str, str] = stream.headers

    def read(self, timeout: float) -> bytes | Failed | None:
        """See `OpenStream.read`."""
        if self._generation != generation():
            return inherited(self._url)
        return self._thread.run(self._stream.read(timeout))

    def close(self) -> None:
        """See `OpenStream.close`."""
        if not self._closed:
            self._closed = True
            if self._generation == generation():
                with contextlib.suppress(HydraClosed):
                    self._thread.run(self._stream.aclose())

    def __del__(self) -> None:
        if not self._closed and self._generation == generation():
            self._thread.post(self._stream.aclose())


class BlockingTransport:
    """A `Transport` for any number of threads at once."""

    def __init__(self, transport: AsyncTransport) -> None:
        """Takes over `transport`: closes it in the end."""
        self._transport = transport
        self._thread = LoopThread()
        self._generation = generation()
        self._closed = False
        self.name: str = transport.name

    def send(self, wire: WireRequest, secret: Secret | None, *, timeout: float) -> Replied | Failed:
        """See `Transport.send`."""
        if self._generation != generation():
            return inherited(wire.url)
        return self._thread.run(self._transport.send(wire, secret, timeout=timeout))

    def open(
        self, wire: WireRequest, secret: Secret | None, *, timeout: float
    ) -> BlockingStream | Failed:
        """See `Transport.open`."""
        if self._generation != generation():
            return inherited(wire.url)
        stream = self._thread.run(self._transport.open(wire, secret, timeout=timeout))
        if isinstance(stream, Failed):
            return stream
        return BlockingStream(self._thread, stream, wire.url)

    def close(self) -> None:
        """See `Transport.close`."""
        if not self._closed:
            self._closed = True
            if self._generation == generation():
                with contextlib.suppress(HydraClosed):
                    self._thread.run(self._transport.aclose())
                self._thread.stop()
