"""The same memory in PostgreSQL, by nothing but another `store` URL."""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from hydra_core import Hydra
from hydra_core.store.state_store import StateDatabase, salt_of
from hydra_core.testing import FakeKey, FakeLimits, FakeProvider

KEYS = ("gsk_CANARY0123456789abcdefg1", "gsk_CANARY0123456789abcdefg2")


CUT = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE pid <> pg_backend_pid() AND datname = 'postgres'
"""


def tool(name):
    """The path of one of the server's programs; Debian keeps them out of PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return shutil.which(name) or (str(found[-1]) if found else None)


pytestmark = [
    pytest.mark.skipif(tool("initdb") is None, reason="no PostgreSQL server is installed"),
    pytest.mark.skipif(
        importlib.util.find_spec("psycopg") is None, reason="psycopg is not installed"
    ),
]


def somebody():
    """Whom the server runs as: it refuses to run as root."""
    if os.geteuid() != 0:
        return None
    pwd = pytest.importorskip("pwd")
    known = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in ("postgres", "nobody") if name in known)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def server():
    """A server of its own on loopback, and its URL."""
    user, port = somebody(), free_port()
    with TemporaryDirectory() as folder:
        if user is not None:
            shutil.chown(folder, user)

        def run(*command):
            subprocess.run(command, check=True, user=user, cwd=folder, stdout=subprocess.DEVNULL)  # noqa: S603

        data = f"{folder}/data"
        run(tool("initdb"), "-D", data, "-A", "trust", "-U", "hydra", "--no-sync")
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder}"
        run(tool("pg_ctl"), "-D", data, "-o", options, "-l", f"{folder}/log", "-w", "start")
        try:
            yield f"postgresql+psycopg://hydra@127.0.0.1:{port}/postgres"
        finally:
            run(tool("pg_ctl"), "-D", data, "-m", "immediate", "-w", "stop")


def test_the_next_process_knows_what_this_one_learned(server):
    """Cooldown, counts and errors come back from the server; the provider's log is the judge."""
    limits = FakeLimits(rpm=100, rpd=50)
    with FakeProvider([FakeKey(value, limits=limits) for value in KEYS]) as fake:
        config = fake.config(strategy="priority", cache=False, max_wait=0.0, store=server)
        fake.fail("rate_limit", key=0, times=1, retry_after=3600)
        with Hydra(config) as first:
            assert [first.chat(f"first {n}").key for n in range(3)] == ["fake-2"] * 3
        with Hydra(config) as second:
            assert second.remembered is not None
            assert second.chat("second").key == "fake-2"
            health = second.health()
        assert fake.by_key["fake-1"].calls == 1
    keys = health["providers"]["fake"]["keys"]
    assert [key["state"] for key in keys] == ["resting", "active"]
    assert keys[1]["limits"]["rpd"]["used"] == 4
    assert [error["fault"] for error in health["recent_errors"]] == ["rate_limit_minute"]
    stored = StateDatabase(server).peek()
    assert not [value for value in KEYS if value in repr(stored)]


def test_processes_that_begin_at_once_on_a_new_server_share_one_store(server):
    """Four make the tables in the same moment: none is refused, all know one salt."""
    from sqlalchemy import create_engine, text

    admin = create_engine(server)
    with admin.begin() as connection:
        connection.execute(text("DROP TABLE IF EXISTS hydra_meta, hydra_state, hydra_errors"))
    admin.dispose()
    stores, together = [StateDatabase(server) for _ in range(4)], threading.Barrier(4)

    def begin(store):
        together.wait()
        return salt_of(store)

    with ThreadPoolExecutor(4) as threads:
        salts = list(threads.map(begin, stores))
    for store in stores:
        store.close()
    assert len(set(salts)) == 1


def test_a_server_that_goes_away_stops_no_answer(server, caplog):
    """Its connections cut under a running Hydra: calls go on, and what waited is written."""
    from sqlalchemy import create_engine, text

    with (
        FakeProvider([FakeKey(KEYS[0])]) as fake,
        Hydra(fake.config(cache=False, store=server)) as hydra,
    ):
        hydra.chat("hello")
        keeper = hydra._memory._keeper
        assert keeper._kept()
        killer = create_engine(server)
        with killer.begin() as connection:
            connection.execute(text(CUT))
        killer.dispose()
        assert hydra.chat("again").kind == "full"
        assert keeper._kept() or keeper._kept()
    assert "Traceback" not in caplog.text
