"""Exit statuses: what kind of answer came, for scripts. Wrong usage is argparse's own, 2."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hydra_core.messages import ReplyKind
    from hydra_core.swarm.values import SwarmResult

FULL: Final = 0
ERROR: Final = 1
PARTIAL: Final = 3
WAIT: Final = 4
INTERRUPTED: Final = 130  # 128 + SIGINT, as shells have it
BROKEN_PIPE: Final = 141  # 128 + SIGPIPE

OF_KIND: Final[Mapping[ReplyKind, int]] = {
    "full": FULL,
    "cached": FULL,
    "partial": PARTIAL,
    "wait": WAIT,
}


def of_result(result: SwarmResult) -> int:
    """The status for a swarm's answer; one that no call was made for may still have gaps."""
    if result.kind == "cached" and result.not_read:
        return PARTIAL
    return OF_KIND[result.kind]
