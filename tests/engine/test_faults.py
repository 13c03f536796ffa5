"""The fault table: every fault has its row, and the rows say what the law says."""

from __future__ import annotations

import pytest

from hydra_core.engine.faults import FAULTS, PLAIN_WORDS, Blame, Next
from hydra_core.messages import Fault

SIX_WORDS = {"rate_limit", "timeout", "auth", "unavailable", "invalid_response", "unknown"}


def test_every_fault_has_a_row_and_a_plain_word():
    """A fault that the table does not know could be neither blamed nor shown."""
    assert set(FAULTS) == set(Fault)
    assert set(PLAIN_WORDS) == set(Fault)
    assert set(PLAIN_WORDS.values()) == SIX_WORDS


@pytest.mark.parametrize(
    ("fault", "blame", "after"),
    [
        (Fault.RATE_LIMIT_MINUTE, Blame.GROUP, Next.MOVE),
        (Fault.RATE_LIMIT_DAY, Blame.GROUP, Next.MOVE),
        (Fault.QUOTA_EXHAUSTED_BILLING, Blame.ACCOUNT, Next.MOVE),
        (Fault.AUTH, Blame.KEY, Next.MOVE),
        (Fault.MODEL_UNAVAILABLE, Blame.GROUP, Next.MOVE),
        (Fault.REQUEST_TOO_LARGE, Blame.NOBODY, Next.MOVE_LARGER),
        (Fault.CONTEXT_TOO_LONG, Blame.REQUEST, Next.MOVE_LARGER),
        (Fault.CONTENT_FILTER, Blame.REQUEST, Next.STOP),
        (Fault.BAD_REQUEST, Blame.REQUEST, Next.STOP),
        (Fault.OVERLOADED, Blame.DEPLOYMENT, Next.MOVE),
        (Fault.INVALID_RESPONSE, Blame.DEPLOYMENT, Next.MOVE),
        (Fault.STREAM_BROKEN, Blame.DEPLOYMENT, Next.MOVE),
        (Fault.TIMEOUT, Blame.DEPLOYMENT, Next.MOVE),
        (Fault.UNREACHABLE, Blame.PROVIDER, Next.MOVE),
        (Fault.UNKNOWN, Blame.DEPLOYMENT, Next.MOVE),
        (Fault.CANCELLED, Blame.NOBODY, Next.STOP),
    ],
)
def test_the_table_says_who_is_blamed_and_what_follows(fault, blame, after):
    """The consequences of each fault, one by one."""
    assert (FAULTS[fault].blame, FAULTS[fault].next) == (blame, after)


@pytest.mark.parametrize("fault", Fault)
def test_who_is_blamed_rests_and_who_is_not_does_not(fault):
    """A blamed scope rests for a finite time, or for ever where no timer revives it."""
    rule = FAULTS[fault]
    if rule.blame in (Blame.NOBODY, Blame.REQUEST):
        assert (rule.rest, rule.hard, rule.forever) == (0.0, False, False)
    elif rule.forever:
        assert rule.hard
    else:
        assert 0.0 < rule.rest <= rule.cap


@pytest.mark.parametrize(
    ("fault", "rest"),
    [(Fault.RATE_LIMIT_MINUTE, 60.0), (Fault.TIMEOUT, 30.0), (Fault.UNKNOWN, 5.0)],
)
def test_the_rests_without_a_hint_are_those_promised(fault, rest):
    """60 s for a rate limit, 30 s for a timeout, from 5 s to 80 s for the unknown."""
    assert FAULTS[fault].rest == rest
    assert FAULTS[Fault.UNKNOWN].cap == 80.0


@pytest.mark.parametrize("fault", [Fault.TIMEOUT, Fault.CANCELLED, Fault.STREAM_BROKEN])
def test_what_may_have_been_charged_stays_booked(fault):
    """A provider that was reached may have spent the tokens, whatever became of the answer."""
    assert FAULTS[fault].charged
