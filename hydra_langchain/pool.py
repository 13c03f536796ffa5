"""Which pool of keys a model object speaks for."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from hydra_core.errors import ConfigError
from hydra_core.registry import HydraHandle, handle

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from pydantic import SecretStr

    from hydra_core.config import HydraConfig
    from hydra_core.hydra import Hydra

    ConfigSource: TypeAlias = (
        Hydra | HydraConfig | HydraHandle | Mapping[str, Any] | str | os.PathLike[str] | None
    )
else:
    ConfigSource = Any  # a pydantic field: the registry checks it, and nothing may copy it

KEYS_VARIABLE: Final = "HYDRA_API_KEYS"
"""The environment variable that stands in for `api_keys`."""

_UNNAMED: Final = "custom"


def pool_of(
    config: ConfigSource,
    *,
    provider: str | None,
    base_url: str | None,
    api_keys: SecretStr | None,
    model: str | None,
) -> HydraHandle:
    """The handle of the configuration, or of the one provider that is described.

    Raises ConfigError when both are given, or keys whose provider nobody names.
    """
    if base_url is None and api_keys is None:
        return handle(config)
    if config is not None:
        given = "api_keys" if api_keys is not None else "base_url"
        raise ConfigError(f"both config and {given} are given; put the keys into the config")
    if provider is None and base_url is None:
        raise ConfigError(
            "api_keys are given, but not whose they are; add provider=... or base_url=..."
        )
    return handle(_one_provider(provider or _UNNAMED, base_url, api_keys, model))


def _one_provider(
    name: str, base_url: str | None, api_keys: SecretStr | None, model: str | None
) -> dict[str, Any]:
    text = api_keys.get_secret_value() if api_keys is not None else ""
    values = [part for part in re.split(r"[\s,]+", text) if part]
    row: dict[str, Any] = {
        "name": name,
        "keys": [
            {"name": f"{name}-{number}", "value": value}
            for number, value in enumerate(values, start=1)
        ]
        or [{"name": f"{name}-1"}],
    }
    if base_url is not None:
        row["base_url"] = base_url
    if model is not None:
        row["models"] = [model.removeprefix(f"{name}/")]
    return {"providers": [row]}
