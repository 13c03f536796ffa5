"""From a configuration to a pool: deployments, quota groups, routes and lines."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from hydra_core.allowances import AllowanceBook
from hydra_core.catalog import ROLLING
from hydra_core.dialects import get_dialect
from hydra_core.drive.exchange import Exchange, Line
from hydra_core.drive.redaction import redacted, tells_secret
from hydra_core.engine.bucket import Bucket
from hydra_core.engine.ceiling import SlowStart
from hydra_core.engine.deployment import Deployment, Scopes
from hydra_core.engine.fixed_window import FixedWindow
from hydra_core.engine.health import Rest
from hydra_core.engine.key_manager import KeyManager, Settings
from hydra_core.engine.midnights import Midnights
from hydra_core.engine.model_facts import ModelFacts
from hydra_core.engine.quota import QuotaGroup
from hydra_core.engine.routing import RouteBook
from hydra_core.engine.score import ScoreWeights
from hydra_core.engine.study import Study
from hydra_core.engine.windows import SlidingWindow
from hydra_core.vault import shown
from hydra_core.wire import DAY, MINUTE
from hydra_core.zones import next_midnight

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from hydra_core.config import HydraConfig, LimitsConfig
    from hydra_core.engine.allowance import Allowance
    from hydra_core.engine.notices import Notice
    from hydra_core.engine.windows import Window
    from hydra_core.resolved import ResolvedKey, ResolvedModel, ResolvedProvider
    from hydra_core.wire import LimitKind


@dataclass(frozen=True, slots=True)
class Pool:
    """What a Hydra runs on."""

    manager: KeyManager
    exchange: Exchange
    disabled: tuple[DisabledKey, ...] = ()
    notices: tuple[Notice, ...] = ()


@dataclass(frozen=True, slots=True)
class DisabledKey:
    """A key that the configuration switched off, and the models that it could have served.

    `place` is its position among the keys of its provider, from 0.
    """

    provider: str
    name: str
    account: str
    models: tuple[str, ...]
    place: int


def assemble(config: HydraConfig, *, now: float, wall: float | None = None) -> Pool:
    """Build the pool of a configuration; `now` is the clock's monotonic time.

    `wall` is the same instant in seconds since 1970; None: what the machine's clock says.
    Raises ConfigError when a provider speaks a dialect that is not supported.
    """
    builder = _Builder(config, now, time.time() if wall is None else wall)
    providers = config.resolve()
    for provider in providers:
        builder.add(provider)
    builder.study()
    routes = RouteBook(
        builder.deployments,
        aliases=config.usable_aliases(),
        lanes=builder.lanes,
        ranks=builder.ranks,
        shown=lambda word: shown(redacted(word, exchange.secrets)),
    )
    windows = {provider.name: str(provider.window) for provider in providers}
    named = frozenset(
        (provider.name, key.account)
        for provider in providers
        for key in provider.keys
        if key.account_known
    )
    exchange = Exchange(builder.lines)
    settings = Settings(
        config.strategy,
        config.rotate_at,
        config.time_scale,
        windows,
        builder.days,
        named,
        max_waiting=config.max_waiting,
        credible=lambda name: not tells_secret(name, exchange.secrets),
    )
    manager = KeyManager(builder.deployments, routes, settings)
    return Pool(manager, exchange, tuple(_disabled(providers)), tuple(builder.notices))


def _disabled(providers: Iterable[ResolvedProvider]) -> Iterator[DisabledKey]:
    for provider in providers:
        models = tuple(model.name for model in provider.models)
        for place, key in enumerate(provider.keys):
            if key.disabled:
                yield DisabledKey(provider.name, key.name, key.account, models, place)


class _Builder:
    """Collects deployments; groups and rests that keys share are made once."""

    def __init__(self, config: HydraConfig, now: float, wall: float) -> None:
        self.deployments: list[Deployment] = []
        self.lanes: dict[tuple[str, str], tuple[str, ...]] = {}
        self.ranks: dict[Deployment, int] = {}
        self.lines: dict[tuple[str, str], Line] = {}
        self.days: dict[str, Midnights] = {}  # providers of calendar days
        self._scale = config.time_scale
        self._weights = ScoreWeights.normal(**config.score_weights.model_dump())
        self._now = now
        self._wall = wall
        self._allowances = AllowanceBook(config, now=now, wall=wall)
        self._rests: dict[tuple[str, ...], Rest] = {}
        self._groups: dict[tuple[str, str, str], QuotaGroup] = {}

    @property
    def notices(self) -> Iterable[Notice]:
        """What people should know of the configuration, though it can be used."""
        return self._allowances.notices.values()

    def add(self, provider: ResolvedProvider) -> None:
        """Take a provider's models and keys in."""
        dialect = get_dialect(provider.dialect, provider.vendor)
        if provider.day_rule != ROLLING and self._scale == 1.0:
            self.days[provider.name] = self._midnights(ZoneInfo(provider.day_rule))
        models = [
            ModelFacts(
                provider.name,
                model.name,
                context_window=model.context_window,
                max_output=model.max_output,
                input_usd=model.input_usd,
                output_usd=model.output_usd,
            )
            for model in provider.models
        ]
        for key in provider.keys:
            if key.disabled:
                continue
            self.lanes[provider.name, key.name] = key.lanes
            self.lines[provider.name, key.name] = Line(
                dialect,
                provider.base_url,
                key.secret,
                provider.auth_header,
                provider.auth_prefix,
                provider.headers,
            )
            allowance = self._allowances.of(provider, key)
            for rank, facts in enumerate(models):
                self._deploy(provider, key, facts, rank, allowance)

    def _deploy(
        self,
        provider: ResolvedProvider,
        key: ResolvedKey,
        facts: ModelFacts,
        rank: int,
        allowance: Allowance | None,
    ) -> None:
        model = provider.models[rank]
        quota = _quota(provider, model)
        group = self._group(provider, key, model)
        deployment = Deployment(
            provider=provider.name,
            model=facts,
            key=key.name,
            account=key.account,
            group=group,
            scopes=Scopes(
                key=self._rest(provider.name, "key", key.name),
                account=self._rest(provider.name, "account", key.account),
                group=self._rest(provider.name, "group", key.account, quota),
                provider=self._rest(provider.name),
                pooled=quota != facts.name,
            ),
            weights=self._weights,
            priority=provider.priority,
            order=len(self.deployments),
            allowance=allowance,
            scale=self._scale,
        )
        self.deployments.append(deployment)
        self.ranks[deployment] = rank

    def _rest(self, *name: str) -> Rest:
        return self._rests.setdefault(name, Rest("/".join(name)))

    def _group(
        self,
        provider: ResolvedProvider,
        key: ResolvedKey,
        model: ResolvedModel,
    ) -> QuotaGroup:
        """The group of account x model, or of a pool of models.

        Of what several keys and models of it state, the smallest holds.
        """
        name = (provider.name, key.account, _quota(provider, model))
        limits = key.limits_for(model)
        group = self._groups.get(name)
        if group is None:
            group = self._groups[name] = QuotaGroup("/".join(name))
            # A server that knows nobody limits nobody, nor does one's own: it queues.
            if key.secret is not None and not provider.local:
                group.slow_start = SlowStart()
        if limits is None:
            return group
        if limits.concurrency is not None:
            group.concurrency = min(limits.concurrency, group.concurrency or limits.concurrency)
        for window in self._windows(provider, limits):
            # What the catalogue knows of free accounts is a guess: this one may be paid for.
            window.configured = limits is not model.limits
            known = group.window(window.kind, window.length)
            if known is None:
                group.windows.append(window)
            else:
                known.limit = known.told = min(known.limit, window.limit)
                known.configured = known.configured or window.configured
        return group

    def study(self) -> None:
        """Let those groups be studied whose limits are not all known for certain."""
        minute = MINUTE * self._scale
        for group in self._groups.values():
            if group.windows or group.concurrency is not None:
                group.slow_start = None
            told = [window for window in group.windows if window.configured]
            if {"requests", "tokens"} <= {w.kind for w in told if w.length <= minute}:
                continue
            group.study = Study()
            for window in group.windows:
                if not window.configured:
                    group.study.suppose(window, self._now)

    def _windows(self, provider: ResolvedProvider, limits: LimitsConfig) -> Iterator[Window]:
        for kind, per_minute, per_day in (
            ("requests", limits.rpm, limits.rpd),
            ("tokens", limits.tpm, limits.tpd),
        ):
            if per_minute is not None:
                yield self._minute(provider, kind, per_minute)  # type: ignore[arg-type]
            if per_day is not None:
                yield self._day(provider, kind, per_day)  # type: ignore[arg-type]

    def _minute(self, provider: ResolvedProvider, kind: LimitKind, limit: float) -> Window:
        if provider.window == "bucket":
            return Bucket(kind, limit, MINUTE * self._scale)
        # The edges of a fixed minute are not known; a rolling count respects them all.
        return SlidingWindow(kind, limit, MINUTE * self._scale)

    def _day(self, provider: ResolvedProvider, kind: LimitKind, limit: float) -> Window:
        length = DAY * self._scale
        next_reset = self.days.get(provider.name)
        if next_reset is not None:
            return FixedWindow(
                kind, limit, length, resets_at=next_reset(self._now), next_reset=next_reset
            )
        if provider.window == "bucket":
            return Bucket(kind, limit, length)
        return SlidingWindow(kind, limit, length)

    def _midnights(self, zone: ZoneInfo) -> Midnights:
        """When the zone's days end, by the wall clock as it is now."""
        return Midnights(lambda wall: next_midnight(wall, zone), offset=self._wall - self._now)


def _quota(provider: ResolvedProvider, model: ResolvedModel) -> str:
    """What of an account has limits of its own: a model, or a pool of models."""
    pooled = provider.pooled and model.name.endswith(provider.pooled)
    return f"all {provider.pooled} models" if pooled else model.name
