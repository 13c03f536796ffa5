"""The README and the documents are true: what they show is run."""

import os
import re
import shlex
import tomllib
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import pytest

from hydra_core import HydraConfig, catalog, registry
from hydra_core.cli.parser import parser
from hydra_core.environment import read
from hydra_core.vault import Secret

ROOT = Path(__file__).parents[1]
DOCUMENTS = [
    "README.md",
    "docs/calls.md",
    "docs/configuration.md",
    "docs/experiments.md",
    "docs/testing.md",
    "CONTRIBUTING.md",
]
LINKED = [*DOCUMENTS, "docs/benchmarks.md", "docs/sdks.md", "CHANGELOG.md"]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TARGET = re.compile(r"^([a-z]+):", re.MULTILINE)


def blocks(document, *languages):
    """(number, text) of each block in one of these languages, in order."""
    text = (ROOT / document).read_text("utf-8")
    return [(n, m[2]) for n, m in enumerate(BLOCK.finditer(text)) if m[1] in languages]


def cases(*languages):
    return [
        pytest.param(text, id=f"{document}-{number}")
        for document in DOCUMENTS
        for number, text in blocks(document, *languages)
    ]


@pytest.fixture(autouse=True)
def no_keys(tmp_path, monkeypatch):
    """Every example runs offline, in an empty folder."""
    for name in list(os.environ):
        if "API_KEY" in name or name.startswith("HYDRA_") or name.endswith("_BASE_URL"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HYDRA_STATE_DIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    yield
    registry.forget()


def printed(code):
    out = StringIO()
    with redirect_stdout(out):
        exec(compile(code, "example", "exec"), {"__name__": "example"})  # noqa: S102 - our own text
    return out.getvalue()


def test_the_first_example_prints_what_the_readme_shows():
    """The pool in trouble looks as the README says, to the letter."""
    (_, code), *_ = blocks("README.md", "python")
    (_, shown), *_ = blocks("README.md", "text")
    assert printed(code) == shown


@pytest.mark.parametrize("code", cases("python"))
def test_python_examples_run(code):
    """Each Python example runs offline and, where it prints an answer, has the fact in it."""
    out = printed(code)
    for question, fact in (
        ("blind man called?", "Pew"),
        ("parrot called?", "Captain Flint"),
        ("Who is blind?", "Pew is blind."),
    ):
        assert question not in code or fact in out


@pytest.mark.parametrize("text", cases("console"))
def test_commands_exist(text):
    """Each command line that is shown parses, and each make target is in the Makefile."""
    targets = set(TARGET.findall((ROOT / "Makefile").read_text("utf-8")))
    for line in text.splitlines():
        program, *arguments = shlex.split(line.removeprefix("$ "), comments=True)
        if program == "make":
            assert arguments[0] in targets
        elif program == "hydra-llm":
            parser().parse_args(arguments)
        else:
            assert program in ("git", "cd", ".ci/run", "pip")


@pytest.mark.parametrize("text", cases("toml"))
def test_configurations_load(text, monkeypatch):
    """Each TOML example is a whole, valid configuration once its variables are set."""
    for variable in re.findall(r'env = "([^"]+)"', text):
        monkeypatch.setenv(variable, "canary-0123456789")
    config = HydraConfig.model_validate(tomllib.loads(text))
    for provider in config.providers:
        for key in provider.keys:
            assert key.value is None or isinstance(key.value, Secret)
    assert not config.providers or config.resolve()


@pytest.mark.parametrize("text", cases("sh", "dotenv"))
def test_environments_are_read(text, tmp_path):
    """Each environment example gives at least one usable provider, or only settings."""
    file = tmp_path / "example.env"
    file.write_text(text, "utf-8")
    config = HydraConfig.from_env(file, environ={})
    keys = [name for name in read(file, {}) if not name.startswith("HYDRA_")]
    assert bool(config.providers) == bool(keys)


def anchors(path):
    """The names of a document's headings, as links to them are written."""
    headings = re.findall(r"^#+ (.+)$", path.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", LINKED)
def test_links_lead_somewhere(document):
    """Each link to a file of the project has its file, and each to a heading its heading."""
    page = ROOT / document
    for target in re.findall(r"\]\((?!https?://)([^)]+)\)", page.read_text("utf-8")):
        file, _, heading = target.partition("#")
        path = page.parent / file if file else page
        assert path.exists(), target
        assert not heading or heading in anchors(path), target


def test_every_setting_is_documented():
    """docs/configuration.md names each setting of each part, and no other as a row."""
    from hydra_core import config

    text = (ROOT / "docs/configuration.md").read_text("utf-8")
    rows = set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE))
    parts = [
        HydraConfig, config.ProviderConfig, config.KeyConfig, config.LimitsConfig,
        config.BudgetConfig, config.ModelConfig, config.ScoreWeights,
    ]  # fmt: skip
    assert rows == {name for part in parts for name in part.model_fields}


def test_known_providers_are_listed_with_their_variables():
    """The table of providers says which variables each one is found by."""
    text = (ROOT / "docs/configuration.md").read_text("utf-8")
    rows = re.findall(r"^\| (\w+) \| ((?:`[A-Z_]+`(?:, )?)*) ?\|$", text, re.MULTILINE)
    stated = {name: tuple(re.findall(r"`(\w+)`", variables)) for name, variables in rows}
    known = {name: entry.env for name in catalog.names() if (entry := catalog.known(name))}
    assert stated == known


def test_documented_defaults_are_the_defaults():
    """The default in a row of the first table is the one in force."""
    text = (ROOT / "docs/configuration.md").read_text("utf-8")
    stated = dict(re.findall(r"^\| `(\w+)` \| `([^`]+)` \|", text, re.MULTILINE))
    config = HydraConfig()
    checked = 0
    for name, value in stated.items():
        if name in HydraConfig.model_fields and name not in ("providers", "aliases"):
            given = getattr(HydraConfig.model_validate(tomllib.loads(f"{name} = {value}")), name)
            assert given == getattr(config, name), name
            checked += 1
    assert checked >= 12
