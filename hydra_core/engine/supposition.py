"""What limit is supposed after a refusal that named none, in the light of what was before.

`inference` tells which limits would explain it; here one of them is chosen and opened.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from hydra_core.engine.inference import Refused, bucket_limits, sliding_limits
from hydra_core.engine.lesson import opened

if TYPE_CHECKING:
    from hydra_core.engine.deployment import Lease
    from hydra_core.engine.inference import Estimate
    from hydra_core.engine.lesson import Lesson
    from hydra_core.engine.quota import QuotaGroup
    from hydra_core.engine.study import Study
    from hydra_core.engine.windows import Window
    from hydra_core.wire import Verdict

# How often its limit a provider lets pass within one period, however it counts.
_TWICE: Final = 2.0
# How much less speaks for a limit that was supposed to be another.
_CONTRARY: Final = 0.1


def guess(
    group: QuotaGroup, study: Study, lease: Lease, verdict: Verdict, lesson: Lesson
) -> None:
    """A refusal of this lease named no limit: suppose the one that explains it best."""
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
        window = opened(group, estimate.kind, length, limit, None, lesson)
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
