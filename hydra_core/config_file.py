"""Reading a configuration file without letting its text into an error."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, NoReturn

from hydra_core.environment import told
from hydra_core.errors import ConfigError
from hydra_core.vault import shape

if TYPE_CHECKING:
    from pathlib import Path

# A configuration of a thousand keys has some 100 KB; what is larger is another file.
_LARGEST: Final = 1 << 20
_LINE: Final = re.compile(r"line (\d+)")


def read_config_file(path: Path) -> dict[str, Any]:
    """The content of a `.toml` or `.json` file. Raises ConfigError with the line, not the text."""
    parsed = _parsed(path.expanduser())
    if isinstance(parsed, str):
        raise ConfigError(f"configuration file {told(path)}: {parsed}")
    return parsed


def _parsed(path: Path) -> dict[str, Any] | str:
    """The table, or what is wrong: an exception raised here would hold the text in its frame."""
    parse = _PARSERS.get(path.suffix.lower())
    if parse is None:
        return f"its name must end in {' or '.join(_PARSERS)} (a key is no file: set its variable)"
    try:
        if path.stat().st_size > _LARGEST:
            return f"it is larger than {_LARGEST} bytes, so it can be no configuration"
        document = parse(path.read_text("utf-8-sig"))
    except OSError as error:
        return f"cannot be read ({error.strerror or type(error).__name__}); check the path"
    except UnicodeDecodeError:
        return "is no UTF-8 text; save it as UTF-8"
    except RecursionError:
        return "is nested too deeply"
    except ValueError as error:
        line = _LINE.search(str(error))
        return f"is no valid {path.suffix[1:].upper()}" + (f" at line {line[1]}" if line else "")
    if not isinstance(document, Mapping):
        return f"must hold a table of settings; it is {shape(document)}"
    return dict(document)


def _json(text: str) -> Any:
    return json.loads(text, parse_constant=_no_constant)


def _no_constant(_: str) -> NoReturn:
    raise ValueError("NaN and Infinity are no JSON")


_PARSERS: Final[Mapping[str, Callable[[str], Any]]] = {".toml": tomllib.loads, ".json": _json}
