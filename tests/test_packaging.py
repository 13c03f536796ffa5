"""What is installed is what was meant: the built wheel, run from outside the tree."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BUILD = "import sys; from hatchling.build import build_wheel; print(build_wheel(sys.argv[1]))"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The project's wheel, unpacked."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", BUILD, str(folder)], cwd=ROOT, check=True, capture_output=True
    )
    (built,) = folder.glob("*.whl")
    unpacked = folder / "unpacked"
    zipfile.ZipFile(built).extractall(unpacked)
    return unpacked


def test_the_wheel_holds_three_packages(wheel):
    """Three packages and the metadata, nothing else at the top level."""
    top = {path.name for path in wheel.iterdir()}
    assert top == {"hydra_core", "hydra_langchain", "hydra_llamaindex", "hydra_llm-0.1.0.dist-info"}


def test_the_wheel_is_typed_and_has_its_data(wheel):
    """Each package is marked as typed, and the catalogue and the demonstration's words are in."""
    assert len(list(wheel.glob("*/py.typed"))) == 3
    data = {path.name for path in wheel.glob("hydra_core/**/*.toml")}
    tree = {path.name for path in (ROOT / "hydra_core").rglob("*.toml")}
    assert {"catalog.toml", "ships_log.toml"} <= data == tree


def test_the_wheel_names_its_command_and_its_license(wheel):
    """`hydra-llm` is installed as a command, and the license goes with it."""
    (info,) = wheel.glob("*.dist-info")
    assert "hydra-llm = hydra_core.cli:main" in (info / "entry_points.txt").read_text()
    assert list(info.rglob("LICENSE"))


def test_the_wheel_runs_outside_of_the_tree(wheel, tmp_path):
    """From another folder, the installed files alone answer a question."""
    code = (
        "import sys, hydra_core; from hydra_core.cli import main;"
        "print(hydra_core.__file__); sys.exit(main(['demo', '--pages', '6', '--json']))"
    )
    environ = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    ended = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**environ, "PYTHONPATH": str(wheel), "HYDRA_STATE_DIR": str(tmp_path / "state")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith(str(wheel))


def test_constraints_name_versions_only():
    """Pinned versions bind no one to a host, a file or a commit."""
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert len(pins) > 50
    assert all("==" in pin and not set(pin) & set("/@:; ") for pin in pins)
