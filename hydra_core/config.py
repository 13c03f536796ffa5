"""The configuration: providers, keys, limits and settings, checked before anything runs.

Secrets are held as `vault.Secret` and are in no message, whatever was mistyped.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationError

from hydra_core import catalog, environment
from hydra_core.config_errors import Problem, explain
from hydra_core.config_file import read_config_file
from hydra_core.config_parts import (
    MASKED,
    BudgetConfig,
    KeyConfig,
    LimitsConfig,
    ModelConfig,
    Name,
    ProviderConfig,
    ScoreWeights,
    Seconds,
    Settings,
    as_secret,
    repeats,
)
from hydra_core.environment import default_config_path, state_directory
from hydra_core.errors import ConfigError
from hydra_core.vault import Secret, shape, shown

if TYPE_CHECKING:
    from hydra_core.resolved import ResolvedProvider

logger = logging.getLogger(__name__)

__all__ = [
    "BudgetConfig",
    "HydraConfig",
    "KeyConfig",
    "LimitsConfig",
    "ModelConfig",
    "ProviderConfig",
    "ScoreWeights",
    "default_config_path",
    "load",
    "state_directory",
]


def _store(value: object) -> object:
    """A store's URL with a password is a secret as a whole. Raises ValueError without the URL."""
    if not isinstance(value, str | Secret | None):
        raise ValueError('must be a URL in quotes, like "sqlite:///state.db", or "memory"')  # noqa: TRY004 - pydantic reads ValueError
    holds_password = isinstance(value, str) and "@" in value and "://" in value
    return as_secret(value) if holds_password else value


class HydraConfig(Settings):
    """Everything Hydra needs to know, as `hydra.toml` writes it.

    Times are seconds. `time_scale` shortens providers' minutes and days, our own rests and
    the time in which a fault is forgotten, for tests and demonstrations; timeouts,
    deadlines and latencies are real seconds. It is not applied here.
    """

    language: Literal["en", "es"] = "en"
    transport: Literal["auto", "pyreqwest", "httpx2"] = "auto"
    strategy: Literal[
        "priority", "round_robin", "least_used", "least_busy",
        "fastest", "cheapest", "score", "adaptive",
    ] = "adaptive"  # fmt: skip
    on_exhausted: Literal["answer", "raise"] = "answer"
    max_wait: Annotated[float, Field(ge=0)] = 30.0
    max_waiting: Annotated[int, Field(ge=0)] | None = None
    rotate_at: Annotated[float, Field(gt=0, le=1)] = 0.95
    timeout: Seconds = 120.0
    attempt_timeout: Seconds = 60.0
    first_token_timeout: Seconds = 20.0
    stall_timeout: Seconds = 30.0
    score_weights: ScoreWeights = ScoreWeights(reliability=0.4, speed=0.3, quality=0.2, recency=0.1)
    store: Annotated[str | Secret | None, BeforeValidator(_store), MASKED] = None
    cache: bool = True
    time_scale: Seconds = 1.0
    escalation_dir: Path | None = None
    budget: BudgetConfig | None = None
    providers: tuple[ProviderConfig, ...] = ()
    aliases: Mapping[Name, tuple[str, ...]] = Field(default_factory=dict)

    @classmethod
    def from_file(
        cls,
        path: str | os.PathLike[str],
        *,
        env_file: str | os.PathLike[str] | None = ".env",
        environ: Mapping[str, str] | None = None,
    ) -> HydraConfig:
        """Read a `.toml` or `.json` file; keys named by `env` come from the environment.

        `HYDRA_*` variables override the file's scalar settings. Raises ConfigError.
        """
        built = _of_file(path, env_file, environ)
        del environ
        if isinstance(built, str):
            raise ConfigError(built)
        return built

    @classmethod
    def from_env(
        cls,
        env_file: str | os.PathLike[str] | None = ".env",
        environ: Mapping[str, str] | None = None,
    ) -> HydraConfig:
        """Use every known provider whose keys or URL the environment or `.env` holds.

        The real environment wins over `.env`; without any provider, `providers`
        is empty. Raises ConfigError.
        """
        built = _of_environment(env_file, environ)
        del environ
        if isinstance(built, str):
            raise ConfigError(built)
        return built

    def resolve(self) -> tuple[ResolvedProvider, ...]:
        """The providers with every default filled in from the catalogue, in order."""
        from hydra_core.resolved import resolve

        return resolve(self)

    def usable_aliases(self) -> dict[str, tuple[str, ...]]:
        """The aliases without the members whose provider is not configured; warns of each."""
        return {alias: tuple(self._usable(alias, of)) for alias, of in self.aliases.items()}

    def _usable(self, alias: str, members: tuple[str, ...]) -> Iterator[str]:
        for member in members:
            if self._serves(member):
                yield member
            else:
                provider = member.partition("/")[0]
                logger.warning(
                    "aliases.%s: %s is left out, since %s is not configured",
                    *(alias, shown(member), provider),
                )

    def store_url(self, environ: Mapping[str, str] | None = None) -> str:
        """The store as an SQLAlchemy URL, or "memory"; a password is in it if there is one."""
        if isinstance(self.store, Secret):
            return self.store.get_secret_value()
        if self.store is not None:
            return self.store
        return f"sqlite:///{environment.state_path(environ) / 'hydra.db'}"

    def cache_url(self, environ: Mapping[str, str] | None = None) -> str:
        """Where replies are cached: beside the store, since a cache may be thrown away.

        "memory" when there is no cache or the store is no SQLite file.
        """
        url = self.store_url(environ)
        if not self.cache or not url.startswith("sqlite:///") or url == "sqlite:///:memory:":
            return "memory"
        path = Path(url.removeprefix("sqlite:///"))
        return f"sqlite:///{path.with_name(f'{path.stem}-cache{path.suffix}')}"

    def _problems(self) -> Iterator[Problem]:
        yield from repeats((p.name for p in self.providers), "providers", field="name")
        for alias, members in self.aliases.items():
            yield from self._alias_problems(alias, members)

    def _alias_problems(self, alias: str, members: tuple[str, ...]) -> Iterator[Problem]:
        if not members:
            yield Problem("is empty; list at least one provider/model", "aliases", alias)
        usable = any(map(self._serves, members))
        for index, member in enumerate(members):
            if not self._serves(member) and not (usable and self._lacks(member)):
                yield Problem(
                    f"{shown(member)} is no model of a configured provider; "
                    f"{self._remedy(member)}",
                    *("aliases", alias, index),
                )

    def _serves(self, member: str) -> bool:
        name, _, model = member.partition("/")
        return any(p.name == name and model in p.model_names for p in self.providers)

    def _remedy(self, member: str) -> str:
        entry = catalog.known(member.partition("/")[0])
        if entry is None or not self._lacks(member):
            return "write provider/model as listed under providers"
        variables = " or ".join(entry.env) or entry.base_url_env
        return f"set {variables}, or list {entry.name} under providers"

    def _lacks(self, member: str) -> bool:
        """Whether its provider is one that others know, but not configured here."""
        name = member.partition("/")[0]
        return catalog.known(name) is not None and all(p.name != name for p in self.providers)


def load(config: HydraConfig | Mapping[str, Any] | str | Path | None = None) -> HydraConfig:
    """The configuration from whatever a user has: an object, a dict, a path, or nothing.

    Nothing means the environment: the file that `HYDRA_CONFIG` names, else the known
    providers' variables, which also serve where settings name no `providers`. `HYDRA_*`
    variables override a file's scalar settings and fill in those that a dict, or a
    HydraConfig without providers, leaves out: what the code says holds. Raises ConfigError.
    """
    if isinstance(config, HydraConfig):
        if "providers" in config.model_fields_set:
            return config
        config = {name: getattr(config, name) for name in config.model_fields_set}
    if config is None:
        named = os.environ.get("HYDRA_CONFIG")
        return HydraConfig.from_file(named) if named else HydraConfig.from_env()
    if isinstance(config, str | os.PathLike):
        return HydraConfig.from_file(config)
    if not isinstance(config, Mapping):
        raise ConfigError(
            f"a configuration is a HydraConfig, a dict, a path or None, not {shape(config)}"
        )
    built = _of_mapping(config)
    del config
    if isinstance(built, str):
        raise ConfigError(built)
    return built


# The functions below give what is wrong as a text: an exception raised in them would
# carry their frames, whose variables hold the environment and the keys.

Variables = Mapping[str, str]
PathLike = str | os.PathLike[str]
Outcome = HydraConfig | str


def _of_file(given: PathLike, env_file: PathLike | None, environ: Variables | None) -> Outcome:
    try:
        path = environment.path_of(given, "a configuration file")
        variables = environment.read(env_file, environ)
        data = _with_providers(read_config_file(path), variables)
    except ConfigError as error:
        return str(error)
    built = _build(data, variables, overridden=True)
    return f"{path.name}: {built}" if isinstance(built, str) else built


def _of_environment(env_file: PathLike | None, environ: Variables | None) -> Outcome:
    try:
        variables = environment.read(env_file, environ)
        data = _with_providers({}, variables)
    except ConfigError as error:
        return str(error)
    return _build(data, variables, overridden=True)


def _of_mapping(given: Mapping[str, Any]) -> Outcome:
    try:
        variables = environment.read(".env", None)
        data = _with_providers(given, variables)
    except ConfigError as error:
        return str(error)
    return _build(data, variables, overridden=False)


def _with_providers(data: Mapping[str, Any], environ: Variables) -> Mapping[str, Any]:
    """The same settings; where they say nothing of providers, with those of the environment."""
    if "providers" in data:
        return data
    return {**data, "providers": environment.providers(environ)}


def _build(data: Mapping[str, Any], environ: Variables, *, overridden: bool) -> Outcome:
    open_to = _SCALARS if overridden else [name for name in _SCALARS if name not in data]
    variables = environment.overrides(open_to, environ)
    merged = {**data, **{name: environ[variable] for name, variable in variables.items()}}
    try:
        return HydraConfig.model_validate(merged, context={"environ": environ})
    except ValidationError as error:
        return explain(error, variables)


_TABLES = ("score_weights", "budget", "providers", "aliases")
_SCALARS = tuple(name for name in HydraConfig.model_fields if name not in _TABLES)
