"""No configuration error, dump or file shows a key, wherever it was put by mistake."""

from __future__ import annotations

import json
import pickle
import traceback

import pytest
from pydantic import ValidationError

from hydra_core.config import HydraConfig, load
from hydra_core.errors import ConfigError

CANARY = "gsk_CANARY0123456789abcdefghijKLMNOP"
KEY = {"value": CANARY}


def leaks(text: str) -> list[str]:
    """The 8-character windows of the canary that a text holds."""
    windows = (CANARY[start : start + 8] for start in range(len(CANARY) - 7))
    return [window for window in windows if window in text]


def frames(error: BaseException) -> str:
    """The traceback with the variables of all frames but the test's own, and its contexts'."""
    assert error.__traceback__ is not None
    below = error.__traceback__.tb_next
    told = traceback.TracebackException(type(error), error, below, capture_locals=True)
    return "".join(told.format()) + f"{error!r} {error.args} {error.__context__!r}"


def with_key(key: object) -> dict[str, object]:
    return {"providers": [{"name": "groq", "keys": [{"value": "fine-key"}, key]}]}


MISPLACED = {
    "bare text": with_key(CANARY),
    "line break": with_key({"value": CANARY + "\n"}),
    "carriage return": with_key({"value": CANARY + "\r\n", "name": "two"}),
    "no ASCII": with_key({"value": CANARY + "é"}),
    "wrong name": with_key({"vlaue": CANARY}),
    "foreign name": with_key({"api_key": CANARY}),
    "as a name": with_key({CANARY: CANARY}),
    "a list": with_key({"value": [CANARY]}),
    "a table": with_key({"value": {CANARY: CANARY}}),
    "a number": with_key({"value": 7, "name": CANARY}),
    "in env": with_key({"env": CANARY}),
    "in env with a value": with_key({"env": CANARY, "value": CANARY}),
    "key name": with_key({"name": CANARY, "value": CANARY}),
    "account": with_key({"account": CANARY, "value": CANARY}),
    "lane": with_key({"lanes": [CANARY], "value": CANARY}),
    "limits": with_key({"limits": CANARY, "value": CANARY}),
    "limit": with_key({"limits": {"rpm": CANARY}, "value": CANARY}),
    "unknown limit": with_key({"limits": {CANARY: 1}, "value": CANARY}),
    "model limits": with_key({"model_limits": {CANARY: {"rpm": "x"}}, "value": CANARY}),
    "hours": with_key({"active_hours": CANARY, "value": CANARY}),
    "budget": with_key({"budget": [CANARY], "value": CANARY}),
    "keys as text": {"providers": [{"name": "groq", "keys": CANARY}]},
    "keys as table": {"providers": [{"name": "groq", "keys": {CANARY: CANARY}}]},
    "provider name": {"providers": [{"name": CANARY}]},
    "provider as text": {"providers": [CANARY]},
    "provider setting": {"providers": [{"name": "groq", "keys": [KEY], "api_key": CANARY}]},
    "user in URL": {"providers": [{"name": "groq", "base_url": f"https://{CANARY}@host/v1"}]},
    "password in URL": {"providers": [{"name": "groq", "base_url": f"https://u:{CANARY}@host"}]},
    "query in URL": {"providers": [{"name": "groq", "base_url": f"https://host/?key={CANARY}"}]},
    "broken URL": {"providers": [{"name": "groq", "base_url": f"https://[{CANARY}"}]},
    "window": {"providers": [{"name": "groq", "keys": [KEY], "window": CANARY}]},
    "model": {"providers": [{"name": "groq", "keys": [KEY], "models": [CANARY]}]},
    "twice": {"providers": [{"name": "groq", "keys": [KEY]}, {"name": "groq", "keys": [KEY]}]},
    "top-level value": {"timeout": CANARY},
    "top-level name": {CANARY: CANARY},
    "alias": {"aliases": {CANARY: [CANARY]}},
    "alias member": {"aliases": {"smart": [CANARY]}},
    "store": {"store": [CANARY]},
    "language": {"language": CANARY, "providers": [{"name": "groq", "keys": [KEY]}]},
}
EVERY = pytest.mark.parametrize("data", MISPLACED.values(), ids=MISPLACED.keys())


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    """No `.env` of the machine takes part."""
    monkeypatch.chdir(tmp_path)


@EVERY
def test_pydantics_error_shows_no_key(data):
    """Text, repr, details and JSON of a validation error are free of what was refused."""
    with pytest.raises(ValidationError) as caught:
        HydraConfig.model_validate(data)
    error = caught.value
    told = [str(error), repr(error), repr(error.errors()), error.json(), repr(error.args)]
    told += [repr(vars(item)) for item in (error.__cause__, error.__context__) if item]
    assert leaks("\n".join(told)) == []


@EVERY
def test_a_config_error_shows_no_key(data, tmp_path):
    """Neither its text, nor its traceback with all our frames' locals, nor a pickle of it."""
    path = tmp_path / "hydra.json"
    path.write_text(json.dumps(data))
    with pytest.raises(ConfigError) as caught:
        HydraConfig.from_file(path)
    assert leaks(frames(caught.value)) == []
    assert leaks(repr(pickle.dumps(caught.value))) == []


@EVERY
def test_a_dict_given_to_hydra_stays_with_the_caller(data):
    """The frames between the caller and the error hold nothing of the dict."""
    with pytest.raises(ConfigError) as caught:
        load(data)
    assert leaks(frames(caught.value)) == []


@pytest.mark.parametrize("text", [f'key = "{CANARY}', f"{CANARY} = 1\n{CANARY} = 2", f"[[{CANARY}"])
def test_a_broken_file_shows_no_key(tmp_path, text):
    """A syntax error in a file tells the line, not what stands there."""
    for name in ("hydra.toml", "hydra.json"):
        (tmp_path / name).write_text(text)
        with pytest.raises(ConfigError) as caught:
            HydraConfig.from_file(tmp_path / name)
        assert leaks(frames(caught.value)) == []


@pytest.mark.parametrize(
    "environ",
    [
        {"GROQ_API_KEY": CANARY + "\n"},
        {"GROQ_API_KEYS": f"{CANARY},{CANARY}é"},
        {"GROQ_API_KEY": CANARY, "GROQ_BASE_URL": f"https://{CANARY}@host"},
        {"GROQ_API_KEY": CANARY, "HYDRA_MAX_WAIT": CANARY},
        {"GROQ_API_KEY": CANARY, "HYDRA_STRATEGY": CANARY},
    ],
    ids=range(5),
)
def test_an_error_of_the_environment_shows_no_key(environ):
    """A bad variable is named; the values of all variables stay out of the message."""
    with pytest.raises(ConfigError) as caught:
        HydraConfig.from_env(None, environ)
    assert leaks(frames(caught.value)) == []


def test_a_key_in_place_of_a_path_is_not_repeated():
    """Whoever hands over a key where a file is meant reads what to do, and no log has the key."""
    for door in (load, HydraConfig.from_file, HydraConfig.from_env):
        with pytest.raises(ConfigError) as caught:
            door(CANARY)
        assert leaks(str(caught.value)) == []


def test_no_dump_of_a_good_configuration_shows_a_key():
    """Printing, dumping, JSON, the schema and the resolved form show names only."""
    config = HydraConfig.from_env(
        None, {"GROQ_API_KEY": CANARY, "HYDRA_STORE": f"postgresql://me:{CANARY}@host/db"}
    )
    told = [str(config), repr(config), repr(config.model_dump()), config.model_dump_json()]
    told += [repr(config.resolve()), repr(vars(config)), json.dumps(str(config.resolve()))]
    told += [repr(dict(config)), json.dumps(config.model_dump(mode="json"))]
    assert leaks("\n".join(told)) == []
    assert config.store_url() == f"postgresql://me:{CANARY}@host/db"
    with pytest.raises(TypeError, match="cannot be pickled") as caught:
        pickle.dumps(config)
    assert leaks(str(caught.value)) == []


def test_a_masked_dump_is_not_mistaken_for_a_key():
    """Loading a JSON dump says that the key is missing, instead of sending its mask."""
    config = HydraConfig.model_validate({"providers": [{"name": "groq", "keys": [KEY]}]})
    with pytest.raises(ConfigError, match="is the mask of a key"):
        load(json.loads(config.model_dump_json()))
