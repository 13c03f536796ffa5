"""A reply that is to be kept, worked out when it is needed: keeping one must cost a call little."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson

from hydra_core.store.cache_file import Row

if TYPE_CHECKING:
    from collections.abc import Callable

# Larger replies (a whole swarm's ledger) would crowd out all others.
_LARGEST: Final = 1 << 20


class LateRow:
    """What will be a row. Two threads may work it out at once, to the same end."""

    __slots__ = ("_row", "_work_out")

    def __init__(self, work_out: Callable[[], Row | None]) -> None:
        """`work_out` tells the row, None for a reply that cannot be kept; it is asked once."""
        self._work_out: Callable[[], Row | None] | None = work_out
        self._row: Row | None = None

    def row(self) -> Row | None:
        """The row; None when the reply cannot be kept."""
        work_out = self._work_out
        if work_out is not None:
            self._row = work_out()
            self._work_out = None  # what it holds (a reply, a request) may be large
        return self._row


def row_of(
    fingerprint: str,
    question: str,
    reply_json: dict[str, Any],
    at: float,
    alike: Callable[[], str] | None = None,
) -> Row | None:
    """The row of a reply given at `at`; None if it is no JSON or larger than 1 MiB."""
    try:
        reply = orjson.dumps(reply_json)
    except TypeError:  # text that is no Unicode (a lone surrogate) or an object that is no JSON
        return None
    return None if len(reply) > _LARGEST else Row(fingerprint, question, reply, at, alike)
