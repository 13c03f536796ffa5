"""Any history of calls, answers, leavers and clocks against a ledger that shares no code.

HYDRA_MACHINE_EXAMPLES sets the number of histories (of 40 steps). Unless it does, the
same 150 are tried every time.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from hydra_core.engine.allowance import Allowance, Spend
from hydra_core.engine.budget import Budget
from hydra_core.engine.hours import Hours
from hydra_core.engine.steps import Park, Send
from hydra_core.messages import Fault, Usage
from hydra_core.wire import Answer, Verdict

EXAMPLES = int(os.environ.get("HYDRA_MACHINE_EXAMPLES", "150"))
DAY = 300.0  # seconds; the budget's arithmetic does not care
FACTS = {"m": {"input_usd": 1e6, "output_usd": 1e6}}  # a token costs a dollar
LIMITS = {"k1": ("usd", 50.0), "acme": ("tokens", 80.0), "pool": ("usd", 100.0)}
PAYERS = {"k1": ("k1", "acme", "pool"), "k2": ("acme", "pool"), "k3": ("pool",)}
OPENS, CLOSES = 60.0, 270.0  # of each day, for k2


class Ledger:
    """What was sent and what it cost, by the day in which it was sent."""

    def __init__(self):
        self.calls = {}  # number -> [payers, day, most it may cost, cost or None]

    def day(self, now, payer):
        """What a payer's day has spent, and how much of it went beyond what was announced."""
        mine = [c for c in self.calls.values() if payer in c[0] and c[1] == now // DAY]
        known = sum(c[2] if c[3] is None else c[3] for c in mine)
        return known, sum(max(0.0, (c[3] or 0.0) - c[2]) for c in mine)


class Machine(RuleBasedStateMachine):
    """Three keys, three budgets, one key with hours; answers of every price and kind."""

    def __init__(self, make_pool):
        super().__init__()
        self.now = 1.0
        self.ledger = Ledger()
        self.flying = {}
        self.parked = {}
        self.rung = []
        self.count = 0
        self.budgets = {
            whose: Budget(
                whose, kind, most, whose=whose, day_end=lambda w: w - w % DAY + DAY,
                offset=0.0, now=1.0,
            )
            for whose, (kind, most) in LIMITS.items()
        }  # fmt: skip
        rows = [
            {
                "name": key,
                "provider": "other" if key == "k3" else "acme",
                "concurrency": 2,
                "allowance": Allowance(
                    [self.budgets[payer] for payer in payers],
                    Hours(self.open_hours, offset=0.0) if key == "k2" else None,
                ),
            }
            for key, payers in PAYERS.items()
        ]
        self.pool = make_pool(rows, facts=FACTS)
        self.manager = self.pool.manager

    @staticmethod
    def open_hours(wall):
        begin = wall - wall % DAY
        if wall >= begin + CLOSES:
            begin += DAY
        return begin + OPENS, begin + CLOSES

    def step(self, journey):
        self.parked.pop(journey, None)
        step = journey.next_step(self.manager, self.now)
        if isinstance(step, Send):
            key, self.count = step.lease.deployment.key, self.count + 1
            if key == "k2":
                assert OPENS <= self.now % DAY < CLOSES, "k2 was used outside of its hours"
            self.ledger.calls[self.count] = [PAYERS[key], self.now // DAY, step.lease.tokens, None]
            self.flying[journey] = (self.count, step.lease.tokens)
        elif isinstance(step, Park):
            self.parked[journey] = self.now + step.seconds
            step.ticket.bell = journey
        self.hear()

    def hear(self):
        self.rung += [ticket.bell for ticket in self.manager.take_rung()]

    @rule()
    def bells(self):
        while self.rung:
            journey = self.rung.pop(0)
            if journey in self.parked:
                self.step(journey)

    @rule(
        tokens=st.sampled_from([1.0, 7.0, 19.0, 45.0, 60.0]),
        max_wait=st.sampled_from([0.0, 100.0, 1000.0]),
    )
    def ask(self, tokens, max_wait):
        self.step(self.pool.journey(self.now, tokens, max_wait=max_wait, deadline=5000.0))

    @precondition(lambda self: self.flying)
    @rule(
        data=st.data(),
        fault=st.sampled_from([None, None, None, Fault.RATE_LIMIT_MINUTE, Fault.STREAM_BROKEN]),
        share=st.sampled_from([0.2, 1.0, 1.0, 1.4]),
    )
    def finish(self, data, fault, share):
        journey = data.draw(st.sampled_from(list(self.flying)))
        number, tokens = self.flying.pop(journey)
        usage = Usage(round(tokens * share), 0) if fault is None else None
        free = fault is Fault.RATE_LIMIT_MINUTE
        self.ledger.calls[number][3] = (
            float(usage.total_tokens) if usage and usage.total_tokens else 0.0 if free else tokens
        )
        verdict = Verdict(fault=fault, status=500)
        journey.report(self.manager, Answer(verdict, text="ok", usage=usage), self.now)
        self.hear()
        self.step(journey)

    @precondition(lambda self: self.flying or self.parked)
    @rule(data=st.data())
    def leave(self, data):
        journey = data.draw(st.sampled_from([*self.flying, *self.parked]))
        self.parked.pop(journey, None)
        if journey in self.flying:
            number, tokens = self.flying.pop(journey)
            self.ledger.calls[number][3] = tokens
        journey.abandon(self.manager, self.now)
        self.hear()

    @rule(seconds=st.sampled_from([0.1, 5.0, 40.0, 130.0, 400.0]))
    def tick(self, seconds):
        """Time passes while every driver wakes when it is due."""
        end = self.now + seconds
        while self.parked and min(self.parked.values()) <= end:
            journey = min(self.parked, key=self.parked.get)
            self.now = max(self.now, self.parked[journey])
            self.step(journey)
        self.now = end

    @rule(seconds=st.sampled_from([5.0, 40.0, 200.0]))
    def stall(self, seconds):
        """Time passes, and nobody wakes: whoever was granted a lease claims it late."""
        self.now += seconds

    @invariant()
    def no_day_is_overspent(self):
        for payer, (_, most) in LIMITS.items():
            known, beyond = self.ledger.day(self.now, payer)
            assert known <= most + beyond + 1e-6, f"{payer} spent {known} of {most}"

    @invariant()
    def the_books_balance(self):
        tickets = [journey._ticket for journey in self.parked]
        today = self.now // DAY
        granted = [t.lease for t in tickets if t.lease and t.lease.granted // DAY == today]
        for payer, budget in self.budgets.items():
            known, _ = self.ledger.day(self.now, payer)
            held = sum(
                lease.tokens for lease in granted if payer in PAYERS[lease.deployment.key]
            )
            assert budget.used(self.now) == pytest.approx(known + held)

    def teardown(self):
        for journey in [*self.flying, *self.parked]:
            journey.abandon(self.manager, self.now)
        assert not any(d.in_flight for d in self.pool.deployments)


def histories(make_pool, examples):
    """Try so many histories; raises what the first broken one did."""
    run_state_machine_as_test(
        lambda: Machine(make_pool),
        settings=settings(
            max_examples=examples,
            stateful_step_count=40,
            deadline=None,
            database=None,
            derandomize="HYDRA_MACHINE_EXAMPLES" not in os.environ,
            suppress_health_check=list(HealthCheck),
            phases=(Phase.generate,),
            report_multiple_bugs=False,
        ),
    )


@pytest.mark.timeout(60 + EXAMPLES)
def test_no_history_overspends_or_loses_a_booking(make_pool):
    """Whatever happens in whatever order, no day is overspent and every booking accounted for."""
    histories(make_pool, EXAMPLES)


@pytest.mark.parametrize(
    ("part", "method", "broken"),
    [
        (Allowance, "earliest", lambda *_: _[-1]),
        (Budget, "book", lambda budget, _, now: (budget.used(now) * 0.0, 0.0)),
        (Spend, "settle", lambda *_, **__: ()),
    ],
)
def test_each_protection_is_needed(make_pool, monkeypatch, part, method, broken):
    """With any one of them switched off, some history overspends or loses a booking."""
    monkeypatch.setattr(part, method, broken)
    with pytest.raises(AssertionError):
        histories(make_pool, EXAMPLES)
