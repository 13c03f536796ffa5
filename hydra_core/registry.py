"""One Hydra per configuration in a process, however often a model object is copied.

Frameworks clone, pickle, deep-copy and rebuild the models they are given, and a
copy that started with fresh keys would forget which of them are resting. So an
adapter holds a `HydraHandle`: copying it gives itself, pickling it gives its id,
and its Hydra is built on first use, once per configuration and process.
"""

from __future__ import annotations

import copy
import hmac
import json
import os
import secrets
import threading
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hydra_core.environment import path_of
from hydra_core.errors import ConfigError
from hydra_core.vault import looks_like_key

if TYPE_CHECKING:
    from hydra_core.config import HydraConfig
    from hydra_core.hydra import Hydra

POOL_KEY: Final = "hydra_pool"
"""A reference `{POOL_KEY: id}` names a pool that exists in this process only."""

_ENVIRONMENT: Final = "environment"
_SECRET_FIELDS: Final = frozenset({"value", "api_key", "api_keys"})
_REMEDY: Final = (
    "name each key's variable (env = ...) instead of its value, or give the path of a "
    "configuration file, or give nothing and let the environment say it"
)

_salt = secrets.token_bytes(32)
_lock = threading.RLock()
_handles: weakref.WeakValueDictionary[str, HydraHandle] = weakref.WeakValueDictionary()
_kept: dict[str, HydraHandle] = {}


class HydraHandle:
    """Stands for one Hydra wherever a framework may copy or pickle a model.

    `id` names the pool and holds no key text. `reference` is plain data from
    which `handle()` finds or rebuilds the pool: None (the environment), the path
    of a file, a configuration without inline secrets, or `{POOL_KEY: id}`.
    """

    __slots__ = ("__weakref__", "_build", "_hydra", "_pid", "id", "reference")

    def __init__(
        self, pool_id: str, reference: Any, build: Callable[[], Hydra], *, hydra: Hydra | None
    ) -> None:
        self.id = pool_id
        self.reference = reference
        self._build = build
        self._hydra = hydra
        self._pid = os.getpid()

    def get(self) -> Hydra:
        """The Hydra, built on first use and again in a forked child.

        Raises ConfigError when the configuration cannot be used.
        """
        with _lock:
            if self._hydra is None or self._pid != os.getpid():
                # A forked child leaves the parent's sockets and threads alone.
                self._hydra = self._build()
                self._pid = os.getpid()
            return self._hydra

    def holds(self, hydra: Hydra) -> bool:
        """True when this very object is, or was built as, the pool."""
        return self._hydra is hydra

    def close(self) -> None:
        """Close the Hydra if this process built it; the next `get()` builds another."""
        with _lock:
            hydra, self._hydra = self._hydra, None
            if hydra is not None and self._pid == os.getpid():
                hydra.close()

    def __copy__(self) -> HydraHandle:
        return self

    def __deepcopy__(self, memo: object) -> HydraHandle:
        return self

    def __reduce__(self) -> tuple[Callable[[str, Any], HydraHandle], tuple[str, Any]]:
        return lookup, (self.id, self.reference)

    def __repr__(self) -> str:
        return f"HydraHandle({self.id!r})"


def handle(
    config: Hydra | HydraConfig | HydraHandle | Mapping[str, Any] | str | os.PathLike[str] | None,
) -> HydraHandle:
    """The handle of a pool: the same configuration gives the same handle.

    `config` is None (the environment), a path, a dict or HydraConfig, a Hydra, a
    handle, or a handle's `reference`. An edited file is another configuration.
    Raises ConfigError for a missing file, another type, or a pool of another process.
    """
    if isinstance(config, HydraHandle):
        return config
    if config is None:
        return _keep(_ENVIRONMENT, None, _from_environment)
    if isinstance(config, str | os.PathLike):
        return _of_file(Path(config))
    if isinstance(config, Mapping):
        if POOL_KEY in config:
            return lookup(str(config[POOL_KEY]), dict(config))
        return _of_config(config, config)
    return _of_object(config)


def lookup(pool_id: str, reference: Any) -> HydraHandle:
    """The handle with this id, or one rebuilt from its reference (for unpickling).

    Raises ConfigError when the pool lived in another process and its keys did not travel.
    """
    with _lock:
        found = _handles.get(pool_id)
    if found is not None:
        return found
    if isinstance(reference, Mapping) and POOL_KEY in reference:
        raise ConfigError(
            "this model belongs to a Hydra of another process (or one that is gone), and its "
            f"keys are never written into a copy; to let models travel, {_REMEDY}"
        )
    return handle(reference)


def forget() -> None:
    """Close every Hydra built here and forget it, so that changed keys are read anew."""
    with _lock:
        kept = list(_kept.values())
        _kept.clear()
        _handles.clear()
    for each in kept:
        each.close()


def _from_environment() -> Hydra:
    from hydra_core.hydra import Hydra

    return Hydra()


def _of_file(path: Path) -> HydraHandle:
    full = path_of(path, "a configuration file").expanduser().resolve()
    try:
        stat = full.stat()
    except OSError as error:
        raise ConfigError(
            f"no configuration file at {full} ({error.strerror}); check the path "
            "(a model's name goes into model=)"
        ) from None

    def build() -> Hydra:
        from hydra_core.hydra import Hydra

        return Hydra.from_file(full)

    return _keep(f"file:{full}@{stat.st_mtime_ns:x}", str(full), build)


def _of_config(config: HydraConfig | Mapping[str, Any], plain: Mapping[str, Any]) -> HydraHandle:
    own = copy.deepcopy(config)  # the caller may go on changing his dict
    digest = hmac.digest(_salt, _canonical(plain), "sha256").hex()[:32]
    pool_id = f"config:{digest}"

    def build() -> Hydra:
        from hydra_core.hydra import Hydra

        return Hydra(own)

    travels = isinstance(own, Mapping) and _may_travel(own)
    return _keep(pool_id, dict(own) if travels else {POOL_KEY: pool_id}, build)


def _of_object(config: Any) -> HydraHandle:
    from hydra_core.config import HydraConfig
    from hydra_core.hydra import Hydra

    if isinstance(config, HydraConfig):
        return _of_config(config, config.model_dump())
    if not isinstance(config, Hydra):
        raise ConfigError(
            f"config is a {type(config).__name__}; give a Hydra, a HydraConfig, a dict, the path "
            "of a configuration file, or nothing for the environment"
        )
    with _lock:
        for known in _handles.values():
            if known.holds(config):
                return known
        pool_id = f"object:{secrets.token_hex(16)}"
        made = HydraHandle(pool_id, {POOL_KEY: pool_id}, lambda: config, hydra=config)
        _handles[pool_id] = made  # weakly: a Hydra that the user made is the user's to drop
        return made


def _keep(pool_id: str, reference: Any, build: Callable[[], Hydra]) -> HydraHandle:
    with _lock:
        found = _kept.get(pool_id)
        if found is None:
            found = _kept[pool_id] = HydraHandle(pool_id, reference, build, hydra=None)
            _handles[pool_id] = found
        return found


def _canonical(config: Any) -> bytes:
    """One spelling of a configuration; it holds the secrets, so it is digested and dropped."""
    return json.dumps(config, sort_keys=True, default=_plain).encode()


def _plain(value: Any) -> Any:
    if hasattr(value, "get_secret_value"):
        return value.get_secret_value()
    if isinstance(value, set | frozenset):
        return sorted(map(str, value))
    return f"{type(value).__qualname__}:{value!r}"


def _may_travel(value: Any) -> bool:
    """True when plain data shows no secret, not even one that was put in the wrong place."""
    if isinstance(value, Mapping):
        return all(
            isinstance(name, str) and not (name in _SECRET_FIELDS and item) and _may_travel(item)
            for name, item in value.items()
        )
    if isinstance(value, list | tuple):
        return all(map(_may_travel, value))
    if isinstance(value, str):
        return not looks_like_key(value) and not ("://" in value and "@" in value)
    return value is None or isinstance(value, bool | int | float)


def _renew_lock() -> None:
    """A fork may copy the lock while another thread, which the child lacks, holds it."""
    global _lock
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)
