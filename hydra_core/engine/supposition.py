"""What limit is supposed after a refusal that named none, in the light of what was before.

`inference` tells which limits would explain it; here one of them is chosen and opened.

Law 1: what was let pass is believed before what is supposed: a supposition that it
       disproves is given up at once.
Law 2: where requests and tokens explain a refusal about equally well, one is supposed
       and the other remembered as its rival. When the one in force is used up and the
       other says that there is room, they change places: the next call tells which of them
       is true, at the price of one refusal at most, and no time is lost by the wrong one.
       It need not tell: then they change places again.
Law 3: what refuses twice alike is one limit, and lies where both refusals allow; of what is
       left the middle one of the numbers that people make is tried first.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from hydra_core.engine.guess import PATIENCE, UNSURE, Seldom
from hydra_core.engine.inference import Refused, bucket_limits, sliding_limits
from hydra_core.engine.lesson import opened

if TYPE_CHECKING:
    from hydra_core.engine.deployment import Lease
    from hydra_core.engine.inference import Estimate
    from hydra_core.engine.lesson import Lesson
    from hydra_core.engine.quota import QuotaGroup
    from hydra_core.engine.study import Study
    from hydra_core.engine.windows import Window
    from hydra_core.wire import LimitKind, Verdict

# How often its limit a provider lets pass within one period, however it counts.
_TWICE: Final = 2.0
# How much less speaks for a limit that was supposed to be another.
_CONTRARY: Final = 0.1
# Who explains a refusal so much worse than another is no rival of it.
_NO_RIVAL: Final = 0.25
# Less speaks for a limit that is no usual number, or that no wait bears out.
_SURE: Final = 1.0
# A limit that may be half as much again is no more sure: held to the least of them, a key
# that serves few large requests would not be doubted for an hour.
_NARROW: Final = 0.25


@dataclass(slots=True)
class Case:
    """The last refusal that named no limit, and what was made of it.

    `sent` is when the refused call was, `kind` of what the provider said to have too much.
    `window` is the one whose limit was supposed, `before` that limit before, None if there
    was none. `rival` is the other limit that would explain it.
    """

    told: Refused
    sent: float
    kind: LimitKind | None
    lesson: Lesson
    window: Window | None = None
    before: float | None = None
    estimate: Estimate | None = None
    rival: Estimate | None = None
    looks: Seldom = field(default_factory=Seldom)
    trials: Seldom = field(default_factory=Seldom)

    def needs(self, estimate: Estimate) -> float:
        """What a request like the refused one takes of a limit."""
        return 1.0 if estimate.counts else self.told.need

    def patience(self, estimate: Estimate) -> int:
        """After how many calls the limit is doubted: soon where little speaks for it."""
        narrow = estimate.high - estimate.low <= _NARROW * estimate.high
        sure = self.told.wait is not None and estimate.surprise >= _SURE and narrow
        return PATIENCE if sure else UNSURE


def suppose(
    group: QuotaGroup, study: Study, lease: Lease, verdict: Verdict, lesson: Lesson
) -> float | None:
    """A refusal of this lease named no limit: suppose the one that explains it best.

    The result is how many seconds it takes until that has room for such a request again;
    None: nothing that we know explains the refusal.
    """
    case, now = study.case, lesson.now
    if lease.granted <= study.supposed_at:
        # Calls that were under way together are refused together, and show one thing. But
        # one that was taken for let pass when another was judged was not.
        if case is not None and lease.granted < case.sent:
            _retract(group, study, case)
            _judge(group, study, case)
        return _room_in(study.case, lease.tokens, now)
    if study.refused(lease.tokens, now):
        return _room_in(study.case, lease.tokens, now)
    if group.slow_start is not None:
        group.slow_start.resume(0.0)  # the other limit may be as near as this one was
    told = Refused(lease.tokens, verdict.retry_after, now, now - lease.granted, lesson.scale)
    fresh = Case(told, lease.granted, verdict.kind, lesson)
    _judge(group, study, fresh)
    return _room_in(study.case, lease.tokens, now) if study.case is fresh else None


def _room_in(case: Case | None, tokens: float, now: float) -> float | None:
    """Seconds until the limit in force has room for such a request; None: there is none."""
    if case is None or case.window is None:
        return None
    window = case.window
    need = min(window.limit, tokens if window.kind == "tokens" else 1.0)
    return window.earliest(need, now) - now


def _judge(group: QuotaGroup, study: Study, case: Case) -> None:
    calls = study.calls(until=case.sent)
    if not calls:
        return  # others use this account: our calls show nothing of its limits
    limits = bucket_limits if case.lesson.shape == "bucket" else sliding_limits
    suspects = [
        (_surprise(group, study, estimate), estimate)
        for inferred in limits(calls, case.told)
        if case.kind in (None, inferred.kind)
        and (estimate := _possible(inferred, study)) is not None
    ]
    suspects.sort(key=lambda suspect: suspect[0], reverse=True)
    if not suspects or suspects[0][0] <= 0.0:
        return
    likeliest, estimate = suspects[0]
    _acquit(group, study, estimate)
    _put_in_force(group, study, estimate, case)
    for surprise, rival in suspects[1:]:
        if surprise > _NO_RIVAL * likeliest and group.window(rival.kind, rival.length) is None:
            case.rival = rival


def _acquit(group: QuotaGroup, study: Study, estimate: Estimate) -> None:
    """What was supposed for a refusal that this limit explains as well is needed no more."""
    case = study.case
    if case is None or case.window is None or case.rival is None:
        return
    if case.window.tentative and case.window.kind != estimate.kind and _alike(case.rival, estimate):
        _drop(group, study, case.window)


def _alike(one: Estimate, other: Estimate) -> bool:
    """Both may be the same limit."""
    same = (one.kind, one.length) == (other.kind, other.length)
    return same and one.low < other.high and other.low < one.high


def _possible(estimate: Estimate, study: Study) -> Estimate | None:
    """The limit in the light of the past; None when it could not have let that pass.

    A refusal that comes of something else would suppose any limit. A bucket that was full,
    or a fixed window with a reset in the middle, lets twice its limit pass in one period.
    """
    low = max(estimate.low, study.proven(estimate.kind, estimate.length) / _TWICE)
    estimate = replace(estimate, low=low)
    case = study.case
    for before in (case.estimate, case.rival) if case is not None else ():
        if before is not None and _alike(before, estimate):  # then it refused both times
            low, high = max(before.low, estimate.low), min(before.high, estimate.high)
            estimate = replace(estimate, low=low, high=high)
    return estimate if estimate.possible else None


def _surprise(group: QuotaGroup, study: Study, estimate: Estimate) -> float:
    """How much speaks for this limit; less when it contradicts what was supposed before."""
    window = group.window(estimate.kind, estimate.length)
    if window is not None and not window.tentative:
        return 0.0  # it is known, and would have kept us from sending
    agrees = True
    if window is not None:
        held = study.case.estimate if study.case is not None else None
        agrees = estimate.low <= window.limit < estimate.high
        agrees = agrees or (held is not None and _alike(held, estimate))
    elif study.case is not None and study.case.rival is not None:
        rival = study.case.rival
        # One above it is another limit, that nobody had met before: what was let pass shows it.
        agrees = rival.kind != estimate.kind or estimate.high > rival.low
    return estimate.surprise * (1.0 if agrees else _CONTRARY)


def _put_in_force(group: QuotaGroup, study: Study, estimate: Estimate, case: Case) -> None:
    """Put the limit that refused in force, and count as the provider must have counted."""
    study.supposed_at, study.case = case.lesson.now, case
    window, limit = group.window(estimate.kind, estimate.length), estimate.limit
    if estimate.counts:
        limit = max(1.0, float(round(limit)))  # no limit is a part of a request
    case.estimate = estimate
    if window is None:
        length = estimate.length / case.lesson.scale
        window = opened(group, estimate.kind, length, limit, None, case.lesson)
    else:
        case.before = window.limit
    case.window = window
    if limit != case.before or window not in study.guesses:  # else only our count was behind
        window.limit = limit
        study.suppose(window, case.lesson.now, case.patience(estimate), estimate.high)
    _count(window, case.told, case.lesson)


def _count(window: Window, told: Refused, lesson: Lesson) -> None:
    """Who refuses has counted so much that what was asked for does not fit."""
    need = min(window.limit, told.need if window.kind == "tokens" else 1.0)
    used = window.limit - need
    if lesson.shape == "bucket":
        # What it lacks is the wait's worth. Without a word of it nobody knows: who took it for
        # less than all of the request would be refused for the difference, again and again.
        used += need if told.wait is None else min(need, told.wait * window.limit / window.length)
    window.observe(used + 1.0, told.wait, lesson.now)


def _retract(group: QuotaGroup, study: Study, case: Case) -> None:
    """What was made of the case is undone."""
    window, case.window, case.rival = case.window, None, None
    if window is None or not window.tentative:
        return
    if case.before is None:
        _drop(group, study, window)
    else:
        window.limit = case.before
    case.before = None


def _drop(group: QuotaGroup, study: Study, window: Window) -> None:
    group.windows = [other for other in group.windows if other is not window]
    study.guesses.pop(window, None)


def weigh_rivals(group: QuotaGroup, study: Study, case: Case, now: float) -> None:
    """A call went well: it may tell which of two rivals is true, or be time to ask."""
    window, rival, held = case.window, case.rival, case.estimate
    if window is None or rival is None or held is None:
        return
    length, shape = window.length, case.lesson.shape
    if not window.tentative or window not in study.guesses:  # it was stated, or merged
        case.rival = None
        return
    if case.looks.due(length, now):
        if study.least(held.kind, held.length, shape, now) >= held.high:
            _swap(group, study, case, window, rival, now)
            case.rival = None
            return
        if study.least(rival.kind, rival.length, shape, now) >= rival.high:
            case.rival = None
            return
    if window.room(now) < case.needs(held) and case.trials.due(length, now):
        used = study.used(rival.kind, rival.length, shape, rival.limit, now)
        if used + case.needs(rival) <= rival.limit:
            _swap(group, study, case, window, rival, now)


def _swap(
    group: QuotaGroup, study: Study, case: Case, window: Window, rival: Estimate, now: float
) -> None:
    """Put the rival in force in place of `window`, in the light of all calls."""
    _drop(group, study, window)
    lesson = case.lesson._replace(now=now)
    length = rival.length / lesson.scale
    case.window = opened(group, rival.kind, length, rival.limit, None, lesson)
    case.before = None
    study.suppose(case.window, now, case.patience(rival), rival.high)
    case.estimate, case.rival = rival, case.estimate
