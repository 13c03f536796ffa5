"""What the environment says: variables, `.env`, known providers' keys, Hydra's own folder.

The process's environment is read, never changed.
"""

from __future__ import annotations

import io
import logging
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hydra_core import catalog
from hydra_core.base_url import problem_with
from hydra_core.config_errors import Problem
from hydra_core.errors import ConfigError
from hydra_core.vault import FoundKey, find_keys, looks_like_key, shape

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

logger = logging.getLogger(__name__)

_DEFAULT_ENV_FILE: Final = ".env"
# A shell cannot set a name with spaces, but a web console can, and people copy from there.
_SPACED_NAME: Final = re.compile(r"\s*([A-Za-z]\w*(?: +\w+)+)\s*=")


def read(
    env_file: str | os.PathLike[str] | None, environ: Mapping[str, str] | None
) -> dict[str, str]:
    """All variables: those of `environ` (None: the process's own), then those of `env_file`.

    A missing `.env` is no error; another missing file is. Raises ConfigError.
    """
    real = dict(os.environ if environ is None else environ)
    if env_file is None:
        return real
    found = _env_file(path_of(env_file, "an environment file"))
    if isinstance(found, str):
        raise ConfigError(f"environment file {told(Path(env_file))}: {found}")
    return {**found, **real}


def path_of(given: object, what: str) -> Path:
    """The path that somebody gave for `what`. Raises ConfigError for what can be none."""
    if isinstance(given, str | os.PathLike):
        with suppress(TypeError, UnicodeEncodeError):  # a path of bytes; one with a surrogate
            path = Path(given)
            os.fsencode(path)
            return path
    del given  # it may be a key, and what is raised holds this frame
    raise ConfigError(f"{what} is named by a path, a text or a Path; this one can be no path")


def told(path: Path) -> str:
    """A path as an error may repeat it: not when it is a key that was given in its place."""
    text = str(path)
    return shape(text) if path.name == text and looks_like_key(text) else text


def providers(environ: Mapping[str, str]) -> list[dict[str, Any]]:
    """The tables of all known providers that these variables make usable.

    Raises ConfigError, naming the variable, for a key or URL that cannot be used.
    """
    tables = []
    for name in catalog.names():
        entry = catalog.known(name)
        if entry is None or not entry.from_env:
            continue
        try:
            table = complete({"name": name, "priority": entry.tier}, entry, environ)
        except Problem as error:
            problem = f"{name}: {error}"
        else:
            if _usable(table, entry):
                tables.append(table)
            continue
        raise ConfigError(problem)
    return tables


def complete(
    table: dict[str, Any], entry: catalog.CatalogEntry, environ: Mapping[str, str]
) -> dict[str, Any]:
    """A known provider's table with what it leaves out and the environment has.

    Raises Problem, naming the variable, for a key or URL that cannot be used.
    """
    table = dict(table)
    url = _base_url(entry, environ, allow_http=table.get("allow_http") is True)
    if url is not None and table.get("base_url") is None:
        table["base_url"] = url
    if table.get("keys") is None:
        table["keys"] = [
            {"name": f"{entry.name}-{number}", "env": found.variable, "value": found.secret}
            for number, found in enumerate(_keys(entry, environ), 1)
        ]
    listed = re.split(r"[,\s]+", environ.get(entry.models_env, "").strip(", \n"))
    if not table.get("models") and listed[0]:
        table["models"] = [{"name": model} for model in listed]
    return table


def overrides(settings: Iterable[str], environ: Mapping[str, str]) -> dict[str, str]:
    """Which of these settings a variable overrides: `max_wait` -> `HYDRA_MAX_WAIT`."""
    variables = {name: f"HYDRA_{name.upper()}" for name in settings}
    return {name: var for name, var in variables.items() if environ.get(var, "").strip()}


def default_config_path(environ: Mapping[str, str] | None = None) -> Path | None:
    """The configuration file to use when none is named: `HYDRA_CONFIG`, else `./hydra.toml`."""
    named = (os.environ if environ is None else environ).get("HYDRA_CONFIG")
    if named:
        return Path(named).expanduser()
    here = Path("hydra.toml")
    return here if here.is_file() else None


def state_path(environ: Mapping[str, str] | None = None) -> Path:
    """Where Hydra keeps its state, whether or not the folder is there yet."""
    named = (os.environ if environ is None else environ).get("HYDRA_STATE_DIR")
    if named:
        return Path(named).expanduser()
    import platformdirs

    return Path(platformdirs.user_state_dir("hydra-llm", appauthor=False))


def state_directory(environ: Mapping[str, str] | None = None) -> Path:
    """The folder for Hydra's state, made with mode 0700 if it is missing. Raises ConfigError."""
    path = state_path(environ)
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ConfigError(
            f"the state directory {path} cannot be made ({reason}); set HYDRA_STATE_DIR to a "
            "folder that can be written"
        ) from None
    return path


def _usable(table: Mapping[str, Any], entry: catalog.CatalogEntry) -> bool:
    if entry.local and table.get("base_url") is None:
        return False
    if not table["keys"] and not (table.get("base_url") and (entry.local or entry.keyless_url)):
        return False
    if entry.base_url is None and table.get("base_url") is None:
        logger.warning(
            "a key of %s is in the environment but not its address; set %s to use it",
            *(entry.name, entry.endpoint_env or entry.base_url_env),
        )
        return False
    if not table.get("models") and not entry.default_models:
        logger.warning(
            "%s is in the environment but no model of it is known; set %s to use it",
            *(entry.name, entry.models_env),
        )
        return False
    return True


def _base_url(
    entry: catalog.CatalogEntry, environ: Mapping[str, str], *, allow_http: bool
) -> str | None:
    for variable, suffix in ((entry.base_url_env, ""), (entry.endpoint_env, entry.endpoint_path)):
        url = environ.get(variable, "").strip() if variable else ""
        if not url:
            continue
        wrong = problem_with(url, allow_http=allow_http)
        if wrong is not None:
            raise Problem(f"the variable {variable} {wrong}", "base_url")
        return url.rstrip("/") + suffix
    return None


def _keys(entry: catalog.CatalogEntry, environ: Mapping[str, str]) -> tuple[FoundKey, ...]:
    try:
        return find_keys(entry.env, environ)
    except ValueError as error:
        problem = Problem(str(error), "keys")
    raise problem


def _env_file(path: Path) -> dict[str, str] | str:
    """The file's variables, or what is wrong with it."""
    from dotenv import dotenv_values

    try:
        text = path.expanduser().read_text("utf-8-sig")
    except FileNotFoundError:
        absent = str(path) == _DEFAULT_ENV_FILE
        return {} if absent else "there is no such file; check the path"
    except OSError as error:
        return f"cannot be read ({error.strerror or type(error).__name__})"
    except UnicodeDecodeError:
        return "is no UTF-8 text; save it as UTF-8"
    values = dotenv_values(stream=io.StringIO(_with_quoted_names(text)))
    return {name: value for name, value in values.items() if value is not None}


def _with_quoted_names(text: str) -> str:
    """The same text with names that hold spaces in quotes, as dotenv wants them."""
    from dotenv.parser import parse_stream

    parts = []
    for binding in parse_stream(io.StringIO(text)):
        original = binding.original.string
        spaced = _SPACED_NAME.match(original) if binding.error else None
        if spaced is not None:
            original = f"{original[: spaced.start(1)]}'{spaced[1]}'{original[spaced.end(1) :]}"
        parts.append(original)
    return "".join(parts)
