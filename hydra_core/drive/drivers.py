"""One driver for threads and one per event loop: connections belong to the loop that made them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import weakref
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from hydra_core.drive.aio import AsyncDriver
    from hydra_core.drive.exchange import Exchange
    from hydra_core.drive.gate import Gate
    from hydra_core.drive.sync import SyncDriver


class _OfLoop(NamedTuple):
    """A loop's driver, and the generator with whose end its connections are closed."""

    driver: AsyncDriver
    ending: AsyncGenerator[None, None]


class Drivers:
    """Builds each driver at its first use, and anew after a fork."""

    def __init__(self, gate: Gate, exchange: Exchange, transport: str) -> None:
        """`transport` is the configured name."""
        self._gate = gate
        self._exchange = exchange
        self._transport = transport
        self._sync: SyncDriver | None = None
        self._building = threading.Lock()
        self._async: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _OfLoop] = (
            weakref.WeakKeyDictionary()
        )
        self._inherited: list[object] = []
        _alive.add(self)

    def for_threads(self) -> SyncDriver:
        """The driver that any thread may use."""
        driver = self._sync
        if driver is not None:
            return driver
        with self._building:  # a second one would be in use, and not be closed by `close`
            if self._sync is None:
                from hydra_core.drive.sync import SyncDriver
                from hydra_core.drive.transport import make_transport

                transport = make_transport(self._transport)
                self._sync = SyncDriver(self._gate, self._exchange, transport)
            return self._sync

    def for_this_loop(self) -> AsyncDriver:
        """The driver of the running event loop."""
        loop = asyncio.get_running_loop()
        held = self._async.get(loop)
        if held is None:
            held = self._async[loop] = self._of_loop()
        return held.driver

    def _of_loop(self) -> _OfLoop:
        """A driver that ends with the running loop, as `asyncio.run` ends one for each call.

        Every loop closes the generators that were begun in it before it is closed itself.
        Who closes one without that leaves connections behind: those are dropped here.
        """
        from hydra_core.drive.aio import AsyncDriver
        from hydra_core.drive.transport import make_async_transport

        for ref in self._async.keyrefs():
            other = ref()
            if other is not None and other.is_closed():
                self._async.pop(other, None)
        transport = make_async_transport(self._transport)
        driver = AsyncDriver(self._gate, self._exchange, transport)
        ending = _ending(weakref.ref(self), driver)
        with contextlib.suppress(StopIteration):  # it runs to its first yield
            ending.__anext__().send(None)
        return _OfLoop(driver, ending)

    def forget_this_loop(self) -> None:
        """Its driver was closed; should the loop go on, it gets another."""
        self._async.pop(asyncio.get_running_loop(), None)

    def close(self) -> None:
        """Close the connections of threads. A loop's own go with `aclose` or with the loop."""
        driver, self._sync = self._sync, None
        if driver is not None:
            driver.close()

    async def aclose(self) -> None:
        """Close the connections of this loop."""
        held = self._async.pop(asyncio.get_running_loop(), None)
        if held is not None:
            await held.ending.aclose()

    def after_fork(self) -> None:
        """The child's sockets, loops and lock are its own."""
        self._gate.renew_lock()
        self._building = threading.Lock()
        self._sync = None
        self._inherited.append(self._async)  # dropped, they would wake the parent's loops
        self._async = weakref.WeakKeyDictionary()


async def _ending(
    drivers: weakref.ref[Drivers], driver: AsyncDriver
) -> AsyncGenerator[None, None]:
    """Closes the driver when it is closed itself; holds nobody who might be dropped before."""
    try:
        yield
    finally:
        alive = drivers()
        if alive is not None:
            alive.forget_this_loop()
        await driver.aclose()


_alive: weakref.WeakSet[Drivers] = weakref.WeakSet()


def _after_fork() -> None:
    for drivers in list(_alive):
        drivers.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
