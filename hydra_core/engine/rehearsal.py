"""When each of those who wait would start: the line is served in thought, one after the other.

What a limit lets through is no flow that may be split at will: a large request needs one
key with that much room, and small ones ahead of it take what each key gives back. So the
line is played forward as it will be served: each where it can start first, booked there as
it will be booked and given back as it will be settled. `stand_in` plays a key's limits.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from heapq import heapify, heapreplace, merge
from itertools import islice
from math import inf, log2
from typing import TYPE_CHECKING, Final, NamedTuple

from hydra_core.engine.deployment import mean_latency
from hydra_core.engine.exclusion import avoids
from hydra_core.engine.score import USUAL_LATENCY
from hydra_core.engine.stand_in import Purse, StandIn
from hydra_core.engine.windows import NEVER

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hydra_core.engine.budget import Budget
    from hydra_core.engine.deployment import Deployment
    from hydra_core.engine.queue import Queue, Ticket
    from hydra_core.engine.quota import QuotaGroup
    from hydra_core.engine.routing import Route
    from hydra_core.engine.size import Size

# A large pool is played with about so many of its groups and as large a part of its line;
# of a line that is longer still, the rest is served at the pace of these.
_GROUPS: Final = 64
_PLAYED: Final = 2048
_FINE: Final = 6  # requests within a sixth of a doubling are as large as each other
_OFF: Final = 0.12  # a line may be so much longer or shorter than was foreseen

_Entry = tuple[float, int, float, int, int, StandIn]


class _Ranking:
    """Who could start requests of one route, avoidance and size first, kept up as they start.

    Starts only grow later as others are booked: whoever comes first when asked anew, does.
    """

    __slots__ = ("_heap", "_size")

    def __init__(self, cast: dict[StandIn, int], size: Size) -> None:
        """`cast` are those who may, with the tiers in which they stand."""
        self._size = size
        self._heap = [
            self._entry(stand_in, tier, place)
            for place, (stand_in, tier) in enumerate(cast.items())
        ]
        heapify(self._heap)

    def _entry(self, stand_in: StandIn, tier: int, place: int) -> _Entry:
        start, strain = stand_in.earliest(self._size)
        return start, tier, strain, stand_in.stamp, place, stand_in

    def first(self) -> tuple[float, StandIn | None]:
        """When one could start, and where: of several at once, where it strains least, in turns."""
        heap = self._heap
        while heap:
            start, tier, _, stamp, place, stand_in = heap[0]
            if stamp == stand_in.stamp:
                return start, stand_in
            heapreplace(heap, self._entry(stand_in, tier, place))
        return inf, None


class Rehearsal:
    """The line before a newcomer of one route and priority, played forward from `taken` on.

    `routes` are that of the newcomer and those that share groups with it, `queues` all of
    theirs; `passes` interactive requests go before each batch one.
    """

    __slots__ = (
        "_by_kind",
        "_cast",
        "_each",
        "_eligible",
        "_line",
        "_moments",
        "_rankings",
        "_stretch",
        "taken",
    )

    def __init__(
        self,
        newcomer: Ticket,
        routes: Sequence[Route],
        queues: Sequence[Queue],
        passes: int,
        now: float,
    ) -> None:
        self.taken = now
        self._line = _Line(newcomer.order[0], passes, batch=newcomer.kind.batch)
        self._rankings: dict[object, _Ranking] = {}
        self._eligible: dict[object, dict[StandIn, int]] = {}
        self._by_kind: dict[object, tuple[list[tuple[int, int]], list[float]]] = {}
        self._cast, every = _cast_of(routes, now)
        line = self._line.tickets(queues)
        played = [line[int(every * n) - 1] for n in range(1, int(len(line) / every) + 1)]
        self._stretch = max(1.0, len(played) / _PLAYED)
        self._moments = sorted(self._serve(ticket) for ticket in played[:_PLAYED])
        self._each = len(line) / max(1, len(self._moments))

    def _serve(self, ticket: Ticket) -> float:
        start, stand_in = self._ranking(ticket).first()
        if stand_in is not None and start < inf:
            stand_in.start(ticket.size, start)
        orders, starts = self._by_kind.setdefault((ticket.route, ticket.kind), ([], []))
        orders.append(ticket.order)
        starts.append(start)
        return start

    def _ranking(self, ticket: Ticket) -> _Ranking:
        asked = ticket.route, ticket.avoid, _alike(ticket.size)
        ranking = self._rankings.get(asked)
        if ranking is None:
            ranking = self._rankings[asked] = _Ranking(self._able(ticket), ticket.size)
        return ranking

    def _able(self, ticket: Ticket) -> dict[StandIn, int]:
        """The stand-ins that may serve it, with their tiers."""
        asked = ticket.route, ticket.avoid
        able = self._eligible.get(asked)
        if able is None:
            able = self._eligible[asked] = {}
            for tier, members in enumerate(ticket.route.tiers):
                for deployment in members.deployments:
                    stand_in = self._cast.get(deployment)
                    if stand_in is not None and not avoids(ticket.avoid, deployment):
                        able.setdefault(stand_in, tier)
        return able

    def start(self, ticket: Ticket) -> float:
        """When a ticket starts, in monotonic seconds: one that was played, or a newcomer."""
        orders, starts = self._by_kind.get((ticket.route, ticket.kind), ((), ()))
        place = bisect_left(orders, ticket.order)
        if place < len(orders):
            return starts[place]
        start = min((able.earliest(ticket.size)[0] for able in self._able(ticket)), default=inf)
        return self.taken + (start - self.taken) * self._stretch

    def holds(self, queues: Sequence[Queue], now: float, doubt: float) -> bool:
        """True while as many are left as were to be, about and some `doubt` seconds aside."""
        count, moments = self._line.count(queues), self._moments
        fewest = self._each * (len(moments) - bisect_right(moments, now + doubt))
        most = self._each * (len(moments) - bisect_left(moments, now - doubt))
        return (1.0 - _OFF) * fewest <= count <= (1.0 + _OFF) * most


class _Line(NamedTuple):
    """Who is served before a newcomer of a rank, which is minus its priority.

    Of the other class those who go between: `passes` interactive ones for each batch one.
    """

    rank: int
    passes: int
    batch: bool

    def count(self, queues: Iterable[Queue]) -> int:
        """How many they are."""
        own = others = 0
        for queue in queues:
            if queue.batch == self.batch:
                own += queue.ahead((self.rank + 1, 0))
            else:
                others += len(queue)
        return own + min(others, self._between(own))

    def _between(self, own: int) -> int:
        return self.passes * (own + 1) if self.batch else own // self.passes

    def tickets(self, queues: Iterable[Queue]) -> list[Ticket]:
        """All of them, in the order in which they are served."""
        own: list[list[Ticket]] = []
        others: list[list[Ticket]] = []
        for queue in queues:
            if queue.batch == self.batch:
                own.append(queue.tickets[: queue.ahead((self.rank + 1, 0))])
            else:
                others.append(queue.tickets)
        before, between = (list(merge(*of, key=_order)) for of in (own, others))
        if not between:
            return before
        step, place = (1, self.passes) if self.batch else (self.passes, 1)
        passing = iter(between)
        line = [*islice(passing, self.passes)] if self.batch else []
        for at in range(0, len(before), step):
            mine = before[at : at + step]
            line += mine
            if len(mine) == step:
                line += islice(passing, place)
        return line


def _alike(size: Size) -> tuple[int, int]:
    """What requests have in common that are served alike."""
    rough = log2(max(1, size.rough_tokens)), log2(max(1, size.max_tokens or 1))
    return round(_FINE * rough[0]), round(_FINE * rough[1])


def _cast_of(
    routes: Sequence[Route], now: float
) -> tuple[dict[Deployment, StandIn], float]:
    """The stand-ins, by the deployments they play, and of how many groups each is one."""
    shared: dict[QuotaGroup, dict[Deployment, None]] = {}
    firsts: list[list[QuotaGroup]] = []
    for route in routes:
        firsts.append([])
        for deployment in route.deployments:
            if deployment.hard_until != NEVER:
                if deployment.group not in shared:
                    shared[deployment.group] = {}
                    firsts[-1].append(deployment.group)
                shared[deployment.group][deployment] = None
    every = max(1, len(shared) // _GROUPS)
    chosen = [tuple(shared[group]) for groups in firsts for group in groups[::every]]
    share = len(shared) / max(1, len(chosen))
    usual = mean_latency(d for members in chosen for d in members) or USUAL_LATENCY
    purses: dict[Budget, Purse] = {}
    cast = (StandIn(members, purses, usual, now) for members in chosen)
    return {deployment: one for one in cast for deployment in one.members}, share


def _order(ticket: Ticket) -> tuple[int, int]:
    return ticket.order
