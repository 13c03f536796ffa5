"""What one request would meet if it came now, as its journey goes: for explain(), nothing taken."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from hydra_core.engine.choice import Chooser
    from hydra_core.engine.deployment import Deployment
    from hydra_core.engine.exclusion import Avoid
    from hydra_core.engine.routing import Route
    from hydra_core.engine.size import Size


class Foresight(NamedTuple):
    """Who would be sent the request `at_once`; else when it could start (`NEVER`: not yet known).

    Others who wait go before it until `turn`. `in_need` is who would be asked where waiting is
    of no use: it rests by our inference alone.
    """

    at_once: Deployment | None
    start: float
    turn: float
    in_need: Deployment | None

    def chosen(self, now: float, max_wait: float) -> Deployment | None:
        """Who would be sent the request now by one who waits for so many seconds at most."""
        return self.at_once or (None if self.waits(now, max_wait) else self.in_need)

    def waits(self, now: float, max_wait: float) -> bool:
        """True when it would wait, in that time, for somebody of this route."""
        return self.at_once is None and self.start <= now + max_wait


def foresight(
    chooser: Chooser, route: Route, size: Size, avoid: Avoid, now: float, *, turn: float
) -> Foresight:
    """What a request that came now would meet; others go before it until `turn`."""
    crowded = turn > now
    chosen = None if crowded else _foremost(chooser, route, size, avoid, now)
    start = now if chosen is not None else chooser.earliest(route, size, avoid, now)[0]
    if chosen is None and start <= now and not crowded:
        # Who rested for larger requests alone was found by that look, and is ready again.
        chosen = _foremost(chooser, route, size, avoid, now)
    if chosen is not None:
        return Foresight(chosen, now, now, None)
    probe = chooser.probe(route, size, avoid, now)
    return Foresight(None, max(start, turn), turn, None if probe is None else probe.deployment)


def _foremost(
    chooser: Chooser, route: Route, size: Size, avoid: Avoid, now: float
) -> Deployment | None:
    for tier in route.tiers:
        chosen = chooser.peek(tier, size, avoid, now)
        if chosen is not None:
            return chosen
    return None
