"""One lock and the waiters' bells around one KeyManager.

Law 1: decide under the lock, act outside it. The lock is held for microseconds,
       nothing is awaited and no I/O is done under it.
Law 2: a lease is granted under the lock; a bell only wakes. A lost bell is a delay,
       never a hang, because every park has a limit.
Law 3: whoever leaves (an answer, an error, a cancellation) does so synchronously.

One plain lock serves threads and event loops alike.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from hydra_core.engine.dispatch import Dispatch, Park, Step
    from hydra_core.engine.key_manager import KeyManager
    from hydra_core.engine.queue import Bell, Ticket
    from hydra_core.messages import Usage
    from hydra_core.wire import Answer

T = TypeVar("T")


class ThreadBell:
    """Wakes a waiting thread."""

    __slots__ = ("_event",)

    def __init__(self) -> None:
        self._event = threading.Event()

    def ring(self) -> None:
        """Wake the thread."""
        self._event.set()

    @classmethod
    def wait(cls, park: Park) -> None:
        """Sleep until the ticket's bell rings, at most as long as the step says."""
        bell = park.ticket.bell
        if isinstance(bell, cls):
            bell._event.wait(park.seconds)
            bell._event.clear()


class LoopBell:
    """Wakes a waiting task of the event loop in which it was made."""

    __slots__ = ("_future", "_loop", "_rung")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._future: asyncio.Future[None] | None = None
        self._rung = False

    def ring(self) -> None:
        """Wake the task, from any thread. A closed loop has nobody left to wake."""
        try:
            self._loop.call_soon_threadsafe(self._wake)
        except RuntimeError:
            return

    def _wake(self) -> None:
        self._rung = True
        if self._future is not None and not self._future.done():
            self._future.set_result(None)

    @classmethod
    async def wait(cls, park: Park) -> None:
        """Sleep until the ticket's bell rings, at most as long as the step says."""
        bell = park.ticket.bell
        if isinstance(bell, cls):
            await bell._sleep(park.seconds)

    async def _sleep(self, seconds: float) -> None:
        if not self._rung:
            self._future = self._loop.create_future()
            timer = self._loop.call_later(seconds, self._wake)
            try:
                await self._future
            finally:
                timer.cancel()
                self._future = None
        self._rung = False


class Gate:
    """The way through which every driver reaches the KeyManager."""

    def __init__(
        self, manager: KeyManager, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._manager = manager
        self._lock = threading.Lock()  # guards the manager and nothing else
        self.clock = clock

    def step(self, journey: Dispatch, bell: Callable[[], Bell]) -> Step:
        """What the driver must do next; a journey that waits is given a bell."""
        with self._lock:
            step = journey.next_step(self._manager, self.clock())
            ticket = getattr(step, "ticket", None)
            if ticket is not None and ticket.bell is None:
                ticket.bell = bell()
            rung = self._manager.take_rung()
        _ring(rung)
        return step

    def report(self, journey: Dispatch, answer: Answer) -> None:
        """How the attempt ended."""
        with self._lock:
            journey.report(self._manager, answer, self.clock())
            rung = self._manager.take_rung()
        _ring(rung)

    def abandon(self, journey: Dispatch, *, usage: Usage | None = None) -> None:
        """End the journey wherever it is; idempotent."""
        with self._lock:
            journey.abandon(self._manager, self.clock(), usage=usage)
            rung = self._manager.take_rung()
        _ring(rung)

    def ask(self, question: Callable[[KeyManager, float], T]) -> T:
        """Read or change the manager under the lock; `question` must be quick and pure."""
        with self._lock:
            answer = question(self._manager, self.clock())
            rung = self._manager.take_rung()
        _ring(rung)
        return answer

    def renew_lock(self) -> None:
        """After a fork: the child's lock is a new one, whatever held the parent's."""
        self._lock = threading.Lock()


def _ring(tickets: list[Ticket]) -> None:
    for ticket in tickets:
        bell = ticket.bell
        if bell is not None:
            bell.ring()
