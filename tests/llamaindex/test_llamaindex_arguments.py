"""Every word given to HydraLLM has an effect or an error."""

from __future__ import annotations

import subprocess
import sys

import pytest

from hydra_core.errors import ConfigError
from hydra_llamaindex import HydraLLM
from hydra_llamaindex.arguments import call_options

CONFIG = {
    "store": "memory",
    "providers": [{"name": "here", "base_url": "http://127.0.0.1:9/v1", "models": ["m"]}],
}


@pytest.mark.parametrize(
    ("word", "hint"), [("modle", "model"), ("temprature", "temperature"), ("top_p", "additional")]
)
def test_an_unknown_word_is_an_error_that_names_the_remedy(word: str, hint: str) -> None:
    """LlamaIndex drops unknown words silently; a typo must not change the model in use."""
    with pytest.raises(ConfigError, match=rf"{word}(.|\n)*{hint}"):
        HydraLLM(CONFIG, **{word: 1})


@pytest.mark.parametrize("word", ["api_key", "api_keys", "http_client", "default_headers"])
def test_a_word_that_cannot_be_honoured_is_refused_without_its_value(word: str) -> None:
    """Keys and connections belong to the configuration, and the message repeats neither."""
    with pytest.raises(ConfigError, match=word) as caught:
        HydraLLM(CONFIG, **{word: "sk-canary-0123456789abcdef"})
    assert "canary" not in str(caught.value)


def test_the_environment_key_of_openai_is_not_picked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenAILike would read OPENAI_API_KEY into a field that repr and to_dict show."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-canary-0123456789abcdef")
    llm = HydraLLM(CONFIG)
    assert "canary" not in repr(llm) + str(llm.to_dict()) + str(llm.api_key)


def test_a_timeout_is_the_deadline_of_the_whole_call() -> None:
    """The word that OpenAILike's users have means what it says."""
    assert HydraLLM(CONFIG, timeout=7).deadline == 7
    assert HydraLLM(CONFIG, timeout=7, deadline=5).deadline == 5
    assert HydraLLM(CONFIG).deadline is None


def test_the_last_word_wins() -> None:
    """What is given to a call beats `additional_kwargs`, and that beats the object."""
    llm = HydraLLM(CONFIG, max_tokens=5, additional_kwargs={"stop": ["a"], "seed": 1})
    options = llm._options({"max_tokens": 50, "stop": ["b"], "temperature": None})
    assert (options["max_tokens"], options["stop"], options["seed"]) == (50, ["b"], 1)
    assert "temperature" not in options


def test_the_sdk_words_are_read_as_what_they_mean() -> None:
    """`timeout` is a deadline, `extra_body` is part of the body, `stream_options` is Hydra's."""
    options = call_options(
        {"deadline": 9.0}, {"extra_body": {"top_k": 3}}, {"timeout": 2, "stream_options": {"x": 1}}
    )
    assert options == {"deadline": 2, "top_k": 3}


def test_a_model_name_in_the_place_of_a_path_is_explained() -> None:
    """The first argument is the configuration; the error says where a model goes."""
    with pytest.raises(ConfigError, match="model="):
        HydraLLM("gpt-4o")


def test_a_missing_framework_is_named_with_the_remedy() -> None:
    """Without LlamaIndex the import says what to install."""
    code = "import sys; sys.modules['llama_index'] = None; import hydra_llamaindex"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)  # noqa: S603
    assert b'pip install "hydra-llm[llamaindex]"' in ran.stderr


def test_the_registry_loads_no_framework() -> None:
    """Whoever uses one framework does not pay for the other."""
    code = (
        "import sys, hydra_core.registry; "
        "print([m for m in ('llama_index', 'langchain_core', 'openai') if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)  # noqa: S603
    assert ran.stdout.strip() == b"[]"
