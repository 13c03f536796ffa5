"""The catalogue of known providers."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
from zoneinfo import ZoneInfo

import pytest

from hydra_core import catalog
from hydra_core.base_url import problem_with

EVERY = pytest.mark.parametrize("name", catalog.names())


@EVERY
def test_every_row_can_be_used(name):
    """An address that keys may go to, a valid day rule, and models or the reason for none."""
    entry = catalog.known(name)
    assert entry is not None
    assert entry.base_url is not None or entry.endpoint_env is not None
    assert entry.base_url is None or problem_with(entry.base_url) is None
    assert entry.day_rule == catalog.ROLLING or ZoneInfo(entry.day_rule)
    assert bool(entry.default_models) != (entry.local or entry.endpoint_env is not None)
    assert entry.env or entry.local


@EVERY
def test_every_figure_is_dated_and_positive(name):
    """Free limits carry the day they were seen; prices come in pairs."""
    entry = catalog.known(name)
    assert entry is not None
    for model in entry.models:
        assert (model.input_usd is None) == (model.output_usd is None)
        if model.free is not None:
            assert dt.date.fromisoformat(model.free.as_of) > dt.date(2026, 1, 1)
            kinds = ("rpm", "tpm", "rpd", "tpd", "concurrency")
            figures = [getattr(model.free, kind) for kind in kinds]
            assert [figure for figure in figures if figure is not None]
            assert all(figure is None or figure > 0 for figure in figures)


def test_the_providers_of_the_contract_are_known():
    """The names that documents and environments use are rows."""
    expected = {
        "groq", "gemini", "gemini_native", "deepseek", "openrouter", "openai", "azure",
        "anthropic", "anthropic_compat", "mistral", "cerebras", "together", "fireworks", "xai",
        "sambanova", "nvidia", "huggingface", "cohere", "ollama", "ollama_cloud", "vllm",
        "llamacpp", "lmstudio",
    }  # fmt: skip
    assert set(catalog.names()) == expected
    assert catalog.known("nobody") is None


def test_a_second_door_shares_the_models_of_the_first():
    """The native and compatible forms of a provider list the same models."""
    for second, first in (("gemini_native", "gemini"), ("anthropic_compat", "anthropic")):
        one, other = catalog.known(second), catalog.known(first)
        assert one is not None
        assert other is not None
        assert one.models == other.models
        assert not one.from_env


def test_dialects_say_how_a_key_travels():
    """A key goes into the header that its dialect wants, never into a URL."""
    assert catalog.auth("openai").auth_prefix == "Bearer "
    assert catalog.auth("gemini").auth_header == "x-goog-api-key"
    assert dict(catalog.auth("anthropic").headers) == {"anthropic-version": "2023-06-01"}
    assert catalog.auth("azure").auth_header == "api-key"


PACIFIC = "America/Los_Angeles"


@pytest.mark.parametrize(
    ("name", "dialect", "window", "day", "variables"),
    [
        ("groq", "openai", "bucket", "rolling", ["GROQ_API_KEY"]),
        ("gemini", "openai", "sliding", PACIFIC, ["GEMINI_API_KEY", "GOOGLE_API_KEY"]),
        ("gemini_native", "gemini", "sliding", PACIFIC, ["GEMINI_API_KEY", "GOOGLE_API_KEY"]),
        ("deepseek", "openai", "sliding", "rolling", ["DEEPSEEK_API_KEY"]),
        ("openrouter", "openai", "sliding", "UTC", ["OPENROUTER_API_KEY"]),
        ("openai", "openai", "bucket", "rolling", ["OPENAI_API_KEY"]),
        ("azure", "azure", "sliding", "rolling", ["AZURE_OPENAI_API_KEY"]),
        ("anthropic", "anthropic", "bucket", "rolling", ["ANTHROPIC_API_KEY"]),
        ("anthropic_compat", "openai", "bucket", "rolling", ["ANTHROPIC_API_KEY"]),
        ("mistral", "openai", "sliding", "rolling", ["MISTRAL_API_KEY"]),
        ("cerebras", "openai", "bucket", "rolling", ["CEREBRAS_API_KEY"]),
        ("together", "openai", "sliding", "rolling", ["TOGETHER_API_KEY"]),
        ("fireworks", "openai", "sliding", "rolling", ["FIREWORKS_API_KEY"]),
        ("xai", "openai", "sliding", "rolling", ["XAI_API_KEY"]),
        ("sambanova", "openai", "sliding", "rolling", ["SAMBANOVA_API_KEY"]),
        ("nvidia", "openai", "sliding", "rolling", ["NVIDIA_API_KEY"]),
        ("huggingface", "openai", "sliding", "rolling", ["HF_TOKEN"]),
        ("cohere", "openai", "sliding", "rolling", ["COHERE_API_KEY", "CO_API_KEY"]),
        ("ollama_cloud", "openai", "sliding", "rolling", ["OLLAMA_API_KEY"]),
        ("ollama", "openai", "sliding", "rolling", []),
        ("lmstudio", "openai", "sliding", "rolling", ["LM_API_TOKEN"]),
    ],
)
def test_each_providers_own_ways(name, dialect, window, day, variables):
    """Its dialect, how its limits refill, whose midnight ends its day, where its key is found."""
    entry = catalog.known(name)
    assert entry is not None
    assert (entry.dialect, entry.window, entry.day_rule) == (dialect, window, day)
    assert list(entry.env) == variables


def test_the_catalogue_is_read_on_first_use():
    """Importing it reads no file; asking for a row does, once."""
    script = """
from hydra_core import catalog
assert catalog._load.cache_info().currsize == 0
assert catalog.known("groq") is catalog.known("groq")
assert catalog._load.cache_info().misses == 1
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=50)  # noqa: S603
