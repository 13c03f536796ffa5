"""What a request is promised: when it will start, with all who go before it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from hydra_core.engine.forecast import Forecast, demand_until
from hydra_core.engine.windows import NEVER

if TYPE_CHECKING:
    from collections.abc import Collection

    from hydra_core.engine.choice import Chooser
    from hydra_core.engine.queue import Ticket
    from hydra_core.engine.routing import Route

# What is surely waited: this share of the least wait that a forecast tells, less a second.
_SURE: Final = 0.97
_DOUBT: Final = 1.0
# A forecast is used again as long as its age is so small a part of the wait it tells.
_AGE: Final = 0.03


class Promise(NamedTuple):
    """When a request starts (monotonic seconds): surely not before, and as far as is known."""

    surely: float
    likely: float


class Promises:
    """Forecasts of the routes that somebody waits for, kept while they are good enough.

    `waiting` are those routes, as they are now; `passes` interactive requests go before
    each batch one.
    """

    __slots__ = ("_chooser", "_passes", "_pictures", "_routes")

    def __init__(self, chooser: Chooser, waiting: Collection[Route], passes: int) -> None:
        self._chooser = chooser
        self._routes = waiting
        self._passes = passes
        self._pictures: dict[Route, list[Forecast]] = {}

    def forget(self) -> None:
        """Somebody waits for another route than before, or nobody for one of them."""
        self._pictures.clear()

    def of(self, ticket: Ticket, now: float) -> Promise:
        """When a ticket will start, with all who go before it; it need not stand in line."""
        alone, _ = self._chooser.earliest(ticket.route, ticket.size, ticket.avoid, now)
        if alone == NEVER or not self._routes:
            return Promise(alone, alone)
        if ticket.start < NEVER:
            return Promise(alone, ticket.start)
        least, most = self._forecast(ticket, now)
        return Promise(max(alone, now + _SURE * (least - now) - _DOUBT), max(alone, most))

    def _forecast(self, ticket: Ticket, now: float) -> tuple[float, float]:
        """By the flow of what can start; a picture a little old is good enough."""
        pictures = self._pictures.get(ticket.route)
        if pictures is not None:
            taken = pictures[0].now
            least, most = self._waits(ticket, pictures)
            if now - taken <= _AGE * most:
                return taken + least, taken + most
        pictures = self._pictures[ticket.route] = self._photograph(ticket, now)
        least, most = self._waits(ticket, pictures)
        return now + least, now + most

    def _photograph(self, ticket: Ticket, now: float) -> list[Forecast]:
        """What its route can start; and, where others wait for some of that, all of them."""
        route = ticket.route
        groups = {deployment.group for deployment in route.deployments}
        others = [
            other
            for other in self._routes
            if other is not route and any(d.group in groups for d in other.deployments)
        ]
        sets = [(route,), (route, *others)] if others else [(route,)]
        return [Forecast(routes, ticket.size, now) for routes in sets]

    def _waits(self, ticket: Ticket, pictures: list[Forecast]) -> tuple[float, float]:
        """Seconds from the picture on: if some of those ahead give up, and if nobody does."""
        least = most = 0.0
        for picture in pictures:
            queues = (queue for route in picture.routes for queue in route.line.queues.values())
            demand = demand_until(ticket, queues, self._passes)
            least = max(least, picture.seconds(ticket.size, demand.at_least()))
            most = max(most, picture.seconds(ticket.size, demand))
        return least, most
