"""Every fault of a provider, struck on the first of two keys: nobody notices but the log."""

from __future__ import annotations

from itertools import pairwise

import pytest

from hydra_core.errors import PoolExhausted
from hydra_core.testing import FakeKey

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


RESTS = [
    # (fault, what it states in seconds, time scale, the least rest in seconds)
    ("rate_limit", 0.3, 0.02, 0.3),
    ("rate_limit", None, 0.02, 0.04),  # the fake states 2 of its seconds
    ("day_limit", 0.3, 0.02, 0.3),
    ("billing", None, 1e-4, 0.36),  # an hour
    ("model_gone", None, 1e-4, 0.36),  # an hour
    ("overloaded", None, 0.2, 0.2),  # a second, ours
    ("overloaded", 0.3, 0.02, 0.3),
    ("server_error", None, 0.2, 0.2),
    ("timeout", None, 0.01, 0.3),  # 30 s, ours
    ("reset", None, 0.2, 0.2),
    ("cut", None, 0.2, 0.2),
    ("empty", None, 0.2, 0.2),
    ("html", None, 0.2, 0.2),
    ("bad_json", None, 0.2, 0.2),
    ("error_event", None, 0.2, 0.2),
]


@pytest.mark.parametrize(("fault", "stated", "scale", "least"), RESTS)
def test_a_fault_is_remembered_for_its_rest_and_no_longer(
    caller, pool, serve, fault, stated, scale, least
):
    """The struck key is left alone for its rest, and then is the first choice again."""
    fake = serve(time_scale=scale)
    fake.fail(fault, key=0, times=1, retry_after=stated)
    hydra = pool(fake, attempt_timeout=0.2)
    while len(asked := [call for call in fake.log if call.key == "fake-1"]) < 2:
        assert caller.chat(hydra, "hello").kind == "full"
    struck, again = asked
    # From the arrival: when the judge notices that a hung caller has left depends on the machine.
    assert again.at - struck.at > least - 0.005


def test_a_dead_key_is_never_asked_again(caller, pool, serve):
    """No timer revives a key that was refused as invalid."""
    fake = serve(time_scale=1e-5)
    fake.fail("auth", key=0, times=1)
    hydra = pool(fake)
    keys = [caller.chat(hydra, f"question {n}").key for n in range(30)]
    assert keys == ["fake-2"] * 30
    assert [call.key for call in fake.log].count("fake-1") == 1
    rows = hydra.health()["providers"]["fake"]["keys"]
    states = [(row["name"], row["state"]) for row in rows]
    assert states == [("fake-1", "dead"), ("fake-2", "active")]


def test_the_keys_of_one_account_rest_together(caller, pool, serve):
    """One refusal speaks for all keys of its account: the others are not tried."""
    keys = [FakeKey(f"key-canary-{n}", account="acme" if n < 3 else "beta") for n in range(4)]
    fake = serve(keys)
    fake.fail("rate_limit", key=0, times=1, retry_after=20)
    hydra = pool(fake)
    assert [caller.chat(hydra, "hello").key for _ in range(3)] == ["fake-4"] * 3
    assert {call.key for call in fake.log} == {"fake-1", "fake-4"}


def test_an_unreachable_provider_is_left_as_a_whole(caller, pool, serve):
    """No other key of a provider that cannot be reached is tried: another provider answers."""
    gone = serve(name="gone", judged=False)
    hydra = pool(gone, serve(name="here"))
    gone.stop()
    reply = caller.chat(hydra, "hello")
    assert reply.provider == "here"
    assert [(a.provider, a.outcome) for a in reply.attempts] == [
        ("gone", "unreachable"),
        ("here", "ok"),
    ]


@pytest.mark.parametrize(
    ("language", "words"), [("en", "seems to be offline"), ("es", "parece estar sin conexión")]
)
def test_a_machine_without_a_network_says_so(caller, pool, serve, language, words):
    """Neither provider is called down and no key is blamed; the notice says it once."""
    fakes = [serve(name=name, judged=False) for name in ("one", "two")]
    hydra = pool(*fakes, max_wait=0.0, language=language)
    for fake in fakes:
        fake.stop()
    reply = caller.chat(hydra, "hello")
    assert (reply.kind, words in reply.text, reply.eta is not None) == ("wait", True, True)
    assert {a.outcome for a in reply.attempts} == {"unreachable"}
    assert all("seems to be offline" in row["why"] for row in hydra.explain("hello"))
    health = hydra.health()
    keys = [key for provider in health["providers"].values() for key in provider["keys"]]
    assert {(key["state"], key["consecutive_failures"]) for key in keys} == {("resting", 0)}
    assert {key["score"] for key in keys} == {1.0}
    assert [notice["kind"] for notice in hydra.stats()["notices"]] == ["offline"]


def test_keys_that_were_never_right_are_named_at_once(caller, pool, serve):
    """All keys mistyped: the error says so, and how to mend it, without a wait."""
    fake = serve(judged=False)
    for place in (0, 1):
        fake.kill(place)
    hydra = pool(fake, on_exhausted="raise", max_wait=1000.0)
    with pytest.raises(PoolExhausted, match="refused as invalid") as caught:
        caller.chat(hydra, "hello")
    assert (caught.value.eta, len(caught.value.attempts)) == (None, 2)
    (notice,) = hydra.stats()["notices"]
    assert "All keys of fake were refused as invalid (fake-1, fake-2)" in notice["text"]


def test_the_warning_of_one_refused_key_speaks_of_one(caller, pool, serve):
    """Who has one key to mend reads of one."""
    fake = serve(["key-canary-1"], judged=False)
    hydra = pool(fake, max_wait=0.0)
    fake.kill(0)
    caller.chat(hydra, "hello")
    (notice,) = hydra.stats()["notices"]
    assert notice["text"] == (
        "fake refused as invalid: fake-1. It is not used any more. Check its value, and base_url "
        "if it is set, then start again."
    )


def test_a_warning_that_proved_wrong_is_taken_back_as_loudly(caller, pool, serve, caplog):
    """One refused key is called wrong; when the next that had worked is too, sign-in is suspect."""
    fake = serve(judged=False)
    hydra = pool(fake, strategy="round_robin", max_wait=0.0)
    caller.chats(hydra, ["hello"] * 4)
    for place in (0, 1):
        fake.kill(place)
    caller.chat(hydra, "hello")
    warned = [r.message for r in caplog.records if r.levelname == "WARNING"]
    assert [("not used any more" in text, "no key is given up" in text) for text in warned] == [
        (True, False),
        (False, True),
    ]


def test_an_outage_is_probed_by_one_call_at_a_time(caller, pool, serve):
    """When a provider's calls fail in a row its breaker opens; then one call at a time tries."""
    keys = [f"key-canary-{n}" for n in range(8)]
    ill = serve(keys, name="ill", time_scale=0.02, latency=0.02)
    ill.fail("error_event")
    hydra = pool(ill, serve(name="well"))
    for _ in range(12):
        assert caller.chat(hydra, "hello").provider == "well"
    opened = len(ill.log)
    assert opened < 12
    while len(probes := ill.log[opened:]) < 3:
        replies = caller.chats(hydra, ["hello"] * 20)
        assert {reply.provider for reply in replies} == {"well"}
    assert all(one.at + one.latency <= two.at for one, two in pairwise(probes))
