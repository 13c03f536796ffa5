"""A place without keys, a provider that answers, and the command as a user runs it."""

import json
import os
from dataclasses import dataclass

import pytest

from hydra_core.cli import main
from hydra_core.testing import ExtractiveModel, FakeKey, FakeLimits, FakeProvider

CANARY = "sk-canary-0123456789abcdef"

BOOK = "\n\n".join(
    [
        "# The Voyage",
        *(
            f"## Chapter {number}. A Day\n\nOn day {number} the sea was calm and the crew mended "
            f"sails. {'The wind held fair from the west all day long. ' * 40}\n\n"
            f"At noon we took aboard {number} sheep from the shore."
            for number in range(2, 9)
        ),
        "In the last watch the blind man Pew came to the inn and knocked twice.",
    ]
)


@dataclass
class Run:
    """What one command printed, and its exit status."""

    status: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out)


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """An empty folder, an environment without keys, and Hydra's state inside the test."""
    for name in list(os.environ):
        if "API_KEY" in name or name.startswith("HYDRA_") or name.endswith("_BASE_URL"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HYDRA_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(capsys):
    """Run `hydra-llm` with these arguments."""

    def command(*arguments):
        capsys.readouterr()
        try:
            status = main([str(argument) for argument in arguments])
        except SystemExit as ended:  # argparse
            status = ended.code
        printed = capsys.readouterr()
        return Run(status, printed.out, printed.err)

    return command


@pytest.fixture
def book(place):
    """A short book with one fact at its end."""
    path = place / "voyage.md"
    path.write_text(BOOK, encoding="utf-8")
    return path


@pytest.fixture
def provider():
    """Two keys of 30 requests a minute, a minute of a second, and a model that only quotes."""
    limits = FakeLimits(rpm=30)
    keys = [FakeKey(f"{CANARY}-{number}", limits=limits) for number in (1, 2)]
    with FakeProvider(keys, answer=ExtractiveModel(), time_scale=1 / 60) as served:
        yield served


@pytest.fixture
def write(place):
    """Write a provider's configuration to a file; gives its path. `window` is its model's."""

    def config(served, *, window=None, **settings):
        data = served.config(cache=False, **settings)
        if window is not None:
            (model,) = data["providers"][0]["models"]
            data["providers"][0]["models"] = [{"name": model, "context_window": window}]
        path = place / "keys.json"
        path.write_text(json.dumps(data), encoding="utf-8")
        return path

    return config


@pytest.fixture
def config(provider, write):
    """The path of a configuration with `provider`."""
    return write(provider)
