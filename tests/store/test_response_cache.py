"""The response cache: fast to write, private on disk, and never the reason a call fails."""

from __future__ import annotations

import logging
import os
import sqlite3
import stat
import subprocess
import sys
import threading
import time
import weakref
from typing import TYPE_CHECKING

import pytest

from hydra_core.store.cache_file import KEEP_SECONDS, SCHEMA_VERSION, CacheFile, Row
from hydra_core.store.response_cache import CachedReply, ResponseCache

if TYPE_CHECKING:
    from pathlib import Path

CANARY = "gsk_CANARY0123456789abcdefghij"
NOW = 1_790_000_000.0


def redact(text: str) -> str:
    return text.replace(CANARY, "[groq-1]")


def opened(path: Path) -> ResponseCache:
    return ResponseCache(f"sqlite:///{path}", redact=redact, clock=lambda: NOW)


def filled(path: Path, **replies: str) -> None:
    cache = opened(path)
    for fingerprint, text in replies.items():
        cache.put(fingerprint, "question", {"text": text}, NOW)
    cache.close()


def test_a_reply_survives_the_process_that_got_it(tmp_path):
    """What one cache wrote, the next one reads, with the time of the answer."""
    filled(tmp_path / "cache.db", one="first")
    assert opened(tmp_path / "cache.db").get("one") == CachedReply({"text": "first"}, NOW)


def test_memory_keeps_nothing_on_disk(tmp_path, monkeypatch):
    """The URL "memory" remembers within the process and writes no file."""
    monkeypatch.chdir(tmp_path)
    cache = ResponseCache("memory", redact=redact, clock=lambda: NOW)
    cache.put("one", "question", {"text": "first"}, NOW)
    cache.close()
    assert cache.get("one") == CachedReply({"text": "first"}, NOW)
    assert list(tmp_path.iterdir()) == []


def test_a_reply_given_out_is_a_copy():
    """Changing a reply after `put` or after `get` does not change the cache."""
    cache = ResponseCache("memory", redact=redact, clock=lambda: NOW)
    reply = {"text": "first"}
    cache.put("one", "question", reply, NOW)
    reply["text"] = "changed"
    found = cache.get("one")
    assert found is not None
    found.reply_json["text"] = "changed too"
    assert cache.get("one") == CachedReply({"text": "first"}, NOW)


def test_memory_holds_the_512_most_recently_used():
    """The least recently used reply leaves first; reading one keeps it."""
    cache = ResponseCache("memory", redact=redact, clock=lambda: NOW)
    for number in range(512):
        cache.put(str(number), "question", {"n": number}, NOW)
    assert cache.get("0") is not None
    cache.put("512", "question", {"n": 512}, NOW)
    assert cache.get("1") is None
    assert cache.get("0") is not None


def test_no_secret_reaches_the_file(tmp_path):
    """A key in a question or a reply is redacted before it is written anywhere."""
    cache = opened(tmp_path / "cache.db")
    cache.put("one", f"my key is {CANARY}", {"text": f"your key is {CANARY}"}, NOW)
    cache.close()
    raw = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert b"your key is [groq-1]" in raw
    assert not [w for w in windows(CANARY) if w.encode() in raw]


def run(script: str) -> str:
    """Run a program to its end and return what it complained of."""
    command = [sys.executable, "-W", "error", "-c", script]
    done = subprocess.run(command, check=False, timeout=50, capture_output=True, text=True)  # noqa: S603
    assert done.returncode == 0, done.stderr
    return done.stderr


def windows(secret: str) -> list[str]:
    return [secret[start : start + 8] for start in range(len(secret) - 7)]


def test_a_failing_redactor_stores_nothing(tmp_path, caplog):
    """A reply that cannot be redacted stays out of the file; later ones still get there."""

    def picky(text: str) -> str:
        if CANARY in text:
            raise KeyError("no rule")
        return text

    cache = ResponseCache(f"sqlite:///{tmp_path}/c.db", redact=picky, clock=lambda: NOW)
    cache.put("bad", "question", {"text": CANARY}, NOW)
    cache.put("good", "question", {"text": "fine"}, NOW)
    cache.close()
    assert opened(tmp_path / "c.db").get("bad") is None
    assert opened(tmp_path / "c.db").get("good") == CachedReply({"text": "fine"}, NOW)
    assert CANARY not in caplog.text


def test_only_the_owner_can_read_the_file(tmp_path):
    """The file and its folder are private, also when the file was open before."""
    path = tmp_path / "state" / "cache.db"
    filled(path, one="first")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    path.chmod(0o644)
    filled(path, two="second")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_symbolic_link_is_not_written_through(tmp_path, caplog):
    """A link where the file should be is given up for good; its target stays as it is."""
    target = tmp_path / "precious"
    target.write_text("precious")
    (tmp_path / "cache.db").symlink_to(target)
    cache = opened(tmp_path / "cache.db")
    cache.put("one", "question", {"text": "first"}, NOW)
    cache.close()
    assert target.read_text() == "precious"
    assert cache.get("one") is not None
    assert "cannot be used" in caplog.text


@pytest.mark.parametrize("damage", ["garbage", "zeroed page", "cut"])
def test_a_corrupt_file_is_moved_aside_and_never_deleted(tmp_path, caplog, damage):
    """Damage costs the old replies' place, not their bytes, and no caller's call."""
    path = tmp_path / "cache.db"
    filled(path, **{f"r{n}": "x" * 2000 for n in range(50)})
    damaged = DAMAGES[damage](path.read_bytes())
    path.write_bytes(damaged)
    cache = opened(path)
    assert cache.get("r1") is None
    cache.put("new", "question", {"text": "new"}, NOW)
    cache.close()
    (aside,) = tmp_path.glob("cache.db.corrupt-*")
    assert aside.read_bytes() == damaged
    assert opened(path).get("new") == CachedReply({"text": "new"}, NOW)
    assert caplog.text.count("damaged") == 1


DAMAGES = {
    "garbage": lambda _: b"no database at all, " * 100,
    "zeroed page": lambda raw: raw[:4096] + bytes(4096) + raw[8192:],
    "cut": lambda raw: raw[: 4096 + 100],
}


def test_a_newer_schema_is_left_alone(tmp_path, caplog):
    """A file of a newer Hydra is neither changed nor moved; the memory serves."""
    path = tmp_path / "cache.db"
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    connection.close()
    before = path.read_bytes()
    cache = opened(path)
    cache.put("one", "question", {"text": "first"}, NOW)
    cache.close()
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)
    connection.close()
    assert len(before) == len(path.read_bytes())
    assert cache.get("one") is not None
    assert caplog.text.count("cannot be used") == 1


def test_a_locked_file_delays_neither_caller_nor_close(tmp_path, caplog):
    """While another process holds the file, put, get and close go on without it."""
    path = tmp_path / "cache.db"
    filled(path, old="old")
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    cache = opened(path)
    cache.put("one", "question", {"text": "first"}, NOW)
    assert cache.get("one") is not None
    cache.close()
    holder.execute("ROLLBACK")
    holder.close()
    assert caplog.text.count("replies stay in memory meanwhile") <= 1
    assert opened(path).get("old") is not None


def test_what_a_locked_file_refused_is_written_when_it_is_free(tmp_path, monkeypatch):
    """A batch that failed stays queued, in order, and is tried again."""
    monkeypatch.setattr("hydra_core.store.write_behind._RETRY_FIRST", 0.01)
    refusals = iter([sqlite3.OperationalError("database is locked")] * 2)
    written = threading.Event()
    real = CacheFile.write

    def write(self: CacheFile, rows: list[Row]) -> None:
        for refusal in refusals:
            raise refusal
        real(self, rows)
        written.set()

    monkeypatch.setattr(CacheFile, "write", write)
    cache = opened(tmp_path / "cache.db")
    cache.put("one", "question", {"text": "first"}, NOW)
    assert written.wait(10)
    cache.close()
    assert opened(tmp_path / "cache.db").get("one") is not None


def test_a_place_that_cannot_be_written_costs_nothing_but_the_file(tmp_path, caplog):
    """A path below a file can never exist: said once, and memory serves."""
    (tmp_path / "file").write_text("")
    cache = opened(tmp_path / "file" / "cache.db")
    for number in range(3):
        cache.put(str(number), "question", {"n": number}, NOW)
        assert cache.get("absent") is None
    cache.close()
    assert cache.get("2") == CachedReply({"n": 2}, NOW)
    assert len(caplog.records) == 1


def test_a_full_disk_is_survived(tmp_path, monkeypatch, caplog):
    """When SQLite says the disk is full, callers notice nothing."""

    def full(self: CacheFile, rows: list[Row]) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(CacheFile, "write", full)
    cache = opened(tmp_path / "cache.db")
    for number in range(2_000):
        cache.put(str(number), "question", {"n": number}, NOW)
    cache.close()
    assert cache.get("1999") is not None
    assert len(caplog.records) == 1


def test_a_deleted_file_is_begun_anew(tmp_path):
    """Writing goes to the path, not to a file that is no longer there."""
    path = tmp_path / "cache.db"
    file = CacheFile(path)
    file.write([Row("one", "question", b"{}", NOW)])
    for part in tmp_path.iterdir():
        part.unlink()
    file.write([Row("two", "question", b"{}", NOW)])
    file.close()
    assert opened(path).get("two") is not None


def test_old_and_surplus_replies_are_forgotten(tmp_path):
    """The file keeps 7 days and 10,000 replies, the newest ones."""
    file = CacheFile(tmp_path / "cache.db")
    file.write([Row(f"r{n}", "q", b"{}", NOW + n) for n in range(10_050)])
    file.write([Row("old", "q", b"{}", NOW - KEEP_SECONDS - 1)])
    file.prune(NOW)
    assert file.read("old") is None
    assert file.read("r49") is None
    assert file.read("r50") is not None
    assert file.read("r10049") is not None
    file.close()


def test_a_reply_older_than_a_week_is_not_given():
    """An answer of last week is no answer, even while memory still has it."""
    cache = ResponseCache("memory", redact=redact, clock=lambda: NOW)
    cache.put("one", "question", {"text": "first"}, NOW - KEEP_SECONDS - 1)
    assert cache.get("one") is None


def test_an_older_reply_never_replaces_a_newer_one(tmp_path):
    """Two processes may write late; the newest answer stays."""
    file = CacheFile(tmp_path / "cache.db")
    file.write([Row("one", "q", b'"new"', NOW), Row("one", "q", b'"old"', NOW - 10)])
    assert file.read("one") == (b'"new"', NOW)
    file.close()


@pytest.mark.parametrize("reply", [{"text": "\ud800"}, {"text": object()}, {"text": "x" * 2**21}])
def test_what_cannot_be_stored_is_passed_over(tmp_path, reply):
    """Broken text, foreign objects and giant replies are not cached and raise nothing."""
    cache = opened(tmp_path / "cache.db")
    cache.put("one", "question \udfff", reply, NOW)
    cache.put("two", "question \udfff", {"text": "fine"}, NOW)
    cache.close()
    assert cache.get("one") is None
    assert opened(tmp_path / "cache.db").get("two") == CachedReply({"text": "fine"}, NOW)


def test_many_threads_may_use_one_cache(tmp_path):
    """Writers and readers at once neither fail nor lose a reply."""
    cache = opened(tmp_path / "cache.db")

    def work(name: str) -> None:
        for number in range(60):
            cache.put(f"{name}{number}", "question", {"n": number}, NOW)
            assert cache.get(f"{name}{number}") == CachedReply({"n": number}, NOW)

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcdef"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    cache.close()
    again = opened(tmp_path / "cache.db")
    assert all(again.get(f"{name}{number}") for name in "abcdef" for number in range(60))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_reads_and_writes_on_its_own(tmp_path):
    """A child goes on with the same cache object; both processes' replies arrive."""
    script = f"""
import os, time
from hydra_core.store.response_cache import ResponseCache
cache = ResponseCache("sqlite:///{tmp_path}/c.db", redact=str)
cache.put("parent", "q", {{"who": "parent"}}, time.time())
while cache._disk._waiting: time.sleep(0.01)
with cache._lock, cache._disk._file_lock:  # held at the fork by a thread the child lacks
    child = os.fork()
if child == 0:
    assert cache.get("parent") is not None
    cache._recent.clear()
    assert cache.get("parent") is not None
    cache.put("child", "q", {{"who": "child"}}, time.time())
    cache.close()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
cache.close()
cache = ResponseCache("sqlite:///{tmp_path}/c.db", redact=str)
assert cache.get("child").reply_json == {{"who": "child"}}
"""
    run(script)


def test_the_last_replies_are_written_at_exit(tmp_path):
    """A program that ends without closing loses nothing and does not hang."""
    script = f"""
import time
from hydra_core.store.response_cache import ResponseCache
cache = ResponseCache("sqlite:///{tmp_path}/c.db", redact=str)
cache.put("one", "q", {{"text": "first"}}, time.time())
"""
    assert run(script) == ""
    cache = ResponseCache(f"sqlite:///{tmp_path}/c.db", redact=redact, clock=time.time)
    assert cache.get("one") is not None


def test_sqlalchemy_waits_until_the_file_is_needed():
    """Importing the cache, and caching in memory, loads no SQLAlchemy."""
    script = """
import sys
from hydra_core.store.response_cache import ResponseCache
ResponseCache("memory", redact=str).put("one", "q", {}, 0.0)
assert "sqlalchemy" not in sys.modules
"""
    run(script)


def test_another_database_means_memory(caplog):
    """A URL that is no SQLite file is said so once, without the URL and its password."""
    cache = ResponseCache(f"postgresql://u:{CANARY}@host/db", redact=redact, clock=lambda: NOW)
    cache.put("one", "question", {"text": "first"}, NOW)
    assert cache.get("one") is not None
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert not [w for w in windows(CANARY) if w in caplog.text]


class Large:
    """Stands for a request that is held until somebody works out its row."""

    def rows(self) -> tuple[Row, ...]:
        return (Row("one", "question", b"{}", NOW),)


def test_a_request_is_let_go_once_it_was_written(tmp_path):
    """The writer works a reply's row out, and from then on nothing holds the request."""
    cache = opened(tmp_path / "cache.db")
    large = Large()
    gone = threading.Event()
    weakref.finalize(large, gone.set)
    request = b"request" * 1000
    before = sys.getrefcount(request)
    cache.put_later(request, large.rows)
    del large
    assert gone.wait(30)
    cache.close()
    assert sys.getrefcount(request) == before
    assert cache.get("one") == CachedReply({}, NOW)


def test_a_large_request_is_not_held_where_nothing_is_written():
    """Without a file a large request is worked out at once; a small one may wait."""
    cache = ResponseCache("memory", redact=redact, clock=lambda: NOW)
    large, small = Large(), Large()
    held = [weakref.ref(large), weakref.ref(small)]
    cache.put_later(b"small", small.rows)
    cache.put_later(b"large" * 2**16, large.rows)
    cache.put_later(b"small", small.rows)
    del large, small
    assert [it() is None for it in held] == [True, False]


def test_a_pointer_is_found_where_nobody_writes_the_file(tmp_path):
    """A reply to a request that is alike is found in memory, whatever became of the disk."""
    cache = opened(tmp_path / "cache.db")
    cache.close()
    cache.put("one", "question", {"text": "first"}, NOW, alike=lambda: "name")
    assert cache.recall("other", lambda: "name") == CachedReply({"text": "first"}, NOW)


@pytest.mark.parametrize("kept", ["memory", "file"])
def test_a_pointer_means_the_reply_it_came_with(tmp_path, kept):
    """A later reply that was for its own request alone is none to a request that is alike."""
    url = "memory" if kept == "memory" else f"sqlite:///{tmp_path / 'cache.db'}"
    cache = ResponseCache(url, redact=redact, clock=lambda: NOW)
    cache.put("one", "question", {"text": "whole"}, NOW, alike=lambda: "name")
    assert cache.recall("other", lambda: "name") == CachedReply({"text": "whole"}, NOW)
    cache.put("one", "question", {"text": "cut"}, NOW + 1)
    assert cache.recall("one", lambda: "name") == CachedReply({"text": "cut"}, NOW + 1)
    assert cache.recall("other", lambda: "name") is None


def test_a_reply_that_cannot_be_prepared_costs_no_other(tmp_path):
    """A row that cannot be worked out is passed over by the writer and by every reader."""
    cache = opened(tmp_path / "cache.db")
    cache.put_later(b"ill", lambda: (Row(*[]),))
    cache.put("one", "question", {"text": "first"}, NOW)
    assert cache.get("one") == CachedReply({"text": "first"}, NOW)
    cache.close()
    assert opened(tmp_path / "cache.db").get("one") == CachedReply({"text": "first"}, NOW)
