"""A refusal that says nothing: was it one call too many at once, or one too many in a minute?

Providers and servers that limit how many calls are under way refuse with as few words as
those that count by the minute. Taken for the wrong one, two at once would be two a minute.

Law: where at least as many calls are under way as have ended within the minute, the refusal
     is taken for too many at once: that is tried out at once, at the price of one refusal.
     Who is refused again with no more under way than were borne before is refused by the
     minute.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hydra_core.wire import MINUTE

if TYPE_CHECKING:
    from hydra_core.engine.deployment import Lease
    from hydra_core.engine.lesson import Lesson
    from hydra_core.engine.study import Study

# So few calls a minute hardly any provider limits its users to.
_FEW: Final = 4


def too_many_at_once(lease: Lease, study: Study, lesson: Lesson) -> int | None:
    """How many calls at once are bearable, if that refused this one without a word; None: no.

    The lease is not settled yet.
    """
    group, ceiling = lease.group, lease.group.ceiling
    others, ended = study.company(lease, lesson.now - MINUTE * lesson.scale)
    if ceiling is None:
        likely = not study.guesses and others > 0 and ended <= max(others, _FEW)
        return others if likely else None
    if lease.granted < ceiling.lowered or others >= ceiling.borne:
        return max(1, others)
    if ceiling.tentative:
        group.ceiling = None
    return None
