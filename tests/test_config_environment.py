"""What the environment, `.env` and Hydra's own variables say."""

from __future__ import annotations

import os
import stat

import pytest

from hydra_core.config import HydraConfig, default_config_path, load, state_directory
from hydra_core.environment import state_path
from hydra_core.errors import ConfigError
from hydra_core.vault import Secret

KEY = "test-CANARY-key"


@pytest.fixture(autouse=True)
def bare_environment(tmp_path, monkeypatch):
    """An empty folder and an environment without any provider."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith("HYDRA_") or "API_KEY" in name or name.endswith(("_TOKEN", "_BASE_URL")):
            monkeypatch.delenv(name)


def from_env(**environ) -> HydraConfig:
    return HydraConfig.from_env(None, environ)


def test_nothing_in_the_environment_is_no_error():
    """Without any provider the configuration is empty, for the caller to decide."""
    assert from_env().providers == ()
    assert load(None).providers == ()


def test_every_numbered_key_of_the_environment_is_found():
    """Gaps, lists and duplicates: each key once, named by position."""
    config = from_env(
        GROQ_API_KEY="k-first", GROQ_API_KEY_12="k-twelve", GROQ_API_KEY_3="k-three",
        GROQ_API_KEYS="k-list, k-first", GROQ_API_KEY_4="",
    )  # fmt: skip
    (groq,) = config.resolve()
    assert [(key.name, key.secret) for key in groq.keys] == [
        ("groq-1", Secret("k-first")), ("groq-2", Secret("k-three")),
        ("groq-3", Secret("k-twelve")), ("groq-4", Secret("k-list")),
    ]  # fmt: skip


@pytest.mark.parametrize("form", ["dict", "object", "file"])
def test_settings_without_providers_use_those_of_the_environment(form, tmp_path, monkeypatch):
    """Who states a setting and no provider has keys in the environment; an empty list says none."""
    monkeypatch.setenv("GROQ_API_KEY", "k-first")
    (tmp_path / "hydra.toml").write_text('language = "es"')
    given = {
        "dict": {"language": "es"},
        "object": HydraConfig(language="es"),
        "file": "hydra.toml",
    }[form]
    config = load(given)
    assert (config.language, [p.name for p in config.providers]) == ("es", ["groq"])
    assert load({"providers": []}).providers == ()
    assert load(HydraConfig(providers=())).providers == ()


@pytest.mark.parametrize("form", [dict, HydraConfig])
def test_what_settings_without_providers_leave_out_comes_from_the_variables(form, monkeypatch):
    """What the code says holds, in whichever form; a variable it makes idle is not read."""
    monkeypatch.setenv("HYDRA_MAX_WAIT", "3")
    monkeypatch.setenv("HYDRA_LANGUAGE", "klingon")
    config = load(form(language="es"))
    assert (config.language, config.max_wait) == ("es", 3.0)


def test_both_names_of_gemini_are_read():
    """GEMINI_API_KEY* and GOOGLE_API_KEY* feed one provider, through its usual door only."""
    config = from_env(GEMINI_API_KEY_1="k-one", GOOGLE_API_KEY="k-two", GOOGLE_API_KEY_1="k-one")
    (gemini,) = config.resolve()
    assert gemini.name == "gemini"
    assert [key.secret for key in gemini.keys] == [Secret("k-one"), Secret("k-two")]


def test_a_base_url_alone_is_a_keyless_deepseek():
    """DEEPSEEK_BASE_URL without a key is a local server that wants none."""
    (deepseek,) = from_env(DEEPSEEK_BASE_URL="http://localhost:8000/v1").resolve()
    assert (deepseek.base_url, deepseek.vendor) == ("http://localhost:8000/v1", "deepseek")
    assert [(key.name, key.secret) for key in deepseek.keys] == [("deepseek-1", None)]
    assert from_env(OPENAI_BASE_URL="http://localhost:8000/v1").providers == ()


def test_local_servers_wait_to_be_named():
    """A local server is used only when its URL and a model are given."""
    config = from_env(OLLAMA_BASE_URL="http://localhost:11434/v1/", OLLAMA_MODELS="small, large")
    (ollama,) = config.resolve()
    assert ollama.base_url == "http://localhost:11434/v1"
    assert [model.name for model in ollama.models] == ["small", "large"]
    assert from_env(LM_API_TOKEN="k-token").providers == ()


def test_a_server_without_models_is_left_out_and_said(caplog):
    """A local server whose models nobody names is not used, and a warning says what to set."""
    assert from_env(VLLM_BASE_URL="http://localhost:8000/v1").providers == ()
    assert "VLLM_MODELS" in caplog.text


def test_an_azure_resource_is_found_by_its_endpoint():
    """The endpoint's host becomes a base URL; deployments are named as models."""
    (azure,) = from_env(
        AZURE_OPENAI_API_KEY="k-azure",
        AZURE_OPENAI_ENDPOINT="https://acme.openai.azure.com/",
        AZURE_MODELS="my-deployment",
    ).resolve()
    assert azure.base_url == "https://acme.openai.azure.com/openai/v1"
    assert (azure.dialect, azure.auth_header, azure.auth_prefix) == ("azure", "api-key", "")


def test_a_key_without_its_address_is_left_out_and_said(caplog):
    """Every customer of Azure has an own address; a warning says which variable holds it."""
    assert from_env(AZURE_OPENAI_API_KEY="k-azure", AZURE_MODELS="d").providers == ()
    assert "AZURE_OPENAI_ENDPOINT" in caplog.text


def test_any_known_base_url_can_be_overridden():
    """A URL from the environment keeps the vendor, and drops its free limits and prices."""
    (usual,) = from_env(GROQ_API_KEY=KEY).resolve()
    (moved,) = from_env(GROQ_API_KEY=KEY, GROQ_BASE_URL="http://127.0.0.1:9/v1").resolve()
    assert usual.models[0].limits is not None
    assert usual.models[0].input_usd is not None
    assert (moved.base_url, moved.vendor, moved.window) == (
        "http://127.0.0.1:9/v1",
        "groq",
        "bucket",
    )
    assert (moved.models[0].limits, moved.models[0].input_usd) == (None, None)


def test_free_providers_come_before_paid_ones():
    """From the environment, what costs nothing is tried first."""
    config = from_env(OPENAI_API_KEY="k-paid", GROQ_API_KEY="k-free")
    assert [(p.name, p.priority) for p in config.providers] == [("groq", 0), ("openai", 1)]


def test_scalar_settings_can_be_overridden(tmp_path, monkeypatch):
    """HYDRA_* variables win over a file and complete the environment."""
    (tmp_path / "hydra.toml").write_text('max_wait = 9.0\nlanguage = "es"\ncache = true')
    monkeypatch.setenv("HYDRA_MAX_WAIT", "2.5")
    monkeypatch.setenv("HYDRA_CACHE", "false")
    config = load("hydra.toml")
    assert (config.max_wait, config.cache, config.language) == (2.5, False, "es")
    assert from_env(HYDRA_STRATEGY="fastest").strategy == "fastest"


def test_a_dict_leaves_the_rest_to_the_variables(monkeypatch):
    """HYDRA_* variables fill in what a dict does not say; what the code says holds."""
    monkeypatch.setenv("HYDRA_MAX_WAIT", "2.5")
    monkeypatch.setenv("HYDRA_STORE", "memory")
    config = load({"max_wait": 9.0})
    assert (config.max_wait, config.store) == (9.0, "memory")
    monkeypatch.setenv("HYDRA_TIMEOUT", "soon")
    with pytest.raises(ConfigError, match="HYDRA_TIMEOUT: "):
        load({})


@pytest.mark.parametrize("name", ["MAX_WAIT", "STRATEGY", "ROTATE_AT", "CACHE", "TIME_SCALE"])
def test_a_bad_override_names_its_variable(name):
    """A variable that makes no sense is named, and its text is not repeated."""
    with pytest.raises(ConfigError, match=f"HYDRA_{name}: ") as caught:
        from_env(**{f"HYDRA_{name}": "nonsense"})
    assert "nonsense" not in str(caught.value)


def test_a_dotenv_file_completes_the_environment(tmp_path):
    """`.env` is read, the real environment wins, and the process's environment stays as it is."""
    (tmp_path / ".env").write_text("GROQ_API_KEY=k-file\nGROQ_API_KEY_1='k-second'\n")
    before = dict(os.environ)
    config = HydraConfig.from_env(environ={"GROQ_API_KEY": "k-real"})
    assert [key.value for key in config.providers[0].keys] == [Secret("k-real"), Secret("k-second")]
    assert dict(os.environ) == before


def test_a_variable_may_have_spaces_in_its_name(tmp_path):
    """A name with spaces is found in `.env` and in the environment."""
    (tmp_path / ".env").write_text("# keys\nMY GROQ KEY 2 = k-spaced\nOTHER=1\n")
    config = load({"providers": [{"name": "groq", "keys": [{"env": "MY GROQ KEY 2"}]}]})
    assert config.providers[0].keys[0].value == Secret("k-spaced")


def test_an_environment_file_that_was_named_must_be_there():
    """Only the default `.env` may be missing."""
    with pytest.raises(ConfigError, match=r"prod\.env: there is no such file"):
        HydraConfig.from_env("prod.env", {})


def test_a_bad_url_in_the_environment_names_its_variable():
    """The variable that holds the URL is named, not the URL."""
    with pytest.raises(ConfigError, match="GROQ_BASE_URL would send the key unencrypted") as caught:
        from_env(GROQ_API_KEY=KEY, GROQ_BASE_URL="http://elsewhere.example.com")
    assert "elsewhere" not in str(caught.value)


def test_the_configuration_file_is_found(tmp_path, monkeypatch):
    """HYDRA_CONFIG, else ./hydra.toml, else none."""
    assert default_config_path({}) is None
    (tmp_path / "hydra.toml").write_text('language = "es"')
    assert str(default_config_path({})) == "hydra.toml"
    assert str(default_config_path({"HYDRA_CONFIG": "/x/y.toml"})) == "/x/y.toml"
    assert load(None).language == "en"
    monkeypatch.setenv("HYDRA_CONFIG", "hydra.toml")
    assert load(None).language == "es"


def test_the_state_directory_is_private(tmp_path):
    """It is made on demand with mode 0700; asking where it is makes nothing."""
    environ = {"HYDRA_STATE_DIR": str(tmp_path / "deep" / "state")}
    assert state_path(environ) == tmp_path / "deep" / "state"
    assert not state_path(environ).exists()
    assert stat.S_IMODE(state_directory(environ).stat().st_mode) == 0o700
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="set HYDRA_STATE_DIR"):
        state_directory({"HYDRA_STATE_DIR": str(tmp_path / "file" / "state")})


def test_the_cache_lies_beside_the_store(tmp_path):
    """The store's default is in the state directory; a cache never shares its file."""
    environ = {"HYDRA_STATE_DIR": str(tmp_path)}
    config = HydraConfig()
    assert config.store_url(environ) == f"sqlite:///{tmp_path}/hydra.db"
    assert config.cache_url(environ) == f"sqlite:///{tmp_path}/hydra-cache.db"
    assert HydraConfig(store="memory").cache_url() == "memory"
    assert HydraConfig(cache=False).cache_url(environ) == "memory"
    assert HydraConfig(store="postgresql://host/db").cache_url() == "memory"
