"""The house rules that a reader of the file list may rely on."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("hydra_core", "hydra_llamaindex", "hydra_langchain")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
TREES = {path.relative_to(ROOT).as_posix(): ast.parse(path.read_text("utf-8")) for path in SOURCES}

FILE_LINES, FUNCTION_LINES = 320, 45

# What may be longer, and why.
LONG_FILES = {
    "hydra_core/engine/dispatch.py": "one request's journey: its steps share one state",
    "hydra_core/hydra.py": "the public face: most of it is signatures and what they promise",
}
LONG_FUNCTIONS = {
    "hydra_core/swarm/job.py:prepare": "no branches to speak of: each line needs the one before",
    "hydra_core/swarm/plan.py:plan": "no branches to speak of: each line needs the one before",
}

# Modules without clock, lock, randomness or input and output. An allow-list: a list of what
# is forbidden would let the next module of that kind through.
PURE_STDLIB = {
    "__future__", "abc", "bisect", "collections", "collections.abc", "dataclasses", "datetime",
    "enum", "functools", "hashlib", "heapq", "itertools", "json", "math", "re", "typing",
    "urllib.parse",
    "zoneinfo",  # a table of zones; the instant is always an argument
}  # fmt: skip
PURE_ROOMS = {
    "hydra_core/engine/": {"hydra_core.engine"},
    "hydra_core/dialects/": {"hydra_core.dialects", "orjson"},
}
PURE_VALUES = {
    "hydra_core.drafts", "hydra_core.errors", "hydra_core.messages", "hydra_core.wire",
}  # fmt: skip

HEAVY = (
    "aiohttp", "h11", "hishel", "httpx", "httpx2", "langchain_core", "llama_index", "openai",
    "pydantic", "pyreqwest", "rich", "sqlalchemy", "starlette", "uvicorn",
)  # fmt: skip


# In a process of its own: it sets up logging anew, and every logger that there is falls silent.
LINT = "from importlinter.cli import lint_imports; raise SystemExit(lint_imports(no_cache=True))"


def imported(tree):
    """Every module that a tree names in an import, wherever it stands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: imports are absolute"
            yield node.module


def length(function):
    """Lines of a function from its `def` on, its docstring left out."""
    lines = function.end_lineno - function.lineno + 1
    if ast.get_docstring(function) is None:
        return lines
    docstring = function.body[0]
    return lines - (docstring.end_lineno - docstring.lineno + 1)


def test_rooms_see_only_what_lies_below_them():
    """The contracts in pyproject.toml hold; each exception stands there with its reason."""
    ended = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", LINT], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.parametrize("room", PURE_ROOMS)
def test_pure_rooms_import_nothing_that_acts(room):
    """Engine and dialects import values and pure modules of the standard library only."""
    allowed = PURE_STDLIB | PURE_VALUES
    own = tuple(PURE_ROOMS[room])
    trees = {path: tree for path, tree in TREES.items() if path.startswith(room)}
    assert trees
    foreign = {
        f"{path}: {name}"
        for path, tree in trees.items()
        for name in imported(tree)
        if name not in allowed and not name.startswith(own)
    }
    assert not foreign


def test_only_the_store_knows_sqlalchemy():
    """SQLAlchemy is imported in one room, so that everything else works without it."""
    users = {
        path
        for path, tree in TREES.items()
        if any(name.split(".")[0] == "sqlalchemy" for name in imported(tree))
    }
    assert users
    assert all(path.startswith("hydra_core/store/") for path in users)


@pytest.mark.parametrize("package", ["httpx2", "pyreqwest"])
def test_http_clients_stay_behind_the_transport(package):
    """A client is imported by its own transport's modules alone, so that it can be exchanged."""
    users = {
        path
        for path, tree in TREES.items()
        if any(name.split(".")[0] == package for name in imported(tree))
    }
    assert f"hydra_core/drive/{package}_transport.py" in users
    assert all(path.startswith(f"hydra_core/drive/{package}_") for path in users)


def test_the_door_is_cheap():
    """`import hydra_core` loads no framework, database, server, HTTP client or pydantic."""
    code = "import sys, hydra_core; print(*{name.split('.')[0] for name in sys.modules})"
    loaded = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout.split()
    assert "hydra_core" in loaded
    assert not set(HEAVY) & set(loaded)


def test_files_are_short():
    """A file has one idea: 320 lines at most, or a reason why not."""
    lengths = {path: len((ROOT / path).read_text("utf-8").splitlines()) for path in TREES}
    long = {path: lines for path, lines in lengths.items() if lines > FILE_LINES}
    assert long.keys() - LONG_FILES.keys() == set(), long
    assert LONG_FILES.keys() - long.keys() == set(), "these need no exception any more"


def test_functions_are_short():
    """A function fits a screen: 45 lines without its docstring, or a reason why not."""
    long = {
        f"{path}:{node.name}": lines
        for path, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (lines := length(node)) > FUNCTION_LINES
    }
    assert long.keys() - LONG_FUNCTIONS.keys() == set(), long
    assert LONG_FUNCTIONS.keys() - long.keys() == set(), "these need no exception any more"


def test_no_error_is_a_runtime_error():
    """LlamaIndex swallows RuntimeError as nested async, so none of ours derives from it."""
    from hydra_core import errors

    ours = [value for value in vars(errors).values() if isinstance(value, type)]
    assert errors.PoolExhausted in ours
    assert not [error for error in ours if issubclass(error, RuntimeError)]
