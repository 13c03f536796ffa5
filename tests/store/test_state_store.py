"""A damaged, foreign, locked or unwritable store never stops an answer and never costs a key."""

from __future__ import annotations

import logging
import os
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import pytest

from hydra_core import Hydra
from hydra_core.store.state_store import StateFile, salt_of, write
from hydra_core.testing import FakeKey, FakeProvider

KEYS = ("gsk_CANARY0123456789abcdefg1", "gsk_CANARY0123456789abcdefg2")
NOW = 1_790_000_000.0


@pytest.fixture(scope="module")
def fake():
    """A provider with two keys and no limits."""
    with FakeProvider([FakeKey(value) for value in KEYS]) as served:
        yield served


@pytest.fixture
def path(tmp_path):
    """Where the store is."""
    return tmp_path / "state" / "hydra.db"


@pytest.fixture
def lived(fake, path):
    """A store that a process has used: both keys called, errors noted."""
    fake.fail("overloaded", times=1)
    with opened(fake, path) as hydra:
        for number in range(6):
            hydra.chat(f"question {number}")
    return path


def opened(fake, path, **settings):
    usual = {"cache": False, "strategy": "round_robin", "store": f"sqlite:///{path}"}
    usual["transport"] = "pyreqwest"  # the quickest to build, and here it is built 200 times
    return Hydra(fake.config(**{**usual, **settings}))


def answers(fake, path):
    """Both keys of the configuration answer, whatever lies at `path`; how old that was."""
    with opened(fake, path) as hydra:
        replies = [hydra.chat(f"question {number}") for number in range(2)]
        assert [reply.kind for reply in replies] == ["full", "full"]
        assert {reply.key for reply in replies} == {"fake-1", "fake-2"}
        assert [key.value.get_secret_value() for key in hydra.config.providers[0].keys] == [*KEYS]
        return hydra.remembered


def restored(path, raw):
    for file in path.parent.iterdir():
        file.unlink()
    path.write_bytes(raw)


def cuts(raw):
    return [raw[: len(raw) * percent // 100] for percent in range(100)]


def flips(raw):
    rng = Random(7)
    for _ in range(60):
        at = rng.randrange(len(raw))
        yield raw[:at] + bytes([raw[at] ^ 1 << rng.randrange(8)]) + raw[at + 1 :]


def zeroed(raw):
    return [raw[:at] + bytes(4096) + raw[at + 4096 :] for at in range(0, len(raw), 4096)]


def foreign(raw):
    return [b"", b"x", b"no database at all, " * 500, b"\0" * 8192, os.urandom(8192), raw + raw]


@pytest.mark.parametrize("damage", [cuts, flips, zeroed, foreign])
def test_no_damage_stops_an_answer_or_costs_a_key(fake, lived, damage):
    """Each cut, flipped bit, zeroed page and foreign content: two answers, and a sound store."""
    raw = lived.read_bytes()
    for damaged in damage(raw):
        restored(lived, damaged)
        answers(fake, lived)
        kept = [file.read_bytes() for file in lived.parent.glob("*.corrupt-*")]
        assert kept in ([], [damaged])
        StateFile(lived).peek()


def test_a_changed_byte_in_a_row_costs_that_row(lived):
    """SQLite does not notice it; the row's checksum does."""
    raw = lived.read_bytes()
    assert raw.count(b'"reliability"') >= 2
    lived.write_bytes(raw.replace(b'"reliability":', b'"reliabilitx":', 1))
    before = len(rows(raw, lived.parent / "whole.db"))
    assert len(StateFile(lived).peek().sections["deployments"]) == before - 1


def rows(raw, path):
    path.write_bytes(raw)
    return StateFile(path).peek().sections["deployments"]


@pytest.mark.parametrize("schema", ["2", "", "one"])
def test_a_store_of_another_schema_is_left_alone(fake, lived, caplog, schema):
    """Neither read nor changed nor moved; it is said once, and the memory serves."""
    with sqlite3.connect(lived) as connection:
        connection.execute("UPDATE hydra_meta SET value = ? WHERE name = 'schema'", (schema,))
    connection.close()
    before = lived.read_bytes()
    answers(fake, lived)
    assert lived.read_bytes() == before
    assert caplog.text.count("cannot be used") == 1
    assert "update Hydra" in caplog.text


def test_a_store_that_a_newer_hydra_takes_over_is_left_to_it(fake, lived, caplog):
    """Its schema changes under a running process: that one writes no more into it."""
    with opened(fake, lived) as hydra:
        hydra.chat("hello")
        assert hydra._memory._keeper._kept()
        with sqlite3.connect(lived) as connection:
            connection.execute("UPDATE hydra_meta SET value = '2' WHERE name = 'schema'")
            before = connection.execute("SELECT * FROM hydra_state").fetchall()
        assert hydra.chat("again").kind == "full"
        hydra._memory._keeper._kept()
        assert connection.execute("SELECT * FROM hydra_state").fetchall() == before
        connection.close()
    assert caplog.text.count("cannot be used") == 1


def test_tables_that_vanish_are_made_anew(fake, lived):
    """Somebody dropped them under a running process: what it knows is stored again."""
    with opened(fake, lived) as hydra:
        hydra.chat("hello")
        assert hydra._memory._keeper._kept()
        with sqlite3.connect(lived) as connection:
            for table in ("meta", "state", "errors"):
                connection.execute(f"DROP TABLE hydra_{table}")
        connection.close()
        hydra.chat("again")
        assert [hydra._memory._keeper._kept() for _ in range(2)] == [False, True]
    assert len(StateFile(lived).peek().sections["deployments"]) == 2


def test_a_foreign_database_loses_nothing(fake, path):
    """Tables of somebody else stay as they are, also one that has our table's name."""
    path.parent.mkdir()
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE theirs (a)")
        connection.execute("INSERT INTO theirs VALUES (1)")
        connection.execute("CREATE TABLE hydra_state (theirs_too)")
    connection.close()
    answers(fake, path)
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT a FROM theirs").fetchall() == [(1,)]
    connection.close()


def test_a_locked_store_delays_nobody_for_long(fake, lived, caplog):
    """While another process holds it, calls go on without it, and it is said once."""
    holder = sqlite3.connect(lived, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    answers(fake, lived)
    holder.execute("ROLLBACK")
    holder.close()
    assert caplog.text.count("locked") >= 1
    assert len(caplog.records) == 1


def test_what_a_locked_store_refused_is_written_when_it_is_free(fake, path):
    """Nothing is marked as stored before it is."""
    with opened(fake, path) as hydra:
        keeper = hydra._memory._keeper
        salt_of(keeper._store)
        holder = sqlite3.connect(path, isolation_level=None)
        holder.execute("BEGIN EXCLUSIVE")
        hydra.chat("hello")
        assert not keeper._kept()
        holder.execute("ROLLBACK")
        holder.close()
        assert keeper._kept()
    assert StateFile(path).peek().sections["deployments"]


def test_a_symbolic_link_is_neither_read_nor_written(fake, lived, tmp_path, caplog):
    """Whoever may plant one chooses neither what is believed nor where it is written."""
    link = tmp_path / "link.db"
    link.symlink_to(lived)
    before = lived.read_bytes()
    with opened(fake, link) as hydra:
        assert hydra.remembered is None
    answers(fake, link)
    assert lived.read_bytes() == before
    assert "symbolic link" in caplog.text


def test_a_folder_or_a_place_that_cannot_be_is_no_reason_to_fail(fake, tmp_path):
    """A directory where the file should be, and a path below a file."""
    (tmp_path / "file").write_text("")
    for path in (tmp_path, tmp_path / "file" / "hydra.db"):
        answers(fake, path)


def test_only_the_owner_can_read_it(fake, lived):
    """The file and its folder are private, also when the file was open before."""
    assert stat.S_IMODE(lived.stat().st_mode) == 0o600
    assert stat.S_IMODE(lived.parent.stat().st_mode) == 0o700
    lived.chmod(0o644)
    answers(fake, lived)
    assert stat.S_IMODE(lived.stat().st_mode) == 0o600


LIMITED = """
import logging, os, resource, signal, sys
logging.basicConfig()
sys.path[:0] = {paths!r}
from pathlib import Path
from hydra_core.testing import FakeKey, FakeProvider
import test_state_store as t
with FakeProvider([FakeKey(value) for value in t.KEYS]) as fake:
    t.answers(fake, Path({other!r}))  # whatever is imported late is imported now
    {limit}
    print([t.answers(fake, Path({path!r})) for _ in range(2)])
"""
FULL = """
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))
"""
UNPRIVILEGED = """
    os.setgid(65534); os.setuid(65534)
"""


def limited(limit, path, tmp_path):
    """Answer twice in a process that may do less; what it printed, and complained of."""
    script = LIMITED.format(
        paths=[str(Path(__file__).parent)], limit=limit.strip(), path=str(path),
        other=str(tmp_path / "other.db"),
    )  # fmt: skip
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, check=False, timeout=50, capture_output=True, text=True)  # noqa: S603
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such limits there")
def test_a_full_disk_is_survived(path, tmp_path):
    """When no file may grow beyond two pages, calls go on, and it is said once a process."""
    _, told = limited(FULL, path, tmp_path)
    assert 1 <= told.count("state store") <= 2
    assert "Traceback" not in told


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can become somebody else"
)
def test_a_read_only_place_is_survived_and_read(fake, tmp_path):
    """A folder in which nothing may be written: what it holds is known, and calls go on."""
    with TemporaryDirectory() as folder:  # pytest's own is closed to others
        path = Path(folder) / "hydra.db"
        answers(fake, path)
        path.chmod(0o444)
        path.parent.chmod(0o555)
        ages, told = limited(UNPRIVILEGED, path, tmp_path)
        assert "None" not in ages
        assert "Traceback" not in told
        assert [file.name for file in path.parent.iterdir()] == ["hydra.db"]


def test_a_password_in_the_url_is_in_no_message(fake, caplog):
    """A server that is out of reach, or of a kind nobody knows, is named without its URL."""
    caplog.set_level(logging.DEBUG)
    secret = "CANARY-password"
    for scheme in ("postgresql+psycopg", "nonsense", "postgresql+nonsense"):
        with Hydra(fake.config(store=f"{scheme}://me:{secret}@127.0.0.1:1/db")) as hydra:
            assert hydra.chat("hello").kind == "full"
    assert secret not in caplog.text
    assert "what is learned" in caplog.text


def test_rows_of_another_process_are_merged_and_old_ones_forgotten(path):
    """What is stored goes through `merge` with what is to be; after a month a row goes."""
    store = StateFile(path)

    def put(writer, now, value, scope="k"):
        write(
            store, {"deployments": {scope: value}}, [], writer=writer, now=now,
            merge=lambda section, scope, theirs, ours: [section, scope, theirs, ours],
        )  # fmt: skip

    put("a", NOW, 5)
    put("b", NOW - 1, 3)  # it began before the other, and came later
    assert store.peek().sections == {"deployments": {"k": ["deployments", "k", 5, 3]}}
    put("c", NOW + 31 * 86_400, 2, scope="new")
    assert store.peek().sections == {"deployments": {"new": 2}}
    store.close()


def test_the_last_fifty_errors_are_kept_in_order(path):
    """Older ones go, also when several processes write."""
    store = StateFile(path)
    for number in range(7):
        errors = [{"timestamp": f"{number}-{n}", "fault": "unknown"} for n in range(10)]
        write(
            store, {}, errors, writer=str(number), now=NOW, merge=lambda *rows: rows[-1]
        )
    kept = [error["timestamp"] for error in store.peek().errors]
    assert kept == [f"{number}-{n}" for number in range(2, 7) for n in range(10)]
    store.close()


def test_peeking_makes_no_file(path):
    """Looking for a store that is not there leaves nothing behind."""
    assert StateFile(path).peek().salt is None
    assert not path.parent.exists()
