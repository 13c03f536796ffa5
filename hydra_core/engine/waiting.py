"""The waiting room: who waits joins here, is granted a lease in turn, and is woken.

Law 1: first come, first served within a priority, whatever routes share a group; whoever
       could start earliest in a group holds a claim on it, so a large request is not
       starved by small ones, nor by newcomers.
Law 2: interactive requests go before batch ones, but at most `PASSES` of them pass the
       batch request that is next: then it goes before all. What one side leaves, the
       other may have.
Law 3: capacity that returns wakes those who can use it, not all who wait.
Law 4: while anybody waits, somebody is awake for the next start.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, Final

from hydra_core.engine.look import Look, Looks
from hydra_core.engine.promise import Promises
from hydra_core.engine.queue import Ticket
from hydra_core.engine.windows import NEVER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from hydra_core.engine.choice import Choice, Chooser
    from hydra_core.engine.deployment import Deployment, Lease
    from hydra_core.engine.exclusion import Avoid
    from hydra_core.engine.queue import Queue
    from hydra_core.engine.quota import QuotaGroup
    from hydra_core.engine.routing import Route
    from hydra_core.engine.size import Size

PASSES: Final = 4
"""Interactive requests that may pass the next batch request: it gets a fifth of the grants."""

# How many tickets of one queue claim a group each while they wait.
_CLAIMS: Final = 16
# All of a limit, and the rounding of many additions.
_FULL: Final = 1.0 + 1e-9
# A park that ends this much after the next start is still in time, in seconds.
_SLACK: Final = 0.001
_BEFORE_ALL: Final = (-NEVER, 0)


class WaitingRoom:
    """The lines of all routes of one pool, and whom to wake.

    `sharers` are the deployments of each group. `grant` charges a choice and makes it a
    lease; `refund` gives a lease back unused, and then serves who waits. `most` may wait at
    once, None: any number.
    """

    __slots__ = (
        "_chooser",
        "_front",
        "_grant",
        "_looks",
        "_most",
        "_passed",
        "_promises",
        "_refund",
        "_routes",
        "_rung",
        "_sequence",
        "_turn",
        "due",
    )

    def __init__(
        self,
        chooser: Chooser,
        sharers: Mapping[QuotaGroup, Sequence[Deployment]],
        *,
        grant: Callable[[Choice, Size, float], Lease],
        refund: Callable[[Lease, float], None],
        most: int | None = None,
    ) -> None:
        self._chooser = chooser
        self._looks = Looks(chooser, sharers)
        self._grant = grant
        self._refund = refund
        self._most = most
        self._sequence = 0
        self._routes: dict[Route, None] = {}
        self._promises = Promises(chooser, self._routes, PASSES)
        self._rung: list[Ticket] = []
        self._front: dict[Ticket, Look] = {}  # who was looked at last, and waits on
        self._passed = 0  # interactive grants since the batch request that is next came to be so
        self.due = NEVER  # when somebody can start next, as far as is known
        self._turn: Ticket | None = None  # the batch request that goes before all

    def __bool__(self) -> bool:
        return bool(self._routes)

    def __len__(self) -> int:
        return sum(len(route.line) for route in self._routes)

    @property
    def overfull(self) -> bool:
        """True when more wait than may: who came last must not stay."""
        return self._most is not None and len(self) > self._most

    def tickets(self) -> list[Ticket]:
        """All who stand in line, route by route, each route in its order."""
        return [ticket for route in self._routes for ticket in route.line.first(len(route.line))]

    def join(self, route: Route, size: Size, avoid: Avoid, priority: int, now: float) -> Ticket:
        """Stand in line; the ticket may hold its lease at once."""
        ticket = self.ticket(route, size, avoid, priority)
        if self._stand(ticket):
            self.serve(now)
        return ticket

    def ticket(self, route: Route, size: Size, avoid: Avoid, priority: int) -> Ticket:
        """The ticket of one who would come now; it stands nowhere yet."""
        self._sequence += 1
        return Ticket(route, size, avoid, priority, self._sequence)

    def promise(self, ticket: Ticket, now: float) -> float:
        """When a ticket will start, with all who go before it; it need not stand in line."""
        return self._promises.of(ticket, now)

    def turn(self, route: Route, size: Size, avoid: Avoid, priority: int, now: float) -> float:
        """When one who came now would have his turn; no later than `now` unless others wait."""
        return self.promise(self.ticket(route, size, avoid, priority), now) if self else now

    def first(self, route: Route, size: Size, avoid: Avoid, now: float) -> Deployment | None:
        """Who could start such a request first, as far as is known, if nobody else waited."""
        return self._chooser.earliest(route, size, avoid, now)[1]

    def keeps(self, ticket: Ticket, limit: float, now: float) -> bool:
        """True unless a ticket will surely start after `limit`."""
        return self._promises.keeps(ticket, limit, now)

    def _stand(self, ticket: Ticket) -> bool:
        if ticket.route not in self._routes:
            self._routes[ticket.route] = None
            self._promises.forget()
        return ticket.route.line.join(ticket)

    def _go(self, ticket: Ticket) -> None:
        line = ticket.route.line
        line.leave(ticket)
        if not line:
            self._routes.pop(ticket.route, None)
            self._promises.forget()
        if ticket is self._turn:
            self._turn = None

    def leave(self, ticket: Ticket, now: float) -> None:
        """Stop waiting. A lease that was granted and not claimed goes back unused."""
        lease, ticket.lease = ticket.lease, None
        self._go(ticket)
        if lease is not None:
            self._refund(lease, now)
        elif ticket.start < NEVER and self._routes:
            self.serve(now)  # its claim is free, and so may be its watch

    def claim(self, ticket: Ticket, now: float) -> Lease | None:
        """Take the lease that was granted, charged as of now: the wire is reached only now.

        One that can no longer be used goes back, and the ticket stands where it stood.
        """
        lease, ticket.lease = ticket.lease, None
        if lease is None or self._renewed(lease, now):
            return lease
        self._stand(ticket)
        self._refund(lease, now)
        lease, ticket.lease = ticket.lease, None
        return lease

    def _renewed(self, lease: Lease, now: float) -> bool:
        """Charge it anew; False when it can no longer be used.

        Its deployment may have come to rest, or its booking expired and others used that room.
        """
        group = lease.group
        group.settle(lease.charges, requests=0.0, tokens=0.0, now=now)
        usable = not lease.deployment.rests_at(now) and group.weigh(lease.tokens, now)[0] <= _FULL
        if lease.spend is not None:
            usable &= lease.spend.renewed(now)
        lease.charges = group.charge(lease.tokens, now)
        self._chooser.stirred.add(group)
        lease.granted = now
        return usable

    def serve(self, now: float) -> None:
        """Grant leases to whoever can start now; `take_rung` tells whom to wake.

        Walks all who wait in their order, but looks at one ticket of each queue only: while
        it cannot start, none behind it in its queue can. Those count by what they claim.
        """
        before, self._front = self._front, {}
        for ticket in before:
            ticket.start = NEVER
        claimed: set[QuotaGroup] = set()
        unseen = dict.fromkeys(self._queues())
        walk = [self._place(queue, 0) for queue in unseen]
        heapify(walk)
        while unseen:
            entry = heappop(walk)
            _, at, queue = entry
            if at == 0 and (queue not in unseen or entry != self._place(queue, 0)):
                continue  # it came to be its turn since, and it stands there as well
            ticket = queue.tickets[at]
            found = self._look(ticket, before.get(ticket), now, claimed)
            if not isinstance(found, Look):
                turn = self._serve_ticket(ticket, found, now)
                if turn is not None:
                    heappush(walk, self._place(turn, 0))
                if at == len(queue):
                    unseen.pop(queue, None)
                    continue
            else:
                unseen.pop(queue, None)
                self._front[ticket] = found
                ticket.start = found.start
                at += 1
                if found.group is None:
                    continue
                claimed.add(found.group)
                if at == min(len(queue), _CLAIMS):
                    continue
            heappush(walk, self._place(queue, at))
        self._looks.done()
        self.due = min((ticket.start for ticket in self._front), default=NEVER)
        self._keep_watch()

    def _queues(self) -> Iterator[Queue]:
        return (queue for route in self._routes for queue in route.line.queues.values())

    def _place(self, queue: Queue, at: int) -> tuple[tuple[float, int], int, Queue]:
        """Where a ticket stands among all who wait; no two stand in one place."""
        ticket = queue.tickets[at]
        return (_BEFORE_ALL if ticket is self._turn else ticket.order), at, queue

    def _look(
        self, ticket: Ticket, last: Look | None, now: float, claimed: set[QuotaGroup]
    ) -> Choice | Look:
        """Who may serve this ticket now, else where it will start."""
        if last is not None and self._looks.hold(last, ticket, now, claimed):
            return last
        chooser, asked = self._chooser, (ticket.route, ticket.size, ticket.avoid, now, claimed)
        choice = chooser.choose(*asked)
        if choice is not None:
            return choice
        look = self._looks.anew(ticket, now, claimed)
        if look.start <= now:
            choice = chooser.choose(*asked)
        return look if choice is None else choice

    def _serve_ticket(self, ticket: Ticket, choice: Choice, now: float) -> Queue | None:
        """Grant it; the result is the queue whose head goes before all from now on, if any."""
        head = self._next_batch()
        ticket.lease = self._grant(choice, ticket.size, now)
        self._go(ticket)
        self._rung.append(ticket)
        if ticket is head:
            self._passed = 0
        elif head is not None and not ticket.kind.batch and _may_use(head, choice):
            self._passed += 1
            if self._passed >= PASSES and self._turn is not head:
                self._turn = head
                return head.route.line.queues[head.kind]
        return None

    def _next_batch(self) -> Ticket | None:
        heads = [queue.tickets[0] for queue in self._queues() if queue.batch]
        return min(heads, key=lambda ticket: ticket.order, default=None)

    def _keep_watch(self) -> None:
        """Somebody must be awake when the next start comes: wake whose start it is."""
        if self.due == NEVER:
            return
        first = next(ticket for ticket in self._front if ticket.start == self.due)
        if first.parked_until > self.due + _SLACK:
            first.parked_until = self.due  # it is awake from now on: once rung is enough
            self._rung.append(first)

    def take_rung(self) -> list[Ticket]:
        """The tickets to wake, once each. Ring them after the lock is released."""
        if not self._rung:
            return []
        rung, self._rung = self._rung, []
        return list(dict.fromkeys(rung))


def _may_use(ticket: Ticket, choice: Choice) -> bool:
    """It waits for the group that this choice takes from."""
    group = choice.deployment.group
    return any(deployment.group is group for deployment in ticket.route.deployments)
