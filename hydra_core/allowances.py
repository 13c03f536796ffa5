"""Budgets and active hours of a configuration, as the engine enforces them."""

from __future__ import annotations

from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from hydra_core.engine.allowance import Allowance
from hydra_core.engine.budget import Budget
from hydra_core.engine.hours import Hours
from hydra_core.engine.notices import Notice, listed
from hydra_core.vault import shown
from hydra_core.wire import DAY
from hydra_core.zones import next_midnight

if TYPE_CHECKING:
    from hydra_core.config import BudgetConfig, HydraConfig
    from hydra_core.engine.budget import BudgetKind, DayEnd
    from hydra_core.resolved import ResolvedKey, ResolvedProvider


class AllowanceBook:
    """Makes the allowance of each key; what keys share is made once.

    `now` is monotonic, `wall` seconds since 1970, at one and the same instant.
    """

    def __init__(self, config: HydraConfig, *, now: float, wall: float) -> None:
        self._pool = config.budget
        self._scale = config.time_scale
        self._now = now
        self._wall = wall
        self._budgets: dict[str, Budget] = {}
        self.notices: dict[str, Notice] = {}

    def of(self, provider: ResolvedProvider, key: ResolvedKey) -> Allowance | None:
        """What this key is allowed; None: everything, at any time.

        A budget in dollars over a model whose price is not known adds to `notices`.
        """
        budgets = (
            *self._of(key.budget, f"key {key.name}", provider.name, key.name),
            *self._of(provider.budget, f"provider {provider.name}", provider.name),
            *self._of(self._pool, "the whole pool"),
        )
        unpriced = _without_price(provider)
        for budget in budgets:
            if budget.kind == "usd" and unpriced:
                told = _unpriced_notice(provider.name, unpriced, budget.whose)
                self.notices[told.subject] = told
        if not budgets and key.active_hours is None:
            return None
        if key.active_hours is None:
            return Allowance(budgets)
        return Allowance(budgets, Hours(key.active_hours.span, offset=self._wall - self._now))

    def _of(self, config: BudgetConfig | None, whose: str, *path: str) -> tuple[Budget, ...]:
        if config is None:
            return ()
        limits: tuple[tuple[BudgetKind, float | None], ...] = (
            ("usd", config.usd_per_day),
            ("tokens", config.tokens_per_day),
        )
        return tuple(
            self._budget(config.zone, kind, limit, whose, path)
            for kind, limit in limits
            if limit is not None
        )

    def _budget(
        self, zone: str, kind: BudgetKind, limit: float, whose: str, path: tuple[str, ...]
    ) -> Budget:
        name = "/".join(("budget", *path, f"{kind}_per_day"))
        budget = self._budgets.get(name)
        if budget is None:
            budget = self._budgets[name] = Budget(
                name,
                kind,
                limit,
                whose=whose,
                day_end=self._day_end(zone),
                offset=self._wall - self._now,
                now=self._now,
            )
        return budget

    def _day_end(self, zone: str) -> DayEnd:
        if self._scale == 1.0:
            place = ZoneInfo(zone)
            return lambda wall: next_midnight(wall, place)
        length, begun = DAY * self._scale, self._wall
        return lambda wall: wall + length - (wall - begun) % length


def _without_price(provider: ResolvedProvider) -> list[str]:
    return [m.name for m in provider.models if m.input_usd is None or m.output_usd is None]


def _unpriced_notice(provider: str, models: list[str], whose: str) -> Notice:
    return Notice(
        "no_price",
        f"{provider}: budget of {whose}",
        f"budget of {whose}: no price is known of {listed([shown(name) for name in models])} at "
        f"{provider}. Their calls do not count against usd_per_day, but where a reply says what it "
        "cost. Give them input_usd and output_usd under models (USD per million tokens, 0 where "
        "they cost nothing), or bound tokens_per_day.",
    )
