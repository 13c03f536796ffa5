"""What a pool has learned outlives its process: told to it at the start, written behind it.

Law 1: no call waits for a store, and no failure of one reaches a caller.
Law 2: the gate is asked for small slices, and only of what has changed.
Law 3: what is stored names keys by their fingerprints, and its texts have been redacted.
Doubt: the last two seconds before a kill are lost. Of processes that run at the same time
       each sees its own use of limits and what was stored when it began; the store keeps
       the sum. Of a budget that they share each hears when it writes what the others spent.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import uuid
import weakref
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from hydra_core.changes import Changes
from hydra_core.drive.redaction import redacted
from hydra_core.engine import snapshot, spending
from hydra_core.own_counts import OwnCounts, own
from hydra_core.store.state_store import StateFile, open_store, salt_of, write
from hydra_core.store.troubles import Troubles

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hydra_core.changes import Marks
    from hydra_core.drive.exchange import Exchange
    from hydra_core.drive.gate import Gate
    from hydra_core.engine.deployment import Deployment
    from hydra_core.stats import Tally
    from hydra_core.store.state_store import Sections, StateStore, Stored

logger = logging.getLogger(__name__)

_EVERY: Final = 2.0  # seconds between two looks at what has changed
_RETRY_LAST: Final = 60.0
_FLUSH: Final = 2.0
# A clock that was this far ahead when the store was written has been set back since.
_AHEAD: Final = 60.0
_WORDS: Final = {
    "unavailable": "locked, full, read-only or out of reach; what is learned stays in memory "
    "meanwhile",
    "corrupt": "damaged; it was kept, and a new one begun",
    "unusable": "cannot be used; what is learned lasts as long as this process",
    "refused": "would not take what was learned; it lasts as long as this process",
}


class Memory:
    """The memory of one pool: restored when it is made, kept up by a thread from `wake` on.

    `age` is how many seconds ago the store had last been written, None if it held nothing.
    """

    def __init__(
        self,
        url: str,
        gate: Gate,
        exchange: Exchange,
        tally: Tally,
        *,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """`url` is an SQLAlchemy URL or "memory"; `wall` gives seconds since 1970."""
        self.age: float | None = None
        self._keeper: _Keeper | None = None
        store = open_store(url)
        if store is not None:
            self._keeper = _Keeper(store, url, gate, exchange, tally, wall)
            self.age = self._keeper.restore()
            # Also runs at the interpreter's exit, so that the last lessons are written.
            weakref.finalize(self, self._keeper.close)

    def wake(self) -> None:
        """Calls begin, or go on in a forked child: from now on there may be something to keep."""
        if self._keeper is not None and self._keeper.thread is None:
            self._keeper.start()

    def close(self) -> None:
        """Write what is not yet written, for at most 2 seconds. Closing twice is harmless."""
        if self._keeper is not None:
            self._keeper.close()


class _Keeper:
    """Knows what has been stored, and stores the rest. After `start` its thread alone does so."""

    def __init__(
        self,
        store: StateStore,
        url: str,
        gate: Gate,
        exchange: Exchange,
        tally: Tally,
        wall: Callable[[], float],
    ) -> None:
        self._store = store
        self._gate = gate
        self._exchange = exchange
        self._tally = tally
        self._wall = wall
        place = store.path if isinstance(store, StateFile) else url.partition(":")[0]
        self._troubles = Troubles(store, f"state store {place}", _WORDS, wall)
        self._salt: str | None = None
        self._identities: dict[tuple[str, str], str] = {}
        self._changes = Changes(gate, wall)
        self._noted = 0
        self._counts = OwnCounts()
        self._reset()
        _keepers.add(self)

    def _reset(self) -> None:
        self._writer = uuid.uuid4().hex
        self._stopping = threading.Event()
        self._starting = threading.Lock()
        self.thread: threading.Thread | None = None

    def restore(self) -> float | None:
        """Tell the pool what is stored; the result is how old that is."""
        stored: Stored | None = None
        unbelieved: set[Deployment] = set()
        try:
            stored = self._store.peek()
            unbelieved = self._tell(stored)
        except Exception as error:  # whatever a store holds or does, the pool starts
            self._troubles.suffered(error)
        now = self._wall()
        self._changes.stored(self._changes.found())
        self._changes.forget(unbelieved)  # to be written anew, lest one of them stays dead there
        if stored is None or stored.at is None:
            return None
        if stored.at > now + _AHEAD:
            self._changes.forget()  # everything is written anew, with a date that is true
        return max(0.0, now - stored.at)

    def _tell(self, stored: Stored) -> set[Deployment]:
        """The result is whose stored death the pool did not believe."""
        if stored.salt is None:
            return set()
        self._know(stored.salt)
        data = {"version": snapshot.VERSION, **stored.sections}
        unbelieved = self._gate.ask(
            lambda manager, now: snapshot.restore(
                manager, data, now, self._wall(), identities=self._identities
            )
        )
        self._counts.told(stored.sections, late=self.thread is not None)
        self._tally.recall(stored.errors)
        self._warn_of_dead()
        return unbelieved

    def _warn_of_dead(self) -> None:
        deployments = self._gate.ask(lambda manager, _: manager.deployments)
        dead = {f"{d.provider}/{d.key}": None for d in deployments if d.scopes.key.dead}
        if dead:
            logger.warning(
                "not used, because the provider refused them on an earlier run: %s; replace "
                "these keys, or delete the state store to try them again",
                ", ".join(dead),
            )

    def _know(self, salt: str) -> None:
        self._salt = salt
        self._identities = self._exchange.identities(salt)

    def start(self) -> None:
        """Begin to keep the store up."""
        with self._starting:
            if self.thread is not None or self._stopping.is_set():
                return
            thread = threading.Thread(target=self._run, name="hydra-memory", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # the interpreter is shutting down
                return
            self.thread = thread

    def close(self) -> None:
        """Let the thread write the rest and end."""
        self._stopping.set()
        thread = self.thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(_FLUSH)

    def after_fork(self) -> None:
        """In a child: no thread until calls begin, and a connection of its own."""
        closed = self._stopping.is_set()
        self._store.abandon()
        self._reset()
        if closed:
            self._stopping.set()

    def _run(self) -> None:
        pause = _EVERY
        while not self._stopping.wait(pause):
            pause = _EVERY if self._kept() else min(_RETRY_LAST, 2 * pause)
        self._kept()
        self._store.close()

    def _kept(self) -> bool:
        """Write what has changed; False when the store would not take it now."""
        if self._troubles.unusable:
            return True
        changed, (noted, errors) = self._changes.found(), self._tally.errors_since(self._noted)
        if not changed and not errors:
            return True
        try:
            changed, errors = self._known_keys(changed, errors)
            self._write(self._changes.rows(list(changed), self._identities), errors)
        except Exception as error:  # as in `restore`
            self._store.close()  # its tables may be gone: they are looked for when it is opened
            if self._troubles.suffered(error) in ("unavailable", "corrupt"):
                return False
        self._changes.stored(changed)
        self._noted = noted
        return True

    def _known_keys(
        self, changed: Marks, errors: list[dict[str, Any]]
    ) -> tuple[Marks, list[dict[str, Any]]]:
        """What to write, once it is sure by which names this store knows the keys."""
        salt, before = salt_of(self._store), self._salt
        if salt == before:
            return changed, errors
        if before is None:  # it was not there at the start, or could not be read
            unbelieved = self._tell(self._store.peek())
            self._know(salt)
            found = self._changes.found()
            return found | {d: changed[d] for d in unbelieved if d in changed}, errors
        self._know(salt)
        self._changes.forget()  # the store was deleted or replaced: the new one knows nothing
        self._counts.forget()
        return self._changes.found(), self._tally.errors_since(0)[1]

    def _write(self, sections: Sections, errors: Sequence[dict[str, Any]]) -> None:
        now = self._wall()
        counted = own(sections)
        write(
            self._store,
            sections,
            [{name: self._clean(value) for name, value in error.items()} for error in errors],
            writer=self._writer,
            now=now,
            merge=partial(self._counts.merged, now),
        )
        self._counts.note(counted, sections)
        spent, kept = counted["budgets"], sections.get("budgets", {})
        self._gate.ask(lambda manager, now: spending.hear(manager, spent, kept, now))

    def _clean(self, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        text = redacted(value, self._exchange.secrets).replace("\0", "")
        return text.encode("utf-8", "replace").decode()


_keepers: weakref.WeakSet[_Keeper] = weakref.WeakSet()


def _renew() -> None:
    for keeper in list(_keepers):
        keeper.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)
