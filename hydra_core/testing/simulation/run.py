"""One seed from its first call to the last: the real engine in a simulated world."""

from __future__ import annotations

import traceback
from collections import Counter
from functools import partial
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Final

from hydra_core.engine.dispatch import Dispatch
from hydra_core.engine.fallback import FallbackDispatch
from hydra_core.engine.steps import Patience
from hydra_core.messages import Fault
from hydra_core.testing.simulation.audit import Audit
from hydra_core.testing.simulation.caller import KILLED, Caller
from hydra_core.testing.simulation.faults import FOR_GOOD, make_spells
from hydra_core.testing.simulation.oracle import Oracle
from hydra_core.testing.simulation.process import Process
from hydra_core.testing.simulation.provider import Provider, Sent
from hydra_core.testing.simulation.report import SeedResult, Violation
from hydra_core.testing.simulation.timeline import Timeline
from hydra_core.testing.simulation.traffic import make_traffic
from hydra_core.testing.simulation.world import make_world

if TYPE_CHECKING:
    from hydra_core.drive.gate import Gate
    from hydra_core.engine.routing import Route
    from hydra_core.engine.steps import Send
    from hydra_core.errors import HydraError
    from hydra_core.testing.simulation.faults import Spell, Trouble
    from hydra_core.testing.simulation.provider import Outcome
    from hydra_core.testing.simulation.traffic import Call

_EVERY: Final = 16
"""One answer of so many is spoken in bytes, and the books are looked at after as many."""

_RESTARTED: Final = 0.3
"""The share of the worlds in which the process is killed and started anew."""

_SHOWN: Final = 10
_GRAIN: Final = 1e-6


def run_seed(seed: int, requests: int, *, log: Path | None = None) -> SeedResult:
    """Play one seed with so many calls; `log` is a file for its event log."""
    simulation = Simulation(seed, requests, keep_log=log is not None)
    result = simulation.play()
    if log is not None:
        log.write_text("".join(simulation.time.lines or []), encoding="utf-8")
    return result


class Simulation:
    """One world, its engine, its callers and its judges."""

    def __init__(self, seed: int, requests: int, *, keep_log: bool = False) -> None:
        self.world = make_world(seed)
        self.time = Timeline(keep_log=keep_log)
        self._process = Process(self.world, self.time.clock.now)
        self._patience = Patience()
        self._rng = Random(f"calls {seed}")
        self._calls = make_traffic(self.world, requests, Random(f"traffic {seed}"))
        self._requests = requests
        self._providers = {
            plan.name: Provider(plan, Random(f"{plan.name} {seed}"), self.world.fault_rate)
            for plan in self.world.providers
        }
        self._audit = Audit(
            self._process,
            {name: Oracle(one) for name, one in self._providers.items()},
            exact=self.world.exact,
        )
        self._keys = {key.name: key for plan in self.world.providers for key in plan.keys}
        self._alive: dict[Caller, None] = {}
        self._sends = 0
        self._ends: Counter[str] = Counter()
        self._faults: Counter[str] = Counter()
        self._broken: Counter[str] = Counter()
        self._violations: list[Violation] = []

    @property
    def gate(self) -> Gate:
        """The gate of the process that runs now."""
        return self._process.gate

    def play(self) -> SeedResult:
        """Let everything happen; whatever the engine raises is a violation, too."""
        try:
            self._plan_troubles()
            self._plan_next_call()
            self.time.clock.run()
            self._check_end()
        except Exception as error:
            frame = traceback.extract_tb(error.__traceback__)[-1]
            place = f"{Path(frame.filename).name}:{frame.lineno}"
            self.wrong("crash", f"{type(error).__name__} at {place}: {error}")
        return SeedResult(
            seed=self.world.seed,
            requests=self._requests,
            sends=self._sends,
            deployments=len(self._process.manager.deployments),
            seconds=self.time.now,
            ends=dict(self._ends),
            faults=dict(self._faults),
            broken=dict(self._broken),
            violations=tuple(self._violations),
            log_hash=self.time.log_hash,
        )

    def wrong(self, law: str, what: str) -> None:
        """A law is broken."""
        self._broken[law] += 1
        self.time.note(f"WRONG {law} {what}")
        if len(self._violations) < _SHOWN:
            self._violations.append(Violation(law, self.time.now, what))

    def _plan_troubles(self) -> None:
        rng = Random(f"troubles {self.world.seed}")
        span = self._requests / self.world.rate
        for spell in make_spells(self.world, span, rng):
            self._plan_spell(spell)
        for _ in range(rng.randint(0, 4)):
            when, seconds = rng.uniform(0.0, span), rng.choice([0.3, 2.0, 15.0, 90.0])
            self.time.world_at(when, partial(self.time.freeze, seconds))
        for _ in range(rng.randint(0, 2)):
            when, seconds = rng.uniform(0.0, span), rng.choice([30.0, 3600.0, 28_800.0])
            self.time.world_at(when, partial(self.time.sleep, seconds))
        if rng.random() < _RESTARTED:
            for _ in range(rng.randint(1, 3)):
                self.time.at(rng.uniform(0.1, 0.9) * span, self._restart)

    def _restart(self) -> None:
        """The process is killed with all its callers, and a new one begins."""
        self.time.note("restart")
        for caller in list(self._alive):
            caller.die()
        self._process.restart(self.time.provider_now)

    def _plan_spell(self, spell: Spell) -> None:
        provider = self._providers[spell.provider]
        self.time.world_at(spell.begins, lambda: provider.begin(spell))
        if spell.ends < FOR_GOOD:
            self.time.world_at(spell.ends, lambda: provider.end(spell))

    def _plan_next_call(self) -> None:
        call = next(self._calls, None)
        if call is not None:
            self.time.at(call.at, lambda: self._come(call))

    def _come(self, call: Call) -> None:
        self._plan_next_call()
        self.time.note(f"call {call.number} {call.request.provider} {call.request.model}")
        caller = Caller(self, call, *self._journey(call))
        self._alive[caller] = None
        caller.begin()

    def _journey(self, call: Call) -> tuple[Dispatch, Route]:
        """As the public face begins one, and the route along which it may end."""
        request, now, routes = call.request, self.time.now, self._process.manager.routes
        provider, lane = request.provider, request.lane
        route = routes.find(provider=provider, model=request.model, lane=lane)
        if call.falls_back:
            smaller = routes.find(provider=provider, lane=lane, smaller=True)
            if smaller.tiers:
                journey = FallbackDispatch(
                    request, route, self._patience, now=now, size=call.size, smaller=smaller
                )
                return journey, smaller
        return Dispatch(request, route, self._patience, now=now, size=call.size), route

    def send(self, call: Call, send: Send) -> Sent:
        """A request leaves with a lease."""
        self._sends += 1
        deployment = send.lease.deployment
        provider = self._providers[deployment.provider]
        key = self._keys[deployment.key]
        model = next(one for one in provider.plan.models if one.name == deployment.model.name)
        sent = Sent(
            self._sends, call, plan=provider.plan, key=key, model=model, booked=send.lease.tokens
        )
        sent.sent_at = self.time.now
        self.time.note(f"send {sent.number} for {call.number} {key.name} {model.name}")
        if send.lease.settled:
            self.wrong("leak", f"call {call.number} was given a lease that was over")
        if not call.allows(provider.plan, key, model):
            self.wrong("misrouted", f"call {call.number} went to {key.name}, {model.name}")
        early = provider.cooling(sent, self.time.provider_now)
        if early:
            what = f"{key.name}, {model.name}: sent {early:.3f} s before its wait was over"
            self.wrong("cooling", what)
        self._audit.oracles[provider.plan.name].ledger.sent(sent, self.time.now)
        return sent

    def provider(self, sent: Sent) -> Provider:
        """Where a request went."""
        return self._providers[sent.plan.name]

    def delay(self, sent: Sent) -> float:
        """How long this request is under way."""
        return self._rng.uniform(0.0, sent.plan.delay)

    def speaks(self, sent: Sent) -> bool:
        """True for those answers that go through real bytes."""
        return sent.number % _EVERY == 0

    def arrive(self, sent: Sent) -> Outcome:
        """A request reaches its provider."""
        provider = self.provider(sent)
        outcome = provider.arrive(sent, self.time.provider_now)
        for what in provider.wrongs:
            self.wrong("overshoot", what)
        provider.wrongs.clear()
        sent.decided_at = self.time.provider_now
        if outcome.fault is not None:
            self._faults[str(outcome.fault)] += 1
        self.time.note(f"at provider {sent.number} {outcome.fault} {outcome.wait}")
        return outcome

    def close(self, sent: Sent, outcome: Outcome) -> None:
        """An answer was heard, or waited for long enough."""
        self._over(sent, outcome.fault)
        provider = self.provider(sent)
        provider.heard(sent, outcome, sent.decided_at)
        self._audit.oracles[sent.plan.name].heard(sent, outcome, self.time.now)
        self.time.note(f"heard {sent.number} {outcome.fault}")

    def hang_up(self, sent: Sent) -> None:
        """The caller closes the connection without having heard."""
        self._over(sent, Fault.CANCELLED)

    def _over(self, sent: Sent, fault: Trouble | None) -> None:
        sent.closed = True
        self.provider(sent).finish(sent)
        self._audit.oracles[sent.plan.name].ledger.closed(sent, fault, self.time.now)

    def end(self, caller: Caller, how: str, where: str) -> None:
        """A call has ended."""
        now = self.time.now
        del self._alive[caller]
        self._ends[how] += 1
        self.time.note(f"end {caller.call.number} {how} {where}")
        if now > caller.due + _GRAIN and not self.time.was_frozen_at(caller.due):
            self.wrong("late", f"call {caller.call.number} ended {now - caller.due:.3f} s late")
        due = sum(self._ends.values()) % _EVERY == 0 and how != KILLED
        if due:
            books = self._audit.books(now, self.time.provider_now, waiting=self.gate.waiting)
            for law, what in books:
                self.wrong(law, what)

    def explain(self, caller: Caller, error: HydraError) -> None:
        """An error reached the user: there must be a reason that the oracle accepts."""
        why = self._audit.unexplained(
            caller,
            error,
            self.time.now,
            waiting=self.gate.waiting,
            awake_since=self.time.awake_since,
        )
        if why is not None:
            what = f"call {caller.call.number}: {type(error).__name__} although {why}"
            self.wrong("unexplained", what)

    def _check_end(self) -> None:
        for caller in self._alive:
            self.wrong("lost", f"call {caller.call.number} never ended")
        for what in self._audit.left_open():
            self.wrong("leak", what)
        if self.gate.waiting:
            self.wrong("leak", f"{self.gate.waiting} tickets stand in line for nobody")
