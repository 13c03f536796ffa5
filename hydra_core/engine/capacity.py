"""How much each quota group can still take, as a planner sees it.

A `GroupCapacity` is a photograph of one group (account x model) at one instant.
It holds no clock: every time in it is seconds from that instant, in real
seconds, so a scaled configuration needs no thought by the reader.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hydra_core.wire import LimitKind, WindowShape


@dataclass(frozen=True, slots=True)
class WindowCapacity:
    """One limit of a group: `limit` permits per `window` seconds, `used` of them taken.

    `frees` lists what comes back and when: (seconds from now, permits), ascending.
    A `sliding` window gives back each charge one window after it was made; a
    `fixed` one gives everything back at its boundary; a `bucket` refills by
    limit / window permits each second, so its `frees` may be empty.
    """

    kind: LimitKind
    window: float
    limit: float
    used: float
    shape: WindowShape
    frees: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, slots=True)
class GroupCapacity:
    """One quota group: who is behind it, its limits, and what a call costs there.

    `concurrency` is the number of calls it takes at once, None when not limited;
    `available_in` the seconds until a cooldown ends; `context_window` and
    `max_output` tokens; `latency` the learned mean seconds of one call; the two
    prices US dollars per million tokens; `tokens_per_char` what a character of a prompt
    is booked as. None: not known.
    """

    name: str
    provider: str
    model: str
    keys: tuple[str, ...]
    windows: tuple[WindowCapacity, ...]
    concurrency: int | None
    in_flight: int
    available_in: float
    context_window: int | None
    max_output: int | None
    latency: float | None
    input_usd: float | None
    output_usd: float | None
    tokens_per_char: float | None = None
