"""A reply that is to be kept, worked out when it is needed: keeping one must cost a call little."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

import orjson

from hydra_core.store.cache_file import Row, pointing

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger(__name__)

# Larger replies (a whole swarm's ledger) would crowd out all others.
_LARGEST: Final = 1 << 20


class LateRow:
    """What will be a row, and one that points to it. Two threads may work it out at once."""

    __slots__ = ("_rows", "_work_out")

    def __init__(self, work_out: Callable[[], tuple[Row, ...]]) -> None:
        """`work_out` tells the rows, none for a reply that cannot be kept; it is asked once."""
        self._work_out: Callable[[], tuple[Row, ...]] | None = work_out
        self._rows: tuple[Row, ...] = ()

    def rows(self) -> tuple[Row, ...]:
        """The row and what points to it; none when the reply cannot be kept."""
        work_out = self._work_out
        if work_out is not None:
            try:
                self._rows = work_out()
            except Exception as error:  # whatever it holds, keeping a reply costs no answer
                logger.debug("a reply is not cached: %s", type(error).__name__)
            self._work_out = None  # what it holds (a reply, a request) may be large
        return self._rows


def rows_of(
    fingerprint: str,
    question: str,
    reply_json: dict[str, Any],
    at: float,
    alike: Callable[[], str] | None = None,
) -> tuple[Row, ...]:
    """The row of a reply given at `at`, and one under the name of all requests it may answer too.

    None if it is no JSON or larger than 1 MiB.
    """
    try:
        reply = orjson.dumps(reply_json)
    except TypeError:  # text that is no Unicode (a lone surrogate) or an object that is no JSON
        return ()
    if len(reply) > _LARGEST:
        return ()
    row = Row(fingerprint, question, reply, at)
    if alike is None:
        return (row,)
    return row, Row(pointing(alike()), "", orjson.dumps({"as": fingerprint}), at)
