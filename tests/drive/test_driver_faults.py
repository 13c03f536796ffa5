"""Every fault of a provider, struck on the first of two keys: nobody notices but the log."""

from __future__ import annotations

import pytest

REFUSED = {
    "rate_limit": "rate_limit_minute",
    "day_limit": "rate_limit_day",
    "billing": "quota_exhausted_billing",
    "auth": "auth",
    "model_gone": "model_unavailable",
    "overloaded": "overloaded",
    "server_error": "overloaded",
    "too_large": "request_too_large",
}
SPOILED = {
    "timeout": "timeout",
    "hang": "timeout",
    "stall": "timeout",
    "slow": "timeout",
    "reset": "stream_broken",
    "cut": "stream_broken",
    "role_then_cut": "stream_broken",
    "error_event": "overloaded",
    "empty": "invalid_response",
    "html": "invalid_response",
    "bad_json": "invalid_response",
}
ALL = {**REFUSED, **SPOILED}


@pytest.mark.parametrize(("fault", "outcome"), ALL.items())
def test_a_fault_of_one_key_is_answered_by_the_other(caller, pool, serve, fault, outcome):
    """The caller gets a full reply from the second key; the trail tells what happened."""
    fake = serve(time_scale=0.02)
    fake.fail(fault, key=0, times=1)
    hydra = pool(fake, attempt_timeout=0.3)
    reply = caller.chat(hydra, "Where is the lamp?")
    assert (reply.kind, reply.text) == ("full", "You said: Where is the lamp?")
    assert (reply.provider, reply.model, reply.key) == ("fake", "fake-model", "fake-2")
    assert [(a.key, a.outcome) for a in reply.attempts] == [("fake-1", outcome), ("fake-2", "ok")]
    assert [call.key for call in fake.log] == ["fake-1", "fake-2"]
