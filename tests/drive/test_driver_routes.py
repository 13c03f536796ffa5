"""Who may serve a request: models, aliases, tiers, lanes, accounts; and limits that are learned."""

from __future__ import annotations

import pytest

from hydra_core.errors import PoolExhausted, RequestRejected
from hydra_core.testing import FakeKey, FakeLimits


def provider(fake, **changes):
    """The provider's row of a configuration, changed."""
    (row,) = fake.config()["providers"]
    return {**row, **changes}


def test_tiers_are_served_in_order(caller, pool, serve):
    """The next tier serves only while no key of those before it can."""
    one, two, three = (serve(name=name, time_scale=0.05) for name in ("one", "two", "three"))
    rows = [provider(three, priority=2), provider(one, priority=0), provider(two, priority=1)]
    hydra = pool(one, providers=rows, strategy="adaptive")
    assert {caller.chat(hydra, "hello").provider for _ in range(6)} == {"one"}
    one.kill(0)
    one.kill(1)
    two.fail("rate_limit", retry_after=20)
    reply = caller.chat(hydra, "hello")
    assert [a.provider for a in reply.attempts] == ["one", "one", "two", "two", "three"]
    assert caller.chat(hydra, "hello").provider == "three"
    assert (len(one.log), len(two.log), len(three.log)) == (8, 2, 2)


def test_a_bare_model_name_means_every_provider_of_it(caller, pool, serve):
    """`model="m"` fails over between providers; `provider/m` and `provider=` do not."""
    one, two = serve(name="one", models=("m", "own")), serve(name="two", models=("other", "m"))
    hydra = pool(one, two, max_wait=0.0, on_exhausted="raise")
    assert caller.chat(hydra, "hello", model="two/m").provider == "two"
    assert caller.chat(hydra, "hello", model="own").model == "own"
    one.fail("auth")
    assert caller.chat(hydra, "hello", model="m").provider == "two"
    assert caller.chat(hydra, "hello", provider="two").model == "other"
    for kwargs in ({"model": "one/m"}, {"provider": "one"}, {"model": "m", "provider": "one"}):
        with pytest.raises(PoolExhausted):
            caller.chat(hydra, "hello", **kwargs)


def test_an_alias_is_its_list_in_order(caller, pool, serve):
    """An alias's members are tiers: the later ones serve when the earlier cannot."""
    one, two = serve(name="one", models=("a", "b")), serve(name="two", models=("x",))
    hydra = pool(one, two, aliases={"smart": ["two/x", "one/b"]})
    assert caller.chat(hydra, "hello", model="smart").model == "x"
    two.fail("auth")
    reply = caller.chat(hydra, "hello", model="smart")
    trail = [(a.model, a.outcome) for a in reply.attempts]
    assert trail == [("x", "auth"), ("x", "auth"), ("b", "ok")]
    assert {call.model for call in one.log} == {"b"}


def test_a_lane_is_kept_apart(caller, pool, serve):
    """A reserved key serves its lane alone, and its lane uses no other."""
    fake = serve([f"key-canary-{n}" for n in range(3)])
    rows = provider(fake)
    rows["keys"][1]["lanes"] = ["bc3"]
    hydra = pool(fake, providers=[rows], max_wait=0.0)
    assert [caller.chat(hydra, "hello", lane="bc3").key for _ in range(3)] == ["fake-2"] * 3
    fake.kill(0)
    fake.kill(2)
    assert caller.chat(hydra, "hello").kind == "wait"
    fake.kill(1)
    assert caller.chat(hydra, "hello", lane="bc3").kind == "wait"
    assert [call.key for call in fake.log] == [*["fake-2"] * 3, "fake-1", "fake-3", "fake-2"]
    with pytest.raises(RequestRejected, match="lanes: bc3"):
        caller.chat(hydra, "hello", lane="bc4")


def test_a_disabled_key_is_not_used(caller, pool, serve):
    """`disabled` takes a key out without deleting it."""
    fake = serve()
    rows = provider(fake)
    rows["keys"][0]["disabled"] = True
    hydra = pool(fake, providers=[rows])
    assert {caller.chat(hydra, "hello").key for _ in range(4)} == {"fake-2"}


def test_limits_are_learned_from_headers(caller, pool, serve):
    """After one reply the limits are known, without a word in the configuration: no refusal."""
    limits = FakeLimits(tpm=1000, rpd=5000, window="bucket")
    fake = serve(
        [FakeKey(f"key-canary-{n}", limits=limits) for n in (1, 2)],
        vendor="groq",
        time_scale=0.03,
    )
    hydra = pool(fake, providers=fake.config(tell_limits=False)["providers"], strategy="adaptive")
    for _ in range(2):
        caller.chat(hydra, "word " * 40, max_tokens=60)
    replies = caller.chats(hydra, ["word " * 40] * 30, max_tokens=60)
    assert {reply.kind for reply in replies} == {"full"}
    assert (fake.served, fake.refused) == (32, 0)
    learned = [set(key["limits"]) for key in hydra.health()["providers"]["groq"]["keys"]]
    assert learned == [{"tpm", "rpd"}] * 2


def test_limits_are_learned_from_refusals(caller, pool, serve):
    """A provider that states nothing beforehand still says how long to wait, and is obeyed."""
    limits = FakeLimits(rpm=5, window="fixed")
    fake = serve([FakeKey("key-canary-1", limits=limits)], vendor="plain", time_scale=0.01)
    hydra = pool(fake, providers=fake.config(tell_limits=False)["providers"])
    assert {caller.chat(hydra, "hello").kind for _ in range(12)} == {"full"}
    assert fake.served == 12
    assert 1 <= fake.refused <= 3


def test_a_day_that_others_used_up_is_shown_as_used_up(caller, pool, serve):
    """Gemini says which limit refused and how large it is, not how much of it is used: all."""
    fake = serve([FakeKey("key-canary-1", limits=FakeLimits(rpd=2))], vendor="gemini")
    others, hydra = (
        pool(fake, providers=fake.config(tell_limits=False)["providers"]) for _ in range(2)
    )
    for _ in range(2):
        caller.chat(others, "hello")
    assert caller.chat(hydra, "hello").kind == "wait"
    (key,) = hydra.health()["providers"]["gemini"]["keys"]
    shown = key["limits"]["rpd"]
    assert (shown["limit"], shown["used"], key["state"]) == (2, 2, "resting")
    assert shown["resets_in"] == pytest.approx(key["available_in"], abs=2.0)
    (row,) = hydra.explain("hello")
    assert row["starts_in"] == pytest.approx(key["available_in"], abs=2.0)


def test_a_limit_on_calls_at_once_is_learned(caller, pool, serve):
    """After the refusals of a first burst the next one keeps to what the account can take."""
    limits = FakeLimits(concurrency=3)
    keys = [FakeKey("key-canary-1", limits=limits)]
    fake = serve(keys, vendor="deepseek", time_scale=0.02, latency=0.05)
    hydra = pool(fake, providers=fake.config(tell_limits=False)["providers"], max_wait=20.0)
    assert {r.kind for r in caller.chats(hydra, ["hello"] * 12)} == {"full"}
    known = fake.refused
    assert {r.kind for r in caller.chats(hydra, ["hello"] * 12)} == {"full"}
    assert (fake.refused, fake.served) == (known, 24)


def test_keys_of_one_account_share_its_limit(caller, pool, serve):
    """Three keys of one account have one limit, not three."""
    limits = FakeLimits(rpm=5)
    keys = [FakeKey(f"key-canary-{n}", account="acme", limits=limits) for n in range(3)]
    fake = serve(keys)
    hydra = pool(fake, max_wait=0.0, strategy="round_robin")
    kinds = [caller.chat(hydra, f"question {n}").kind for n in range(7)]
    assert kinds == ["full"] * 5 + ["wait"] * 2
    assert (fake.served, fake.refused) == (5, 0)
    assert {call.key for call in fake.log} == {"fake-1", "fake-2", "fake-3"}


def test_time_scale_shortens_a_providers_minute(caller, pool, serve):
    """A minute of 1.8 real seconds: six calls at four a minute do not take two minutes."""
    fake = serve([FakeKey("key-canary-1", limits=FakeLimits(rpm=4, rpd=1000))], time_scale=0.03)
    hydra = pool(fake)
    assert {caller.chat(hydra, "hello").kind for _ in range(6)} == {"full"}
    assert fake.refused == 0
    assert max(r.counted for r in fake.recounts if r.name == "rpm") <= 4
    (key,) = hydra.health()["providers"]["fake"]["keys"]
    assert set(key["limits"]) == {"rpm", "rpd"}


def test_the_price_is_told_only_when_it_is_known(caller, pool, serve):
    """Cost is tokens times price; without a price it is None, never a false zero."""
    fake = serve(models=("priced", "free", "unknown"))
    models = [
        {"name": "priced", "input_usd": 2.0, "output_usd": 6.0},
        {"name": "free", "input_usd": 0.0, "output_usd": 0.0},
        {"name": "unknown"},
    ]
    hydra = pool(fake, providers=[provider(fake, models=models)])
    usages = {m["name"]: caller.chat(hydra, "hello", model=m["name"]).usage for m in models}
    call = fake.log[0]
    expected = (2.0 * call.prompt_tokens + 6.0 * call.completion_tokens) / 1e6
    assert usages["priced"].cost_usd == pytest.approx(expected)
    assert (usages["free"].cost_usd, usages["unknown"].cost_usd) == (0.0, None)
    assert hydra.stats()["cost_usd"] is None
