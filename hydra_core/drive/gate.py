"""One lock and the waiters' bells around one KeyManager.

Law 1: decide under the lock, act outside it. The lock is held for microseconds,
       nothing is awaited and no I/O is done under it.
Law 2: a lease is granted under the lock; a bell only wakes. A lost bell is a delay,
       never a hang, because every park has a limit.
Law 3: whoever leaves (an answer, an error, a cancellation) does so synchronously.
Law 4: who holds a lease or waits for one is known here until he leaves, so closing
       wakes every waiter, and a forked child gives back what its parent held.

One lock serves threads and event loops alike. It is reentrant for one reason: the
garbage collector may end a forgotten stream, whose lease must go back, in the very
thread that is inside just then.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
import weakref
from collections import deque
from typing import TYPE_CHECKING, Final, TypeVar, TypeVarTuple

from hydra_core.drive.clock import uptime
from hydra_core.engine.steps import Park, Send
from hydra_core.engine.windows import NEVER
from hydra_core.errors import HydraClosed
from hydra_core.messages import Reply

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hydra_core.engine.dispatch import Dispatch
    from hydra_core.engine.key_manager import KeyManager
    from hydra_core.engine.notices import Notice
    from hydra_core.engine.queue import Bell, Ticket
    from hydra_core.engine.steps import Step
    from hydra_core.messages import Usage
    from hydra_core.wire import Answer

T = TypeVar("T")
Given = TypeVarTuple("Given")

# Seconds between two looks at the wall clock, and how far off it must be to be followed.
_WALL_LOOK: Final = 1.0
_WALL_JUMP: Final = 1.0


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
            bell.sleep(park.seconds)

    def sleep(self, seconds: float) -> None:
        """Sleep until it rings, at most `seconds`."""
        self._event.wait(seconds)
        self._event.clear()


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
            await bell.sleep(park.seconds)

    async def sleep(self, seconds: float) -> None:
        """Sleep until it rings, at most `seconds`."""
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
        self,
        manager: KeyManager,
        *,
        clock: Callable[[], float] = uptime,
        wall: Callable[[], float] = time.time,
        tell: Callable[[Sequence[Notice]], None] | None = None,
    ) -> None:
        """`clock` tells monotonic seconds, sleep included, `wall` seconds since 1970.

        `tell` is given, outside the lock, what the engine found out for people to know.
        """
        self._manager = manager
        self._tell = tell
        self._notices = manager.accounts.notices
        self._wall = wall
        # Budgets, active hours and calendar days alone go by wall time: without any, nobody looks.
        self._look_at_wall = 0.0 if manager.allowances or manager.days else NEVER
        self._offset: float | None = None
        self._lock = threading.RLock()  # guards all that follows, and the manager
        self._busy = False
        self._late: deque[Callable[[float], None]] = deque()
        self._open: dict[Dispatch, Ticket | None] = {}
        self.closed = False  # for anybody to read: nothing opens it again
        self.clock = clock
        _gates.add(self)

    def step(
        self, journey: Dispatch, bell: Callable[[], Bell], answer: Answer | None = None
    ) -> Step:
        """What the driver must do next; a journey that waits is given a bell.

        `answer` is how the attempt ended that the last step asked for: reporting it and
        asking for the next step takes one turn instead of two.

        Raises HydraClosed after `close`, unless the answer is there already.
        """
        return self._turn(self._step, journey, bell, answer)

    def _step(
        self, now: float, journey: Dispatch, bell: Callable[[], Bell], answer: Answer | None
    ) -> Step:
        self._open[journey] = None  # first, so that whatever is raised here, `abandon` finds it
        if answer is not None:
            journey.report(self._manager, answer, now)
        step = journey.next_step(self._manager, now)
        if self.closed and not isinstance(step, Reply):
            raise HydraClosed("this Hydra was closed during the call; build a new one")
        if isinstance(step, Park):
            if step.ticket.bell is None:
                step.ticket.bell = bell()
            self._open[journey] = step.ticket
        elif not isinstance(step, Send):
            del self._open[journey]
        return step

    def report(self, journey: Dispatch, answer: Answer) -> None:
        """How the attempt ended, of a journey that takes no next step at once."""

        def told(now: float) -> None:
            journey.report(self._manager, answer, now)
            self._open.pop(journey, None)

        self._turn(told)

    def abandon(self, journey: Dispatch, *, usage: Usage | None = None) -> None:
        """End the journey wherever it is; idempotent."""
        if journey not in self._open:
            return  # it holds nothing

        def leave(now: float) -> None:
            journey.abandon(self._manager, now, usage=usage)
            self._open.pop(journey, None)

        with self._lock:
            inside = self._busy  # then this is a finalizer, in the thread whose turn it is
            if inside:
                self._late.append(leave)
        if not inside:
            self._turn(leave)

    def ask(self, question: Callable[[KeyManager, float], T]) -> T:
        """Read or change the manager under the lock; `question` must be quick and pure."""
        return self._turn(lambda now: question(self._manager, now))

    def _turn(self, act: Callable[[float, *Given], T], *given: *Given) -> T:
        """Act under the lock, then let those leave who could not meanwhile; ring outside it."""
        with self._lock:
            before, self._busy = self._busy, True
            try:
                now = self.clock()
                if now >= self._look_at_wall:
                    self._follow_wall(now)
                result = act(now, *given)
                while self._late and not before:
                    self._late.popleft()(self.clock())
            finally:
                self._busy = before
            rung = self._manager.take_rung()
            notices = self._take_notices() if self._notices else None
        if rung:
            _ring(rung)
        if notices and self._tell is not None:
            self._tell(notices)
        return result

    def _take_notices(self) -> list[Notice]:
        notices = list(self._notices)
        self._notices.clear()
        return notices

    def _follow_wall(self, now: float) -> None:
        """See whether the wall clock was set, or the machine slept while ours stood still."""
        self._look_at_wall = now + _WALL_LOOK
        offset = self._wall() - now
        if self._offset is None or abs(offset - self._offset) > _WALL_JUMP:
            self._offset = offset
            self._manager.reanchor(offset, now)

    @property
    def waiting(self) -> int:
        """How many journeys wait for capacity."""
        return sum(ticket is not None for ticket in tuple(self._open.values()))

    def close(self) -> None:
        """From now on nothing is sent: whoever waits is woken, and told by HydraClosed."""
        with self._lock:
            self.closed = True
            waiting = [ticket for ticket in self._open.values() if ticket is not None]
        _ring(waiting)

    def renew_lock(self) -> None:
        """In a forked child: the lock is a new one, and the parent's calls are the parent's.

        What they had booked stays booked, since the account is the same.
        """
        self.free()
        for journey in tuple(self._open):
            journey.abandon(self._manager, self.clock())
        self._open.clear()
        self._manager.take_rung()  # their bells hang in the parent's threads and loops

    def hold(self) -> None:
        """Let nobody in until `let_go`, on the same thread."""
        self._lock.acquire()

    def let_go(self) -> None:
        """End `hold`."""
        self._lock.release()

    def free(self) -> None:
        """End `hold` in a forked child, where the lock may have been renewed already."""
        self._lock = threading.RLock()


def _ring(tickets: list[Ticket]) -> None:
    for ticket in tickets:
        bell = ticket.bell
        if bell is not None:
            bell.ring()


_gates: weakref.WeakSet[Gate] = weakref.WeakSet()
_forking = threading.Lock()
_held: list[Gate] = []


def _before_fork() -> None:
    """A child must not inherit a KeyManager in the middle of a step."""
    _forking.acquire()
    _held.extend(_gates)
    for gate in _held:
        gate.hold()


def _after_fork() -> None:
    for gate in _held:
        gate.let_go()
    _resume()


def _after_fork_in_child() -> None:
    for gate in _held:
        gate.free()
    _resume()


def _resume() -> None:
    _held.clear()
    _forking.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork_in_child
    )
