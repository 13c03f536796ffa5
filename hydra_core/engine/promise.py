"""What is promised to who waits: a start, by a rehearsal; and to be in time, by the supply."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hydra_core.engine.rehearsal import Rehearsal
from hydra_core.engine.supply import Supply, demand_until
from hydra_core.engine.windows import NEVER

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from hydra_core.engine.choice import Chooser
    from hydra_core.engine.queue import Queue, Ticket
    from hydra_core.engine.routing import Route
    from hydra_core.engine.supply import Demand, Sources

# What is surely waited: this share of the least wait that the supply allows, less a second.
_SURE: Final = 0.97
_DOUBT: Final = 1.0
# A photograph is used again as long as its age is so small a part of the wait in question.
_AGE: Final = 0.03
# So small a part of it a rehearsal may be old, or those before it be early or late.
_REHEARSED: Final = 0.1


class Promises:
    """Rehearsals and supplies of the routes somebody waits for, kept while they are good enough.

    `waiting` are those routes, as they are now; `passes` interactive requests go before
    each batch one.
    """

    __slots__ = (
        "_chooser",
        "_passes",
        "_photographs",
        "_rehearsals",
        "_routes",
        "_shared",
        "_supplies",
    )

    def __init__(self, chooser: Chooser, waiting: Collection[Route], passes: int) -> None:
        self._chooser = chooser
        self._routes = waiting
        self._passes = passes
        self._supplies: dict[Route, list[Supply]] = {}
        self._photographs: Sources = {}
        self._rehearsals: dict[tuple[Route, int], Rehearsal] = {}
        self._shared: dict[Route, tuple[Route, ...]] = {}

    def forget(self) -> None:
        """Somebody waits for another route than before, or nobody for one of them."""
        self._supplies.clear()
        self._shared.clear()
        if not self._routes:
            self._rehearsals.clear()
            self._photographs.clear()

    def of(self, ticket: Ticket, now: float) -> float:
        """When a ticket starts as far as is known, in monotonic seconds; it need not stand in line.

        That is when it is sent if those before it stay and are served as their sizes, the
        limits and the usual latency say. Who comes later and goes before it, and limits that
        nobody stated, are not foreseen.
        """
        alone = self._alone(ticket, now)
        if alone == NEVER or not self._routes:
            return alone
        routes = (ticket.route, *self._sharing(ticket.route))
        queues = [queue for route in routes for queue in route.line.queues.values()]
        if not any(queue.goes_before(ticket) for queue in queues):
            return alone
        start = self._rehearsed(ticket, routes, queues, now)
        return alone if start == NEVER else max(alone, start)

    def _rehearsed(
        self, ticket: Ticket, routes: Sequence[Route], queues: Sequence[Queue], now: float
    ) -> float:
        """When it starts by a rehearsal, which is used again while it is good enough."""
        asked = ticket.route, ticket.order[0]
        known = self._rehearsals.get(asked)
        if known is not None:
            start = known.start(ticket)
            doubt = _REHEARSED * (start - now)
            if known.taken >= now - doubt and known.holds(queues, now, doubt):
                return start
        known = self._rehearsals[asked] = Rehearsal(ticket, routes, queues, self._passes, now)
        return known.start(ticket)

    def keeps(self, ticket: Ticket, limit: float, now: float) -> bool:
        """True unless the ticket will surely start after `limit`: less work than to say when."""
        if self._alone(ticket, now) > limit:
            return False
        if not self._routes or ticket.start < NEVER:
            return True
        wait = (limit + _DOUBT - now) / _SURE
        return all(
            supply.covers(
                self._demand(ticket, supply).at_least(), ticket.size, now + wait - supply.now
            )
            for supply in self._supplies_of(ticket, now, now - _AGE * wait)
        )

    def _alone(self, ticket: Ticket, now: float) -> float:
        return self._chooser.earliest(ticket.route, ticket.size, ticket.avoid, now)[0]

    def _demand(self, ticket: Ticket, supply: Supply) -> Demand:
        queues = (queue for route in supply.routes for queue in route.line.queues.values())
        return demand_until(ticket, queues, self._passes)

    def _supplies_of(self, ticket: Ticket, now: float, since: float) -> list[Supply]:
        """For its route alone; and, where others wait for some of that, for all of them."""
        route = ticket.route
        known = self._supplies.get(route)
        if known is not None and all(supply.taken >= since for supply in known):
            return known
        others = self._sharing(route)
        sets = [(route,), (route, *others)] if others else [(route,)]
        made = [Supply(routes, ticket.size, now, self._photographs, since) for routes in sets]
        self._supplies[route] = made
        return made

    def _sharing(self, route: Route) -> tuple[Route, ...]:
        """The other routes with waiters that have groups in common with it."""
        known = self._shared.get(route)
        if known is None:
            groups = {deployment.group for deployment in route.deployments}
            known = self._shared[route] = tuple(
                other
                for other in self._routes
                if other is not route and any(d.group in groups for d in other.deployments)
            )
        return known
