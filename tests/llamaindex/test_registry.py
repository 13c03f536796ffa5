"""One Hydra per configuration and process, and no key's text outside of it."""

from __future__ import annotations

import copy
import json
import os
import pickle
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from hydra_core import registry
from hydra_core.config import HydraConfig
from hydra_core.errors import ConfigError, HydraClosed
from hydra_core.registry import POOL_KEY, handle

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OPEN = {
    "store": "memory",
    "providers": [
        {
            "name": "here",
            "base_url": "http://127.0.0.1:9/v1",
            "models": ["m"],
            "keys": [{"env": "HERE_API_KEY"}],
        }
    ],
}
FORKING = """
import json, os, sys
from hydra_core.registry import handle
pool = handle(json.load(sys.stdin))
before = pool.get()
before.chat("ahoy")
if child := os.fork():
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
assert pool.get() is not before
print(pool.get().chat("from the child").text, flush=True)
os._exit(0)
"""


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    yield
    registry.forget()


def with_value(value: str) -> dict[str, Any]:
    config = copy.deepcopy(OPEN)
    config["providers"][0]["keys"] = [{"value": value}]
    return config


def test_the_same_configuration_is_the_same_handle(config: dict[str, Any]) -> None:
    """Equal dicts, equal objects and copies of a handle are one pool, built once."""
    pool = handle(config)
    assert handle(copy.deepcopy(config)) is copy.deepcopy(pool) is copy.copy(pool) is pool
    assert handle(HydraConfig.model_validate(config)) is handle(HydraConfig.model_validate(config))
    assert pool.get() is pickle.loads(pickle.dumps(pool)).get()  # noqa: S301


def test_threads_that_come_at_once_get_one_hydra(config: dict[str, Any]) -> None:
    """The first use builds; nobody else builds a second one meanwhile."""
    found: list[int] = []
    barrier = threading.Barrier(8)

    def use() -> None:
        barrier.wait()
        found.append(id(handle(config).get()))

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1


def test_a_configuration_without_keys_travels_as_itself() -> None:
    """Names of variables may be written into a copy; another process reads its own values."""
    pool = handle(OPEN)
    assert pool.reference == OPEN
    assert handle(None).reference is None


@pytest.mark.parametrize(
    "config",
    [
        with_value("canary-0123456789abcdef"),
        {**OPEN, "store": "postgresql://user:canary@db/hydra"},
        {**OPEN, "api_key": "canary"},
        {**OPEN, "mistyped": ["sk-canary-0123456789abcdef0123"]},
    ],
    ids=["value", "store", "field", "anywhere"],
)
def test_a_secret_is_in_no_reference(config: dict[str, Any]) -> None:
    """Wherever a key was put, only the pool's id is written."""
    pool = handle(config)
    assert set(pool.reference) == {POOL_KEY}
    assert "canary" not in repr(pool) + pool.id
    assert b"canary" not in pickle.dumps(pool)


def test_an_edited_file_is_another_pool(tmp_path: Path) -> None:
    """Whoever corrects his configuration and builds a new model gets what he wrote."""
    path = tmp_path / "hydra.json"
    path.write_text(json.dumps(OPEN))
    first = handle(path)
    assert handle(str(path)) is first
    os.utime(path, ns=(1, 1))
    assert handle(path) is not first
    assert handle(path).reference == str(path)


def test_what_is_forgotten_is_closed_and_built_anew(config: dict[str, Any]) -> None:
    """`forget` is how changed keys are read again in a running process."""
    old = handle(config).get()
    registry.forget()
    with pytest.raises(HydraClosed):
        old.chat("ahoy")
    assert handle(config).get().chat("ahoy").text == "You said: ahoy"


@pytest.mark.parametrize("wrong", [7, ["hydra.toml"], {POOL_KEY: "object:gone"}, "no-such.toml"])
def test_what_is_no_configuration_is_an_error(wrong: Any) -> None:
    """The error says what may be given."""
    with pytest.raises(ConfigError, match=r"path|file"):
        handle(wrong)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform cannot fork")
def test_a_forked_child_builds_its_own(config: dict[str, Any]) -> None:
    """Sockets and threads of the parent are not used by the child."""
    ran = subprocess.run(  # noqa: S603
        [sys.executable, "-c", FORKING],
        input=json.dumps(config).encode(),
        capture_output=True,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, b"")
    assert ran.stdout == b"You said: from the child\n"
