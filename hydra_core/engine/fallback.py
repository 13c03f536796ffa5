"""A journey that steps down to the providers' smaller models before it gives up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hydra_core.engine.dispatch import Dispatch
from hydra_core.engine.exclusion import too_small
from hydra_core.engine.steps import GiveUp
from hydra_core.engine.windows import NEVER
from hydra_core.errors import DeadlineExceeded, PoolExhausted, RequestRejected
from hydra_core.messages import Fault

if TYPE_CHECKING:
    from hydra_core.engine.key_manager import KeyManager
    from hydra_core.engine.routing import Route
    from hydra_core.engine.size import Size
    from hydra_core.engine.steps import Patience, Step
    from hydra_core.errors import HydraError
    from hydra_core.messages import ChatRequest


class FallbackDispatch(Dispatch):
    """A Dispatch that goes on along `smaller` when its route has no capacity in time, or ever.

    It stays one journey: one deadline, one patience, one trail of attempts.
    """

    __slots__ = ("_before", "_smaller")

    def __init__(
        self,
        request: ChatRequest,
        route: Route,
        patience: Patience,
        *,
        now: float,
        size: Size,
        smaller: Route,
    ) -> None:
        super().__init__(request, route, patience, now=now, size=size)
        self._smaller: Route | None = smaller
        self._before: PoolExhausted | None = None

    def next_step(self, manager: KeyManager, now: float) -> Step:
        """What the driver must do now."""
        step = super().next_step(manager, now)
        if isinstance(step, GiveUp) and self._steps_down(step.error, now):
            step = super().next_step(manager, now)
        if isinstance(step, GiveUp) and self._before is not None:
            return GiveUp(self._joined(self._before, step.error))
        return step

    def _steps_down(self, error: HydraError, now: float) -> bool:
        smaller, self._smaller = self._smaller, None
        if smaller is None or self._over(now):
            return False
        if isinstance(error, PoolExhausted):
            self._before = error
        elif not self._beyond_every_limit(error):
            return False
        self._error = None
        self._route = smaller
        self._ask_as_said()
        self._avoid = too_small(smaller, self._size, now)
        self._ask_for_less(now)
        return True

    def _beyond_every_limit(self, error: HydraError) -> bool:
        """No key's limit, budget or window would ever take it; another model may, with its own.

        So it may where a provider said so and not we: its word is of that model's limit alone.
        """
        return isinstance(error, RequestRejected) and (
            not self.attempts or self.attempts[-1].outcome == Fault.REQUEST_TOO_LARGE
        )

    def _joined(self, before: PoolExhausted, last: HydraError) -> PoolExhausted:
        """One error for both routes. What a smaller model refused, the larger may take later."""
        kind = DeadlineExceeded if isinstance(last, DeadlineExceeded) else PoolExhausted
        ends = [end for end in (before, last) if isinstance(end, PoolExhausted)]
        ends.sort(key=lambda end: NEVER if end.eta is None else end.eta)
        etas = [end.eta for end in ends if end.eta is not None]
        limit_etas = [end.limit_eta for end in ends if end.limit_eta is not None]
        return kind(
            str(before),
            eta=min(etas, default=None),
            attempts=self.attempts,
            offline=all(end.offline for end in ends),
            causes=tuple(dict.fromkeys(cause for end in ends for cause in end.causes)),
            limit_eta=min(limit_etas, default=None),
        )
