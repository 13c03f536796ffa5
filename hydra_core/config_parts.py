"""The parts of a configuration: providers, keys, models, limits.

Each part refuses what it cannot use without ever showing what was given.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    PlainSerializer,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from hydra_core import catalog, environment
from hydra_core.active_hours import ActiveHours, zone_of
from hydra_core.base_url import problem_with
from hydra_core.config_errors import Problem, conceal, refuse
from hydra_core.vault import MASK, Secret, looks_like_key, shown

_PROVIDER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


def _no_key(name: str) -> str:
    if looks_like_key(name):
        raise ValueError("looks like a key itself; a key goes into value, or its variable into env")
    if not name.strip():
        raise ValueError("is empty; give it a name or leave it out")
    if not name.isprintable():
        raise ValueError("holds a line break or another control character; remove it")
    return name


def as_secret(value: object) -> Secret:
    """The value as a Secret. Raises ValueError without it."""
    if isinstance(value, Secret):
        return value
    if not isinstance(value, str):
        raise ValueError("must be a text in quotes")  # noqa: TRY004 - pydantic reads ValueError
    if value == MASK:
        raise ValueError("is the mask of a key, not the key; give the key itself")
    return Secret(value)


MASKED = PlainSerializer(
    lambda value: MASK if isinstance(value, Secret) else value, when_used="json"
)
SecretText = Annotated[Secret, BeforeValidator(as_secret), MASKED]
Name = Annotated[str, BeforeValidator(lambda v: _no_key(v) if isinstance(v, str) else v)]
Seconds = Annotated[float, Field(gt=0)]
_MOST = 10**15  # beyond any quota, and below what a float holds exactly
Count = Annotated[int, Field(gt=0, le=_MOST)]
Usd = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0)]


class Settings(BaseModel):
    """A part of the configuration whose errors never show what was given."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        allow_inf_nan=False,
        arbitrary_types_allowed=True,
    )

    @model_validator(mode="wrap")
    @classmethod
    def _guarded(
        cls, data: Any, handler: ModelWrapValidatorHandler[Self], info: ValidationInfo
    ) -> Self:
        label = _label(data)
        try:
            if isinstance(data, Mapping):
                data = cls._prepared(dict(data), _environ(info))
            settings = handler(data)
            found = list(cls._problems(settings))
        except ValidationError as error:
            refusal = conceal(error, cls.model_fields, label)
        except Problem as problem:
            refusal = refuse(cls.__name__, [problem], label)
        else:
            if not found:
                return settings
            refusal = refuse(cls.__name__, found, label)
        raise refusal  # outside of `except`, so that no error with values is its context

    @classmethod
    def _prepared(cls, data: dict[str, Any], environ: Mapping[str, str]) -> dict[str, Any]:  # noqa: ARG003
        """The input with what the environment adds to it."""
        return data

    def _problems(self) -> Iterator[Problem]:
        """What is wrong across several settings."""
        return iter(())


class LimitsConfig(Settings):
    """Requests and tokens per minute and per day, and calls at once. None: not known."""

    rpm: Count | None = None
    tpm: Count | None = None
    rpd: Count | None = None
    tpd: Count | None = None
    concurrency: Count | None = None


class BudgetConfig(Settings):
    """What a key, a provider or the pool may spend in a day of `zone`. None: no bound."""

    usd_per_day: Usd | None = None
    tokens_per_day: Count | None = None
    zone: str = "UTC"

    def _problems(self) -> Iterator[Problem]:
        if self.usd_per_day is None and self.tokens_per_day is None:
            yield Problem("bounds nothing; give usd_per_day or tokens_per_day")
        if zone_of(self.zone) is None:
            yield Problem('is no time zone; write it like "Europe/Madrid"', "zone")


class ModelConfig(Settings):
    """One model: windows in tokens, prices in USD per million tokens. None: not known."""

    name: Name
    context_window: Count | None = None
    max_output: Count | None = None
    input_usd: Usd | None = None
    output_usd: Usd | None = None


class ScoreWeights(Settings):
    """What a score is made of; only the proportions count, and what is left out is 0."""

    reliability: Share = 0.0
    speed: Share = 0.0
    quality: Share = 0.0
    recency: Share = 0.0

    def _problems(self) -> Iterator[Problem]:
        if not (self.reliability or self.speed or self.quality or self.recency):
            yield Problem("are all 0; at least one must be larger")


class KeyConfig(Settings):
    """One key: its value or the variable that holds it (neither: a keyless server).

    `env` is read when the configuration is; `value` then holds the secret.
    """

    name: Name | None = None
    env: Name | None = None
    value: SecretText | None = None
    account: Name | None = None
    lanes: tuple[Name, ...] = ()
    limits: LimitsConfig | None = None
    model_limits: Mapping[Name, LimitsConfig] = Field(default_factory=dict)
    budget: BudgetConfig | None = None
    active_hours: str | None = None
    disabled: bool = False

    @classmethod
    def _prepared(cls, data: dict[str, Any], environ: Mapping[str, str]) -> dict[str, Any]:
        variable, value = data.get("env"), data.get("value")
        if not isinstance(variable, str) or isinstance(value, Secret):
            return data
        if value is not None:
            raise Problem("is given together with env; keep one of the two", "value")
        if variable in environ and not looks_like_key(variable):
            try:
                data["value"] = Secret(environ[variable])
            except ValueError as error:
                problem = Problem(f"the variable {shown(variable)}: {error}", "env")
            else:
                return data
            raise problem
        return data

    def _problems(self) -> Iterator[Problem]:
        if self.env is not None and self.value is None:
            yield Problem(
                f"the environment variable {shown(self.env)} is not set; set it (or put it into "
                ".env), or remove this key",
                "env",
            )
        if self.active_hours is not None:
            try:
                ActiveHours.parse(self.active_hours)
            except ValueError as error:
                yield Problem(str(error), "active_hours")


class ProviderConfig(Settings):
    """One provider. A known name needs nothing else; its keys come from the environment."""

    name: str
    base_url: str | None = None
    dialect: catalog.Dialect | None = None
    models: tuple[ModelConfig, ...] = ()
    priority: int = 0
    keys: tuple[KeyConfig, ...] = ()
    window: catalog.WindowShape | None = None
    budget: BudgetConfig | None = None
    allow_http: bool = False

    @classmethod
    def _prepared(cls, data: dict[str, Any], environ: Mapping[str, str]) -> dict[str, Any]:
        models = data.get("models")
        if isinstance(models, list | tuple):
            data["models"] = [{"name": m} if isinstance(m, str) else m for m in models]
        name = data.get("name")
        entry = catalog.known(name) if isinstance(name, str) else None
        return data if entry is None else environment.complete(data, entry, environ)

    @property
    def known(self) -> catalog.CatalogEntry | None:
        """The catalogue's row of this name, if there is one."""
        return catalog.known(self.name)

    @property
    def model_names(self) -> tuple[str, ...]:
        """The models in use: those listed, else the catalogue's defaults."""
        entry = self.known
        if self.models or entry is None:
            return tuple(model.name for model in self.models)
        return tuple(model.name for model in entry.default_models)

    def _problems(self) -> Iterator[Problem]:
        yield from self._name_problems()
        if self.base_url is not None:
            wrong = problem_with(self.base_url, allow_http=self.allow_http)
            if wrong is not None:
                yield Problem(wrong, "base_url")
        if not self.model_names:
            yield Problem("no model is known here; list at least one by name", "models")
        yield from repeats((m.name for m in self.models), "models")
        yield from repeats((k.name for k in self.keys), "keys", field="name")
        yield from self._key_problems()

    def _name_problems(self) -> Iterator[Problem]:
        if not _PROVIDER_NAME.fullmatch(self.name) or looks_like_key(self.name):
            yield Problem("must be a short name of letters, digits, '_', '-' or '.'", "name")
        elif self.base_url is None and (self.known is None or self.known.base_url is None):
            yield Problem(_no_address(self.name), "base_url")

    def _key_problems(self) -> Iterator[Problem]:
        entry = self.known
        keyless = entry is None or entry.local or self.base_url is not None
        if not keyless and entry is not None:
            remedy = f"set {' or '.join(entry.env)}, or give a key with env or value"
            if not self.keys:
                yield Problem(f"no key was found; {remedy}", "keys")
            for index, key in enumerate(self.keys):
                if key.value is None and key.env is None:
                    yield Problem(f"has neither value nor env; {remedy}", "keys", index)
        for index, key in enumerate(self.keys):
            for model in sorted(set(key.model_limits) - set(self.model_names)):
                yield Problem(
                    f"{shown(model)} is not among this provider's models; list it there",
                    *("keys", index, "model_limits"),
                )


def _no_address(name: str) -> str:
    if catalog.known(name) is not None:
        return "is required, since every customer of this provider has an own one"
    close = difflib.get_close_matches(name, catalog.names(), n=1)
    hint = f"did you mean '{close[0]}'?" if close else f"known: {', '.join(catalog.names())}"
    return f"is required for a provider that is not known by name; {hint}"


def _environ(info: ValidationInfo) -> Mapping[str, str]:
    context = info.context
    if isinstance(context, Mapping) and isinstance(context.get("environ"), Mapping):
        return context["environ"]  # type: ignore[no-any-return]
    return os.environ


def _label(data: object) -> str:
    name = data.get("name") if isinstance(data, Mapping) else None
    return f" ({shown(name)})" if isinstance(name, str) else ""


def repeats(names: Iterator[str | None], *path: str, field: str = "name") -> Iterator[Problem]:
    """A problem for each name that was there before; names left out are not compared."""
    seen: set[str] = set()
    for index, name in enumerate(names):
        if name is not None and name in seen:
            yield Problem("is there twice; give each its own name", *path, index, field)
        if name is not None:
            seen.add(name)
