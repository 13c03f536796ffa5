"""How a provider's words are to be understood, and the limit that is opened by them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from hydra_core.engine.bucket import Bucket
from hydra_core.engine.fixed_window import FixedWindow
from hydra_core.engine.windows import SlidingWindow
from hydra_core.wire import DAY

if TYPE_CHECKING:
    from collections.abc import Callable

    from hydra_core.engine.quota import QuotaGroup
    from hydra_core.engine.windows import Window
    from hydra_core.wire import LimitKind


class Lesson(NamedTuple):
    """How to understand a provider: its `shape` of window, and by how much time is shortened.

    `day_end` tells when its calendar day ends (monotonic seconds); None: its days roll.
    """

    shape: str
    scale: float
    now: float
    day_end: Callable[[float], float] | None = None


def opened(
    group: QuotaGroup,
    kind: LimitKind,
    length: float,
    limit: float,
    reset: float | None,
    lesson: Lesson,
) -> Window:
    """A new window in the group, with what was sent before."""
    day_end = lesson.day_end if length == DAY else None
    length *= lesson.scale
    window: Window
    if day_end is not None:
        ends = day_end(lesson.now)
        window = FixedWindow(
            kind, limit, length, resets_at=ends, next_reset=day_end, configured=False
        )
    elif lesson.shape == "bucket":
        window = Bucket(kind, limit, length, configured=False)
    elif lesson.shape == "fixed" and reset is not None:
        opens = lesson.now + reset
        window = FixedWindow(kind, limit, length, resets_at=opens, configured=False)
    else:
        window = SlidingWindow(kind, limit, length, configured=False)
    if group.study is not None:
        group.study.replay(window, lesson.now)
    group.windows.append(window)
    return window
