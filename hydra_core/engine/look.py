"""What was found for a waiting ticket that cannot start yet, kept while it stays true.

A start is the first of many: at each deployment of its route that it may use and that no
group claimed before it forbids. So it stays true until it is due, the place where it was
found changes or is claimed, or another becomes better; of the others only those have to
be looked at that changed, or that were claimed when it was found and are not any more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from hydra_core.engine.choice import expected_at
from hydra_core.engine.exclusion import avoids

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from hydra_core.engine.choice import Chooser
    from hydra_core.engine.deployment import Deployment
    from hydra_core.engine.queue import Ticket
    from hydra_core.engine.quota import QuotaGroup

# What is learned of a model shifts all starts a little, and of many deployments a look sees
# but some: seconds until it is repeated.
_FRESH: Final = 1.0
# Where so many groups changed, looking at everything costs no more.
_FEW: Final = 8


class Look(NamedTuple):
    """At `at`, with these groups claimed by others, a ticket was to start at `start`.

    `where`: at this deployment; None when nothing known lets it start.
    """

    at: float
    start: float
    where: Deployment | None
    claimed: frozenset[QuotaGroup]

    @property
    def group(self) -> QuotaGroup | None:
        """What the ticket claims."""
        return None if self.where is None else self.where.group


class Looks:
    """Looks at tickets; `sharers` are the deployments of each group."""

    __slots__ = ("_chooser", "_sharers")

    def __init__(
        self, chooser: Chooser, sharers: Mapping[QuotaGroup, Sequence[Deployment]]
    ) -> None:
        self._chooser = chooser
        self._sharers = sharers

    def anew(self, ticket: Ticket, now: float, claimed: Collection[QuotaGroup]) -> Look:
        """Look at all that may serve it."""
        start, where = self._chooser.earliest(ticket.route, ticket.size, ticket.avoid, now, claimed)
        return Look(now, start, where, frozenset(claimed))

    def hold(self, look: Look, ticket: Ticket, now: float, claimed: Collection[QuotaGroup]) -> bool:
        """True while what was found last time is what would be found again."""
        if look.start <= now or now - look.at > _FRESH:
            return False
        changed = self._chooser.stirred
        if len(changed) > _FEW or look.group in changed or look.group in claimed:
            return False
        return not any(
            self._sooner(group, look.start, ticket, now)
            for group in changed | look.claimed
            if group not in claimed
        )

    def _sooner(self, group: QuotaGroup, start: float, ticket: Ticket, now: float) -> bool:
        """True when the ticket could start before `start` in this group."""
        return any(
            deployment in ticket.route.members
            and deployment.hard_until < start
            and not avoids(ticket.avoid, deployment)
            and expected_at(deployment, ticket.size, now) < start
            for deployment in self._sharers.get(group, ())
        )

    def done(self) -> None:
        """All who wait were looked at: what changes from now on is a change."""
        self._chooser.stirred.clear()
