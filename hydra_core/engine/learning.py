"""Limits that nobody configured: learned from what replies say of them, and from refusals.

The provider's word on its limits beats our estimate. A configured limit is a
ceiling that a larger stated one does not lift, because its owner may share it.
A refusal that names no limit still shows one: see `engine.inference`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

from hydra_core.engine.bucket import Bucket
from hydra_core.engine.ceiling import Ceiling
from hydra_core.engine.fixed_window import FixedWindow
from hydra_core.engine.inference import Refused, bucket_limits, sliding_limits
from hydra_core.engine.windows import SlidingWindow
from hydra_core.messages import Fault
from hydra_core.wire import DAY, MINUTE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hydra_core.engine.deployment import Lease
    from hydra_core.engine.inference import Estimate
    from hydra_core.engine.quota import QuotaGroup
    from hydra_core.engine.study import Study
    from hydra_core.engine.windows import Window
    from hydra_core.wire import LimitKind, LimitReading, Verdict

# How often its limit a provider lets pass within one period, however it counts.
_TWICE: Final = 2.0
# How much less speaks for a limit that was supposed to be another.
_CONTRARY: Final = 0.1
_USUAL: Final = {Fault.RATE_LIMIT_MINUTE: MINUTE, Fault.RATE_LIMIT_DAY: DAY}


class Lesson(NamedTuple):
    """How to understand a provider: its `shape` of window, and by how much time is shortened."""

    shape: str
    scale: float
    now: float


def observe(group: QuotaGroup, readings: Sequence[LimitReading], lesson: Lesson) -> None:
    """Correct a group's limits and counts by one reply's readings."""
    for reading in readings:
        window = _stated(group, reading.kind, reading.window, reading.limit, reading.reset, lesson)
        if window is not None and reading.remaining is not None:
            # Of a larger limit than ours, only what falls short of ours concerns us.
            window.observe(window.limit - reading.remaining, reading.reset, lesson.now)
    if group.slow_start is not None:
        end_slow_start(group, lesson.scale)


def refused(lease: Lease, verdict: Verdict, lesson: Lesson) -> None:
    """Learn from a refusal; the lease is not settled yet."""
    group = lease.group
    if verdict.fault in _USUAL:
        _take_back(lease, lesson.now)
    if verdict.kind == "concurrency" or verdict.concurrency_limit is not None:
        _hold_back(group, verdict.concurrency_limit, lesson)
    elif verdict.kind is not None and verdict.limit:
        length = verdict.window or _USUAL.get(verdict.fault or Fault.UNKNOWN)
        if length is None:
            return
        wait = verdict.retry_after
        window = _stated(group, verdict.kind, length, verdict.limit, wait, lesson)
        if window is not None and verdict.used is not None:
            used = verdict.used
            if isinstance(window, Bucket):
                used = min(used, _awaited(verdict.limit, verdict, window.length))
            window.observe(used, wait, lesson.now)
    elif verdict.fault is Fault.RATE_LIMIT_MINUTE and group.study is not None:
        _guess(group, group.study, lease, verdict, lesson)


def _awaited(limit: float, verdict: Verdict, length: float) -> float:
    """What a bucket holds at most of use when room for the request comes within the stated wait.

    A provider that lets others in by other rules may state a wait that is shorter than its
    own count needs: the wait is what it will act by.
    """
    if verdict.retry_after is None or verdict.requested is None:
        return limit
    return limit - verdict.requested + verdict.retry_after * limit / length


def _take_back(lease: Lease, now: float) -> None:
    """A refused call took no tokens; the provider's own count, which follows, has none of it."""
    lease.used = 0.0
    for window, charge in lease.charges:
        if window.kind == "tokens":
            window.settle(charge, 0.0, now)


def served(group: QuotaGroup, now: float) -> None:
    """A call went well: what we allow ourselves may grow."""
    ceiling = group.ceiling
    if ceiling is not None and ceiling.served(group.in_flight, now):
        group.refresh()
    if group.study is not None and group.study.guesses:
        group.study.passed(now)


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
        return _opened(group, kind, length, limit, reset, lesson)
    if limit and (limit < window.limit or not window.configured):
        window.limit = limit
        if window.tentative and group.study is not None:
            group.study.forget(window)
    return window


def _opened(
    group: QuotaGroup,
    kind: LimitKind,
    length: float,
    limit: float,
    reset: float | None,
    lesson: Lesson,
) -> Window:
    """A new window in the group, with what was sent before."""
    length *= lesson.scale
    window: Window
    if lesson.shape == "bucket":
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


def end_slow_start(group: QuotaGroup, scale: float) -> None:
    """Once the provider has stated both of its minute's limits nothing is to be careful of."""
    minute = MINUTE * scale
    found = (group.window("requests", minute), group.window("tokens", minute))
    if all(window is not None and not window.tentative for window in found):
        group.slow_start = None


def _hold_back(group: QuotaGroup, stated: int | None, lesson: Lesson) -> None:
    # The refused call is still counted in flight; one fewer is what was bearable.
    bearable = max(1, group.in_flight - 1)
    if stated is not None:
        bearable = max(1, min(stated, bearable))
    if group.ceiling is None:
        group.ceiling = Ceiling(bearable, lesson.now, lesson.scale)
    else:
        group.ceiling.refused(bearable, lesson.now)
        group.refresh()


def _guess(
    group: QuotaGroup, study: Study, lease: Lease, verdict: Verdict, lesson: Lesson
) -> None:
    if lease.granted <= study.supposed_at:
        return  # calls that were under way together are refused together, and show one thing
    if study.refused(lease.tokens, lesson.now):
        return
    calls = study.calls(until=lease.granted)
    if not calls:
        return  # others use this account: our calls show nothing of its limits
    now = lesson.now
    told = Refused(lease.tokens, verdict.retry_after, now, now - lease.granted, lesson.scale)
    limits = bucket_limits if lesson.shape == "bucket" else sliding_limits
    suspects = [
        (_surprise(group, estimate), estimate)
        for inferred in limits(calls, told)
        if verdict.kind in (None, inferred.kind)
        and (estimate := _possible(inferred, study)) is not None
    ]
    if suspects:
        likeliest, estimate = max(suspects, key=lambda suspect: suspect[0])
        if likeliest > 0.0:
            window = _suppose(group, study, estimate, lesson)
            _count(window, told, lesson)


def _possible(estimate: Estimate, study: Study) -> Estimate | None:
    """The limit in the light of the past; None when it could not have let that pass.

    A refusal that comes of something else would suppose any limit. A bucket that was full,
    or a fixed window with a reset in the middle, lets twice its limit pass in one period.
    """
    low = max(estimate.low, study.proven(estimate.kind, estimate.length) / _TWICE)
    return replace(estimate, low=low) if low < estimate.high else None


def _surprise(group: QuotaGroup, estimate: Estimate) -> float:
    """How much speaks for this limit; less when it contradicts what was supposed before."""
    window = group.window(estimate.kind, estimate.length)
    if window is None:
        return estimate.surprise
    if not window.tentative:
        return 0.0  # it is known, and would have kept us from sending
    agrees = estimate.low <= window.limit <= estimate.high
    return estimate.surprise * (1.0 if agrees else _CONTRARY)


def _suppose(group: QuotaGroup, study: Study, estimate: Estimate, lesson: Lesson) -> Window:
    """The window of the limit that refused, its limit supposed."""
    study.supposed_at = lesson.now
    window, limit = group.window(estimate.kind, estimate.length), estimate.limit
    if estimate.kind == "requests":
        limit = max(1.0, float(round(limit)))  # no limit is a part of a request
    if window is not None and estimate.low <= window.limit <= estimate.high:
        return window  # as we thought: only our count was behind
    if window is None:
        length = estimate.length / lesson.scale
        window = _opened(group, estimate.kind, length, limit, None, lesson)
    window.limit = limit
    study.suppose(window, lesson.now)
    return window


def _count(window: Window, told: Refused, lesson: Lesson) -> None:
    """Who refuses has counted so much that what was asked for does not fit."""
    need = min(window.limit, told.need if window.kind == "tokens" else 1.0)
    used, wait = window.limit - need, told.wait or 0.0
    if lesson.shape == "bucket":
        used += min(need, wait * window.limit / window.length)
    window.observe(used + 1.0, told.wait, lesson.now)
