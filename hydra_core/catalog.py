"""Known providers: where they live, how they take a key, which models, limits and prices.

The rows are data (`catalog.toml`), read once on first use. Everything in them can
be overridden by a configuration.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Literal, get_args

from hydra_core.wire import WindowShape as WindowShape  # noqa: TC001 - config_parts reads it here

Dialect = Literal["openai", "gemini", "anthropic", "azure"]

ROLLING = "rolling"
"""`day_rule` of a day's limit that refills all the time; otherwise a zone's midnight."""


@dataclass(frozen=True, slots=True)
class FreeLimits:
    """What an account without a paid plan may use of one model, seen on `as_of` (ISO date).

    Requests and tokens per minute and per day; calls at once. None: no such limit known.
    """

    as_of: str
    rpm: int | None = None
    tpm: int | None = None
    rpd: int | None = None
    tpd: int | None = None
    concurrency: int | None = None


@dataclass(frozen=True, slots=True)
class CatalogModel:
    """One model of a provider. Windows are tokens, prices USD per million tokens.

    `default` False: its figures are known, but it is used only when listed.
    """

    name: str
    default: bool = True
    context_window: int | None = None
    max_output: int | None = None
    input_usd: float | None = None
    output_usd: float | None = None
    free: FreeLimits | None = None


@dataclass(frozen=True, slots=True)
class DialectAuth:
    """How a dialect sends its key, and the headers it always wants."""

    auth_header: str
    auth_prefix: str
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class CatalogEntry:
    """One known provider; `catalog.toml` explains the fields."""

    name: str
    vendor: str
    dialect: Dialect
    base_url: str | None = None
    env: tuple[str, ...] = ()
    endpoint_env: str | None = None
    endpoint_path: str = ""
    window: WindowShape = "sliding"
    day_rule: str = ROLLING
    pooled: str = ""
    tier: int = 0
    local: bool = False
    keyless_url: bool = False
    from_env: bool = True
    models: tuple[CatalogModel, ...] = ()

    @property
    def default_models(self) -> tuple[CatalogModel, ...]:
        """The models used when none are listed, best first."""
        return tuple(model for model in self.models if model.default)

    @property
    def base_url_env(self) -> str:
        """The variable that overrides the base URL, such as `GROQ_BASE_URL`."""
        return f"{self.name.upper()}_BASE_URL"

    @property
    def models_env(self) -> str:
        """The variable that lists models to use, such as `OLLAMA_MODELS`."""
        return f"{self.name.upper()}_MODELS"

    def model(self, name: str) -> CatalogModel | None:
        """What is known of one model, or None."""
        return next((model for model in self.models if model.name == name), None)


@dataclass(frozen=True, slots=True)
class _Catalog:
    entries: dict[str, CatalogEntry]
    dialects: dict[str, DialectAuth]


def known(name: str) -> CatalogEntry | None:
    """The provider of this name, or None when the catalogue has no such row."""
    return _load().entries.get(name)


def names() -> tuple[str, ...]:
    """The names of all known providers, in the order in which they are preferred."""
    return tuple(_load().entries)


def auth(dialect: Dialect) -> DialectAuth:
    """How requests of this dialect carry their key."""
    return _load().dialects[dialect]


def speaking(vendor: str, dialect: Dialect) -> CatalogEntry | None:
    """The vendor's row for another dialect than its usual one, or None."""
    rows = _load().entries.values()
    return next((row for row in rows if row.vendor == vendor and row.dialect == dialect), None)


@cache
def _load() -> _Catalog:
    text = resources.files(__package__).joinpath("catalog.toml").read_text("utf-8")
    document = tomllib.loads(text)
    entries: dict[str, CatalogEntry] = {}
    for name, row in document["providers"].items():
        entries[name] = _entry(name, dict(row), entries)
    dialects = {name: _auth(dict(row)) for name, row in document["dialects"].items()}
    return _Catalog(entries, {name: dialects[name] for name in get_args(Dialect)})


def _entry(name: str, row: dict[str, Any], earlier: dict[str, CatalogEntry]) -> CatalogEntry:
    twin = row.pop("same_models_as", None)
    models = tuple(map(_model, row.pop("models", ()))) if twin is None else earlier[twin].models
    row.setdefault("vendor", name)
    return CatalogEntry(name=name, models=models, env=tuple(row.pop("env", ())), **row)


def _model(row: dict[str, Any]) -> CatalogModel:
    free = row.get("free")
    return CatalogModel(**{**row, "free": None if free is None else FreeLimits(**free)})


def _auth(row: dict[str, Any]) -> DialectAuth:
    headers = tuple(row.pop("headers", {}).items())
    return DialectAuth(headers=headers, **row)
