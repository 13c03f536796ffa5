"""Copies of a model are the same pool, and no copy shows a key."""

from __future__ import annotations

import copy
import json
import pickle
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from llama_index.core import Settings
from llama_index.core.llms.loading import RECOGNIZED_LLMS, load_llm

from hydra_core import registry
from hydra_core.errors import ConfigError
from hydra_core.hydra import Hydra
from hydra_llamaindex import HydraLLM

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hydra_core.testing import FakeProvider

COPIES: dict[str, Callable[[HydraLLM], HydraLLM]] = {
    "dict": lambda llm: HydraLLM.from_dict(llm.to_dict()),
    "json": lambda llm: load_llm(json.loads(llm.to_json())),
    "pickle": lambda llm: pickle.loads(pickle.dumps(llm)),  # noqa: S301
    "deepcopy": copy.deepcopy,
    "model_copy": lambda llm: llm.model_copy(deep=True),
}


@pytest.mark.parametrize("way", COPIES)
def test_a_copy_answers_and_knows_which_keys_rest(
    way: str, llm: HydraLLM, provider: FakeProvider
) -> None:
    """After a call that met a 429, the copy goes straight to the other key."""
    llm.complete("ahoy")
    twin = COPIES[way](llm)
    assert twin.complete("ahoy").text == "You said: ahoy"
    assert twin.hydra is llm.hydra
    provider.wait_idle()
    assert [record.status for record in provider.log] == [429, 200, 200]


def test_a_copy_keeps_what_was_set(config: dict[str, Any]) -> None:
    """Every setting survives every way of copying."""
    given = {"model": "m", "lane": "l", "deadline": 3.0, "swarm": "off", "max_tokens": 9}
    llm = HydraLLM(config, **given)
    for way in COPIES.values():
        twin = way(llm)
        assert {name: getattr(twin, name) for name in given} == given


def test_no_key_text_is_in_any_copy(llm: HydraLLM) -> None:
    """Neither repr, nor to_dict, nor a pickle, nor an event's payload holds a key."""
    llm.complete("ahoy")
    for shown in (repr(llm), str(llm), llm.to_json(), str(llm.to_payload())):
        assert "canary" not in shown
    assert b"canary" not in pickle.dumps(llm)


def test_equal_configurations_are_one_pool_and_others_are_not(config: dict[str, Any]) -> None:
    """Frameworks rebuild models per call; a fresh pool would forget the resting keys."""
    assert HydraLLM(dict(config)).hydra is HydraLLM(copy.deepcopy(config)).hydra
    assert HydraLLM({**config, "language": "es"}).hydra is not HydraLLM(config).hydra
    with Hydra(config) as own:
        assert HydraLLM(own).hydra is HydraLLM(own).hydra is own
    registry.forget()


def test_a_model_of_a_file_travels_to_another_process(
    provider: FakeProvider, config: dict[str, Any], tmp_path: Path
) -> None:
    """A pickle names the file; the other process reads the keys there."""
    path = tmp_path / "hydra.json"
    path.write_text(json.dumps(config))
    answer = _elsewhere(HydraLLM(path))
    assert answer.stdout.strip() == "You said: ahoy"
    assert "canary" not in answer.stdout + answer.stderr


def test_a_model_with_keys_inside_does_not_travel(llm: HydraLLM) -> None:
    """Keys are never written into a pickle, and the error names the remedy."""
    answer = _elsewhere(llm)
    assert "ConfigError" in answer.stderr
    assert "env = ..." in answer.stderr


def test_a_pool_that_is_gone_is_an_error(config: dict[str, Any]) -> None:
    """A reference to a dropped Hydra names the remedy instead of starting a fresh pool."""
    with Hydra(config) as own:
        reference = HydraLLM(own).to_dict()
    del own
    registry.forget()
    with pytest.raises(ConfigError, match="configuration file"):
        HydraLLM.from_dict(reference)


def test_the_class_is_known_to_the_loader() -> None:
    """`load_llm` finds the class by its name."""
    assert RECOGNIZED_LLMS["hydra_llm"] is HydraLLM


def test_settings_take_the_model_and_read_its_window(config: dict[str, Any]) -> None:
    """`Settings.llm = HydraLLM()` is all; the window is the smallest of the pool."""
    [provider] = config["providers"]
    names = [m["name"] if isinstance(m, dict) else m for m in provider["models"]]
    sized = {**provider, "models": [{"name": n, "context_window": 9000} for n in names]}
    Settings.llm = HydraLLM({**config, "providers": [sized]})
    try:
        assert Settings.llm.metadata.context_window == 9000
        assert Settings.llm.complete("ahoy").text == "You said: ahoy"
    finally:
        Settings.llm = None
        registry.forget()


def _elsewhere(llm: HydraLLM) -> subprocess.CompletedProcess[str]:
    code = "import pickle,sys; print(pickle.load(sys.stdin.buffer).complete('ahoy').text)"
    ran = subprocess.run(  # noqa: S603
        [sys.executable, "-c", code], input=pickle.dumps(llm), capture_output=True, check=False
    )
    return subprocess.CompletedProcess(
        ran.args, ran.returncode, ran.stdout.decode(), ran.stderr.decode()
    )
