"""Which deployments may serve a request, tier by tier.

A route is found by what the caller named (a provider, a model, a lane) and then
kept: it owns the rosters of its tiers and the line of those who wait for it.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Final

from hydra_core.engine.allowance import shared_budgets
from hydra_core.engine.credit import Credit
from hydra_core.engine.queue import WaitingLine
from hydra_core.engine.roster import Roster
from hydra_core.errors import RequestRejected

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from hydra_core.engine.deployment import Deployment
    from hydra_core.engine.size import Size

_SHOWN: Final = 8  # of the configured models, in the error that nothing matches
_LARGE: Final = 64  # deployments; a tier of more is large


class Tier:
    """Deployments that are equally welcome; the next tier serves when none of them can.

    `budgets` are those on which all of a large tier draw: while one of them is spent,
    nobody has to be looked at. In a small one each is looked at, which tells more.
    """

    __slots__ = ("_rosters", "budgets", "deployments", "models")

    def __init__(self, deployments: tuple[Deployment, ...]) -> None:
        self.deployments = deployments
        self.models = tuple({deployment.model: None for deployment in deployments})
        self.budgets = shared_budgets(deployments) if len(deployments) > _LARGE else ()
        self._rosters: dict[int, Roster] = {}

    def roster(self, size: Size) -> tuple[Roster, bool]:
        """The roster for requests of about this size; True when it was made just now."""
        roster = self._rosters.get(size.size_class)
        if roster is not None:
            return roster, False
        roster = self._rosters[size.size_class] = Roster(self.deployments)
        return roster, True


class Route:
    """The tiers that may serve one kind of request, and who waits for them.

    `windowed` are the models among them whose context window is known; `credit` is what is
    known of the whole pool's.
    """

    __slots__ = ("credit", "deployments", "line", "members", "name", "tiers", "windowed")

    def __init__(self, name: str, tiers: Sequence[Sequence[Deployment]], credit: Credit) -> None:
        self.name = name
        self.credit = credit
        self.tiers = tuple(Tier(tuple(tier)) for tier in tiers if tier)
        self.line = WaitingLine()
        self.deployments = tuple(d for tier in self.tiers for d in tier.deployments)
        self.members = frozenset(self.deployments)
        self.windowed = frozenset(d.model for d in self.deployments if d.model.context_window)

    def __repr__(self) -> str:
        return f"<Route {self.name}: {len(self.deployments)} deployments, {len(self.line)} waiting>"


class RouteBook:
    """Finds and keeps routes.

    `lanes` maps a key (provider, name) to the lanes it is reserved for; `ranks` maps
    a deployment to its model's place in its provider's list (0: the default model).
    `shown` quotes a word of the caller's for a message: it may be a key in the wrong place.
    """

    def __init__(
        self,
        deployments: Sequence[Deployment],
        *,
        aliases: Mapping[str, Sequence[str]],
        lanes: Mapping[tuple[str, str], tuple[str, ...]],
        ranks: Mapping[Deployment, int],
        shown: Callable[[str], str] = repr,
    ) -> None:
        self._deployments = tuple(deployments)
        self._aliases = aliases
        self._lanes = lanes
        self._ranks = ranks
        self._shown = shown
        self._models = frozenset(deployment.model.name for deployment in deployments)
        self._routes: dict[tuple[str | None, str | None, str | None, bool], Route] = {}
        self.credit = Credit()

    def find(
        self,
        *,
        provider: str | None = None,
        model: str | None = None,
        lane: str | None = None,
        smaller: bool = False,
    ) -> Route:
        """The route of a request; `smaller`: only its providers' later, smaller models.

        May be called without the gate's lock: it reads the configuration alone, and of two
        callers who build a route at once both get the one that was kept first.

        Raises RequestRejected, naming what is configured, when nothing matches.
        """
        wanted = (provider, model, lane, smaller)
        route = self._routes.get(wanted)
        if route is None:
            built = self._build(provider, model, lane, smaller=smaller)
            route = self._routes.setdefault(wanted, built)
        return route

    def _build(
        self, provider: str | None, model: str | None, lane: str | None, *, smaller: bool
    ) -> Route:
        pool = [d for d in self._deployments if self._open_to(d, provider, lane)]
        chosen = self._smaller(pool, model) if smaller else self._tiers(pool, model)
        if not smaller and not any(chosen):
            raise RequestRejected(self._nothing(provider, model, lane))
        name = "/".join(filter(None, (provider, model, lane))) or "default"
        return Route(name, chosen, self.credit)

    def kept_out(
        self, *, provider: str | None = None, model: str | None = None, lane: str | None = None
    ) -> list[tuple[Deployment, str]]:
        """Whom nothing but its lanes keeps off a request's route, and why."""
        others = [
            d
            for d in self._deployments
            if provider in (None, d.provider) and not self._open_to(d, provider, lane)
        ]
        return [
            (deployment, self._reserved(deployment, lane))
            for tier in self._tiers(others, model)
            for deployment in tier
        ]

    def _reserved(self, deployment: Deployment, lane: str | None) -> str:
        lanes = self._lanes.get((deployment.provider, deployment.key), ())
        if lanes:
            return f"reserved for the lane {' or '.join(lanes)}"
        return f"not reserved for the lane {lane}, which uses no other keys"

    def _open_to(self, deployment: Deployment, provider: str | None, lane: str | None) -> bool:
        if provider is not None and deployment.provider != provider:
            return False
        lanes = self._lanes.get((deployment.provider, deployment.key), ())
        return lane in lanes if lane is not None else not lanes

    def _tiers(self, pool: list[Deployment], model: str | None) -> list[list[Deployment]]:
        names = self._aliases.get(model or "")
        if names is None:
            return self._named(pool, model)
        return [tier for name in names for tier in self._named(pool, name)]

    def _named(self, pool: list[Deployment], model: str | None) -> list[list[Deployment]]:
        """Tiers by priority of: each default model, a bare model, or `provider/model`."""
        if model is None:
            chosen = [d for d in pool if self._ranks[d] == 0]
        elif model in self._models:
            chosen = [d for d in pool if d.model.name == model]
        else:
            provider, _, name = model.partition("/")
            chosen = [d for d in pool if d.provider == provider and d.model.name == name]
        chosen.sort(key=lambda d: d.priority)
        return [list(tier) for _, tier in groupby(chosen, key=lambda d: d.priority)]

    def _smaller(self, pool: list[Deployment], model: str | None) -> list[list[Deployment]]:
        """For a request of `model`: the later models of its providers, nearest first."""
        known = self._named(pool, model) if model not in self._aliases else []
        floor = {d.provider: self._ranks[d] for tier in known for d in tier}
        chosen = [d for d in pool if d.provider in floor and self._ranks[d] > floor[d.provider]]
        chosen.sort(key=lambda d: (self._ranks[d], d.priority))
        return [
            list(tier) for _, tier in groupby(chosen, key=lambda d: (self._ranks[d], d.priority))
        ]

    def _nothing(self, provider: str | None, model: str | None, lane: str | None) -> str:
        asked = ", ".join(
            f"{word} {self._shown(value)}"
            for word, value in (("provider", provider), ("model", model), ("lane", lane))
            if value is not None
        )
        if not self._deployments:
            return "every key of the configuration is disabled; enable one, and start again"
        names = sorted({f"{d.provider}/{d.model.name}" for d in self._deployments})
        shown = ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
        lanes = sorted({lane for lanes in self._lanes.values() for lane in lanes})
        hint = f"; lanes: {', '.join(lanes)}" if lanes else "; no key is reserved for a lane"
        aliases = f"; aliases: {', '.join(self._aliases)}" if self._aliases else ""
        what = asked or "requests without a lane"
        return f"no key serves {what}. Configured: {shown}{aliases}{hint}"
