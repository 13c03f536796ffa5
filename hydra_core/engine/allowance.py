"""What their owner allows deployments: budgets to draw on, and hours to be used in.

Most deployments have no allowance at all; the path of their calls only looks that up.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from hydra_core.engine.durations import duration
from hydra_core.engine.model_facts import UNPRICED_USD
from hydra_core.engine.windows import NEVER

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hydra_core.engine.budget import Budget
    from hydra_core.engine.deployment import Deployment
    from hydra_core.engine.hours import Hours
    from hydra_core.engine.model_facts import ModelFacts
    from hydra_core.engine.size import Size


class Allowance:
    """The budgets that one deployment draws on, and the hours of its key.

    Budgets are shared: by the deployments of a key, of a provider, or of the whole pool.
    """

    __slots__ = ("budgets", "hours")

    def __init__(self, budgets: Iterable[Budget] = (), hours: Hours | None = None) -> None:
        self.budgets = tuple(budgets)
        self.hours = hours

    def earliest(self, model: ModelFacts, size: Size, now: float) -> float:
        """When such a request may be sent; `NEVER` when no day's budget would pay for it."""
        start = now
        if self.budgets:
            needs = model.needs(size)
            for budget in self.budgets:
                begin = budget.earliest(needs[budget.unit], now)
                if begin > start:
                    start = begin
        if self.hours is None or start == NEVER:
            return start
        # Whenever the budgets are whole again, they still are when the hours begin.
        return self.hours.opens(now) if start <= now else self.hours.opens_after(start)

    def may_return(self, model: ModelFacts, size: Size, now: float) -> bool:
        """True when only calls under way stand in between, and may leave room as they end."""
        needs = model.needs(size)
        return not self.closed(now) and all(
            budget.may_return(needs[budget.unit], now) for budget in self.budgets
        )

    def turn_away(self, model: ModelFacts, size: Size, now: float) -> None:
        """Its deployment rests for such a request: be told when a budget has room for it."""
        needs = model.needs(size)
        for budget in self.budgets:
            need = needs[budget.unit]
            if budget.earliest(need, now) > now:
                budget.turn_away(need)

    def closed(self, now: float) -> bool:
        """True outside of the key's hours."""
        return self.hours is not None and self.hours.opens(now) > now

    def book(self, model: ModelFacts, size: Size, now: float) -> Spend:
        """Book what such a request may cost at most."""
        return Spend(self, model.needs(size), now)

    def why(self, model: ModelFacts, size: Size, now: float) -> str | None:
        """What keeps such a request away for longest, in a reader's words; None: nothing."""
        found: tuple[float, str] | None = None
        needs = model.needs(size)
        for budget in self.budgets:
            need = needs[budget.unit]
            start = budget.earliest(need, now)
            if start > (now if found is None else found[0]):
                found = start, budget.told(need, now)
        opens = now if self.hours is None else self.hours.opens(now)
        if opens > (now if found is None else found[0]):
            return f"outside of its active hours, again in {duration(opens - now)}"
        return None if found is None else found[1]


def affordable(budgets: Iterable[Budget], model: ModelFacts, size: Size, now: float) -> bool:
    """True while every budget has what such a request may cost."""
    needs = model.needs(size)
    return all(budget.earliest(needs[budget.unit], now) <= now for budget in budgets)


def shared_budgets(deployments: Sequence[Deployment]) -> tuple[Budget, ...]:
    """The budgets on which every one of them draws."""
    drawn_on = [() if d.allowance is None else d.allowance.budgets for d in deployments]
    first, *others = drawn_on or [()]
    return tuple(budget for budget in first if all(budget in other for other in others))


class Spend:
    """What one lease booked in the budgets of an allowance: US dollars and tokens."""

    __slots__ = ("_allowance", "_bookings", "_needs")

    def __init__(self, allowance: Allowance, needs: tuple[float, float], now: float) -> None:
        self._allowance = allowance
        self._needs = needs
        self._bookings = [
            (budget, budget.book(needs[budget.unit], now)) for budget in allowance.budgets
        ]

    def settle(self, *, tokens: float | None, usd: float | None, now: float) -> list[Budget]:
        """Correct the bookings; the budgets that have room now for one turned away.

        `tokens` None: the estimate stays. `usd` None: its share of the estimate; of a model
        without a price, nothing.
        """
        booked_usd, booked_tokens = self._needs
        if tokens is None:
            tokens, usd = booked_tokens, booked_usd
        elif usd is None and booked_usd == UNPRICED_USD:
            usd = 0.0
        elif usd is None:
            usd = booked_usd * tokens / booked_tokens if booked_tokens else 0.0
        took = usd, tokens
        return [
            budget
            for budget, booking in self._bookings
            if budget.settle(booking, took[budget.unit], now)
        ]

    def renewed(self, now: float) -> bool:
        """Book it in the day that runs now, if another has begun; False when it has no room."""
        fits = not self._allowance.closed(now)
        for place, (budget, booking) in enumerate(self._bookings):
            if not budget.counts(booking, now):
                amount = booking[1]
                fits &= budget.earliest(amount, now) <= now
                self._bookings[place] = budget, budget.book(amount, now)
        return fits


class Allowances:
    """Every budget of a pool by its name, and who draws on it."""

    __slots__ = ("_allowed", "_drawn_on", "budgets")

    def __init__(self, deployments: Iterable[Deployment]) -> None:
        self._allowed = {d: d.allowance for d in deployments if d.allowance is not None}
        self._drawn_on: dict[Budget, list[Deployment]] = defaultdict(list)
        self.budgets: dict[str, Budget] = {}
        for deployment, allowance in self._allowed.items():
            for budget in allowance.budgets:
                self.budgets[budget.name] = budget
                self._drawn_on[budget].append(deployment)

    def __bool__(self) -> bool:
        return bool(self._allowed)

    def on(self, budget: Budget) -> list[Deployment]:
        """Who draws on this budget."""
        return self._drawn_on[budget]

    def reanchor(self, offset: float, now: float) -> list[Deployment]:
        """The wall clock is now `offset` seconds ahead of the monotonic one; who is concerned."""
        for budget in self.budgets.values():
            budget.reanchor(offset, now)
        for allowance in self._allowed.values():
            if allowance.hours is not None:
                allowance.hours.reanchor(offset)
        return list(self._allowed)
