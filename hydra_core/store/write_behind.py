"""A thread that writes replies to their file, so that no caller waits for a disk.

Law 1: `put` only appends; a queue that is full drops its oldest.
Law 2: one lock around the file, never held while a caller appends.
Law 3: what could not be written stays in the queue and is tried again.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import orjson

from hydra_core.store.troubles import Troubles

if TYPE_CHECKING:
    from collections.abc import Callable

    from hydra_core.store.cache_file import CacheFile, Row
    from hydra_core.store.late_row import LateRow

_QUEUE: Final = 512
_BATCH: Final = 64
# How long a first reply waits for others to share its transaction.
_LINGER: Final = 0.05
_FLUSH: Final = 2.0
_RETRY_FIRST: Final = 1.0
_RETRY_LAST: Final = 60.0
_PRUNE_EVERY: Final = 1_000  # rows written; the file grows by 10 % at most in between
_TRY_AGAIN: Final = ("unavailable", "corrupt")
_WORDS: Final = {
    "unavailable": "locked, full, read-only or out of reach; replies stay in memory meanwhile",
    "corrupt": "damaged; it was kept, and a new file begun",
    "unusable": "cannot be used; replies stay in memory. Name another file as the store",
    "refused": "would not take a reply; that reply stays in memory only",
}
_LOCK_WAIT: Final = 1.0  # a reader would rather do without than wait for the writer


class WriteBehind:
    """The queue and the thread in front of one `CacheFile`; it starts with the first row."""

    def __init__(
        self,
        file: CacheFile,
        *,
        redact: Callable[[str], str],
        clock: Callable[[], float],
        worked_out: Callable[[], object],
    ) -> None:
        """`worked_out` is called in the thread after it worked out rows, written or not."""
        self._file = file
        self._worked_out = worked_out
        self._redact = redact
        self._clock = clock
        self._troubles = Troubles(file, f"response cache {file.path}", _WORDS, clock)
        self._unpruned = _PRUNE_EVERY  # the first batch of a process prunes
        self._reset()

    def put(self, queued: LateRow) -> bool:
        """Queue a reply; False when nobody will write it. Never blocks, never raises."""
        if self._troubles.unusable or self._stopping.is_set():
            return False
        self._waiting.append(queued)
        if self._thread is None:
            self._start()
        if not self._bell.is_set():  # asking is cheaper than ringing again
            self._bell.set()
        return True

    def get(self, fingerprint: str) -> tuple[bytes, float] | None:
        """The stored reply and its time, also one that is still queued; None when unavailable."""
        for queued in reversed(tuple(self._waiting)):
            for row in queued.rows():
                if row.fingerprint == fingerprint:
                    return row.reply, row.at
        if self._troubles.unusable or self._stopping.is_set():
            return None
        if not self._file_lock.acquire(timeout=_LOCK_WAIT):
            return None
        try:
            return self._file.read(fingerprint)
        except Exception as error:  # whatever a disk does, the caller goes on
            self._troubles.suffered(error)
            return None
        finally:
            self._file_lock.release()

    def close(self) -> None:
        """Write what waits, for at most 2 seconds, and let go of the file."""
        self._stopping.set()
        self._bell.set()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(_FLUSH)
        if self._file_lock.acquire(blocking=False):
            try:
                self._file.close()
            finally:
                self._file_lock.release()

    def after_fork(self) -> None:
        """In a child: no thread, fresh locks, an own connection; the parent writes its queue."""
        closed = self._stopping.is_set()
        self._file.abandon()
        self._reset()
        if closed:
            self._stopping.set()

    def _reset(self) -> None:
        self._waiting: deque[LateRow] = deque(maxlen=_QUEUE)
        self._bell = threading.Event()
        self._stopping = threading.Event()
        self._file_lock = threading.Lock()
        self._start_lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def _start(self) -> None:
        with self._start_lock:
            if self._thread is not None:
                return
            thread = threading.Thread(target=self._run, name="hydra-cache", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # the interpreter is shutting down
                self._troubles.unusable = True
                return
            self._thread = thread

    def _run(self) -> None:
        pause = 0.0
        while True:
            self._bell.wait()
            self._bell.clear()
            self._stopping.wait(pause or _LINGER)
            done = self._drain()
            pause = 0.0 if done else min(_RETRY_LAST, max(_RETRY_FIRST, pause * 2))
            if self._stopping.is_set():
                return
            if not done:
                self._bell.set()

    def _drain(self) -> bool:
        """Write the queue in batches; False when the file would not take it now."""
        while self._waiting and not self._troubles.unusable:
            batch = [self._waiting.popleft() for _ in range(min(_BATCH, len(self._waiting)))]
            clean = [row for queued in batch for row in self._cleaned(queued)]
            self._worked_out()
            with self._file_lock:
                try:
                    self._write(clean)
                except Exception as error:  # as in `get`
                    kind = self._troubles.suffered(error)
                else:
                    continue
            if kind in _TRY_AGAIN:
                self._give_back(batch)
            if kind == "unavailable":
                return False
        return True

    def _write(self, rows: list[Row]) -> None:
        if not rows:
            return
        self._file.write(rows)
        self._unpruned += len(rows)
        if self._unpruned >= _PRUNE_EVERY:
            self._file.prune(self._clock())
            self._unpruned = 0

    def _cleaned(self, queued: LateRow) -> list[Row]:
        """The rows without secrets; none if they cannot be kept so."""
        try:
            return [self._clean(row) for row in queued.rows()]
        except Exception:  # a failing redactor must not let the text through
            self._troubles.tell("redaction", "a reply could not be redacted, so it is not stored")
            return []

    def _clean(self, row: Row) -> Row:
        reply = self._redact(row.reply.decode()).encode()
        orjson.loads(reply)
        question = self._redact(row.question).encode("utf-8", "replace").decode()
        return replace(row, question=question, reply=reply)

    def _give_back(self, batch: list[LateRow]) -> None:
        """Put replies back in front, as far as there is room; the oldest go first."""
        room = _QUEUE - len(self._waiting)
        if room > 0:
            self._waiting.extendleft(reversed(batch[-room:]))
