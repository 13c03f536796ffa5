"""What Hydra counts of itself, held against what the provider saw."""

from __future__ import annotations

import threading
from contextlib import suppress
from datetime import datetime

import pytest

from hydra_core import Hydra
from hydra_core.engine.faults import PLAIN_WORDS
from hydra_core.errors import HydraClosed, RequestRejected, StreamBroken
from hydra_core.messages import Attempt, Fault, Reply, Usage
from hydra_core.stats import Tally
from hydra_core.testing import FakeProvider


@pytest.fixture
def fake():
    """A provider with two keys."""
    with FakeProvider(["key-canary-1", "key-canary-2"], time_scale=0.01) as served:
        yield served


@pytest.fixture
def hydra(fake):
    """A Hydra that asks the first key first, and does not wait."""
    with Hydra(fake.config(strategy="priority", cache=False, max_wait=0.0)) as built:
        yield built


def test_counts_agree_with_the_providers(hydra, fake):
    """Calls, failures and tokens by key are those that the provider logged."""
    fake.fail("server_error", key=0, times=1)
    for number in range(6):
        hydra.chat(f"question {number}")
    list(hydra.stream("streamed"))
    stats, total = hydra.stats(), fake.total
    assert stats["replies"] == {"full": 7}
    assert (stats["attempts"], stats["attempts_failed"]) == (total.calls, total.refused)
    assert (stats["failovers"], stats["faults"]) == (1, {"overloaded": 1})
    assert stats["tokens"] == total.prompt_tokens + total.completion_tokens
    seen = {name: (count.calls, count.refused) for name, count in fake.by_key.items()}
    told = {name: (row["calls"], row["failures"]) for name, row in stats["keys"].items()}
    assert told == seen


def test_every_kind_of_end_is_counted_once(fake, tmp_path):
    """Full, cached, wait and refused calls add up to the requests."""
    store = f"sqlite:///{tmp_path / 'hydra.db'}"
    with Hydra(fake.config(strategy="priority", store=store, max_wait=0.0)) as hydra:
        hydra.chat("known")
        fake.fail("content_filter", times=1)
        with pytest.raises(RequestRejected):
            hydra.chat("refused")
        fake.saturate(seconds=100)
        assert [hydra.chat(text).kind for text in ("known", "unknown")] == ["cached", "wait"]
        summary = hydra.session_summary()
        expected = {"full": 1, "not served": 1, "cached": 1, "wait": 1}
        assert {kind: n for kind, n in summary["replies"].items() if n} == expected
        assert (summary["requests"], hydra.health()["total_requests"]) == (4, 4)
        assert sum(summary["keys"].values()) == 2


def test_a_stream_that_breaks_off_is_a_failure(hydra, fake):
    """Its error is in the report like any other, and its request is counted."""
    fake.fail("cut", times=1, after_chunks=1)
    with pytest.raises(StreamBroken):
        list(hydra.stream("one two three four five"))
    health = hydra.health()
    (error,) = health["recent_errors"]
    assert (error["key"], error["fault"]) == ("fake-1", "stream_broken")
    assert health["total_requests"] == 1
    assert health["providers"]["fake"]["total_failures"] == 1


def test_health_has_the_shape_that_is_promised(hydra, fake):
    """Every field of the contract is there, by name and by kind."""
    fake.fail("rate_limit", key=0, times=1, retry_after=50)
    hydra.chat("hello")
    health = hydra.health()
    assert set(health) == {
        *("timestamp", "total_requests", "in_flight", "waiting", "congress_escalations"),
        *("providers", "recent_errors"),
    }
    assert datetime.fromisoformat(health["timestamp"]).tzinfo is not None
    provider = health["providers"]["fake"]
    assert {name: value for name, value in provider.items() if name != "keys"} == {
        "is_available": True,
        "consecutive_failures": 0,
        "total_requests": 2,
        "in_flight": 0,
        "total_failures": 1,
        "success_rate": 50.0,
        "in_cooldown": False,
        "last_error_type": "rate_limit",
    }
    one, two = provider["keys"]
    assert set(one) >= {
        *("name", "account", "state", "available_in", "in_flight"),
        *("consecutive_failures", "last_fault", "limits", "score"),
    }
    assert (one["state"], one["last_fault"]) == ("resting", "rate_limit_minute")
    assert 40 < one["available_in"] <= 50
    assert (two["state"], two["available_in"], two["last_fault"]) == ("active", 0.0, None)


def test_a_provider_is_unavailable_when_all_its_keys_are(hydra, fake):
    """`is_available` and `in_cooldown` speak of all keys of a provider."""
    fake.kill(0)
    fake.kill(1)
    hydra.chat("hello")
    provider = hydra.health()["providers"]["fake"]
    assert (provider["is_available"], provider["in_cooldown"]) == (False, True)
    assert (provider["success_rate"], provider["consecutive_failures"]) == (0.0, 2)
    assert [key["state"] for key in provider["keys"]] == ["dead", "dead"]


def test_a_disabled_key_is_shown_as_such(fake):
    """Its row stands in its place, it is never asked, and is no part of a provider's cooldown."""
    config = fake.config(cache=False)
    config["providers"][0]["keys"][0]["disabled"] = True
    with Hydra(config) as hydra:
        assert {hydra.chat("hello").key for _ in range(3)} == {"fake-2"}
        provider = hydra.health()["providers"]["fake"]
        one, two = provider["keys"]
        assert set(one) == set(two)
        assert (one["name"], one["state"], one["available_in"]) == ("fake-1", "disabled", None)
        assert (provider["is_available"], provider["in_cooldown"]) == (True, False)
        assert hydra.session_summary()["keys"] == {"active": 1, "disabled": 1}


def test_a_pool_of_disabled_keys_says_so(fake):
    """A call ends at once with what to do, and the report has the keys."""
    config = fake.config(cache=False)
    for key in config["providers"][0]["keys"]:
        key["disabled"] = True
    with Hydra(config) as hydra:
        with pytest.raises(RequestRejected, match="every key of the configuration is disabled"):
            hydra.chat("hello")
        provider = hydra.health()["providers"]["fake"]
        assert (provider["is_available"], provider["in_cooldown"]) == (False, False)


def test_keys_that_are_named_alike_are_counted_apart(fake):
    """Names are one provider's own; two that are the same are told by their provider."""
    config = fake.config(cache=False)
    config["providers"].append({**config["providers"][0], "name": "other", "priority": 1})
    with Hydra(config) as hydra:
        hydra.chat("hello")
        keys = hydra.stats()["keys"]
    assert sum(row["calls"] for row in keys.values()) == 1
    assert set(keys) == {"fake/fake-1", "fake/fake-2", "other/fake-1", "other/fake-2"}


def attempt(outcome, provider="p"):
    """One attempt of a reply."""
    return Attempt(provider, "m", "p-1", outcome, 500, detail="said")


def test_only_the_last_fifty_errors_are_kept():
    """A long outage does not grow the report."""
    tally = Tally()
    for number in range(30):
        attempts = (attempt("overloaded"), attempt("timeout"), attempt("ok"))
        tally.replied(Reply(str(number), {}, attempts=attempts))
    health = tally.health({"p": []})
    assert len(health["recent_errors"]) == 50
    assert health["providers"]["p"]["total_failures"] == 60
    assert health["providers"]["p"]["consecutive_failures"] == 0


@pytest.mark.parametrize("fault", Fault)
def test_every_fault_has_one_of_six_words(fault):
    """Reports to people use six words, whatever the fault."""
    tally = Tally()
    tally.replied(Reply("", {}, attempts=(attempt(fault.value),)))
    word = tally.health({"p": []})["providers"]["p"]["last_error_type"]
    assert word == PLAIN_WORDS[fault]
    assert word in {"rate_limit", "timeout", "auth", "unavailable", "invalid_response", "unknown"}


def test_the_cost_is_a_sum_of_known_prices_only():
    """One reply without a price makes the sum unknown."""
    tally = Tally()
    for cost in (0.25, 0.5):
        tally.replied(Reply("", {}, usage=Usage(1, 2, cost)))
    assert tally.stats({})["cost_usd"] == 0.75
    tally.replied(Reply("", {}, usage=Usage(1, 2, None)))
    assert (tally.stats({})["cost_usd"], tally.stats({})["tokens"]) == (None, 9)


def test_threads_count_together():
    """No count is lost between threads."""
    tally = Tally()
    reply = Reply("", {}, usage=Usage(1, 1, 0.0), attempts=(attempt("ok"),))

    def count():
        for _ in range(500):
            tally.replied(reply)

    threads = [threading.Thread(target=count) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stats = tally.stats({})
    assert (stats["replies"], stats["attempts"], stats["tokens"]) == ({"full": 4000}, 4000, 8000)


def test_a_hanging_pool_shows_what_hangs(fake, until):
    """Calls that have not ended are seen: on the wire, for how long, and waiting for a key."""
    config = fake.config(cache=False, max_wait=60.0)
    for key in config["providers"][0]["keys"]:
        key["limits"] = {"concurrency": 1}
    with Hydra(config) as hydra:
        fake.fail("hang", times=2)

        def ask(number):
            with suppress(HydraClosed):
                hydra.chat(f"question {number}")

        for number in range(3):
            threading.Thread(target=ask, args=(number,), daemon=True).start()
        until(lambda: fake.in_flight == 2 and hydra.health()["waiting"])
        health = hydra.health()
        provider = health["providers"]["fake"]
        assert (health["in_flight"], provider["in_flight"], health["waiting"]) == (2, 2, 1)
        assert [key["busy_for"] > 0.0 for key in provider["keys"]] == [True, True]
        assert (health["total_requests"], provider["total_requests"]) == (0, 0)
