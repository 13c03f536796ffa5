"""What every test stands on."""

import threading

# For pytest, which imports it where a finaliser's warning reaches it first: amid another
# import, perhaps, and on CPython 3.11 an import that begins in the lock of one fails.
import tracemalloc  # noqa: F401
from uuid import uuid4

# Imported here, before any framework: CPython 3.11 fails with "AST constructor
# recursion depth mismatch" when hypothesis is first imported deep inside one.
import hypothesis  # noqa: F401
import pytest


@pytest.fixture
def until():
    """Wait for what other threads do; a failure after 20 seconds."""

    def wait(condition):
        step = threading.Event()
        for _ in range(2_000):
            if condition():
                return
            step.wait(0.01)
        raise AssertionError("it never came true")

    return wait


@pytest.fixture(autouse=True)
def state_directory(tmp_path_factory, monkeypatch):
    """Whatever a test stores without naming a place lies in a folder of its own."""
    folder = tmp_path_factory.getbasetemp() / "state" / uuid4().hex  # made when it is used
    monkeypatch.setenv("HYDRA_STATE_DIR", str(folder))
    return folder
