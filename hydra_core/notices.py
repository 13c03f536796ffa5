"""What the engine found out, for people: logged once, and kept for the statistics."""

from __future__ import annotations

import logging
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from hydra_core.engine.notices import Notice

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from hydra_core.config import HydraConfig

logger = logging.getLogger(__name__)

_KEPT: Final = 50


def unused(config: HydraConfig) -> Iterator[Notice]:
    """The settings that are given and have no effect yet."""
    if config.escalation_dir is not None:
        yield Notice(
            "no_effect",
            "escalation_dir",
            "escalation_dir is accepted, but has no effect in this version: nothing is escalated, "
            "and no file is written there. What fails is in health() and stats().",
        )


class NoticeBoard:
    """The last 50 notices. Its methods may be called from any thread.

    The first on a subject is a warning in the log. What is added to it later replaces it
    here and is logged as information, so that a hundred keys are no hundred warnings; what
    takes it back is a warning again.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rows: dict[tuple[str, str], dict[str, str]] = {}

    def put(self, notices: Iterable[Notice]) -> None:
        """Log and keep them."""
        for notice in notices:
            subject = notice.kind, notice.subject
            row = {
                "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds"),
                "kind": notice.kind,
                "subject": notice.subject,
                "text": notice.text,
            }
            with self._lock:
                known = self._rows.pop(subject, None) is not None
                self._rows[subject] = row  # the newest stands last
                if len(self._rows) > _KEPT:
                    del self._rows[next(iter(self._rows))]
            aloud = notice.contrary or not known
            logger.log(logging.WARNING if aloud else logging.INFO, "%s", notice.text)

    def rows(self) -> list[dict[str, str]]:
        """What is kept, the oldest first: `timestamp`, `kind`, `subject` and `text` of each."""
        with self._lock:
            return list(self._rows.values())
