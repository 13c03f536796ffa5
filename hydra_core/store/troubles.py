"""What to do when a store is ill: sort the failure, act on it once, say it once."""

from __future__ import annotations

import logging
import sqlite3
from typing import TYPE_CHECKING, Protocol

from hydra_core.store.sqlite_file import Unusable, trouble

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

logger = logging.getLogger(__name__)


class Quarantined(Protocol):
    """A store that can be moved aside."""

    def quarantine(self, now: float) -> Path:
        """Move it aside; the result is where it lies. Raises OSError."""


class Troubles:
    """The failures of one store.

    `what` names it in the log, `words` say what each kind of failure means for its user
    (see `sqlite_file.trouble`). `unusable` is True when it is given up for good.
    """

    def __init__(
        self,
        store: Quarantined,
        what: str,
        words: Mapping[str, str],
        clock: Callable[[], float],
    ) -> None:
        self._store = store
        self._what = what
        self._words = words
        self._clock = clock
        self._told: set[str] = set()
        self.unusable = False

    def suffered(self, error: Exception) -> str:
        """Sort a failure and act on it; the caller is the only one to use the store."""
        kind = trouble(error)
        original = getattr(error, "orig", None) or error
        reason = type(original).__name__
        if isinstance(original, sqlite3.Error | Unusable | ImportError) and original.args:
            reason = str(original)  # a server's driver may repeat its address; these name no value
        if kind == "corrupt":
            kind, reason = self._quarantine(reason)
        if kind == "unusable":
            self.unusable = True
        self.tell(kind, f"{self._words[kind]} ({reason})")
        return kind

    def _quarantine(self, reason: str) -> tuple[str, str]:
        """Move the file aside, but once only: a disk that ruins new files is no place to write."""
        if "corrupt" in self._told:
            return "unusable", reason
        try:
            return "corrupt", self._store.quarantine(self._clock()).name
        except OSError as error:
            return "unusable", type(error).__name__

    def tell(self, kind: str, words: str) -> None:
        """Log a warning, the first of its kind only."""
        if kind not in self._told:
            self._told.add(kind)
            logger.warning("%s: %s", self._what, words)
