"""Books balance over mergers at any moment, whatever is under way."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hydra_core.engine.accounts import Shared

KEYS = ("k1", "k2", "k3", "k4")
LIMITS = {"rpd": 1000, "tpd": 100_000}
# Ten seconds refill so little of a day's bucket; none of the other shapes gives back anything.
REFILLED = {"requests": 1000 * 10.0 / 86_400.0, "tokens": 100_000 * 10.0 / 86_400.0}

KEY = st.sampled_from(KEYS)
TOKENS = st.integers(1, 900)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("begin"), KEY, TOKENS),
        st.tuples(st.just("end"), st.integers(0, 9), TOKENS),
        st.tuples(st.just("refund"), st.integers(0, 9), st.just(0)),
        st.tuples(st.just("merge"), KEY, KEY),
    ),
    max_size=40,
)


class Books:
    """What was spent by each account, counted beside the engine."""

    def __init__(self, make_pool, shape):
        self.pool = make_pool([{**LIMITS, "shape": shape} for _ in KEYS])
        self.now = 1.0
        self.owner = {key: key for key in KEYS}
        self.settled = []  # (key, requests, tokens)
        self.open = []

    def begin(self, key, tokens):
        others = [d for d in self.pool.deployments if d.key != key]
        self.open.append(self.pool.lease(self.now, float(tokens), others))

    def end(self, at, tokens, requests=1.0):
        if self.open:
            lease = self.open.pop(at % len(self.open))
            for _ in range(2):  # twice is harmless
                self.pool.manager.settle(lease, self.now, requests=requests, tokens=float(tokens))
            self.settled.append((lease.deployment.key, requests, float(tokens)))

    def refund(self, at, _):
        self.end(at, 0, 0.0)

    def merge(self, one, other):
        self.pool.manager.accounts.recall([Shared("acme", None, (one, other))], self.now)
        kept, gone = self.owner[one], self.owner[other]
        self.owner = {key: kept if of == gone else of for key, of in self.owner.items()}

    def check(self):
        for account in set(self.owner.values()):
            keys = [key for key in KEYS if self.owner[key] == account]
            (group,) = {self.pool.by(key).group for key in keys}
            flying = [lease for lease in self.open if lease.deployment.key in keys]
            assert all(lease.group is group for lease in flying)
            assert group.in_flight == len(flying)
            spent = [row for row in self.settled if row[0] in keys]
            requests = sum(row[1] for row in spent) + len(flying)
            tokens = sum(row[2] for row in spent) + sum(lease.tokens for lease in flying)
            for window, counted in zip(group.windows, (requests, tokens), strict=True):
                slack = REFILLED[window.kind] * len(keys) + 1e-6
                assert abs(window.used(self.now) - counted) <= slack


@pytest.mark.parametrize("shape", ["sliding", "bucket", "fixed"])
@settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(steps=STEPS)
def test_nothing_is_lost_or_counted_twice(make_pool, shape, steps):
    """Calls begin, end, are given back and accounts merge in any order; the sums agree."""
    books = Books(make_pool, shape)
    for name, *details in steps:
        books.now += 0.2
        getattr(books, name)(*details)
        books.check()
    while books.open:
        books.end(0, 7)
    books.check()


@pytest.mark.parametrize("shape", ["sliding", "bucket", "fixed"])
def test_what_was_merged_returns_when_it_would_have(make_pool, shape):
    """A merger keeps the dates of bookings: a window later all is whole again."""
    row = {"rpm": 10, "shape": shape}
    pool = make_pool([row, row])
    for other in ("k2", "k1"):
        for _ in range(5):
            pool.manager.settle(pool.lease(1.0, 1.0, [pool.by(other)]), 1.0)
    pool.manager.accounts.recall([Shared("acme", None, ("k1", "k2"))], 30.0)
    group = pool.by("k1").group
    assert group.windows[0].used(30.0) == (10 if shape != "bucket" else pytest.approx(0.0, abs=0.5))
    assert group.windows[0].used(62.0) == 0.0
