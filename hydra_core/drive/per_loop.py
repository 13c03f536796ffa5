"""One object for each event loop: connections belong to the loop that made them."""

from __future__ import annotations

import asyncio
import contextlib
import weakref
from typing import TYPE_CHECKING, Generic, NamedTuple, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable


class _Closable(Protocol):
    async def aclose(self) -> None: ...


T = TypeVar("T", bound=_Closable)


class _Held(NamedTuple, Generic[T]):
    """A loop's object, and the generator with whose end it is closed."""

    made: T
    ending: AsyncGenerator[None, None]


class PerLoop(Generic[T]):
    """Makes an object at its first use in a loop, and closes it with that loop."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._held: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Held[T]] = (
            weakref.WeakKeyDictionary()
        )

    def here(self) -> T:
        """The object of the running event loop."""
        loop = asyncio.get_running_loop()
        held = self._held.get(loop)
        if held is None:
            held = self._held[loop] = self._begin()
        return held.made

    def _begin(self) -> _Held[T]:
        """An object that ends with the running loop, as `asyncio.run` ends one for each call.

        Every loop closes the generators that were begun in it before it is closed itself.
        Who closes one without that leaves connections behind: those are dropped here.
        """
        for ref in self._held.keyrefs():
            other = ref()
            if other is not None and other.is_closed():
                self._held.pop(other, None)
        made = self._make()
        ending = _ending(weakref.ref(self), made)
        with contextlib.suppress(StopIteration):  # it runs to its first yield
            ending.__anext__().send(None)
        return _Held(made, ending)

    def forget(self) -> None:
        """This loop's object was closed; should the loop go on, it gets another."""
        self._held.pop(asyncio.get_running_loop(), None)

    async def aclose(self) -> None:
        """Close the object of this loop; another loop's goes with it."""
        held = self._held.pop(asyncio.get_running_loop(), None)
        if held is not None:
            await held.ending.aclose()


async def _ending(holder: weakref.ref[PerLoop[T]], made: T) -> AsyncGenerator[None, None]:
    """Closes the object when it is closed itself; holds nobody who might be dropped before."""
    try:
        yield
    finally:
        alive = holder()
        if alive is not None:
            alive.forget()
        await made.aclose()
