"""The configuration: what it accepts, what it fills in, what it refuses and how it says so."""

from __future__ import annotations

import json
import os

import pytest
from pydantic import ValidationError

from hydra_core import Hydra
from hydra_core.config import HydraConfig, load
from hydra_core.errors import ConfigError
from hydra_core.testing import FakeProvider
from hydra_core.vault import Secret

KEY = "test-CANARY-key"


@pytest.fixture(autouse=True)
def bare_environment(tmp_path, monkeypatch):
    """An empty folder and an environment without any provider."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith("HYDRA_") or "API_KEY" in name or name.endswith(("_TOKEN", "_BASE_URL")):
            monkeypatch.delenv(name)


def provider(**settings):
    return {"name": "groq", "keys": [{"value": KEY}], **settings}


def refused(data) -> str:
    """What `load` says about data that it must refuse."""
    with pytest.raises(ConfigError) as caught:
        load(data)
    return str(caught.value)


def test_defaults_are_those_of_the_contract():
    """An empty configuration has every setting at its documented value."""
    config = HydraConfig.model_validate({})
    assert config.model_dump(exclude={"score_weights"}) == {
        "language": "en", "transport": "auto", "strategy": "adaptive", "on_exhausted": "answer",
        "max_wait": 30.0, "max_waiting": None, "rotate_at": 0.95, "timeout": 120.0,
        "attempt_timeout": 60.0,
        "first_token_timeout": 20.0, "stall_timeout": 30.0, "store": None, "cache": True,
        "time_scale": 1.0, "escalation_dir": None, "budget": None, "providers": (), "aliases": {},
    }  # fmt: skip
    weights = config.score_weights
    assert (weights.reliability, weights.speed) == (0.4, 0.3)
    assert (weights.quality, weights.recency) == (0.2, 0.1)


def test_the_contracts_example_file_is_understood(tmp_path, monkeypatch):
    """Every setting that the documentation shows can be written in a TOML file."""
    monkeypatch.setenv("GROQ_API_KEY", KEY)
    (tmp_path / "hydra.toml").write_text(EXAMPLE)
    config = HydraConfig.from_file("hydra.toml")
    (groq,) = config.resolve()
    (key,) = groq.keys
    assert (key.name, key.account, key.account_known, key.lanes) == ("one", "acme", True, ("bc3",))
    assert key.secret == Secret(KEY)
    assert key.limits is not None
    assert (key.limits.rpm, key.limits.concurrency) == (30, 4)
    assert key.budget is not None
    assert key.budget.usd_per_day == 1.0
    assert key.active_hours is not None
    assert [model.name for model in groq.models] == ["model-a", "model-b"]
    assert config.aliases == {"smart": ("groq/model-a", "groq/model-b")}


EXAMPLE = """
language = "es"
strategy = "score"
score_weights = { reliability = 0.4, speed = 0.3, quality = 0.2, recency = 0.1 }
store = "memory"
[[providers]]
name = "groq"
models = ["model-a", { name = "model-b", context_window = 8192, input_usd = 0.1, output_usd = 1 }]
priority = 0
[[providers.keys]]
name = "one"
env = "GROQ_API_KEY"
account = "acme"
lanes = ["bc3"]
limits = { rpm = 30, tpm = 6000, rpd = 1000, tpd = 100000, concurrency = 4 }
model_limits = { model-b = { rpm = 5 } }
budget = { usd_per_day = 1.0 }
active_hours = "08:00-20:00 Europe/Madrid"
[aliases]
smart = ["groq/model-a", "groq/model-b"]
"""


def test_the_contracts_example_file_runs(tmp_path, monkeypatch):
    """Its dollar budget has a model without a price: that is said, and it serves."""
    with FakeProvider([KEY], models=("model-a", "model-b")) as fake:
        monkeypatch.setenv("GROQ_API_KEY", KEY)
        monkeypatch.setenv("GROQ_BASE_URL", fake.base_url)
        example = EXAMPLE.replace('active_hours = "08:00-20:00 Europe/Madrid"', "")
        (tmp_path / "hydra.toml").write_text(example)
        with Hydra.from_file("hydra.toml") as hydra:
            reply = hydra.chat("Ahoy", model="smart", lane="bc3")
            (notice,) = hydra.stats()["notices"]
    assert (reply.kind, reply.usage.cost_usd) == ("full", None)
    assert notice["text"].startswith("budget of key one: no price is known of 'model-a' at groq")


def test_a_setting_without_effect_says_so():
    """Escalations are for a later version: their folder is accepted, and nothing is hidden."""
    settings = {"providers": [provider()], "store": "memory", "escalation_dir": "escalations"}
    with Hydra(settings) as hydra:
        (notice,) = hydra.stats()["notices"]
    assert notice["subject"] == "escalation_dir"
    assert "no effect in this version" in notice["text"]


def test_an_alias_goes_on_without_a_known_provider_that_is_not_configured(caplog):
    """One file serves machines with other keys: the member is left out, and a warning says so."""
    smart = {"smart": ["gemini/model-x", "groq/model-a"]}
    settings = {"providers": [provider(models=["model-a"])], "aliases": smart}
    caplog.set_level("WARNING", "hydra_core")
    with Hydra({**settings, "store": "memory"}) as hydra:
        assert [row["provider"] for row in hydra.explain("hi", model="smart")] == ["groq"]
    assert caplog.messages == [
        "aliases.smart: 'gemini/model-x' is left out, since gemini is not configured"
    ]


def test_a_json_file_is_as_good(tmp_path):
    """The same settings may be written as JSON."""
    path = tmp_path / "hydra.json"
    path.write_text(json.dumps({"language": "es", "providers": [provider()]}))
    assert load(path).resolve()[0].keys[0].secret == Secret(KEY)


def test_a_known_provider_without_keys_takes_the_environments(monkeypatch):
    """A file may name a provider only; its keys are where they usually are."""
    monkeypatch.setenv("GROQ_API_KEY_2", KEY)
    config = load({"providers": [{"name": "groq"}]})
    assert config.providers[0].keys[0].value == Secret(KEY)


def test_the_same_key_twice_is_used_once():
    """Of a key that is listed twice the first entry stays; names follow the kept ones."""
    keys = [{"value": KEY}, {"value": KEY, "account": "acme"}, {"value": "other"}]
    (groq,) = load({"providers": [provider(keys=keys)]}).resolve()
    assert [(key.name, key.account_known) for key in groq.keys] == [
        ("groq-1", False), ("groq-2", False),
    ]  # fmt: skip


def test_made_up_names_step_aside_for_given_ones():
    """A key without a name never gets one that another key has."""
    keys = [{"value": "a-key"}, {"value": "b-key", "name": "groq-1"}]
    (groq,) = load({"providers": [provider(keys=keys)]}).resolve()
    assert [key.name for key in groq.keys] == ["groq-2", "groq-1"]


def test_unknown_accounts_are_one_per_key():
    """Until someone says who owns a key, it stands for itself."""
    keys = [{"value": "a-key"}, {"value": "b-key"}, {"value": "c-key", "account": "acme"}]
    (groq,) = load({"providers": [provider(keys=keys)]}).resolve()
    assert [key.account for key in groq.keys] == ["groq-1", "groq-2", "acme"]


def test_limits_go_from_the_most_specific_to_the_least():
    """A key's limits for a model, then its own, then the catalogue's."""
    keys = [
        {"value": "a-key"}, {"value": "b-key", "limits": {"rpm": 7, "rpd": 70}},
        {"value": "c-key", "limits": {"rpm": 7, "rpd": 70},
         "model_limits": {"openai/gpt-oss-20b": {"rpm": 3}}},
    ]  # fmt: skip
    (groq,) = load({"providers": [provider(keys=keys)]}).resolve()
    small = groq.models[1]
    found = [key.limits_for(small) for key in groq.keys]
    assert [limits and (limits.rpm, limits.rpd) for limits in found] == [
        (30, 1000),
        (7, 70),
        (3, 70),
    ]


def test_another_dialect_of_a_known_vendor_has_its_own_door():
    """Asking Gemini in its own dialect changes the address and the header of the key."""
    data = {"name": "gemini", "dialect": "gemini", "keys": [{"value": KEY}]}
    (gemini,) = load({"providers": [data]}).resolve()
    assert gemini.base_url.endswith("/v1beta")
    assert (gemini.vendor, gemini.auth_header) == ("gemini", "x-goog-api-key")
    assert gemini.day_rule == "America/Los_Angeles"


def test_an_unknown_provider_speaks_openai():
    """A name that nobody knows needs a URL and models, and no key if the server wants none."""
    data = {"name": "mine", "base_url": "http://gpu:8000/v1/", "models": ["m"]}
    (mine,) = load({"providers": [data]}).resolve()
    assert (mine.vendor, mine.dialect, mine.base_url) == ("mine", "openai", "http://gpu:8000/v1")
    assert (mine.window, mine.day_rule, mine.keys[0].secret) == ("sliding", "rolling", None)


def test_a_dumped_configuration_is_the_same_configuration(tmp_path):
    """What `model_dump` gives, `load` takes, also when its variables are gone."""
    (tmp_path / ".env").write_text(f"GROQ_API_KEY={KEY}\nHYDRA_MAX_WAIT=3\n")
    config = load(None)
    (tmp_path / ".env").unlink()
    assert load(config.model_dump(exclude_unset=True)) == config
    assert load(config) is config


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"providers": [{"name": "groq", "keys": [{}]}]}, "providers[0].keys[0]: has neither"),
        (
            {"providers": [{"name": "groq"}]},
            "providers[0].keys: no key was found; set GROQ_API_KEY",
        ),
        ({"providers": [provider(), provider()]}, "providers[1].name: is there twice"),
        ({"providers": [{"name": "grok"}]}, "did you mean 'groq'?"),
        ({"providers": [{"name": "azure"}]}, "providers[0].base_url: is required"),
        ({"providers": [{"name": "a/b"}]}, "providers[0].name: must be a short name"),
        (
            {"providers": [provider(models=["m", "m"])]},
            "providers[0].models[1].name: is there twice",
        ),
        ({"providers": [{"name": "ollama"}]}, "providers[0].models: no model is known"),
        ({"providers": [provider(model=["m"])]}, "providers[0].model: is not a setting here; did"),
        ({"max_wait": -1}, "max_wait: should be greater than or equal to 0; it is a number"),
        (
            {"max_waiting": -1},
            "max_waiting: should be greater than or equal to 0; it is a number",
        ),
        ({"max_wait": float("nan")}, "max_wait: must be a finite number"),
        ({"time_scale": 0}, "time_scale: should be greater than 0"),
        ({"rotate_at": 0}, "rotate_at: should be greater than 0"),
        ({"rotate_at": 1.1}, "rotate_at: should be less than or equal to 1"),
        ({"score_weights": {"speed": -1}}, "score_weights.speed: should be greater than"),
        ({"score_weights": {"speed": 0}}, "score_weights: are all 0"),
        ({"strategy": "best"}, "strategy: should be 'priority', "),
        ({"aliases": {"smart": ["groq/nothing"]}}, "aliases.smart[0]: 'groq/nothing' is no model"),
        ({"aliases": {"smart": []}}, "aliases.smart: is empty"),
        (
            {
                "providers": [provider(models=["model-a"])],
                "aliases": {"smart": ["groq/model-a", "gemmini/model-x"]},
            },
            "aliases.smart[1]: 'gemmini/model-x' is no model of a configured provider",
        ),
        (
            {"providers": [provider()], "aliases": {"smart": ["gemini/model-x"]}},
            (
                "aliases.smart[0]: 'gemini/model-x' is no model of a configured provider; "
                "set GEMINI_API_KEY or GOOGLE_API_KEY, or list gemini under providers"
            ),
        ),
        ({"store": 3}, "store: must be a URL in quotes"),
    ],
)
def test_an_error_names_the_setting_and_the_remedy(data, said):
    """Each mistake is told by its path and what to do."""
    assert said in refused(data)


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ({"env": "NO SUCH KEY 2"}, ".env: the environment variable 'NO SUCH KEY 2' is not set"),
        ({"env": "A", "value": KEY}, ".value: is given together with env"),
        (
            {"value": KEY + "\n", "name": "second"},
            ".value: the key begins or ends with a line break",
        ),
        ({"value": KEY, "name": "a\nb"}, ".name: holds a line break"),
        ({"value": "****"}, ".value: is the mask of a key"),
        ({"limits": {"rpm": 0}, "value": KEY}, ".limits.rpm: should be greater than 0"),
        ({"model_limits": {"other": {}}, "value": KEY}, ".model_limits: 'other' is not among"),
        ({"active_hours": "8 to 9", "value": KEY}, ".active_hours: is no span of hours"),
        ({"active_hours": "08:00-25:00", "value": KEY}, ".active_hours: names an hour"),
        ({"active_hours": "08:00-09:00 Mars/X", "value": KEY}, ".active_hours: names an unknown"),
        (KEY, ": must be a table of settings; it is a text of 15 characters"),
    ],
)
def test_an_error_in_a_key_says_which_key(key, said):
    """The second key's mistake is found under keys[1]."""
    keys = [{"value": "fine-key"}, key]
    assert f"providers[0].keys[1]{said}" in refused({"providers": [provider(keys=keys)]})


def test_two_keys_of_one_name_are_refused():
    """A name shows which key it is, so it may be there once."""
    keys = [{"value": "a-key", "name": "one"}, {"value": "b-key", "name": "one"}]
    assert "providers[0].keys[1].name: is there twice" in refused(
        {"providers": [provider(keys=keys)]}
    )


def test_all_mistakes_are_told_at_once():
    """A file with several mistakes needs one round, not several."""
    assert len(refused({"max_wait": -1, "timeout": 0, "language": "xx"}).splitlines()) == 3


@pytest.mark.parametrize(
    ("url", "fine"),
    [
        ("https://api.example.com/v1", True), ("http://localhost:1", True),
        ("http://[::1]:1", True),
        ("http://10.0.0.7/v1", True), ("http://ollama:11434/v1", True), ("http://box.local", True),
        ("http://api.example.com/v1", False), ("http://8.8.8.8/v1", False),
        ("ftp://example.com", False), ("api.example.com/v1", False), ("https://", False),
        ("https://user:secret@example.com", False), ("https://example.com?key=x", False),
        ("https://example.com/#x", False), ("https://169.254.169.254/v1", False),
        ("https://metadata.google.internal", False), ("https://[fe80::1]/v1", False),
        ("https://[::ffff:169.254.169.254]/", False), ("https://exa mple.com", False),
        ("https://example.com:port", False), ("http://0.0.0.0/v1", False),
        ("https://acme.openai.azure.com/openai/deployments/d?api-version=2025-01-01-preview", True),
        ("https://example.com/v1?api-version=x&key=y", False),
        ("https://example.com/v1?api-version=", False),
        ("https://example.com/v1/chat/completions", False),
        ("https://example.com/v1/chat/completions/", False),
    ],
)  # fmt: skip
def test_keys_go_to_safe_addresses_only(url, fine):
    """Https anywhere, plain http to private hosts, nothing in the URL but the address."""
    data = {"providers": [provider(base_url=url)]}
    if fine:
        assert load(data).resolve()[0].base_url == url
    else:
        assert refused(data).startswith("providers[0].base_url: ")


def test_plain_http_can_be_allowed():
    """`allow_http` permits an unencrypted public address, and nothing else."""
    url = "http://api.example.com/v1"
    assert load({"providers": [provider(base_url=url, allow_http=True)]})
    bad = "http://169.254.169.254/v1"
    assert "base_url" in refused({"providers": [provider(base_url=bad, allow_http=True)]})


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.toml", "x = = 1", "is no valid TOML at line 1"),
        ("a.json", '{"max_wait": NaN}', "is no valid JSON"),
        ("a.json", "[" * 100_000, "is nested too deeply"),
        ("a.json", "[1]", "must hold a table of settings; it is a list of 1"),
        ("a.yaml", "x: 1", "its name must end in .toml or .json"),
        ("a.toml", "#" * (1 << 20) + "\n", "is larger than"),
    ],
)
def test_a_broken_file_is_named(tmp_path, name, text, said):
    """What cannot be read as a configuration is told by file, line and remedy."""
    (tmp_path / name).write_text(text)
    message = refused(str(tmp_path / name))
    assert said in message
    assert name in message


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    """A missing file, a folder and bytes that are no text are ConfigErrors."""
    (tmp_path / "folder.toml").mkdir()
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe\x00")
    for name in ("missing.toml", "folder.toml", "bytes.toml"):
        assert name in refused(name)


def test_pydantics_own_error_comes_from_model_validate():
    """`model_validate` raises what pydantic's users expect."""
    with pytest.raises(ValidationError) as caught:
        HydraConfig.model_validate({"max_wait": -1})
    assert caught.value.errors()[0]["loc"] == ("max_wait",)
    assert refused(3) == "a configuration is a HydraConfig, a dict, a path or None, not a number"
