"""What a caller may watch while a swarm reads."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable

ProgressEvent = Literal[
    "planned", "started", "read", "again", "halved", "waiting", "failed", "synthesis", "finished"
]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SwarmProgress:
    """One thing that happened to a swarm.

    `shard` and `key` name the shard and the key it concerns, if any; `coverage` is
    the share read so far (0..1); `seconds` counts from the start; `eta` is the
    expected number of seconds to the end, None while nothing is known.
    """

    event: ProgressEvent
    shard: int | None
    key: str | None
    shards_done: int
    shards_total: int
    coverage: float
    seconds: float
    eta: float | None


OnProgress = Callable[[SwarmProgress], object]


def tell(listener: OnProgress | None, events: Iterable[SwarmProgress]) -> None:
    """Hand events to a listener; what it raises is logged and never ends a swarm."""
    if listener is None:
        return
    for event in events:
        try:
            listener(event)
        except Exception:
            _log.exception("the on_progress listener failed at %r", event.event)
