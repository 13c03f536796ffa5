"""Limits that nobody configured: learned from what replies say of them, and from refusals.

The provider's word on its limits beats our estimate. A configured limit is a
ceiling that a larger stated one does not lift, because its owner may share it.
A refusal that names no limit still shows one: see `supposition`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hydra_core.engine.bucket import Bucket
from hydra_core.engine.ceiling import Ceiling
from hydra_core.engine.crowding import too_many_at_once
from hydra_core.engine.fixed_window import FixedWindow
from hydra_core.engine.lesson import opened
from hydra_core.engine.supposition import suppose, weigh_rivals
from hydra_core.messages import Fault
from hydra_core.wire import DAY, MINUTE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hydra_core.engine.deployment import Lease
    from hydra_core.engine.lesson import Lesson
    from hydra_core.engine.quota import QuotaGroup
    from hydra_core.engine.windows import Window
    from hydra_core.wire import LimitKind, LimitReading, Verdict

_USUAL: Final = {Fault.RATE_LIMIT_MINUTE: MINUTE, Fault.RATE_LIMIT_DAY: DAY}


def observe(group: QuotaGroup, readings: Sequence[LimitReading], lesson: Lesson) -> None:
    """Correct a group's limits and counts by one reply's readings."""
    for reading in readings:
        window = _stated(group, reading.kind, reading.window, reading.limit, reading.reset, lesson)
        if window is not None and reading.remaining is not None:
            # Of a larger limit than ours, only what falls short of ours concerns us.
            window.observe(window.limit - reading.remaining, reading.reset, lesson.now)
    if group.slow_start is not None:
        end_slow_start(group, lesson.scale)


def refused(lease: Lease, verdict: Verdict, lesson: Lesson) -> float | None:
    """Learn from a refusal; the lease is not settled yet.

    The result is how many seconds to wait by what was supposed of it; None: nothing was.
    """
    group = lease.group
    if verdict.fault in _USUAL:
        _take_back(lease, lesson.now)
        if group.study is not None:
            lease.deployment.model.echo.refused(lesson.now - lease.granted)
    if verdict.kind == "concurrency" or verdict.concurrency_limit is not None:
        _hold_back(group, verdict.concurrency_limit, lesson)
    elif verdict.kind is not None and (verdict.limit or verdict.fault is Fault.RATE_LIMIT_DAY):
        length = verdict.window or _USUAL.get(verdict.fault or Fault.UNKNOWN)
        if length is None:
            return None
        wait = verdict.retry_after
        window = _stated(group, verdict.kind, length, verdict.limit, wait, lesson)
        if window is not None:
            _count(window, verdict, lesson.now)
    elif verdict.fault is Fault.RATE_LIMIT_MINUTE and group.study is not None:
        wordless = verdict.kind is None and verdict.retry_after is None
        bearable = too_many_at_once(lease, group.study, lesson) if wordless else None
        if bearable is not None:
            _hold_back(group, bearable, lesson, tentative=True)
            return 0.0  # there is room as soon as one has ended
        return suppose(group, group.study, lease, verdict, lesson)
    return None


def _count(window: Window, verdict: Verdict, now: float) -> None:
    """Count what the provider says is used: who refuses for the day and says nothing, all of it.

    Not where nobody knows when it returns: the rest that follows a refusal ends sooner.
    """
    used, wait = verdict.used, verdict.retry_after
    if used is None:
        known = wait is not None or isinstance(window, FixedWindow)
        if verdict.fault is not Fault.RATE_LIMIT_DAY or not known:
            return
        used = window.limit
    if isinstance(window, Bucket):
        used = min(used, _awaited(window, verdict))
    window.observe(used, wait, now)


def _awaited(bucket: Bucket, verdict: Verdict) -> float:
    """What a bucket holds at most of use when room for the request comes within the stated wait.

    A provider that lets others in by other rules may state a wait that is shorter than its
    own count needs: the wait is what it will act by.
    """
    limit, need = verdict.limit or bucket.limit, verdict.requested
    if verdict.retry_after is None or need is None:
        return limit
    return limit - need + verdict.retry_after * limit / bucket.length


def _take_back(lease: Lease, now: float) -> None:
    """A refused call took no tokens; the provider's own count, which follows, has none of it."""
    lease.used = 0.0
    for window, charge in lease.charges:
        if window.kind == "tokens":
            window.settle(charge, 0.0, now)


def served(lease: Lease, now: float) -> None:
    """A call went well: what we allow ourselves may grow."""
    group = lease.group
    ceiling = group.ceiling
    if ceiling is not None and ceiling.served(group.in_flight, now):
        group.refresh()
    if group.slow_start is not None:
        lease.deployment.model.echo.answered(now - lease.granted)
    study = group.study
    if study is not None and study.guesses:
        study.passed(lease.used, now)
        if study.case is not None and study.case.rival is not None:
            weigh_rivals(group, study, study.case, now)


def _stated(
    group: QuotaGroup,
    kind: LimitKind,
    length: float,
    limit: float | None,
    reset: float | None,
    lesson: Lesson,
) -> Window | None:
    """The window that the provider speaks of, its limit corrected; None when it is unknown."""
    window = group.window(kind, length * lesson.scale)
    if window is None:
        if not limit:
            return None
        return opened(group, kind, length, limit, reset, lesson)
    if limit:
        held = min(limit, window.ceiling)
        if held != window.limit:
            window.restate(held, lesson.now)
        if window.tentative and group.study is not None:
            group.study.forget(window)
    return window


def end_slow_start(group: QuotaGroup, scale: float) -> None:
    """Once the provider has stated both of its minute's limits nothing is to be careful of."""
    minute = MINUTE * scale
    found = (group.window("requests", minute), group.window("tokens", minute))
    if all(window is not None and not window.tentative for window in found):
        group.slow_start = None


def _hold_back(
    group: QuotaGroup, stated: int | None, lesson: Lesson, *, tentative: bool = False
) -> None:
    # The refused call is still counted in flight; one fewer is what was bearable.
    bearable = max(1, group.in_flight - 1)
    if stated is not None:
        bearable = max(1, min(stated, bearable))
    if group.ceiling is None:
        group.ceiling = Ceiling(bearable, lesson.now, lesson.scale, tentative=tentative)
    else:
        group.ceiling.refused(bearable, lesson.now)
        group.refresh()
