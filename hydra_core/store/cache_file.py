"""The SQLite file behind the response cache: its table, and what to do when it is ill.

SQLAlchemy is imported when the file is first opened, so that importing Hydra stays
cheap. Every method may raise `Unusable` (no file can be had at all) or SQLAlchemy's
errors; `trouble` sorts the latter.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import Connection, Engine

SCHEMA_VERSION: Final = 1
KEEP_SECONDS: Final = 7 * 86_400.0
KEEP_ROWS: Final = 10_000
# A reader is a caller with nothing better to offer, and closing may take 2 s in all.
_BUSY_SECONDS: Final = 0.5
_COMPANIONS: Final = ("-wal", "-shm")

_CREATE: Final = """
CREATE TABLE IF NOT EXISTS replies (
  fingerprint TEXT PRIMARY KEY,
  question TEXT NOT NULL,
  reply BLOB NOT NULL,
  at REAL NOT NULL
) WITHOUT ROWID
"""
_CREATE_INDEX: Final = "CREATE INDEX IF NOT EXISTS replies_by_age ON replies (at)"
_WRITE: Final = """
INSERT INTO replies (fingerprint, question, reply, at)
VALUES (:fingerprint, :question, :reply, :at)
ON CONFLICT (fingerprint) DO UPDATE
SET question = excluded.question, reply = excluded.reply, at = excluded.at
WHERE excluded.at >= replies.at
"""
_READ: Final = "SELECT reply, at FROM replies WHERE fingerprint = :fingerprint"
_FORGET_OLD: Final = "DELETE FROM replies WHERE at < :before"
_FORGET_MOST: Final = """
DELETE FROM replies WHERE fingerprint IN
  (SELECT fingerprint FROM replies ORDER BY at DESC LIMIT -1 OFFSET :keep)
"""


class Unusable(Exception):
    """This file will not do, now or later; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Row:
    """One reply as stored: `reply` is JSON text, `at` seconds since 1970."""

    fingerprint: str
    question: str
    reply: bytes
    at: float


class CacheFile:
    """Replies in one SQLite file (WAL, mode 0600). Not safe for two threads at once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._engine: Engine | None = None
        self._inode = 0

    def write(self, rows: Sequence[Row]) -> None:
        """Keep these replies; a newer one of the same request replaces an older."""
        from sqlalchemy import text

        values = [
            {"fingerprint": r.fingerprint, "question": r.question, "reply": r.reply, "at": r.at}
            for r in rows
        ]
        with self._begin() as connection:
            connection.execute(text(_WRITE), values)

    def read(self, fingerprint: str) -> tuple[bytes, float] | None:
        """The stored reply and its time, or None. Makes no file where there is none."""
        if not self.path.exists():
            return None
        from sqlalchemy import text

        with self._begin() as connection:
            row = connection.execute(text(_READ), {"fingerprint": fingerprint}).one_or_none()
        return None if row is None else (bytes(row[0]), float(row[1]))

    def prune(self, now: float) -> None:
        """Forget what is older than 7 days or beyond 10,000 replies, and shorten the log file."""
        from sqlalchemy import text

        with self._begin() as connection:
            connection.execute(text(_FORGET_OLD), {"before": now - KEEP_SECONDS})
            connection.execute(text(_FORGET_MOST), {"keep": KEEP_ROWS})
        with self._opened().connect() as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Let go of the file; the next use opens it again."""
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.dispose()

    def abandon(self) -> None:
        """Forget a connection that belongs to the parent process, without touching it."""
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.dispose(close=False)

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

    @contextmanager
    def _begin(self) -> Iterator[Connection]:
        with self._opened().begin() as connection:
            yield connection

    def _opened(self) -> Engine:
        if self._engine is not None and self._inode == _inode(self.path):
            return self._engine
        self.close()  # the file was deleted or replaced: writing on would go nowhere
        _make_private(self.path)
        engine = _engine(self.path)
        try:
            with engine.begin() as connection:
                _migrate(connection)
        except BaseException:
            engine.dispose()
            raise
        self._engine, self._inode = engine, _inode(self.path)
        return engine


def trouble(error: BaseException) -> str:
    """What kind of failure it is.

    "unusable" for good, "corrupt", "unavailable" for now (locked, full, read-only),
    or "refused", which is about the row and not the file.
    """
    if isinstance(error, Unusable):
        return "unusable"
    original = getattr(error, "orig", None) or error
    code = getattr(original, "sqlite_errorcode", 0) & 0xFF  # the rest is a detail of it
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return "corrupt"
    passing = isinstance(original, sqlite3.OperationalError | OSError)
    return "unavailable" if passing else "refused"


def _make_private(path: Path) -> None:
    """Create the file with mode 0600 before SQLite would with the umask's; mend an open one.

    The `-wal` and `-shm` files take the database's mode. A symbolic link is refused:
    whoever may plant one chooses where the replies go.
    """
    if path.is_symlink():
        raise Unusable(f"{path} is a symbolic link; name the file itself")
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


def _migrate(connection: Connection) -> None:
    version = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
    if version > SCHEMA_VERSION:
        raise Unusable(
            f"it was written by a newer Hydra (schema {version}, this one knows "
            f"{SCHEMA_VERSION}); update Hydra or name another file"
        )
    if version == SCHEMA_VERSION:
        return  # opening writes nothing, so a damaged file is kept as it was found
    connection.exec_driver_sql(_CREATE)
    connection.exec_driver_sql(_CREATE_INDEX)
    connection.exec_driver_sql(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _inode(path: Path) -> int:
    try:
        return path.stat().st_ino
    except OSError:
        return -1
