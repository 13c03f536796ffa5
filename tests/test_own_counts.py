"""What processes that share a store count together is what they sent, in any order of events."""

from __future__ import annotations

import json
import random
from collections import Counter

import pytest

from hydra_core.assemble import assemble
from hydra_core.config import HydraConfig
from hydra_core.engine import snapshot, spending
from hydra_core.own_counts import OwnCounts, own
from hydra_core.wire import DAY

WALL = 1_790_000_000.0


class Process:
    """One of those that share a store; it hears of all from the provider, or of nobody."""

    def __init__(self, shape, *, hears):
        row = {"name": "acme", "base_url": "http://127.0.0.1:9/v1", "models": ["m"]}
        keys = [{"name": "k", "value": "CANARY-0123456789", "limits": {"rpd": 10_000}}]
        config = {"store": "memory", "providers": [{**row, "keys": keys, "window": shape}]}
        pool = assemble(HydraConfig.model_validate(config), now=0.0, wall=WALL)
        self._manager = pool.manager
        self._group = pool.manager.deployments[0].group
        self._counts = OwnCounts()
        self._hears = hears
        self._taken = None
        self.began = False

    def send(self, already):
        self.began = True
        booking = self._group.charge(1.0, 1.0)
        self._group.settle(booking, requests=1.0, tokens=1.0, now=1.0)
        if self._hears:
            self._group.windows[0].observe(already + 1, None, 1.0)

    def take(self):
        taken = json.loads(json.dumps(snapshot.take(self._manager, 1.0, WALL)))
        self._taken = {"deployments": taken["deployments"]}

    def begin(self, rows):
        """Hear what is stored; some do so only after they began to send, and take anew then."""
        self._taken = None
        data = {"version": snapshot.VERSION, "deployments": json.loads(json.dumps(rows))}
        snapshot.restore(self._manager, data, 1.0, WALL)
        self._counts.told(data, late=self.began)

    def store(self, rows):
        if self._taken is None:
            self.take()
        sections, self._taken = self._taken, None
        counted = own(sections)
        for scope, ours in sections["deployments"].items():
            if scope in rows:
                merged = self._counts.merged(WALL, "deployments", scope, rows[scope], ours)
                sections["deployments"][scope] = merged
        self._counts.note(counted, sections)
        rows.update(json.loads(json.dumps(sections["deployments"])))


def stored(rows):
    """The requests that the store counts."""
    (row,) = rows.values()
    return sum(amount for _, amount in row["windows"][0]["returns"])


@pytest.mark.parametrize("shape", ["sliding", "bucket"])
@pytest.mark.parametrize("seed", range(30))
def test_no_call_is_counted_twice_however_many_heard_of_it(shape, seed):
    """Two to four send, hear of all or none, and store what they took a while ago."""
    rng, rows, sent = random.Random(seed), {}, 0
    processes = [Process(shape, hears=rng.random() < 0.7) for _ in range(rng.randint(2, 4))]
    new = list(processes)
    for _ in range(60):
        process, event = rng.choice(processes), rng.choice(("send", "send", "take", "store"))
        if event == "send":
            for _ in range(rng.randint(1, 4)):
                process.send(sent)
                sent += 1
        elif event == "take":
            process.take()
        elif process in new:
            new.remove(process)
            process.begin(rows)
        else:
            process.store(rows)
            assert stored(rows) <= sent + 0.5
    for process in processes * 2:
        process.store(rows)
    assert stored(rows) == pytest.approx(sent, abs=0.5)  # a bucket gains a little on the way


class Spender:
    """One of those that share a budget and a store; the wall clock is `WALL` ahead of theirs."""

    def __init__(self, rows, now):
        settings = {"store": "memory", "budget": {"tokens_per_day": 1e6}}
        row = {"name": "acme", "base_url": "http://127.0.0.1:9/v1", "models": ["m"]}
        config = HydraConfig.model_validate({**settings, "providers": [row]})
        self._manager = assemble(config, now=now, wall=WALL + now).manager
        (self.budget,) = self._manager.budgets.values()
        data = {"version": snapshot.VERSION, "budgets": json.loads(json.dumps(rows))}
        snapshot.restore(self._manager, data, now, WALL + now)
        self._counts = OwnCounts()
        self.under_way = []

    def book(self, amount, now):
        self.under_way.append((self.budget.book(amount, now), int((WALL + now) // DAY)))

    def settle(self, amount, now):
        """Spend so much of what was booked last; the result is the day that it belongs to."""
        booking, day = self.under_way.pop()
        self.budget.settle(booking, amount, now)
        return day

    def store(self, rows, now):
        ours = spending.rows(self._manager, now, WALL + now)
        kept = {
            name: self._counts.merged(WALL + now, "budgets", name, rows[name], row)
            if name in rows
            else row
            for name, row in ours.items()
        }
        self._counts.note({"budgets": ours}, {"budgets": kept})
        rows.update(json.loads(json.dumps(kept)))
        spending.hear(self._manager, ours, kept, now)


@pytest.mark.parametrize("seed", range(12))
def test_a_budget_of_many_is_spent_once(seed):
    """Whoever books, settles, stores or is replaced, over midnights: all know the day's sum."""
    rng, rows, now, spent = random.Random(seed), {}, 0.0, Counter()
    spenders = [Spender(rows, now) for _ in range(3)]
    for _ in range(100):
        now += rng.choice((0.1, 0.1, 0.1, 10.0, 5000.0))
        place, event = rng.randrange(3), rng.choice(("book", "settle", "store", "replace"))
        spender, amount = spenders[place], float(rng.randint(0, 50))
        if event == "book":
            spender.book(amount, now)
        elif event == "settle" and spender.under_way:
            spent[spender.settle(amount, now)] += amount
        elif event == "store" or not spender.under_way:
            spender.store(rows, now)
            if event == "replace":
                spenders[place] = Spender(rows, now)
    for spender in spenders:
        while spender.under_way:
            spent[spender.settle(1.0, now)] += 1.0
    for spender in spenders * 2:
        spender.store(rows, now)
    today = spent[int((WALL + now) // DAY)]
    assert [spender.budget.used(now) for spender in spenders] == [pytest.approx(today)] * 3
