"""What a request is promised: when it will start, with all who go before it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hydra_core.engine.forecast import Forecast, demand_until
from hydra_core.engine.windows import NEVER

if TYPE_CHECKING:
    from collections.abc import Collection

    from hydra_core.engine.choice import Chooser
    from hydra_core.engine.forecast import Demand, Sources
    from hydra_core.engine.queue import Ticket
    from hydra_core.engine.routing import Route

# What is surely waited: this share of the least wait that a forecast tells, less a second.
_SURE: Final = 0.97
_DOUBT: Final = 1.0
# A photograph is used again as long as its age is so small a part of the wait in question.
_AGE: Final = 0.03


class Promises:
    """Forecasts of the routes that somebody waits for, kept while they are good enough.

    `waiting` are those routes, as they are now; `passes` interactive requests go before
    each batch one.
    """

    __slots__ = ("_chooser", "_forecasts", "_passes", "_photographs", "_routes")

    def __init__(self, chooser: Chooser, waiting: Collection[Route], passes: int) -> None:
        self._chooser = chooser
        self._routes = waiting
        self._passes = passes
        self._forecasts: dict[Route, list[Forecast]] = {}
        self._photographs: Sources = {}

    def forget(self) -> None:
        """Somebody waits for another route than before, or nobody for one of them."""
        self._forecasts.clear()
        if not self._routes:
            self._photographs.clear()

    def of(self, ticket: Ticket, now: float) -> float:
        """When a ticket starts as far as is known, in monotonic seconds: if nobody ahead gives up.

        It need not stand in line.
        """
        alone = self._alone(ticket, now)
        if alone == NEVER or not self._routes:
            return alone
        if ticket.start < NEVER:
            return ticket.start
        forecasts = self._forecasts_of(ticket, now, since=-NEVER)
        start = self._start(ticket, forecasts)
        since = now - _AGE * (start - now)
        if any(forecast.taken < since for forecast in forecasts):
            start = self._start(ticket, self._forecasts_of(ticket, now, since))
        return max(alone, start)

    def keeps(self, ticket: Ticket, limit: float, now: float) -> bool:
        """True unless the ticket will surely start after `limit`: less work than to say when."""
        if self._alone(ticket, now) > limit:
            return False
        if not self._routes or ticket.start < NEVER:
            return True
        wait = (limit + _DOUBT - now) / _SURE
        return all(
            forecast.covers(
                self._demand(ticket, forecast).at_least(), ticket.size, now + wait - forecast.now
            )
            for forecast in self._forecasts_of(ticket, now, now - _AGE * wait)
        )

    def _alone(self, ticket: Ticket, now: float) -> float:
        return self._chooser.earliest(ticket.route, ticket.size, ticket.avoid, now)[0]

    def _start(self, ticket: Ticket, forecasts: list[Forecast]) -> float:
        return max(
            forecast.now + forecast.seconds(ticket.size, self._demand(ticket, forecast))
            for forecast in forecasts
        )

    def _demand(self, ticket: Ticket, forecast: Forecast) -> Demand:
        queues = (queue for route in forecast.routes for queue in route.line.queues.values())
        return demand_until(ticket, queues, self._passes)

    def _forecasts_of(self, ticket: Ticket, now: float, since: float) -> list[Forecast]:
        """For its route alone; and, where others wait for some of that, for all of them."""
        route = ticket.route
        known = self._forecasts.get(route)
        if known is not None and all(forecast.taken >= since for forecast in known):
            return known
        groups = {deployment.group for deployment in route.deployments}
        others = [
            other
            for other in self._routes
            if other is not route and any(d.group in groups for d in other.deployments)
        ]
        sets = [(route,), (route, *others)] if others else [(route,)]
        made = [Forecast(routes, ticket.size, now, self._photographs, since) for routes in sets]
        self._forecasts[route] = made
        return made
