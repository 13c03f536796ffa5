"""Where a pool's memory is kept: its rows, its last errors, and a salt.

The same SQL serves SQLite and PostgreSQL. What is written goes through SQLAlchemy; the
one read at the start of a process goes straight to `sqlite3` where it can, because
SQLAlchemy takes longer to import (0.15 s) than everything else a `Hydra` needs.

Law 1: a row is whole or it is not there: each has a checksum, and one that fails it is
       passed over, since SQLite does not notice a changed byte in a text.
Law 2: a newer Hydra's store is neither read nor changed.
"""

from __future__ import annotations

import secrets
import sqlite3
import zlib
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import orjson

from hydra_core.store.held_engine import HeldEngine
from hydra_core.store.sqlite_file import SqliteFile, Unusable, path_of, refuse_link

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from sqlalchemy import Connection, Engine

SCHEMA_VERSION: Final = 1
KEEP_ERRORS: Final = 50
_KEEP_SECONDS: Final = 30 * 86_400.0
_READ_WAIT: Final = 0.2  # a start is not delayed longer by another process's writing
_CONNECT_WAIT: Final = 2
_SALT_BYTES: Final = 16
_READ_ONLY: Final = (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY)

_CREATE: Final = (
    "CREATE TABLE IF NOT EXISTS hydra_meta (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
    """CREATE TABLE IF NOT EXISTS hydra_state (
      section TEXT NOT NULL, scope TEXT NOT NULL, at DOUBLE PRECISION NOT NULL,
      writer TEXT NOT NULL, checksum BIGINT NOT NULL, data TEXT NOT NULL,
      PRIMARY KEY (section, scope))""",
    """CREATE TABLE IF NOT EXISTS hydra_errors (
      id BIGINT PRIMARY KEY, at TEXT NOT NULL, provider TEXT, model TEXT, key_name TEXT,
      error_type TEXT, fault TEXT, status INTEGER, message TEXT)""",
)
_READ_META: Final = "SELECT name, value FROM hydra_meta"
_WRITE_META: Final = """
INSERT INTO hydra_meta (name, value) VALUES (:name, :value) ON CONFLICT (name) DO NOTHING
"""
_READ_STATE: Final = "SELECT section, scope, at, checksum, data FROM hydra_state"
_READ_SCOPES: Final = f"{_READ_STATE} WHERE scope IN :scopes"
_SCOPES_AT_ONCE: Final = 500
_LOCK_STATE: Final = "LOCK TABLE hydra_state IN SHARE ROW EXCLUSIVE MODE"
_LOCK_MAKING: Final = "SELECT pg_advisory_xact_lock(5207310422141321)"  # any number of our own
_FORGET_STATE: Final = "DELETE FROM hydra_state WHERE at < :before"
_WRITE_STATE: Final = """
INSERT INTO hydra_state (section, scope, at, writer, checksum, data)
VALUES (:section, :scope, :at, :writer, :checksum, :data)
ON CONFLICT (section, scope) DO UPDATE SET at = excluded.at, writer = excluded.writer,
  checksum = excluded.checksum, data = excluded.data
"""
_READ_ERRORS: Final = """
SELECT at, provider, model, key_name, error_type, fault, status, message
FROM hydra_errors ORDER BY id
"""
_WRITE_ERROR: Final = """
INSERT INTO hydra_errors (id, at, provider, model, key_name, error_type, fault, status, message)
VALUES ((SELECT coalesce(max(id), 0) + 1 FROM hydra_errors), :timestamp, :provider, :model, :key,
        :error_type, :fault, :status, :message)
"""
_FORGET_ERRORS: Final = """
DELETE FROM hydra_errors WHERE id <= (SELECT max(id) FROM hydra_errors) - :keep
"""
_ERROR_FIELDS: Final = (
    "timestamp", "provider", "model", "key", "error_type", "fault", "status", "message",
)  # fmt: skip

Sections = dict[str, dict[str, Any]]
"""JSON data by section and scope."""


@dataclass(frozen=True, slots=True)
class Stored:
    """What a store held. `salt` None: nothing yet; `at`: when it was last written."""

    salt: str | None = None
    at: float | None = None
    sections: Sections = field(default_factory=dict)
    errors: list[dict[str, Any]] = field(default_factory=list)


class StateFile(SqliteFile):
    """The memory in a SQLite file."""

    def migrate(self, connection: Connection) -> None:
        """Make the tables, or raise `Unusable` for a newer Hydra's."""
        _migrate(connection)

    def peek(self) -> Stored:
        """What the file holds; nothing where there is none. Loads no SQLAlchemy.

        Raises `Unusable`, OSError or sqlite3's errors.
        """
        refuse_link(self.path)
        if not self.path.exists():
            return Stored()
        with closing(_reader(self.path)) as connection:
            connection.execute("PRAGMA query_only = ON")
            tables = "SELECT count(*) FROM sqlite_master WHERE name = 'hydra_meta'"
            if connection.execute(tables).fetchone() == (0,):
                return Stored()
            return _read(lambda statement: connection.execute(statement).fetchall())


class StateDatabase(HeldEngine):
    """The memory in a database server, by its SQLAlchemy URL."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url

    def peek(self) -> Stored:
        """What the database holds. Raises `Unusable` or SQLAlchemy's errors."""
        from sqlalchemy import text

        with self.begin() as connection:
            return _read(lambda statement: connection.execute(text(statement)).all())

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """One transaction."""
        if self._engine is None:
            engine = self._connected()
            try:
                with engine.begin() as connection:
                    _migrate(connection)
            except BaseException:
                engine.dispose()
                raise
            self._engine = engine
        with self._engine.begin() as connection:
            yield connection

    def _connected(self) -> Engine:
        from sqlalchemy import create_engine, make_url
        from sqlalchemy.exc import ArgumentError

        try:
            url = make_url(self._url)
            postgres = url.get_backend_name() == "postgresql"
            arguments = {"connect_timeout": _CONNECT_WAIT} if postgres else {}
            return create_engine(
                url,
                connect_args=arguments,
                hide_parameters=True,
                pool_pre_ping=True,
                pool_size=1,
                max_overflow=0,
            )
        except ArgumentError:  # its words repeat the URL, and with it a password
            problem = "the store's URL names no database that SQLAlchemy knows"
        raise Unusable(problem)

    def quarantine(self, now: float) -> Path:  # noqa: ARG002 - as a file's
        """A server's data is its owner's to mend. Always raises OSError."""
        raise OSError("a database server is not moved aside")


StateStore = StateFile | StateDatabase


def open_store(url: str) -> StateStore | None:
    """The store that a URL names; None for "memory" and for a SQLite database in memory."""
    if url in ("memory", "sqlite://", "sqlite:///:memory:"):
        return None
    path = path_of(url)
    return StateDatabase(url) if path is None else StateFile(path)


def salt_of(store: StateStore) -> str:
    """The store's salt, made if there is none. Raises as `begin` does."""
    from sqlalchemy import text

    with store.begin() as connection:
        return _meta(connection.execute(text(_READ_META)).all())["salt"]


def write(
    store: StateStore,
    sections: Sections,
    errors: Sequence[Mapping[str, Any]],
    *,
    writer: str,
    now: float,
    merge: Callable[[str, str, Any, Any], Any],
) -> None:
    """Keep these rows and errors.

    `writer` names this process; `now` is seconds since 1970. What another one wrote is not
    lost: what is kept of a row that is there already is `merge(section, scope, stored, ours)`.
    Raises as `begin` does.
    """
    from sqlalchemy import bindparam, text

    with store.begin() as connection:
        # First, because a write takes SQLite's lock: nobody changes what is read next.
        if connection.dialect.name == "postgresql":
            connection.execute(text(_LOCK_STATE))
        connection.execute(text(_FORGET_STATE), {"before": now - _KEEP_SECONDS})
        ours = {(section, scope) for section, scopes in sections.items() for scope in scopes}
        names = sorted({scope for _, scope in ours})
        read = text(_READ_SCOPES).bindparams(bindparam("scopes", expanding=True))
        for first in range(0, len(names), _SCOPES_AT_ONCE):
            scopes = names[first : first + _SCOPES_AT_ONCE]
            stored = connection.execute(read, {"scopes": scopes}).all()
            for section, scope, _, row in _rows(stored, ours):
                mine = sections[section][scope]
                sections[section][scope] = merge(section, scope, row, mine)
        rows = [
            _row(section, scope, value, writer, now)
            for section, scopes in sections.items()
            for scope, value in scopes.items()
        ]
        if rows:
            connection.execute(text(_WRITE_STATE), rows)
        for error in errors:
            connection.execute(text(_WRITE_ERROR), {n: error.get(n) for n in _ERROR_FIELDS})
        connection.execute(text(_FORGET_ERRORS), {"keep": KEEP_ERRORS})


def _reader(path: Path) -> sqlite3.Connection:
    """A connection that makes no file. Where nothing can be written, nothing else is either."""
    address = f"file:{quote(str(path.absolute()))}"
    connection = sqlite3.connect(f"{address}?mode=rw", uri=True, timeout=_READ_WAIT)
    try:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.OperationalError as error:
        connection.close()
        if error.sqlite_errorcode & 0xFF not in _READ_ONLY:
            raise
        return sqlite3.connect(f"{address}?immutable=1", uri=True, timeout=_READ_WAIT)
    except BaseException:
        connection.close()
        raise
    return connection


def _read(fetch: Callable[[str], Sequence[Any]]) -> Stored:
    meta = _meta(fetch(_READ_META))
    stored = Stored(meta.get("salt"), errors=[])
    newest = None
    for section, scope, at, row in _rows(fetch(_READ_STATE)):
        stored.sections.setdefault(section, {})[scope] = row
        newest = at if newest is None else max(newest, at)
    stored.errors.extend(dict(zip(_ERROR_FIELDS, row, strict=True)) for row in fetch(_READ_ERRORS))
    return Stored(stored.salt, newest, stored.sections, stored.errors)


def _rows(
    rows: Iterable[Any], wanted: Container[tuple[str, str]] | None = None
) -> Iterator[tuple[str, str, float, Any]]:
    """The rows that are whole, and wanted."""
    for section, scope, at, checksum, data in rows:
        if wanted is not None and (section, scope) not in wanted:
            continue
        if isinstance(data, str) and _checksum(data) == checksum:
            try:
                yield section, scope, float(at), orjson.loads(data)
            except (ValueError, TypeError):
                continue


def _row(section: str, scope: str, value: object, writer: str, now: float) -> dict[str, Any]:
    data = orjson.dumps(value).decode()
    return {
        "section": section,
        "scope": scope,
        "at": now,
        "writer": writer,
        "checksum": _checksum(data),
        "data": data,
    }


def _checksum(data: str) -> int:
    return zlib.crc32(data.encode("utf-8", "surrogatepass"))


def _migrate(connection: Connection) -> None:
    from sqlalchemy import inspect, text

    if connection.dialect.name == "postgresql" and not inspect(connection).has_table("hydra_meta"):
        connection.execute(text(_LOCK_MAKING))  # of two that begin at once the second waits
    if inspect(connection).has_table("hydra_meta"):
        _meta(connection.execute(text(_READ_META)).all())
        return  # opening writes nothing, so a damaged store is kept as it was found
    for statement in _CREATE:
        connection.execute(text(statement))
    salt = secrets.token_hex(_SALT_BYTES)
    new = {"schema": str(SCHEMA_VERSION), "salt": salt}
    connection.execute(text(_WRITE_META), [{"name": n, "value": v} for n, v in new.items()])


def _meta(rows: Sequence[Any]) -> dict[str, str]:
    """What the store says of itself. Raises `Unusable` for another Hydra's, whenever it came."""
    meta = {str(name): str(value) for name, value in rows}
    schema = meta.get("schema", "")
    if schema != str(SCHEMA_VERSION):
        raise Unusable(
            f"it is of schema {schema[:20] or 'unknown'}, and this Hydra knows {SCHEMA_VERSION}; "
            "update Hydra, name another store or delete this one"
        )
    return meta
