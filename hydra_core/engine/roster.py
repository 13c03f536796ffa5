"""Who is ready and who rests until when, without looking at everybody.

A roster serves the requests of one size class on one tier of deployments. Ready
ones stand in the order of last use (of more than a choice looks at, the one chosen last
stands first, and the others come into view in turn); resting ones in a heap by the moment
they may start again; held ones wait for no moment but for a change (a call to end, a key
to be mended). A deployment found unable to start is moved once per rest, so the cost of a
choice does not grow with the number of keys. Who rests for a request may have room for a
smaller one of the class: before others serve that, those are looked at again.
"""

from __future__ import annotations

from collections import OrderedDict
from heapq import heapify, heappop, heappush
from itertools import islice
from typing import TYPE_CHECKING, Final

from hydra_core.engine.strategy import EXPLORE_EVERY
from hydra_core.engine.windows import NEVER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from hydra_core.engine.deployment import Deployment
    from hydra_core.engine.size import Size

# So many outdated entries are let stand in the heap before it is cleared of them.
_SPARE: Final = 64
# Among so many the one used longest ago is brought into view for a choice that explores: as
# many as can leave the view between two such choices, so that none is passed over for good.
_WIDE: Final = 2 * EXPLORE_EVERY
_LOOKS: Final = 64  # at those who rest for larger requests, before a smaller one is sent on


class Roster:
    """Deployments by readiness, and how often one was chosen. `now` is monotonic seconds."""

    __slots__ = ("_asked", "_heap", "_largest", "_sequence", "held", "ready", "turn", "until")

    def __init__(self, deployments: Iterable[Deployment]) -> None:
        self.ready: OrderedDict[Deployment, None] = OrderedDict.fromkeys(deployments)
        self.held: dict[Deployment, None] = {}
        self.until: dict[Deployment, float] = {}
        self.turn = 0
        self._heap: list[tuple[float, int, Deployment]] = []
        self._sequence = 0
        self._asked: dict[Deployment, int] = {}  # tokens of the least request that each rests for
        self._largest = 0  # none of them is larger

    def wake(self, now: float) -> None:
        """Those whose rest is over are ready again."""
        heap = self._heap
        while heap and heap[0][0] <= now:
            at, _, deployment = heappop(heap)
            if self.until.get(deployment) == at:
                del self.until[deployment]
                self.ready[deployment] = None

    def served(self, chosen: Deployment, seen: float) -> None:
        """It was chosen among the first `seen`: of more, it stays in view, and others come into it.

        So the best is soon known, and kept, in a pool of any size.
        """
        ready = self.ready
        if len(ready) <= seen:
            ready.move_to_end(chosen)
            return
        # Two, since the first is mostly the one that was chosen, and comes back.
        ready.move_to_end(next(iter(ready)))
        ready.move_to_end(next(iter(ready)))
        ready.move_to_end(chosen, last=False)
        if self.turn % EXPLORE_EVERY == EXPLORE_EVERY - 1:  # the next choice explores
            oldest = min(islice(ready, _WIDE), key=lambda deployment: deployment.last_used)
            ready.move_to_end(oldest, last=False)

    def rest(self, deployment: Deployment, at: float, *, tokens: int = 0) -> None:
        """It cannot start a request of so many tokens before `at`.

        `NEVER`: not until something about it changes.
        """
        self._asked[deployment] = tokens
        self._largest = max(self._largest, tokens)
        self.ready.pop(deployment, None)
        if self.until.get(deployment) == at:
            return
        self.until[deployment] = at
        if at == NEVER:
            self.held[deployment] = None
            return
        if len(self._heap) > 4 * len(self.until) + _SPARE:
            self._compact()
        self._sequence += 1
        heappush(self._heap, (at, self._sequence, deployment))

    def stir(self, deployment: Deployment) -> None:
        """Something about it changed: it counts as ready until looked at."""
        if self.until.pop(deployment, None) is not None:
            self.held.pop(deployment, None)
            self.ready[deployment] = None

    def roused(
        self, size: Size, start_of: Callable[[Deployment, Size, float], float], now: float
    ) -> bool:
        """Whether one that rests for larger requests can start such a one; then it is ready again.

        `start_of` says when it can. Each is looked at once for the least request it rests for.
        """
        tokens = size.rough_tokens
        if tokens >= self._largest:
            return False
        asked = self._asked
        everybody = len(asked) <= _LOOKS
        for deployment, larger in list(islice(asked.items(), _LOOKS)):
            del asked[deployment]
            if deployment not in self.until:
                continue
            if larger <= tokens:
                asked[deployment] = larger  # the next looks begin with others
                continue
            at = start_of(deployment, size, now)
            if at <= now:
                self.stir(deployment)
                return True
            if at != NEVER:
                self.held.pop(deployment, None)
            self.rest(deployment, at, tokens=tokens)
        if everybody:
            self._largest = tokens
        return False

    def resting(self) -> Iterator[Deployment]:
        """Some of the resting ones, the earliest among the first; each may be met once."""
        for at, _, deployment in self._heap:
            if self.until.get(deployment) == at:
                yield deployment

    def _compact(self) -> None:
        self._heap = [entry for entry in self._heap if self.until.get(entry[2]) == entry[0]]
        heapify(self._heap)
