"""Each check of the simulation can fail: a protection switched off breaks the law it stands for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hydra_core.dialects import verdicts
from hydra_core.engine import blame
from hydra_core.engine.bucket import Bucket
from hydra_core.engine.deployment import Deployment
from hydra_core.engine.dispatch import Dispatch
from hydra_core.engine.faults import FAULTS, Next
from hydra_core.engine.look import Looks
from hydra_core.engine.quota import QuotaGroup
from hydra_core.engine.routing import RouteBook
from hydra_core.engine.windows import SlidingWindow
from hydra_core.errors import PoolExhausted
from hydra_core.messages import Fault
from hydra_core.testing.simulation import run_seed
from hydra_core.testing.simulation.ledger import NEVER
from hydra_core.testing.simulation.oracle import Oracle
from hydra_core.wire import Verdict

SEEDS, REQUESTS = range(24), 250


def broken_laws(law):
    """The laws broken until the one in question is; the seeds are tried in order."""
    broken = set()
    for seed in SEEDS:
        broken |= run_seed(seed, REQUESTS).broken.keys()
        if law in broken:
            break
    return broken


def _no_reservation(patch):
    charge = SlidingWindow.charge
    patch.setattr(SlidingWindow, "charge", lambda self, _, now: charge(self, 0.0, now))


def _refunded_on_timeout(patch):
    patch.setitem(FAULTS, Fault.TIMEOUT, replace(FAULTS[Fault.TIMEOUT], charged=False))


def _settled_without_a_cancel(patch):
    patch.setattr(Dispatch, "abandon", lambda *_, **__: None)


def _charged_twice(patch):
    settle = QuotaGroup.settle

    def twice(self, charges, **how):
        settle(self, charges, **how)
        if how["tokens"]:
            self.in_flight += 1
            self.charge(how["tokens"], how["now"])
            self.in_flight -= 2

    patch.setattr(QuotaGroup, "settle", twice)


def _hard_rest_ignored(patch):
    patch.setattr(Deployment, "refresh", lambda _: None)


def _stated_wait_ignored(patch):
    patch.setattr(blame, "LONGEST_WAIT", 1.0)


def _no_failover(patch):
    report = Dispatch.report

    def stop(self, manager, answer, now):
        report(self, manager, answer, now)
        if answer.verdict.fault is Fault.OVERLOADED:
            self._error = PoolExhausted("gave up", eta=None)

    patch.setattr(Dispatch, "report", stop)


def _deadline_off(patch):
    send = Dispatch._send
    patch.setattr(Dispatch, "_send", lambda *args: send(*args)._replace(timeout=60.0))


def _refusals_misunderstood(patch):
    patch.setattr(verdicts, "judge", lambda *_, **__: Verdict(Fault.UNKNOWN, 500))


def _an_error_inside(patch):
    patch.setattr(Dispatch, "abandon", lambda *_, **__: 1 / 0)


def _an_overload_ends_the_call(patch):
    patch.setitem(FAULTS, Fault.OVERLOADED, replace(FAULTS[Fault.OVERLOADED], next=Next.STOP))


def _a_bucket_fills_at_half_its_speed(patch):
    used = Bucket.used

    def slowly(self, now):
        self._since = max(self._since, (self._since + now) / 2)
        return used(self, now)

    patch.setattr(Bucket, "used", slowly)


def _what_was_found_is_kept_for_ever(patch):
    patch.setattr(Looks, "hold", lambda *_: True)


def _reserved_keys_used_by_all(patch):
    patch.setattr(RouteBook, "_open_to", lambda _, d, provider, __: provider in (None, d.provider))


def _model_ignored(patch):
    named = RouteBook._named
    patch.setattr(RouteBook, "_named", lambda self, pool, _: named(self, pool, None))


SABOTAGE = [
    (_no_reservation, "overshoot"),
    (_refunded_on_timeout, "undercharge"),
    (_settled_without_a_cancel, "leak"),
    (_charged_twice, "double_charge"),
    (_hard_rest_ignored, "cooling"),
    (_stated_wait_ignored, "cooling"),
    (_no_failover, "unexplained"),
    (_deadline_off, "late"),
    (_refusals_misunderstood, "misread"),
    (_an_error_inside, "crash"),
    (_an_overload_ends_the_call, "unexplained"),
    (_a_bucket_fills_at_half_its_speed, "unexplained"),
    (_what_was_found_is_kept_for_ever, "unexplained"),
    (_reserved_keys_used_by_all, "misrouted"),
    (_model_ignored, "misrouted"),
]


def test_with_every_protection_on_no_law_breaks():
    """The seeds in which sabotage is tried are sound without it."""
    assert [seed for seed in SEEDS if not run_seed(seed, REQUESTS).clean] == []


@pytest.mark.parametrize(
    ("sabotage", "law"), SABOTAGE, ids=[entry[0].__name__[1:] for entry in SABOTAGE]
)
def test_without_a_protection_its_law_breaks(monkeypatch, sabotage, law):
    """A check that could not fail would prove nothing."""
    sabotage(monkeypatch)
    assert law in broken_laws(law)


def test_the_oracle_judges_most_of_what_callers_were_denied(monkeypatch):
    """Of the places that a failed call might have had, more are judged than are excused."""
    free_from, judged = Oracle.free_from, []

    def noted(self, *args, **kwargs):
        moment = free_from(self, *args, **kwargs)
        judged.append(moment < NEVER)
        return moment

    monkeypatch.setattr(Oracle, "free_from", noted)
    for seed in SEEDS:
        run_seed(seed, REQUESTS)
    assert sum(judged) > len(judged) / 2


def test_a_bucket_that_is_charged_twice_is_found(monkeypatch):
    """Its books are judged, too: they hold more than was ever taken, less what came back."""
    assert run_seed(5, 1_000).clean
    charge = Bucket.charge
    monkeypatch.setattr(Bucket, "charge", lambda *args: [charge(*args), charge(*args)][1])
    assert "double_charge" in run_seed(5, 1_000).broken
