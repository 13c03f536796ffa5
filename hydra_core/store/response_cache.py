"""Replies kept for the hour of need: when nothing else can answer, an old answer may.

Law 1: `put` never waits for a disk, and neither method ever raises.
Law 2: what reaches the disk has passed `redact`.
Law 3: an ill file costs the file, never the caller: a corrupt one is moved aside,
       one that is locked, full or read-only is tried again later, and meanwhile
       the memory goes on.
Doubt: a reply evicted from memory while the file is unavailable is lost.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

import orjson

from hydra_core.store.cache_file import KEEP_SECONDS, CacheFile, pointing
from hydra_core.store.late_row import LateRow, rows_of
from hydra_core.store.sqlite_file import PREFIX, path_of
from hydra_core.store.write_behind import WriteBehind

if TYPE_CHECKING:
    from collections.abc import Callable

    from hydra_core.store.cache_file import Row

logger = logging.getLogger(__name__)

MEMORY: Final = "memory"
_IN_MEMORY: Final = 512
# Bytes; a larger request is not held where there is no writer to let go of it in a moment.
_LARGE: Final = 1 << 16
_PATIENCE: Final = 1.0  # seconds for a disk, where the caller says nothing

T = TypeVar("T")
K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class CachedReply:
    """A reply from earlier, as JSON data; `at` is when it was given, seconds since 1970."""

    reply_json: dict[str, Any]
    at: float


class ResponseCache:
    """Remembers replies by the fingerprint of their request, in memory and in a SQLite file.

    `url` is "memory" or `sqlite:///path`; `redact` takes secrets out of a text. Kept
    are 512 replies in memory, and in the file 10,000 for at most 7 days. Safe for any
    number of threads; a forked child goes on with its own connection.
    """

    def __init__(
        self, url: str, *, redact: Callable[[str], str], clock: Callable[[], float] = time.time
    ) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._late: OrderedDict[bytes, LateRow] = OrderedDict()
        self._recent: OrderedDict[str, tuple[bytes, float]] = OrderedDict()
        self._pointers: OrderedDict[str, tuple[bytes, float]] = OrderedDict()
        self._disk = _disk(url, redact, clock, weakref.WeakMethod(self._take_late))
        _caches.add(self)
        if self._disk is not None:
            # Also runs at the interpreter's exit, so that the last replies are written.
            self._finalizer = weakref.finalize(self, self._disk.close)

    def put(
        self,
        fingerprint: str,
        question: str,
        reply_json: dict[str, Any],
        at: float,
        *,
        alike: Callable[[], str] | None = None,
    ) -> None:
        """Remember a reply given at `at`; it reaches the file within a moment.

        `alike` says under which name `recall` finds it for another request.
        """
        rows = rows_of(fingerprint, question, reply_json, at, alike)
        if not rows:
            logger.debug("a reply is no JSON or too large, so it is not cached")
        else:
            self.put_later(fingerprint.encode(), lambda: rows)

    def put_later(self, request: bytes, work_out: Callable[[], tuple[Row, ...]]) -> None:
        """`put` for the path of a call: `work_out` is asked when somebody needs the rows.

        That may be in another thread. `request` tells requests apart, `work_out` gives none
        for a reply that cannot be kept.
        """
        late = LateRow(work_out)
        with self._lock:
            _keep(self._late, request, late)
        written = self._disk is not None and self._disk.put(late)
        if not written and len(request) > _LARGE:
            self._take_late()

    def _take_late(self) -> None:
        """Work out what was put; from now on it is found, and its request is let go."""
        with self._lock:
            late = tuple(self._late.items())  # which stay there until they are found elsewhere
        for request, queued in late:
            rows = queued.rows()
            with self._lock:
                for row, kept in zip(rows, (self._recent, self._pointers), strict=False):
                    found = kept.get(row.fingerprint)
                    if found is None or found[1] <= row.at:  # else a thread took a later reply
                        _keep(kept, row.fingerprint, (row.reply, row.at))
                if self._late.get(request) is queued:
                    del self._late[request]

    def get(self, fingerprint: str) -> CachedReply | None:
        """The last reply to this request, if it is no older than 7 days; it may read the disk."""
        found = self._near(fingerprint)
        if found is None and self._disk is not None:
            found = self._disk.get(fingerprint)
        return self._fresh(found)

    def recall(
        self,
        fingerprint: str,
        alike: Callable[[], str] | None = None,
        *,
        within: float = _PATIENCE,
    ) -> CachedReply | None:
        """The last reply to this request, else to one that is alike.

        Gives up after `within` seconds, however slow the disk is.
        """
        found = self._fresh(self._near(fingerprint))
        if found is not None or self._disk is None:
            return found or self._other(alike)
        return _bounded(lambda: self.get(fingerprint) or self._other(alike), within)

    def _other(self, alike: Callable[[], str] | None) -> CachedReply | None:
        """The last reply to a request that is alike."""
        pointer = None if alike is None else self.get(pointing(alike()))
        found = None if pointer is None else self.get(str(pointer.reply_json.get("as")))
        if pointer is None or found is None or found.at > pointer.at:
            return None  # what came after it was for that request alone, as a cut answer is
        return found

    def _near(self, fingerprint: str) -> tuple[bytes, float] | None:
        """The reply, or the pointer to one, in memory."""
        self._take_late()
        with self._lock:
            for kept in (self._recent, self._pointers):
                if (found := kept.get(fingerprint)) is not None:
                    kept.move_to_end(fingerprint)
                    return found
        return None

    def _fresh(self, found: tuple[bytes, float] | None) -> CachedReply | None:
        if found is None or found[1] < self._clock() - KEEP_SECONDS:
            return None
        try:
            return CachedReply(orjson.loads(found[0]), found[1])
        except orjson.JSONDecodeError:  # damage that SQLite did not notice
            return None

    def close(self) -> None:
        """Write what is still waiting, for at most 2 seconds. Closing twice is harmless."""
        if self._disk is not None:
            self._disk.close()

    def _after_fork(self) -> None:
        """In a child: another thread may have held the lock, and the writer is not there."""
        self._lock = threading.Lock()
        if self._disk is not None:
            self._disk.after_fork()


def _disk(
    url: str,
    redact: Callable[[str], str],
    clock: Callable[[], float],
    take_late: weakref.WeakMethod[Callable[[], None]],
) -> WriteBehind | None:
    if url in (MEMORY, f"{PREFIX}:memory:", "sqlite://"):
        return None
    path = path_of(url)
    if path is None:
        logger.warning("replies are cached in memory only: the cache file must be sqlite:///path")
        return None

    def worked_out() -> None:
        take = take_late()  # weak: the writer's thread must not keep a forgotten cache
        if take is not None:
            take()

    return WriteBehind(CacheFile(path), redact=redact, clock=clock, worked_out=worked_out)


def _keep(recent: OrderedDict[K, V], name: K, value: V) -> None:
    recent[name] = value
    recent.move_to_end(name)
    while len(recent) > _IN_MEMORY:
        recent.popitem(last=False)


def _bounded(read: Callable[[], T | None], within: float) -> T | None:
    """What `read` returns, or None if that takes too long: a dead network disk may hang."""
    found: list[T | None] = []
    reader = threading.Thread(target=lambda: found.append(read()), daemon=True)
    try:
        reader.start()
    except RuntimeError:  # the interpreter is shutting down
        return None
    reader.join(within)
    return found[0] if found else None


_caches: weakref.WeakSet[ResponseCache] = weakref.WeakSet()


def _renew() -> None:
    for cache in list(_caches):
        cache._after_fork()  # noqa: SLF001 - the same module


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)
