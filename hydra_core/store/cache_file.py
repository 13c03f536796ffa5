"""The SQLite file behind the response cache: its table, and what is kept in it how long.

Every method may raise what those of `SqliteFile` may.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from hydra_core.store.sqlite_file import SqliteFile, Unusable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

SCHEMA_VERSION: Final = 1
KEEP_SECONDS: Final = 7 * 86_400.0
KEEP_ROWS: Final = 10_000  # of replies, and as many that point to one
_POINTER: Final = "like:"

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
  (SELECT fingerprint FROM replies WHERE (fingerprint LIKE 'like:%') = :pointing
   ORDER BY at DESC LIMIT -1 OFFSET :keep)
"""


@dataclass(frozen=True, slots=True)
class Row:
    """One reply as stored: `reply` is JSON text, `at` seconds since 1970."""

    fingerprint: str
    question: str
    reply: bytes
    at: float


def pointing(alike: str) -> str:
    """The fingerprint of the row that points to the last reply of this name."""
    return _POINTER + alike


class CacheFile(SqliteFile):
    """Replies in one SQLite file. Not safe for two threads at once."""

    def write(self, rows: Sequence[Row]) -> None:
        """Keep these replies; a newer one of the same request replaces an older."""
        from sqlalchemy import text

        values = [
            {"fingerprint": r.fingerprint, "question": r.question, "reply": r.reply, "at": r.at}
            for r in rows
        ]
        with self.begin() as connection:
            connection.execute(text(_WRITE), values)

    def read(self, fingerprint: str) -> tuple[bytes, float] | None:
        """The stored reply and its time, or None. Makes no file where there is none."""
        if not self.path.exists():
            return None
        from sqlalchemy import text

        with self.begin() as connection:
            row = connection.execute(text(_READ), {"fingerprint": fingerprint}).one_or_none()
        return None if row is None else (bytes(row[0]), float(row[1]))

    def prune(self, now: float) -> None:
        """Forget what is older than 7 days or beyond 10,000 replies, and shorten the log file."""
        from sqlalchemy import text

        with self.begin() as connection:
            connection.execute(text(_FORGET_OLD), {"before": now - KEEP_SECONDS})
            for pointing in (0, 1):
                connection.execute(text(_FORGET_MOST), {"keep": KEEP_ROWS, "pointing": pointing})
        self.checkpoint()

    def migrate(self, connection: Connection) -> None:
        """Make the table, or raise `Unusable` for a newer Hydra's."""
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
