"""The configuration with which Hydra talks to a fake provider."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hydra_core.testing.desk import House
    from hydra_core.testing.keys import KnownKey


def provider_config(
    house: House, *, name: str, base_url: str, limits: bool, accounts: bool
) -> dict[str, Any]:
    """The provider's entry; `limits` and `accounts` say whether the client is told of them."""
    provider: dict[str, Any] = {
        "name": name,
        "base_url": base_url,
        "models": list(house.models),
        "keys": [_key(house, key, limits=limits, accounts=accounts) for key in house.keyring],
    }
    windows = {key.limits.window for key in house.keyring if key.limits.stated()}
    if limits and len(windows) == 1:
        provider["window"] = windows.pop()
    return provider


def _key(house: House, key: KnownKey, *, limits: bool, accounts: bool) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": key.name}
    if key.value:
        entry["value"] = key.value
    if accounts:
        entry["account"] = key.account
    if limits and key.limits.stated():
        entry["limits"] = key.limits.stated()
    if limits and house.model_limits:
        entry["model_limits"] = {m: own.stated() for m, own in house.model_limits.items()}
    return entry
