"""Pools built by hand, and a small virtual world that obeys the steps of journeys."""

from __future__ import annotations

from dataclasses import replace
from heapq import heappop, heappush
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

from hydra_core.engine.bucket import Bucket
from hydra_core.engine.ceiling import SlowStart
from hydra_core.engine.deployment import Deployment, Lease, Scopes
from hydra_core.engine.dispatch import Dispatch
from hydra_core.engine.fixed_window import FixedWindow
from hydra_core.engine.health import Rest
from hydra_core.engine.key_manager import KeyManager, Settings
from hydra_core.engine.model_facts import ModelFacts
from hydra_core.engine.quota import QuotaGroup
from hydra_core.engine.routing import Route, RouteBook
from hydra_core.engine.score import ScoreWeights
from hydra_core.engine.size import Size
from hydra_core.engine.steps import GiveUp, Park, Patience, Send, Step
from hydra_core.engine.study import Study
from hydra_core.engine.windows import SlidingWindow, Window
from hydra_core.messages import ChatRequest, Fault, Reply, Usage
from hydra_core.wire import DAY, MINUTE, Answer, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

LIMITS = {
    "rpm": ("requests", MINUTE),
    "tpm": ("tokens", MINUTE),
    "rpd": ("requests", DAY),
    "tpd": ("tokens", DAY),
}


def window_of(shape: str, kind: str, limit: float, length: float = MINUTE) -> Window:
    """A window of one of the three shapes; a fixed one resets at `length`."""
    if shape == "fixed":
        return FixedWindow(kind, limit, length, resets_at=length)
    return {"sliding": SlidingWindow, "bucket": Bucket}[shape](kind, limit, length)


class Pool:
    """A KeyManager over keys given as rows, built without a configuration.

    A row may hold `name`, `provider`, `account`, `models`, `pooled`, `lanes`, `priority`,
    `concurrency`, `allowance`, `shape` and the limits `rpm`, `tpm`, `rpd`, `tpd`; `facts` are what
    a model's ModelFacts take, by name.
    """

    def __init__(
        self,
        keys: Sequence[Mapping[str, Any]],
        *,
        facts: Mapping[str, Mapping[str, Any]] | None = None,
        aliases: Mapping[str, Sequence[str]] | None = None,
        **settings: Any,
    ) -> None:
        self._facts = facts or {}
        self._models: dict[tuple[str, str], ModelFacts] = {}
        self._rests: dict[tuple[str, ...], Rest] = {}
        self.groups: dict[tuple[str, str, str], QuotaGroup] = {}
        self.deployments: list[Deployment] = []
        ranks: dict[Deployment, int] = {}
        lanes = {}
        for place, row in enumerate(keys):
            key = {"provider": "acme", "name": f"k{place + 1}", "models": ["m"], **row}
            lanes[key["provider"], key["name"]] = tuple(key.get("lanes", ()))
            for rank, model in enumerate(key["models"]):
                deployment = self._deploy(key, model)
                self.deployments.append(deployment)
                ranks[deployment] = rank
        book = RouteBook(self.deployments, aliases=aliases or {}, lanes=lanes, ranks=ranks)
        self.manager = KeyManager(self.deployments, book, Settings(**settings))

    def _deploy(self, key: Mapping[str, Any], model: str) -> Deployment:
        provider, account = key["provider"], key.get("account", key["name"])
        facts = self._models.get((provider, model))
        if facts is None:
            facts = ModelFacts(provider, model, **self._facts.get(model, {}))
            self._models[provider, model] = facts
        pooled = key.get("pooled") and model.endswith(key["pooled"])
        quota = key["pooled"] if pooled else model
        group = self.groups.get((provider, account, quota))
        if group is None:
            windows = [
                window_of(key.get("shape", "sliding"), kind, key[name], length)
                for name, (kind, length) in LIMITS.items()
                if name in key
            ]
            group = QuotaGroup(account, windows, concurrency=key.get("concurrency"))
            self.groups[provider, account, quota] = group
            if key.get("untold"):
                group.study, group.slow_start = Study(), SlowStart()
        return Deployment(
            provider=provider,
            model=facts,
            key=key["name"],
            account=account,
            group=group,
            scopes=Scopes(
                key=self._rest(provider, "key", key["name"]),
                account=self._rest(provider, "account", account),
                group=self._rest(provider, "group", account, quota),
                provider=self._rest(provider),
                pooled=bool(pooled),
            ),
            weights=ScoreWeights(),
            priority=key.get("priority", 0),
            order=len(self.deployments),
            allowance=key.get("allowance"),
        )

    def _rest(self, *name: str) -> Rest:
        return self._rests.setdefault(name, Rest("/".join(name)))

    def by(self, key: str, model: str = "m") -> Deployment:
        """The deployment of this key and model."""
        return next(d for d in self.deployments if (d.key, d.model.name) == (key, model))

    def route(self, **found: Any) -> Route:
        """The route that a request naming these would take."""
        return self.manager.routes.find(**found)

    def lease(
        self,
        now: float,
        tokens: float = 1.0,
        avoid: Sequence[object] = (),
        *,
        desperate: bool = False,
        **found: Any,
    ) -> Lease | None:
        """Ask for a lease without standing in line."""
        return self.manager.lease(
            self.route(**found), size_of_tokens(tokens), avoid, now, desperate=desperate
        )

    def fail(self, lease: Lease, now: float, fault: Fault, **verdict: Any) -> None:
        """End a lease with a failure, as a journey would: its tokens come back."""
        self.manager.failed(lease, Verdict(fault=fault, **verdict), now)
        self.manager.settle(lease, now, tokens=0.0)

    def journey(
        self, now: float, tokens: float = 1.0, *, patience: Patience | None = None, **request: Any
    ) -> Dispatch:
        """One request's journey; `request` holds the fields of a ChatRequest."""
        asked = ChatRequest([{"role": "user", "content": "hi"}], **request)
        route = self.route(provider=asked.provider, model=asked.model, lane=asked.lane)
        size = replace(size_of_tokens(tokens), max_tokens=asked.max_tokens)
        return Dispatch(asked, route, patience or Patience(), now=now, size=size)


def size_of_tokens(tokens: float) -> Size:
    """A request that is known to take so many tokens, answer included."""
    return Size(chars=0, messages=1, max_tokens=None, known_tokens=tokens)


def good(tokens: float = 1.0, **verdict: Any) -> Answer:
    """A reply that reports `tokens` of usage."""
    return Answer(Verdict(status=200, **verdict), text="ok", usage=Usage(int(tokens), 0))


def bad(fault: Fault, **verdict: Any) -> Answer:
    """A reply that is a failure."""
    return Answer(Verdict(fault=fault, **{"status": 500, **verdict}))


class World:
    """Journeys in virtual time, driven exactly as a driver behind the gate drives them.

    `judge(lease, now)` is the provider: it returns (seconds, Answer) for each call. What
    was sent, how each journey ended and how often anybody was woken is kept for the test.
    """

    def __init__(self, pool: Pool, judge: Callable[[Lease, float], tuple[float, Answer]]) -> None:
        self.pool = pool
        self.now = 0.0
        self.sent: list[tuple[float, Lease]] = []
        self.ended: dict[Dispatch, tuple[float, Step]] = {}
        self.begun: list[Dispatch] = []
        self.steps = 0
        self._judge = judge
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._sequence = count()
        self._parked: dict[Dispatch, int] = {}

    def at(self, when: float, deed: Callable[[], None]) -> None:
        """Do something at a moment."""
        heappush(self._events, (when, next(self._sequence), deed))

    def ask(self, when: float, tokens: float = 1.0, **request: Any) -> None:
        """A caller comes at `when` with a request."""

        def begin() -> None:
            journey = self.pool.journey(self.now, tokens, **request)
            self.begun.append(journey)
            self._step(journey)

        self.at(when, begin)

    def cancel(self, when: float, place: int) -> None:
        """The caller of the journey begun as number `place` loses interest."""

        def leave() -> None:
            journey = self.begun[place]
            self._parked.pop(journey, None)
            journey.abandon(self.pool.manager, self.now)
            self._ring()

        self.at(when, leave)

    def run(self, until: float = 1e6) -> World:
        """Let time pass until nothing is left to happen."""
        while self._events and self._events[0][0] <= until:
            self.now, _, deed = heappop(self._events)
            deed()
        return self

    def _step(self, journey: Dispatch) -> None:
        self.steps += 1
        step = journey.next_step(self.pool.manager, self.now)
        if isinstance(step, Send):
            self.sent.append((self.now, step.lease))
            seconds, answer = self._judge(step.lease, self.now)
            self.at(self.now + seconds, lambda: self._report(journey, answer))
        elif isinstance(step, Park):
            self._park(journey, step)
        else:
            self.ended[journey] = (self.now, step)
        self._ring()

    def _park(self, journey: Dispatch, park: Park) -> None:
        turn = self._parked[journey] = next(self._sequence)

        def wake() -> None:
            if self._parked.get(journey) == turn:
                del self._parked[journey]
                self._step(journey)

        park.ticket.bell = _Bell(lambda: self.at(self.now, wake))
        self.at(self.now + park.seconds, wake)

    def _report(self, journey: Dispatch, answer: Answer) -> None:
        journey.report(self.pool.manager, answer, self.now)
        self._ring()
        self._step(journey)

    def _ring(self) -> None:
        for ticket in self.pool.manager.take_rung():
            if ticket.bell is not None:
                ticket.bell.ring()

    @property
    def replies(self) -> list[tuple[float, Reply]]:
        """The answers, each with its moment."""
        return [(at, step) for at, step in self.ended.values() if isinstance(step, Reply)]

    @property
    def errors(self) -> list[tuple[float, Exception]]:
        """The journeys that gave up, each with its moment."""
        return [(at, step.error) for at, step in self.ended.values() if isinstance(step, GiveUp)]


class _Bell:
    def __init__(self, ring: Callable[[], None]) -> None:
        self.ring = ring


@pytest.fixture
def make_pool() -> type[Pool]:
    """Build a pool from rows."""
    return Pool


@pytest.fixture
def make_world() -> type[World]:
    """Build a world around a pool and a judge."""
    return World


@pytest.fixture
def make_window() -> Callable[..., Window]:
    """Build a window of a named shape."""
    return window_of


@pytest.fixture
def ok() -> Callable[..., Answer]:
    """Build a good reply."""
    return good


@pytest.fixture
def refuse() -> Callable[..., Answer]:
    """Build a failing reply."""
    return bad
