"""The configuration with nothing left open: what the engine is built from.

Precedence of limits: a key's `model_limits`, then its `limits`, then the
catalogue's free limits. The latter hold at the vendor's own address alone. Its
prices hold at any public address that wants a key, too: who names a known provider
there means a gateway to it, which passes its bill on. A server on this machine or a
private network, or one that wants no key, is as likely one of the user's own.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from hydra_core import catalog
from hydra_core.active_hours import ActiveHours
from hydra_core.base_url import is_private
from hydra_core.config import BudgetConfig, LimitsConfig

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hydra_core.catalog import CatalogEntry, CatalogModel, Dialect, FreeLimits, WindowShape
    from hydra_core.config import HydraConfig, KeyConfig, ModelConfig, ProviderConfig
    from hydra_core.vault import Secret

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ResolvedModel:
    """One model in use. Windows are tokens, prices USD per million; None: not known.

    `limits` are those of an account that says nothing else.
    """

    name: str
    context_window: int | None = None
    max_output: int | None = None
    input_usd: float | None = None
    output_usd: float | None = None
    limits: LimitsConfig | None = None


@dataclass(frozen=True, slots=True)
class ResolvedKey:
    """One key in use; `secret` None: a server that wants none.

    `account` is the key's own name until someone says who owns it.
    """

    name: str
    secret: Secret | None
    account: str
    account_known: bool
    lanes: tuple[str, ...] = ()
    limits: LimitsConfig | None = None
    model_limits: Mapping[str, LimitsConfig] = field(default_factory=dict)
    budget: BudgetConfig | None = None
    active_hours: ActiveHours | None = None
    disabled: bool = False

    def limits_for(self, model: ResolvedModel) -> LimitsConfig | None:
        """The limits of this key's account for one model, most specific first."""
        own = self.model_limits.get(model.name)
        if own is None:
            return self.limits if self.limits is not None else model.limits
        if self.limits is None:
            return own
        return self.limits.model_copy(update=own.model_dump(exclude_unset=True))


@dataclass(frozen=True, slots=True)
class ResolvedProvider:
    """One provider in use. `day_rule`: "rolling", or the zone at whose midnight days end.

    Models whose names end in `pooled`, where it is not empty, share one quota of each account.
    `local`: the catalogue knows it as a server of one's own.

    `models` are in order of preference, never empty; neither are `keys`.
    """

    name: str
    vendor: str
    dialect: Dialect
    base_url: str
    priority: int
    window: WindowShape
    day_rule: str
    pooled: str
    models: tuple[ResolvedModel, ...]
    keys: tuple[ResolvedKey, ...]
    auth_header: str
    auth_prefix: str
    headers: tuple[tuple[str, str], ...]
    budget: BudgetConfig | None = None
    local: bool = False


def resolve(config: HydraConfig) -> tuple[ResolvedProvider, ...]:
    """Fill every default in. Keys that a provider has twice are dropped, the first is kept."""
    return tuple(map(_provider, config.providers))


def _provider(provider: ProviderConfig) -> ResolvedProvider:
    entry = provider.known
    dialect: Dialect = provider.dialect or (entry.dialect if entry else "openai")
    auth = catalog.auth(dialect)
    return ResolvedProvider(
        name=provider.name,
        vendor=entry.vendor if entry else provider.name,
        dialect=dialect,
        base_url=_base_url(provider, entry, dialect).rstrip("/"),
        priority=provider.priority,
        window=provider.window or (entry.window if entry else "sliding"),
        day_rule=entry.day_rule if entry else catalog.ROLLING,
        pooled=entry.pooled if entry else "",
        models=tuple(_models(provider, entry)),
        keys=tuple(_keys(provider)),
        auth_header=auth.auth_header,
        auth_prefix=auth.auth_prefix,
        headers=auth.headers,
        budget=provider.budget,
        local=entry.local if entry else False,
    )


def _base_url(provider: ProviderConfig, entry: CatalogEntry | None, dialect: Dialect) -> str:
    if provider.base_url is not None:
        return provider.base_url
    if entry is not None and entry.dialect != dialect:
        entry = catalog.speaking(entry.vendor, dialect) or entry
    # A provider without any URL is refused when the configuration is read.
    return entry.base_url or "" if entry else ""


def _models(provider: ProviderConfig, entry: CatalogEntry | None) -> Iterator[ResolvedModel]:
    listed: Mapping[str, ModelConfig] = {model.name: model for model in provider.models}
    for name in provider.model_names:
        row = entry.model(name) if entry else None
        own = provider.base_url is None
        yield _model(
            name, listed.get(name), row, own_address=own, billed=own or _is_gateway(provider)
        )


def _is_gateway(provider: ProviderConfig) -> bool:
    host = urlsplit(provider.base_url or "").hostname or ""
    return bool(host and provider.keys) and not is_private(host.rstrip("."))


def _model(
    name: str,
    given: ModelConfig | None,
    row: CatalogModel | None,
    *,
    own_address: bool,
    billed: bool,
) -> ResolvedModel:
    facts: dict[str, float | int | None] = {}
    for source, names in (
        (row, ("context_window", "max_output")),
        (row if billed else None, ("input_usd", "output_usd")),
        (given, ("context_window", "max_output", "input_usd", "output_usd")),
    ):
        facts |= {f: getattr(source, f) for f in names if getattr(source, f, None) is not None}
    free = row.free if row is not None and own_address else None
    return ResolvedModel(name, **facts, limits=_limits(free))  # type: ignore[arg-type]


def _limits(free: FreeLimits | None) -> LimitsConfig | None:
    if free is None:
        return None
    return LimitsConfig(
        rpm=free.rpm, tpm=free.tpm, rpd=free.rpd, tpd=free.tpd, concurrency=free.concurrency
    )


def _keys(provider: ProviderConfig) -> Iterator[ResolvedKey]:
    taken = {key.name for key in provider.keys}
    seen: dict[Secret, str] = {}
    number = 0
    for key in provider.keys:
        if key.value is not None and key.value in seen:
            logger.info("%s: a key is there twice; only %s is used", provider.name, seen[key.value])
            continue
        number += 1
        name = key.name or _free_name(provider.name, number, taken)
        taken.add(name)
        if key.value is not None:
            seen[key.value] = name
        yield _key(key, name)
    if not provider.keys:
        name = f"{provider.name}-1"
        yield ResolvedKey(name, None, account=name, account_known=False)


def _free_name(provider: str, number: int, taken: set[str | None]) -> str:
    while f"{provider}-{number}" in taken:
        number += 1
    return f"{provider}-{number}"


def _key(key: KeyConfig, name: str) -> ResolvedKey:
    return ResolvedKey(
        name=name,
        secret=key.value,
        account=key.account or name,
        account_known=key.account is not None,
        lanes=key.lanes,
        limits=key.limits,
        model_limits=key.model_limits,
        budget=key.budget,
        active_hours=ActiveHours.parse(key.active_hours) if key.active_hours else None,
        disabled=key.disabled,
    )
