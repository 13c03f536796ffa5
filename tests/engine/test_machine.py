"""Any history of callers, answers, faults and clocks, against a ledger that shares no code.

HYDRA_MACHINE_EXAMPLES sets the number of histories (of 50 steps). Unless it does, the
same 200 are tried every time.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from hydra_core.engine.steps import Park, Send
from hydra_core.messages import Fault, Usage
from hydra_core.wire import Answer, Verdict

EXAMPLES = int(os.environ.get("HYDRA_MACHINE_EXAMPLES", "200"))
ROWS = [
    {"name": "a1", "account": "a", "rpm": 4, "tpm": 100, "concurrency": 3},
    {"name": "a2", "account": "a"},
    {"name": "b1", "account": "b", "rpm": 3, "tpm": 60},
    {"name": "c1", "account": "c", "rpm": 2, "concurrency": 1, "priority": 1},
]
LIMITS = {row["account"]: row for row in ROWS if "rpm" in row}
LATENESS = 0.25  # how long a request may be under way before the provider counts it
SILENT = (Fault.UNREACHABLE, Fault.TIMEOUT, Fault.CANCELLED)
REFUSALS = (Fault.RATE_LIMIT_MINUTE, Fault.RATE_LIMIT_DAY, Fault.QUOTA_EXHAUSTED_BILLING)


class Ledger:
    """What the provider saw, counted its own way: every rolling minute of every account."""

    def __init__(self):
        self.calls = {}  # number -> [account, arrival, tokens]
        self.open = {}  # number -> account
        self.blocked = {}  # key or account -> until when
        self.served = set()  # keys that have ever worked
        self.refused = {}  # keys of those that were refused as invalid, and when

    def send(self, number, key, account, now, late, tokens):
        for name in (key, account):
            assert self.blocked.get(name, 0.0) <= now, f"{name} was sent to during its rest"
        self.calls[number] = [account, now + late, tokens]
        self.open[number] = account

    def end(self, number, now, fault, spent, *, answered):
        """Only an answer proves that the request has arrived; without one it may still do."""
        call = self.calls[number]
        if answered:
            call[1] = min(call[1], now)
        del self.open[number]
        if fault is Fault.UNREACHABLE:
            del self.calls[number]
        elif fault in (None, Fault.TIMEOUT, Fault.STREAM_BROKEN, Fault.UNKNOWN):
            call[2] = spent
        elif fault not in (Fault.CANCELLED, Fault.INVALID_RESPONSE, Fault.CONTENT_FILTER):
            call[2] = 0.0

    def block(self, key, account, fault, said, now):
        wait = {Fault.RATE_LIMIT_MINUTE: 60.0, Fault.AUTH: float("inf")}.get(fault, 3600.0)
        if said is not None and fault is not Fault.AUTH:
            wait = max(said, 1.0)
        name = key if fault in (Fault.AUTH, Fault.OVERLOADED) else account
        if fault in (*REFUSALS, Fault.AUTH, Fault.MODEL_UNAVAILABLE) or said is not None:
            self.blocked[name] = max(self.blocked.get(name, 0.0), now + wait)
        if fault is Fault.AUTH:
            self.refused = {k: at for k, at in self.refused.items() if now - at <= 60.0}
            self.refused[key] = now
            # Several at once, though one had worked: their provider's trouble, none is dead.
            if len(self.refused) > 1 and self.served & set(self.refused):
                self.blocked.update(dict.fromkeys(self.refused, 0.0))

    def minute(self, account, end, *, now=None):
        """Requests and tokens of the minute that ends at `end`, arrivals up to `now` alone."""
        seen = [
            call
            for call in self.calls.values()
            if call[0] == account and end - 60.0 + 1e-6 < call[1] <= (end if now is None else now)
        ]
        return len(seen), sum(call[2] for call in seen)

    def check(self):
        for account, row in LIMITS.items():
            flying = sum(owner == account for owner in self.open.values())
            assert flying <= row.get("concurrency", 99), f"{flying} calls at once at {account}"
            for _, arrival, _ in (call for call in self.calls.values() if call[0] == account):
                requests, tokens = self.minute(account, arrival)
                assert requests <= row["rpm"], f"{requests} requests in a minute of {account}"
                assert tokens <= row.get("tpm", 1e9) + 1e-6, f"{tokens} tokens of {account}"


class Machine(RuleBasedStateMachine):
    """Drivers that obey the steps, providers that fail in every way, and a jumping clock."""

    def __init__(self, make_pool):
        super().__init__()
        self.make_pool = make_pool
        self.now = 100.0
        self.ledger = Ledger()
        self.parked = {}  # journey -> when its driver wakes
        self.flying = {}  # journey -> (number, lease)
        self.patient = {}  # journey -> when its driver stops waiting for the answer
        self.rung = []
        self.due = {}  # journey -> its deadline
        self.lag = 0.0
        self.count = 0

    @initialize(strategy=st.sampled_from(["adaptive", "round_robin", "priority"]))
    def build(self, strategy):
        self.pool = self.make_pool(ROWS, strategy=strategy)
        self.manager = self.pool.manager

    def step(self, journey):
        self.parked.pop(journey, None)
        step = journey.next_step(self.manager, self.now)
        if isinstance(step, Send):
            lease, self.count = step.lease, self.count + 1
            place = lease.deployment
            self.flying[journey] = (self.count, lease)
            self.patient[journey] = self.now + step.timeout
            late = LATENESS * (self.count % 3) / 2
            self.ledger.send(self.count, place.key, place.account, self.now, late, lease.tokens)
        elif isinstance(step, Park):
            assert step.seconds > 0.0
            self.parked[journey] = self.now + step.seconds
            step.ticket.bell = journey
        else:
            assert self.now <= self.due.pop(journey) + self.lag + 0.01
        self.hear()

    def hear(self):
        self.rung += [ticket.bell for ticket in self.manager.take_rung() if ticket.bell]

    def answer_bells(self):
        while self.rung:
            journey = self.rung.pop(0)
            if journey in self.parked:
                self.step(journey)

    @rule(
        tokens=st.sampled_from([1.0, 10.0, 25.0, 60.0, 90.0, 500.0]),
        priority=st.sampled_from([0, 0, 5, -1]),
        max_wait=st.sampled_from([0.0, 5.0, 70.0, 400.0]),
        deadline=st.sampled_from([2.0, 100.0, 500.0]),
    )
    def begin(self, tokens, priority, max_wait, deadline):
        journey = self.pool.journey(
            self.now, tokens, priority=priority, max_wait=max_wait, deadline=deadline
        )
        self.due[journey] = self.now + deadline
        self.step(journey)

    @precondition(lambda self: self.flying)
    @rule(
        data=st.data(),
        fault=st.sampled_from([None, None, None, *Fault]),
        said=st.sampled_from([None, 0.0, 5.0, 40.0]),
        share=st.sampled_from([0.1, 0.5, 1.0]),
    )
    def finish(self, data, fault, said, share):
        self.end(data.draw(st.sampled_from(list(self.flying))), fault, said, share)

    def end(self, journey, fault, said=None, share=1.0):
        """The provider answers, or its driver gives it up."""
        number, lease = self.flying.pop(journey)
        place, spent = lease.deployment, round(lease.tokens * share)
        said = said if fault in (*REFUSALS, Fault.OVERLOADED) else None
        status = None if fault in SILENT else 500
        verdict = Verdict(fault=fault, status=status, retry_after=said)
        counted = spent if fault is None else lease.tokens
        self.ledger.end(number, self.now, fault, counted, answered=status is not None)
        if fault is None:
            self.ledger.served.add(place.key)
        else:
            self.ledger.block(place.key, place.account, fault, said, self.now)
        usage = Usage(int(spent), 0) if fault is None else None
        journey.report(self.manager, Answer(verdict, text="ok", usage=usage), self.now)
        self.hear()
        self.step(journey)

    @precondition(lambda self: self.due)
    @rule(data=st.data())
    def cancel(self, data):
        journey = data.draw(st.sampled_from(list(self.due)))
        self.parked.pop(journey, None)
        if journey in self.flying:
            number, lease = self.flying.pop(journey)
            self.ledger.end(number, self.now, Fault.CANCELLED, lease.tokens, answered=False)
        journey.abandon(self.manager, self.now)
        del self.due[journey]
        self.hear()

    @rule()
    def bells(self):
        self.answer_bells()

    @rule(seconds=st.sampled_from([0.01, 0.2, 1.0, 7.0, 31.0, 61.0, 4000.0]))
    def tick(self, seconds):
        """Time passes while every driver wakes when it is rung or due."""
        self.answer_bells()
        end = self.now + seconds
        while clocks := {
            **self.parked,
            **{journey: self.patient[journey] for journey in self.flying},
        }:
            journey = min(clocks, key=clocks.get)
            if clocks[journey] > end:
                break
            self.now = max(self.now, clocks[journey])
            if journey in self.flying:
                self.end(journey, Fault.TIMEOUT)
            else:
                self.step(journey)
            self.answer_bells()
        self.now = end

    @rule(seconds=st.sampled_from([0.2, 3.0, 90.0]))
    def clock(self, seconds):
        """The machine was suspended: time passed, and nobody woke."""
        self.lag += seconds
        self.now += seconds

    @invariant()
    def the_provider_counts_no_excess(self):
        self.ledger.check()

    @invariant()
    def what_is_charged_is_settled_or_in_flight(self):
        granted = [ticket for ticket in self.manager.room.tickets() if ticket.lease]
        assert not granted, "whoever was served has left the line"
        for group in {d.group for d in self.pool.deployments} if self.count else ():
            leases = [lease for _, lease in self.flying.values() if lease.group is group]
            unclaimed = [
                ticket.lease
                for journey in self.parked
                if (ticket := journey._ticket) and ticket.lease and ticket.lease.group is group
            ]
            assert group.in_flight == len(leases) + len(unclaimed)
            for window, counted in zip(
                group.windows, self.ledger.minute(group.name, self.now), strict=False
            ):
                assert window.used(self.now) >= counted - 1e-6, f"{group.name} forgot a charge"

    @invariant()
    def an_outage_is_probed_by_one_request_at_a_time(self):
        places = self.pool.deployments if self.count else ()
        for breaker in {place.breaker for place in places if place.breaker.open_until}:
            probes = [
                lease
                for _, lease in self.flying.values()
                if lease.deployment.breaker is breaker and lease.granted > breaker.opened_at
            ]
            assert len(probes) <= 1, f"{len(probes)} calls probe {breaker.over.name}"

    @invariant()
    def somebody_is_awake_for_the_next_start(self):
        room = self.manager.room if self.count else None
        if room and room.due < float("inf"):
            front = [t for t in room.tickets() if t.start == room.due]
            woken = [t for t in front if t.parked_until <= room.due + 0.01 or t.bell in self.rung]
            assert woken, "the next start would be slept through"

    @invariant()
    def every_queue_stands_in_its_order(self):
        for ticket in self.manager.room.tickets() if self.count else ():
            queue = ticket.route.line.queues[ticket.kind]
            assert queue.tickets[queue.ahead(ticket.order)] is ticket
            assert ticket.start == float("inf") or not ticket.lease

    @invariant()
    def nothing_is_negative(self):
        for deployment in self.pool.deployments if self.count else ():
            assert deployment.in_flight >= 0
            assert all(window.used(self.now) >= 0.0 for window in deployment.group.windows)

    def teardown(self):
        """Every call is answered in the end, and every waiter is served or gives up in time."""
        for _ in range(2000):
            if not self.due:
                break
            while self.flying:
                self.end(next(iter(self.flying)), None)
            self.tick(1.0)
            self.ledger.check()
        assert not self.due, "somebody waits for ever"
        if self.count:
            assert not self.manager.room
            self.now += 61.0
            for group in self.pool.groups.values():
                assert group.in_flight == 0
                assert all(window.used(self.now) == 0.0 for window in group.windows)


@pytest.mark.timeout(60 + EXAMPLES)
def test_no_history_breaks_the_books(make_pool):
    """Whatever happens in whatever order, limits hold, books balance and everybody is answered."""
    run_state_machine_as_test(
        lambda: Machine(make_pool),
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=50,
            deadline=None,
            database=None,
            derandomize="HYDRA_MACHINE_EXAMPLES" not in os.environ,
            suppress_health_check=list(HealthCheck),
        ),
    )
