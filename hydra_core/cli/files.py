"""Files that a command is told to write: never over one of the user's."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from hydra_core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

_READ: Final = 8_192  # bytes that tell whose a file is


def writable(option: str, file: str, ours: Callable[[str], bool]) -> Path:
    """The path of a file that `option` names and that may be written.

    `ours` tells by a file's beginning whether this command wrote it in an earlier run; such
    a one is replaced, and so is an empty one. What is no regular file (a device, a pipe) is
    written to as it is. Raises ConfigError for a folder, and for a file that somebody else wrote.
    """
    path = Path(file).expanduser()
    if not file or path.is_dir() or not path.absolute().parent.is_dir():
        raise ConfigError(f"{option} {file!r}: name a file, in a folder that is there")
    if path.is_file():
        with path.open("rb") as opened:
            beginning = opened.read(_READ).decode(errors="replace")
        if beginning and not ours(beginning):
            raise ConfigError(
                f"{option} {file!r}: there is a file of that name which this command did not "
                "write; name another, or remove it"
            )
    return path
