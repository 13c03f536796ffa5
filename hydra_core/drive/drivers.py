"""One driver for threads and one per event loop: connections belong to the loop that made them."""

from __future__ import annotations

import os
import threading
import weakref
from typing import TYPE_CHECKING

from hydra_core.drive.per_loop import PerLoop

if TYPE_CHECKING:
    from hydra_core.drive.aio import AsyncDriver
    from hydra_core.drive.exchange import Exchange
    from hydra_core.drive.gate import Gate
    from hydra_core.drive.sync import SyncDriver


class Drivers:
    """Builds each driver at its first use, and anew after a fork."""

    def __init__(
        self,
        gate: Gate,
        exchange: Exchange,
        transport: str,
        *,
        longest_pause: float | None = None,
    ) -> None:
        """`transport` is the configured name.

        `longest_pause` is the most seconds for which a stream may be silent.
        """
        self._longest_pause = longest_pause
        self._gate = gate
        self._exchange = exchange
        self._transport = transport
        self._sync: SyncDriver | None = None
        self._building = threading.Lock()
        self._async = PerLoop(self._make_async)
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

                transport = make_transport(self._transport, longest_pause=self._longest_pause)
                self._sync = SyncDriver(self._gate, self._exchange, transport)
            return self._sync

    def for_this_loop(self) -> AsyncDriver:
        """The driver of the running event loop."""
        return self._async.here()

    def _make_async(self) -> AsyncDriver:
        from hydra_core.drive.aio import AsyncDriver
        from hydra_core.drive.transport import make_async_transport

        transport = make_async_transport(self._transport, longest_pause=self._longest_pause)
        return AsyncDriver(self._gate, self._exchange, transport)

    def close(self) -> None:
        """Close the connections of threads. A loop's own go with `aclose` or with the loop."""
        driver, self._sync = self._sync, None
        if driver is not None:
            driver.close()

    async def aclose(self) -> None:
        """Close the connections of this loop."""
        await self._async.aclose()

    def after_fork(self) -> None:
        """The child's sockets, loops and lock are its own."""
        self._gate.renew_lock()
        self._building = threading.Lock()
        self._sync = None
        self._inherited.append(self._async)  # dropped, they would wake the parent's loops
        self._async = PerLoop(self._make_async)


_alive: weakref.WeakSet[Drivers] = weakref.WeakSet()


def _after_fork() -> None:
    for drivers in list(_alive):
        drivers.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
