"""Who waits, in what order, for what.

First come, first served within a priority. Tickets that ask for the same (a route, about
the same size, the same things left aside) stand in one queue, so that looking at who could
start costs as many looks as there are queues, however many wait.

Priorities below zero are batch work (a swarm's shards), all others interactive.
"""

from __future__ import annotations

from bisect import bisect_left
from heapq import merge
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple, Protocol

from hydra_core.engine.windows import NEVER

if TYPE_CHECKING:
    from hydra_core.engine.deployment import Lease
    from hydra_core.engine.exclusion import Avoid
    from hydra_core.engine.routing import Route
    from hydra_core.engine.size import Size


class Bell(Protocol):
    """What wakes one waiter; the driver hangs it on a ticket, the engine only hands it back."""

    def ring(self) -> None:
        """Wake it; ringing twice or for nobody is harmless."""


class Kind(NamedTuple):
    """What the tickets of one queue have in common."""

    size: int
    batch: bool
    avoid: frozenset[object]


class Ticket:
    """One waiting request.

    `lease` is filled when its turn comes; whoever holds the ticket then claims it.
    `start` is when it could begin as far as is known now, `NEVER` while others of its
    queue stand before it; `parked_until` is when its driver looks again by itself.
    """

    __slots__ = (
        "avoid",
        "bell",
        "kind",
        "lease",
        "order",
        "parked_until",
        "route",
        "size",
        "start",
    )

    def __init__(
        self, route: Route, size: Size, avoid: Avoid, priority: int, sequence: int
    ) -> None:
        self.route = route
        self.size = size
        self.avoid = frozenset(avoid)
        self.order = (-priority, sequence)
        self.kind = Kind(size.rough_tokens.bit_length(), priority < 0, self.avoid)
        self.lease: Lease | None = None
        self.start = NEVER
        self.parked_until = 0.0
        self.bell: Bell | None = None

    def __repr__(self) -> str:
        state = "granted" if self.lease else "waiting"
        return f"<Ticket {self.order[1]} priority {-self.order[0]}: {state}>"


class Queue:
    """Tickets of one route and one kind in their order. `tokens` is a rough sum of their sizes."""

    __slots__ = ("_orders", "batch", "tickets", "tokens")

    def __init__(self, *, batch: bool) -> None:
        self.batch = batch
        self.tickets: list[Ticket] = []
        self.tokens = 0
        self._orders: list[tuple[int, int]] = []  # of the tickets, for a search without calls

    def __len__(self) -> int:
        return len(self.tickets)

    def join(self, ticket: Ticket) -> None:
        """Stand behind all of the same or a higher priority."""
        at = self.ahead(ticket.order)
        self._orders.insert(at, ticket.order)
        self.tickets.insert(at, ticket)
        self.tokens += ticket.size.rough_tokens

    def leave(self, ticket: Ticket) -> None:
        """Be served, or give up. Leaving twice is harmless."""
        at = self.ahead(ticket.order)
        if at < len(self.tickets) and self.tickets[at] is ticket:
            del self._orders[at], self.tickets[at]
            self.tokens -= ticket.size.rough_tokens

    def ahead(self, order: tuple[int, int]) -> int:
        """How many are served before whoever has this order."""
        return bisect_left(self._orders, order)

    def goes_before(self, ticket: Ticket) -> bool:
        """True when some of these may be served before it: of the other class, any."""
        return bool(self.tickets) and (
            self.batch != ticket.kind.batch or self._orders[0] < ticket.order
        )


class WaitingLine:
    """All who wait for one route: its queues, by what their tickets ask for."""

    __slots__ = ("queues",)

    def __init__(self) -> None:
        self.queues: dict[Kind, Queue] = {}

    def __len__(self) -> int:
        return sum(map(len, self.queues.values()))

    def __bool__(self) -> bool:
        return bool(self.queues)

    def join(self, ticket: Ticket) -> bool:
        """Stand behind all of the same or a higher priority; True when first of its queue."""
        queue = self.queues.get(ticket.kind)
        if queue is None:
            queue = self.queues[ticket.kind] = Queue(batch=ticket.kind.batch)
        queue.join(ticket)
        return queue.tickets[0] is ticket

    def leave(self, ticket: Ticket) -> None:
        """Be served, or give up. Leaving twice is harmless."""
        queue = self.queues.get(ticket.kind)
        if queue is not None:
            queue.leave(ticket)
            if not queue:
                del self.queues[ticket.kind]

    def first(self, count: int) -> list[Ticket]:
        """The next `count` tickets in the order of this line."""
        queues = (queue.tickets for queue in self.queues.values())
        return list(islice(merge(*queues, key=lambda ticket: ticket.order), count))
