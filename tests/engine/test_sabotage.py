"""Every protection is needed: switched off, a law of the same small world breaks.

The judge of each world counts for itself and shares nothing with the engine.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from random import Random

import pytest

from hydra_core.engine import blame, choice, waiting
from hydra_core.engine.accounts import Accounts
from hydra_core.engine.choice import Chooser
from hydra_core.engine.deployment import Deployment
from hydra_core.engine.dispatch import Dispatch
from hydra_core.engine.faults import FAULTS, Blame, Next
from hydra_core.engine.key_manager import KeyManager
from hydra_core.engine.routing import RouteBook
from hydra_core.engine.waiting import WaitingRoom
from hydra_core.engine.windows import SlidingWindow
from hydra_core.messages import Fault, Usage
from hydra_core.wire import Answer, Verdict

PATIENT = {"max_wait": 500.0, "deadline": 500.0}


class Judge:
    """The provider: counts arrivals by account, states waits, and notes each broken law."""

    def __init__(self, seed, limits, lateness):
        self.rng = Random(seed)
        self.limits = limits
        self.lateness = lateness
        self.seen = defaultdict(list)  # account -> [[arrival, tokens], ...]
        self.wait = {}  # account -> from when until when it must be left alone
        self.broken = set()

    def __call__(self, lease, now):
        place = lease.deployment
        since, until = self.wait.get(place.account, (0.0, 0.0))
        if since < now < until - 1e-6:
            self.broken.add("a stated wait is obeyed")
        if place.key == "dead":
            self.wait["dead"] = (now + 0.1, float("inf"))
            return 0.1, _bad(Fault.AUTH, 401)
        seconds = self.rng.choice([0.5, 2.0, 9.0])
        draw = self.rng.random()
        refused = draw < 0.04  # then it counts the request, and no tokens
        arrival = now + self.rng.choice([0.0, self.lateness])
        self._count(place.account, arrival, 0.0 if refused else lease.tokens)
        if refused:
            self.wait[place.account] = (now + seconds, now + seconds + 20.0)
            return seconds, _bad(Fault.RATE_LIMIT_MINUTE, 429, retry_after=20.0)
        if draw < 0.08:
            return seconds, _bad(Fault.TIMEOUT, None)
        usage = Usage(int(lease.tokens), 0)
        return seconds, Answer(Verdict(status=200), text="ok", usage=usage)

    def _count(self, account, arrival, tokens):
        self.seen[account].append((arrival, tokens))
        requests, most = self.limits[account]
        for end, _ in self.seen[account]:
            minute = [t for at, t in self.seen[account] if end - 60.0 + 1e-6 < at <= end]
            if len(minute) > requests or sum(minute) > most + 1e-6:
                self.broken.add("no minute holds more than the limit")


def _bad(fault, status, **said):
    return Answer(Verdict(fault=fault, status=status, **said))


def busy(make_pool, make_world, seed=1, *, lateness=0.25, leavers=()):
    """150 callers over three accounts that fail now and then, and a key that is dead."""
    rows = [
        {"name": "a1", "account": "a", "rpm": 6, "tpm": 200, "concurrency": 3},
        {"name": "a2", "account": "a"},
        {"name": "b1", "account": "b", "rpm": 9, "tpm": 150},
        {"name": "dead"},
        {"name": "reserved", "account": "r", "lanes": ["vip"]},
    ]
    pool = make_pool(rows, strategy="round_robin")
    judge = Judge(seed, {"a": (6, 200.0), "b": (9, 150.0), "r": (0, 0.0)}, lateness)
    world = make_world(pool, judge)
    for place in range(150):
        world.ask(place * 1.5, judge.rng.choice([5.0, 20.0, 60.0]), **PATIENT)
    for place in leavers:
        world.cancel(place * 1.5 + judge.rng.choice([0.2, 1.0, 4.0]), place)
    for second in range(0, 1000, 5):
        if not judge.broken:
            world.run(float(second))
    if any(group.in_flight for group in pool.groups.values()):
        judge.broken.add("every lease is settled")
    if any(lease.deployment.key == "reserved" for _, lease in world.sent):
        judge.broken.add("a reserved key serves its lane alone")
    return judge.broken


def impatient(make_pool, make_world, seed=1):
    """Every fifth caller leaves: its line, its grant, or its call under way."""
    return busy(make_pool, make_world, seed, lateness=0.0, leavers=range(0, 150, 5))


def crowded(make_pool, make_world):
    """A large request among small ones, a watcher that leaves, and a grant that turns bad."""
    broken = set()
    pool = make_pool([{"tpm": 1000}, {"tpm": 40}])
    world = make_world(pool, lambda lease, _: (0.1, _good(lease.tokens)))
    for tick in range(150):
        world.ask(tick / 2, 50.0, **PATIENT)
    world.ask(10.2, 900.0, **PATIENT)
    world.run()
    large = next((at for at, lease in world.sent if lease.tokens == 900.0), 1e9)
    if large > 75.0:
        broken.add("a large request is not starved")
    world = make_world(make_pool([{"rpm": 1}]), lambda *_: (0.1, _good(1)))
    for when in (1.0, 58.0, 59.0):
        world.ask(when, **PATIENT)
    world.cancel(60.0, 1)
    world.run()
    if world.sent[1][0] > 61.5:
        broken.add("somebody is awake for the next start")
    pool = make_pool([{"concurrency": 2}])
    first, second = pool.lease(1.0), pool.lease(1.0)
    ticket = pool.manager.join(pool.route(), first.size, (), 0, 1.0)
    pool.manager.settle(first, 2.0)
    pool.fail(second, 2.1, Fault.RATE_LIMIT_MINUTE, retry_after=30.0)
    if pool.manager.claim(ticket, 2.2) is not None:
        broken.add("a grant is void when its key came to rest")
    return broken


def failing(make_pool, make_world):
    """Outages, probes and requests that no key would take."""
    broken = set()
    pool = make_pool([{}, {}], strategy="priority")
    world = make_world(
        pool,
        lambda lease, _: (
            0.1,
            _good(1) if lease.deployment.key == "k2" else _bad(Fault.OVERLOADED, 503),
        ),
    )
    world.ask(1.0)
    world.run()
    if world.errors:
        broken.add("no error while a key could serve")
    pool = make_pool([{} for _ in range(3)])
    world = make_world(pool, lambda *_: (0.01, _bad(Fault.OVERLOADED, 503)))
    world.ask(1.0, deadline=60.0, max_wait=2.0)
    world.run()
    if len(world.sent) > 20:
        broken.add("an outage is not hammered")
    world = make_world(make_pool([{}, {}]), lambda *_: (9.0, _bad(Fault.OVERLOADED, 503)))
    world.ask(1.0, deadline=7.0)
    world.run()
    if any(at > 8.0 for at, _ in world.sent):
        broken.add("no attempt begins after the deadline")
    pool = make_pool([{} for _ in range(4)])
    world = make_world(pool, lambda *_: (0.1, _bad(Fault.CONTEXT_TOO_LONG, 400)))
    world.ask(1.0)
    world.run()
    if any(d.rests_at(1.2) for d in pool.deployments):
        broken.add("a bad request blames no key")
    pool = make_pool([{} for _ in range(8)])
    for lease in [pool.lease(1.0) for _ in range(8)]:
        pool.fail(lease, 1.0, Fault.OVERLOADED)
    if len([1 for _ in range(8) if pool.lease(100.0)]) > 1:
        broken.add("one request at a time probes")
    return broken


def asking(make_pool, make_world):
    """Questions about the next start while a sibling key rests for long."""
    pool = make_pool([{"rpm": 10, "account": "a"}, {"account": "a"}])
    pool.fail(pool.lease(1.0), 1.1, Fault.OVERLOADED, retry_after=120.0)
    leases = [lease for _ in range(9) if (lease := pool.lease(2.0))]
    for tick in range(9):
        pool.manager.earliest(pool.route(), leases[0].size, (), 3.0 + tick)
        pool.manager.settle(leases[tick], 3.0 + tick)
        if pool.lease(3.0 + tick):
            return {"asking spends nothing"}
    return set()


def sharing(make_pool, make_world):
    """Two keys that nobody said are one account's; each reply names it."""
    broken, arrived = set(), []
    pool = make_pool([{"rpm": 6}, {"rpm": 6}], strategy="priority")

    def judge(_, now):
        arrived.append(now)
        return 0.1, Answer(Verdict(status=200, scope_hint="org"), text="ok", usage=Usage(1, 0))

    world = make_world(pool, judge)
    for key in ("k1", "k1", "k2"):  # three of one, one of the other: then they are known
        lease = pool.lease(0.0, avoid=[d for d in pool.deployments if d.key != key])
        arrived.append(0.0)
        pool.manager.accounts.heard(lease, Verdict(status=200, scope_hint="org"), 0.0)
        pool.manager.settle(lease, 0.0)
    for _ in range(9):
        world.ask(2.0, **PATIENT)
    world.run()
    if any(len([at for at in arrived if end - 60.0 < at <= end]) > 6 for end in arrived):
        broken.add("keys of one account share its minute")
    return broken


def swarming(make_pool, make_world):
    """Shards in a flood of interactive calls, and impatient callers of another route."""
    broken = set()
    world = make_world(make_pool([{"concurrency": 1}]), lambda *_: (1.0, _good(1)))
    for _ in range(40):
        world.ask(1.0, **PATIENT)
    world.ask(1.0, priority=-1, **PATIENT)
    world.run()
    shard = next(j for j in world.begun if j.request.priority < 0)
    if world.ended[shard][0] > 10.0:
        broken.add("a swarm keeps its share")
    pool = make_pool([{"tpm": 1000, "shape": "bucket"}])
    world = make_world(pool, lambda lease, _: (0.1, _good(lease.tokens)))
    world.ask(1.0, 1000.0)
    world.ask(2.0, 900.0, **PATIENT)
    for tick in range(400):
        world.ask(3.0 + tick / 4, 20.0, max_wait=0.0, provider="acme")
    world.run()
    large = next((at for at, lease in world.sent if lease.tokens == 900.0), 1e9)
    if large > 60.0:
        broken.add("newcomers take nothing that is claimed")
    return broken


def _good(tokens):
    return Answer(Verdict(status=200), text="ok", usage=Usage(int(tokens), 0))


def _no_reservation(patch):
    charge = SlidingWindow.charge
    patch.setattr(SlidingWindow, "charge", lambda self, _, now: charge(self, 0.0, now))


def _charged_early(patch):
    begin = SlidingWindow.__init__

    def early(self, *args, **kwargs):
        begin(self, *args, **kwargs)
        self._guard = 0.0

    patch.setattr(SlidingWindow, "__init__", early)


def _settled_without_a_cancel(patch):
    patch.setattr(Dispatch, "abandon", lambda *_, **__: None)


def _refunded_on_timeout(patch):
    patch.setitem(FAULTS, Fault.TIMEOUT, replace(FAULTS[Fault.TIMEOUT], charged=False))


def _hard_rest_ignored(patch):
    patch.setattr(Deployment, "refresh", lambda _: None)


def _stated_wait_ignored(patch):
    patch.setattr(blame, "LONGEST_WAIT", 1.0)


def _lanes_open(patch):
    patch.setattr(RouteBook, "_open_to", lambda *_: True)


def _claims_ignored(patch):
    choose, earliest = Chooser.choose, Chooser.earliest
    patch.setattr(Chooser, "choose", lambda self, *args: choose(self, *args[:4]))
    patch.setattr(Chooser, "earliest", lambda self, *args: earliest(self, *args[:4]))


def _no_shares(patch):
    patch.setattr(waiting, "PASSES", 10**9)


def _newcomers_pass(patch):
    patch.setattr(WaitingRoom, "__bool__", lambda _: False)


def _nobody_watches(patch):
    patch.setattr(WaitingRoom, "_keep_watch", lambda *_: None)


def _every_grant_stands(patch):
    patch.setattr(WaitingRoom, "_renewed", staticmethod(lambda *_: True))


def _no_failover(patch):
    patch.setitem(FAULTS, Fault.OVERLOADED, replace(FAULTS[Fault.OVERLOADED], next=Next.STOP))


def _despair_forgets(patch):
    probe = Dispatch._probe

    def forgetful(self, manager, now):
        self._tried.clear()
        return probe(self, manager, now)

    patch.setattr(Dispatch, "_probe", forgetful)


def _deadline_off(patch):
    patch.setattr(Dispatch, "_over", lambda *_: False)


def _requests_blame_keys(patch):
    rule = FAULTS[Fault.CONTEXT_TOO_LONG]
    patch.setitem(
        FAULTS, Fault.CONTEXT_TOO_LONG, replace(rule, blame=Blame.DEPLOYMENT, rest=30.0, cap=30.0)
    )


def _probes_uncounted(patch):
    grant = KeyManager._grant

    def uncounted(self, *args):
        lease = grant(self, *args)
        lease.deployment.model.breaker.probing = False
        return lease

    patch.setattr(KeyManager, "_grant", uncounted)


def _asks_the_future(patch):
    def expected(deployment, size, now):
        rested = max(now, deployment.hard_until, deployment.soft_until)
        return deployment.group.earliest(choice.need_of(deployment, size), rested)

    patch.setattr(choice, "expected_at", expected)


def _accounts_apart(patch):
    patch.setattr(Accounts, "_called", lambda *_: None)


def _bookings_left_behind(patch):
    patch.setattr(SlidingWindow, "absorb", lambda *_: None)


SABOTAGE = [
    (_accounts_apart, sharing, "keys of one account share its minute"),
    (_bookings_left_behind, sharing, "keys of one account share its minute"),
    (_no_reservation, busy, "no minute holds more than the limit"),
    (_charged_early, busy, "no minute holds more than the limit"),
    (_refunded_on_timeout, busy, "no minute holds more than the limit"),
    (_settled_without_a_cancel, impatient, "every lease is settled"),
    (_hard_rest_ignored, busy, "a stated wait is obeyed"),
    (_stated_wait_ignored, busy, "a stated wait is obeyed"),
    (_lanes_open, busy, "a reserved key serves its lane alone"),
    (_claims_ignored, crowded, "a large request is not starved"),
    (_no_shares, swarming, "a swarm keeps its share"),
    (_newcomers_pass, swarming, "newcomers take nothing that is claimed"),
    (_nobody_watches, crowded, "somebody is awake for the next start"),
    (_every_grant_stands, crowded, "a grant is void when its key came to rest"),
    (_no_failover, failing, "no error while a key could serve"),
    (_despair_forgets, failing, "an outage is not hammered"),
    (_deadline_off, failing, "no attempt begins after the deadline"),
    (_requests_blame_keys, failing, "a bad request blames no key"),
    (_probes_uncounted, failing, "one request at a time probes"),
    (_asks_the_future, asking, "asking spends nothing"),
]


@pytest.mark.parametrize("world", [busy, impatient, crowded, failing, asking, swarming, sharing])
def test_no_law_breaks_while_every_protection_is_on(make_pool, make_world, world):
    """The worlds in which sabotage is tried are sound without it."""
    assert world(make_pool, make_world) == set()


@pytest.mark.parametrize("seed", range(2, 12))
def test_a_busy_day_breaks_no_law_whatever_the_seed(make_pool, make_world, seed):
    """Limits, waits, lanes and settlements hold in ten other histories."""
    assert busy(make_pool, make_world, seed) == set()
    assert impatient(make_pool, make_world, seed) == set()


@pytest.mark.parametrize(
    ("sabotage", "world", "law"), SABOTAGE, ids=[entry[0].__name__[1:] for entry in SABOTAGE]
)
def test_without_a_protection_its_law_breaks(
    monkeypatch, make_pool, make_world, sabotage, world, law
):
    """A check that could not fail would prove nothing."""
    sabotage(monkeypatch)
    assert law in world(make_pool, make_world)
