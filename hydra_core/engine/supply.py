"""The most that limits let start by a moment: whoever stands further back is surely too late.

Nobody is booked in advance. Each limit is read as a flow: so many permits now, so many
more at known moments, and from then on what is taken returns after the limit's own period.
How many requests have started by a moment is the least that any limit of a group allows,
summed over the groups. That says less than when somebody starts (`rehearsal`), and costs less.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate
from math import floor, inf, log2
from typing import TYPE_CHECKING, Final

from hydra_core.engine.bucket import Bucket
from hydra_core.engine.choice import rested_at
from hydra_core.engine.deployment import mean_latency
from hydra_core.engine.fixed_window import FixedWindow
from hydra_core.engine.score import USUAL_LATENCY
from hydra_core.engine.windows import NEVER, guard_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from hydra_core.engine.deployment import Deployment
    from hydra_core.engine.model_facts import ModelFacts
    from hydra_core.engine.queue import Queue, Ticket
    from hydra_core.engine.quota import QuotaGroup
    from hydra_core.engine.routing import Route
    from hydra_core.engine.size import Size
    from hydra_core.engine.windows import Window

# A large pool is judged by this many of its groups, taken evenly; and a limit by this many
# bunches of its next returns, each as if all of it came with its first.
_GROUPS: Final = 32
_RETURNS: Final = 64
_LISTED: Final = 4096
_ALIKE: Final = 1.1
_STAY: Final = 0.8  # of those ahead so many are sure to stay, less one
_ROUNDING: Final = 1e-6
_FINE: Final = 12  # demands within a twelfth of a doubling are answered alike


@dataclass(frozen=True, slots=True)
class Demand:
    """Requests that are to start, the last of them the one who asks.

    `loads` are (size, count), the size over that of the last; `whole`: all are of about
    one size, so what is left of a limit after the last that fits is of no use.
    """

    loads: tuple[tuple[float, float], ...]
    whole: bool

    def count(self, unit: float) -> float:
        """How many requests of a size it amounts to, a larger one counting as one."""
        return sum(some * min(1.0, size / unit) for size, some in self.loads)

    def at_least(self) -> Demand:
        """What is left of it when some of those ahead give up, and larger ones are passed."""
        stay = 1.0 + max(0.0, _STAY * (self.count(1.0) - 1.0) - 1.0)
        return Demand(((1.0, stay),), self.whole)


def demand_until(ticket: Ticket, queues: Iterable[Queue], passes: int) -> Demand:
    """A ticket and all who are served before it.

    Of the other class (batch or interactive) only those count that go before it: `passes`
    interactive ones for each batch one.
    """
    own = max(1, ticket.size.rough_tokens)
    mine: list[tuple[int, float, float]] = [(ticket.kind.size, 1.0, 1.0)]
    others: list[tuple[int, float, float]] = []
    for queue in queues:
        if queue:
            size = max(1.0, queue.tokens / len(queue)) / own
            about = queue.tickets[0].kind.size
            if queue.batch != ticket.kind.batch:
                others.append((about, size, len(queue)))
            elif before := queue.ahead(ticket.order):
                mine.append((about, size, before))
    until = sum(count for _, _, count in mine)
    between = passes * until if ticket.kind.batch else (until - 1.0) // passes
    if others and between:
        part = min(1.0, between / sum(count for _, _, count in others))
        mine += [(about, size, part * count) for about, size, count in others]
    sizes = [size for _, size, _ in mine]
    return Demand(_grouped(mine), max(sizes) < _ALIKE * min(sizes))


def _grouped(loads: Iterable[tuple[int, float, float]]) -> tuple[tuple[float, float], ...]:
    """One load for each class of size: (mean size, count)."""
    classes: dict[int, tuple[float, float]] = {}
    for about, size, count in loads:
        total, number = classes.get(about, (0.0, 0.0))
        classes[about] = total + size * count, number + count
    return tuple((total / number, number) for total, number in classes.values())


@dataclass(frozen=True, slots=True)
class _Flow:
    """One limit, counted in permits. Times are seconds from the photograph."""

    tokens: bool
    limit: float
    room: float
    period: float
    moments: tuple[float, ...]  # when permits return within the first period,
    returned: tuple[float, ...]  # and how many have by then
    rate: float = 0.0

    def starts(self, after: float, rest: float, need: float, *, whole: bool) -> float:
        """How many of `need` permits each may have started so long after a rest."""
        most: float = floor(self.limit / need + 1e-9) if whole else self.limit / need
        if self.rate:
            filled = min(self.limit, self.room + self.rate * rest) + self.rate * after
            return floor(filled / need + 1e-9) if whole else filled / need
        periods, into = divmod(after, self.period)
        by = bisect_right(self.moments, rest + into)
        got = (self.room + (self.returned[by - 1] if by else 0.0)) / need
        return periods * most + min(most, floor(got + 1e-9) if whole else got)


@dataclass(frozen=True, slots=True)
class Source:
    """One quota group at `taken`: when it may be used again, its limits, whose tokens it counts."""

    taken: float
    rest: float
    model: ModelFacts
    flows: tuple[_Flow, ...]

    def starts(self, seconds: float, tokens: float, *, whole: bool) -> float:
        after = seconds - self.rest
        if after < 0.0:
            return 0.0
        least = inf
        for flow in self.flows:
            need = 1.0
            if flow.tokens and tokens > 1.0:
                need = min(flow.limit, tokens)
            starts = flow.starts(after, self.rest, need, whole=whole)
            if starts < least:
                least = starts
        return least


Sources = dict[tuple["Deployment", ...], Source]
"""Photographs of groups, by those of their deployments that are in question."""


class Supply:
    """The most that some routes together can start from `now` on (monotonic seconds).

    Photographs that were taken at `since` or later are used again, others taken anew;
    `taken` is the time of the oldest.
    """

    __slots__ = ("_counted", "_scale", "_sources", "now", "routes", "taken")

    def __init__(
        self, routes: tuple[Route, ...], size: Size, now: float, known: Sources, since: float
    ) -> None:
        self.routes = routes
        self.now = now
        members: dict[QuotaGroup, dict[Deployment, None]] = {}
        for route in routes:
            for deployment in route.deployments:
                if deployment.hard_until != NEVER:
                    members.setdefault(deployment.group, {})[deployment] = None
        every = max(1, len(members) // _GROUPS)
        some = list(members.values())[::every]
        self._scale = len(members) / len(some) if some else 0.0
        self._sources: list[Source] = []
        for keys in map(tuple, some):
            source = known.get(keys)
            if source is None or source.taken < since:
                source = known[keys] = _source(keys, size, now)
            self._sources.append(source)
        self.taken = min((source.taken for source in self._sources), default=now)
        self._counted: dict[tuple[object, ...], float] = {}

    def covers(self, demand: Demand, size: Size, seconds: float) -> bool:
        """True when all of a demand may have started after so many seconds; `size` is the last's.

        Requests of several sizes fit, split among groups at will, exactly when for each of
        those sizes the groups can start as many of it as all of them amount to, a larger
        one counting as one: the dual of filling groups with two limits each.
        """
        loads = demand.loads if not demand.whole else demand.loads[:1]
        return all(
            self._starts(seconds, size, unit, whole=demand.whole) >= demand.count(unit) - _ROUNDING
            for unit, _ in loads
        )

    def _starts(self, seconds: float, size: Size, unit: float, *, whole: bool) -> float:
        """How many of such requests may have started after so many seconds."""
        tokens = unit * max(1, size.rough_tokens)
        asked = (seconds, round(_FINE * log2(max(1.0, tokens))), whole)
        known = self._counted.get(asked)
        if known is None:
            known = self._counted[asked] = self._scale * sum(
                source.starts(
                    seconds + self.now - source.taken,
                    unit * source.model.usual_tokens(size),
                    whole=whole,
                )
                for source in self._sources
            )
        return known


def _source(members: tuple[Deployment, ...], size: Size, now: float) -> Source:
    group = members[0].group
    rest = min(rested_at(key, size, now)[0] for key in members)
    latency = mean_latency(members)
    flows = tuple(_flows(group, USUAL_LATENCY if latency is None else latency, now))
    return Source(now, max(0.0, rest - now), members[0].model, flows)


def _flows(group: QuotaGroup, latency: float, now: float) -> Iterator[_Flow]:
    for window in group.windows:
        yield _flow(window, now)
    if group.concurrency is not None:
        busy = min(group.in_flight, group.concurrency)
        free = float(group.concurrency - busy)
        # Those under way end one after the other, as far as anybody can know.
        moments = tuple(latency * (place + 1) / (busy + 1) for place in range(busy))
        returned = tuple(float(place + 1) for place in range(busy))
        yield _Flow(False, group.concurrency, free, max(0.001, latency), moments, returned)


def _flow(window: Window, now: float) -> _Flow:
    tokens, limit, room = window.kind == "tokens", window.limit, window.room(now)
    if isinstance(window, Bucket):
        return _Flow(tokens, limit, room, inf, (), (), limit / window.length)
    if isinstance(window, FixedWindow):
        reset = max(0.0, window.resets_at - now) + guard_of(window.length)
        return _Flow(tokens, limit, room, window.length, (reset,), (limit,))
    frees = sorted(window.frees(now, _LISTED))
    if not frees:
        return _Flow(tokens, limit, room, window.length, (), ())
    by = list(accumulate(amount for _, amount in frees))
    by[-1] = max(by[-1], limit - room)  # with those that are not listed
    many = len(frees) // _RETURNS + 1
    moments = tuple(min(at, window.length) for at, _ in frees[::many])
    return _Flow(tokens, limit, room, window.length, moments, (*by[many - 1 :: many], by[-1]))
