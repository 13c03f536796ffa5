"""The waiting room: who waits joins here, is granted a lease in turn, and is woken.

Law 1: first come, first served within a priority; whoever could start earliest in a
       group holds a claim on it, so a large request is not starved by small ones.
Law 2: capacity that returns wakes those who can use it, not all who wait.
Law 3: while anybody waits, somebody is awake for the next start.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hydra_core.engine.queue import Ticket
from hydra_core.engine.windows import NEVER

if TYPE_CHECKING:
    from collections.abc import Callable

    from hydra_core.engine.choice import Avoid, Choice, Chooser
    from hydra_core.engine.deployment import Lease, Size
    from hydra_core.engine.quota import QuotaGroup
    from hydra_core.engine.routing import Route

# How many waiting tickets may start out of turn in groups that nobody before them claims.
_LOOKAHEAD: Final = 16
# All of a limit, and the rounding of many additions.
_FULL: Final = 1.0 + 1e-9
# A park that ends this much after the next start is still in time, in seconds.
_SLACK: Final = 0.001


class WaitingRoom:
    """The lines of all routes of one pool, and whom to wake.

    `grant` charges a choice and makes it a lease; `refund` gives a lease back unused,
    and then serves who waits.
    """

    __slots__ = ("_chooser", "_grant", "_refund", "_routes", "_rung", "_sequence")

    def __init__(
        self,
        chooser: Chooser,
        *,
        grant: Callable[[Choice, Size, float], Lease],
        refund: Callable[[Lease, float], None],
    ) -> None:
        self._chooser = chooser
        self._grant = grant
        self._refund = refund
        self._sequence = 0
        self._routes: dict[Route, None] = {}
        self._rung: list[Ticket] = []

    def __bool__(self) -> bool:
        return bool(self._routes)

    def tickets(self) -> list[Ticket]:
        """All who stand in line, route by route, each route in its order."""
        return [ticket for route in self._routes for ticket in route.line.first(len(route.line))]

    def join(self, route: Route, size: Size, avoid: Avoid, priority: int, now: float) -> Ticket:
        """Stand in line; the ticket may hold its lease at once."""
        self._sequence += 1
        ticket = Ticket(route, size, avoid, priority, self._sequence)
        route.line.join(ticket)
        self._routes[route] = None
        if route.line.ahead(ticket) < _LOOKAHEAD:
            self._serve_route(route, now)
        return ticket

    def leave(self, ticket: Ticket, now: float) -> None:
        """Stop waiting. A lease that was granted and not claimed goes back unused."""
        lease, ticket.lease = ticket.lease, None
        ticket.route.line.leave(ticket)
        if lease is not None:
            self._refund(lease, now)
        else:
            self.serve(now)

    def claim(self, ticket: Ticket, now: float) -> Lease | None:
        """Take the lease that was granted, charged as of now: the wire is reached only now.

        One that can no longer be used goes back, and the ticket stands where it stood.
        """
        lease, ticket.lease = ticket.lease, None
        if lease is None or self._renewed(lease, now):
            return lease
        ticket.route.line.join(ticket)
        self._routes[ticket.route] = None
        self._refund(lease, now)
        lease, ticket.lease = ticket.lease, None
        return lease

    @staticmethod
    def _renewed(lease: Lease, now: float) -> bool:
        """Charge it anew; False when it can no longer be used.

        Its deployment may have come to rest, or its booking expired and others used that room.
        """
        group = lease.group
        group.settle(lease.charges, requests=0.0, tokens=0.0, now=now)
        usable = not lease.deployment.rests_at(now) and group.pressure(lease.tokens, now) <= _FULL
        if lease.spend is not None:
            usable &= lease.spend.renewed(now)
        lease.charges = group.charge(lease.tokens, now)
        lease.granted = now
        return usable

    def serve(self, now: float) -> None:
        """Grant leases to whoever can start now; `take_rung` tells whom to wake."""
        for route in list(self._routes):
            self._serve_route(route, now)

    def _serve_route(self, route: Route, now: float) -> None:
        line = route.line
        while line and self._serve_front(route, now):
            pass
        if line:
            self._keep_watch(line.first(_LOOKAHEAD))
        else:
            self._routes.pop(route, None)

    def _serve_front(self, route: Route, now: float) -> bool:
        """One look at those in front, in their order; True when somebody was served."""
        granted = False
        claimed: set[QuotaGroup] = set()
        for ticket in route.line.first(_LOOKAHEAD):
            ticket.start = NEVER
            if len(claimed) == route.groups:
                continue  # those before it wait for all there is
            choice, group = self._look(route, ticket, now, claimed)
            if choice is not None:
                ticket.lease = self._grant(choice, ticket.size, now)
                route.line.leave(ticket)
                self._rung.append(ticket)
                granted = True
            elif group is not None:
                claimed.add(group)
        return granted

    def _look(
        self, route: Route, ticket: Ticket, now: float, claimed: set[QuotaGroup]
    ) -> tuple[Choice | None, QuotaGroup | None]:
        """Who may serve this ticket now, else the group in which it will start."""
        chooser = self._chooser
        choice = chooser.choose(route, ticket.size, ticket.avoid, now, claimed)
        if choice is not None:
            return choice, None
        ticket.start, group = chooser.earliest(route, ticket.size, ticket.avoid, now, claimed)
        if ticket.start <= now:
            choice = chooser.choose(route, ticket.size, ticket.avoid, now, claimed)
        return choice, group

    def _keep_watch(self, front: list[Ticket]) -> None:
        """Somebody must be awake when the next start comes; else wake whose start it is."""
        first = min(front, key=lambda ticket: ticket.start)
        due = first.start
        if due < NEVER and all(ticket.parked_until > due + _SLACK for ticket in front):
            first.parked_until = due  # it is awake from now on: once rung is enough
            self._rung.append(first)

    def take_rung(self) -> list[Ticket]:
        """The tickets to wake, once each. Ring them after the lock is released."""
        if not self._rung:
            return []
        rung, self._rung = self._rung, []
        return rung
