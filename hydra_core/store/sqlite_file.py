"""A private SQLite file: how it is made, opened, and moved aside when it is ill.

SQLAlchemy is imported when a file is first opened, so that importing Hydra stays cheap.
Every method may raise `Unusable` (no file can be had at all) or SQLAlchemy's errors;
`trouble` sorts the latter.
"""

from __future__ import annotations

import os
import sqlite3
from abc import ABC, abstractmethod
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hydra_core.store.held_engine import HeldEngine

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection, Engine

PREFIX: Final = "sqlite:///"
# Somebody waits for a reader or for closing, which may take 2 s in all.
_BUSY_SECONDS: Final = 0.5
_COMPANIONS: Final = ("-wal", "-shm")


class Unusable(Exception):
    """This store will not do, now or later; the message says why and what to do."""


class SqliteFile(HeldEngine, ABC):
    """One SQLite file (WAL, mode 0600). Not safe for two threads at once."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self._inode = 0

    @abstractmethod
    def migrate(self, connection: Connection) -> None:
        """Make the tables, or raise `Unusable` for a newer Hydra's.

        A file that has them is not written to, so a damaged one is kept as it was found.
        """

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """One transaction, in a file opened for it if need be."""
        with self._opened().begin() as connection:
            yield connection

    def checkpoint(self) -> None:
        """Shorten the write-ahead log to nothing."""
        with self._opened().connect() as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")

    def quarantine(self, now: float) -> Path:
        """Move a corrupt file aside, with its companions, and never delete it."""
        self.close()
        aside = self.path.with_name(f"{self.path.name}.corrupt-{now:.0f}")
        while aside.exists():
            aside = aside.with_name(f"{aside.name}x")
        self.path.rename(aside)
        for suffix in _COMPANIONS:
            companion = Path(f"{self.path}{suffix}")
            if companion.exists():
                companion.rename(f"{aside}{suffix}")
        return aside

    def _opened(self) -> Engine:
        if self._engine is not None and self._inode == _inode(self.path):
            return self._engine
        self.close()  # the file was deleted or replaced: writing on would go nowhere
        _make_private(self.path)
        engine = _engine(self.path)
        try:
            with engine.begin() as connection:
                self.migrate(connection)
        except BaseException:
            engine.dispose()
            raise
        self._engine, self._inode = engine, _inode(self.path)
        return engine


def path_of(url: str) -> Path | None:
    """The file that a URL `sqlite:///path` names; None for any other and for a memory's."""
    if not url.startswith(PREFIX) or url in (PREFIX, f"{PREFIX}:memory:"):
        return None
    return Path(url.removeprefix(PREFIX)).expanduser()


def trouble(error: BaseException) -> str:
    """What kind of failure it is.

    "unusable" for good, "corrupt", "unavailable" for now (locked, full, read-only, out of
    reach), or "refused", which is about the row and not the store.
    """
    if isinstance(error, Unusable | ImportError):
        return "unusable"
    original = getattr(error, "orig", None) or error
    code = getattr(original, "sqlite_errorcode", 0) & 0xFF  # the rest is a detail of it
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return "corrupt"
    if isinstance(original, sqlite3.OperationalError | OSError):
        return "unavailable"
    # A server's driver names its errors as PEP 249 wants it: this one is about the connection.
    passing = any(kind.__name__ == "OperationalError" for kind in type(original).__mro__)
    return "unavailable" if passing else "refused"


def refuse_link(path: Path) -> None:
    """Raise `Unusable` for a symbolic link: whoever may plant one chooses where we write."""
    if path.is_symlink():
        raise Unusable(f"{path} is a symbolic link; name the file itself")


def _make_private(path: Path) -> None:
    """Create the file with mode 0600 before SQLite would with the umask's; mend an open one.

    The `-wal` and `-shm` files take the database's mode.
    """
    refuse_link(path)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
    handle = os.open(path, flags, 0o600)
    try:
        if hasattr(os, "fchmod") and os.fstat(handle).st_mode & 0o077:
            os.fchmod(handle, 0o600)
    finally:
        os.close(handle)


def _engine(path: Path) -> Engine:
    from sqlalchemy import URL, StaticPool, create_engine, event

    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        connect_args={"timeout": _BUSY_SECONDS, "check_same_thread": False},
        poolclass=StaticPool,
        hide_parameters=True,
    )

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: Any) -> None:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")

    return engine


def _inode(path: Path) -> int:
    try:
        return path.stat().st_ino
    except OSError:
        return -1
