"""Who waits, in what order, for what.

First come, first served within a priority. A ticket that cannot be served yet
claims the quota group in which it could start earliest, so that smaller requests
behind it may use other groups but cannot starve it.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import TYPE_CHECKING, Protocol

from hydra_core.engine.windows import NEVER

if TYPE_CHECKING:
    from hydra_core.engine.choice import Avoid
    from hydra_core.engine.deployment import Lease, Size
    from hydra_core.engine.routing import Route


class Bell(Protocol):
    """What wakes one waiter; the driver hangs it on a ticket, the engine only hands it back."""

    def ring(self) -> None:
        """Wake it; ringing twice or for nobody is harmless."""


class Ticket:
    """One waiting request.

    `lease` is filled when its turn comes; whoever holds the ticket then claims it.
    `start` is when it could begin as far as is known now, `parked_until` when
    its driver looks again by itself.
    """

    __slots__ = ("avoid", "bell", "lease", "order", "parked_until", "route", "size", "start")

    def __init__(
        self, route: Route, size: Size, avoid: Avoid, priority: int, sequence: int
    ) -> None:
        self.route = route
        self.size = size
        self.avoid = avoid
        self.order = (-priority, sequence)
        self.lease: Lease | None = None
        self.start = NEVER
        self.parked_until = 0.0
        self.bell: Bell | None = None

    def __repr__(self) -> str:
        state = "granted" if self.lease else "waiting"
        return f"<Ticket {self.order[1]} priority {-self.order[0]}: {state}>"


class WaitingLine:
    """Tickets in the order in which they are served."""

    __slots__ = ("_tickets",)

    def __init__(self) -> None:
        self._tickets: list[tuple[tuple[int, int], Ticket]] = []

    def __len__(self) -> int:
        return len(self._tickets)

    def __bool__(self) -> bool:
        return bool(self._tickets)

    def join(self, ticket: Ticket) -> None:
        """Stand behind all of the same or a higher priority."""
        insort(self._tickets, (ticket.order, ticket), key=lambda entry: entry[0])

    def leave(self, ticket: Ticket) -> None:
        """Be served, or give up. Leaving twice is harmless."""
        at = bisect_left(self._tickets, ticket.order, key=lambda entry: entry[0])
        if at < len(self._tickets) and self._tickets[at][1] is ticket:
            del self._tickets[at]

    def first(self, count: int) -> list[Ticket]:
        """The next `count` tickets to serve."""
        return [ticket for _, ticket in self._tickets[:count]]

    def ahead(self, ticket: Ticket) -> int:
        """How many are served before this one."""
        return bisect_left(self._tickets, ticket.order, key=lambda entry: entry[0])

    def overtakes_nobody(self, priority: int) -> bool:
        """True when a newcomer of this priority would be the first to be served."""
        return not self._tickets or -priority < self._tickets[0][0][0]
