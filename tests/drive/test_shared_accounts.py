"""Several keys of one account over real HTTP; the provider's own counters are the evidence."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict

import pytest

from hydra_core import Hydra
from hydra_core.errors import PoolExhausted
from hydra_core.testing import FakeKey, FakeLimits, FakeProvider

SCALE = 0.02  # a minute is 1.2 s


def shared(count, vendor, rpm=10, **settings):
    """A provider whose keys all belong to one account of `rpm` requests a minute."""
    limits = FakeLimits(rpm=rpm)
    keys = [FakeKey(f"key-canary-{n}", account="acme", limits=limits) for n in range(count)]
    return FakeProvider(keys, vendor=vendor, time_scale=SCALE, **settings)


@pytest.mark.parametrize("vendor", ["openai", "groq"])
def test_keys_of_one_organization_are_one_quota(vendor, caplog):
    """Eight keys, forty requests: all are served, and at most one refusal a key is met."""
    with shared(8, vendor, name=vendor, latency=0.01) as fake:
        config = fake.config(tell_accounts=False, cache=False)
        with Hydra(config) as hydra, caplog.at_level(logging.INFO, "hydra_core"):
            for number in range(40):
                assert hydra.chat(f"question {number}", deadline=20.0).kind == "full"
            health, notices = hydra.health(), hydra.stats()["notices"]
        assert fake.served == 40
        assert fake.refused <= 8
    (provider,) = health["providers"].values()
    assert len({row["account"] for row in provider["keys"]}) == 1
    (notice,) = notices
    assert notice["kind"] == "shared_account"
    warnings = [r for r in caplog.records if r.levelname == "WARNING" and "one quota" in r.message]
    assert len(warnings) == 1


async def test_forty_at_once_are_all_served():
    """What was sent before anybody knew is refused once a key, and served after the wait."""
    with shared(8, "openai", name="openai", latency=0.02) as fake:
        config = fake.config(tell_accounts=False, cache=False)
        async with Hydra(config) as hydra:
            calls = (hydra.achat(f"question {n}", deadline=30.0) for n in range(40))
            replies = await asyncio.gather(*calls)
        assert [reply.kind for reply in replies] == ["full"] * 40
        assert fake.served == 40


def test_free_models_of_one_account_share_their_requests():
    """OpenRouter counts all of them together, whatever the model and the key; paid ones apart."""
    models = ("big:free", "small:free", "paid")
    limits = FakeLimits(rpm=6)
    keys = [FakeKey(f"key-canary-{n}", account="acme", limits=limits) for n in range(2)]
    with FakeProvider(keys, models=models, vendor="openrouter") as fake:
        config = fake.config(cache=False, max_wait=0.0, on_exhausted="raise")
        with Hydra(config) as hydra:
            for number in range(6):
                assert hydra.chat("hello", model=models[number % 2]).kind == "full"
            for model in models[:2]:
                with pytest.raises(PoolExhausted):
                    hydra.chat("hello", model=model)
            assert hydra.chat("hello", model="paid").kind == "full"
        assert (fake.served, fake.refused) == (7, 0)


async def ask(fake, calls, at_once, **settings):
    """So many questions, some at once; the accounts that are found, as lists of keys."""
    config = fake.config(tell_accounts=False, cache=False, **settings)
    async with Hydra(config) as hydra:
        seats = asyncio.Semaphore(at_once)

        async def one(number):
            async with seats:
                return await hydra.achat(f"question {number}", deadline=30.0, max_wait=30.0)

        replies = await asyncio.gather(*map(one, range(calls)))
        assert {reply.kind for reply in replies} == {"full"}
        (provider,) = hydra.health()["providers"].values()
    found = defaultdict(list)
    for row in provider["keys"]:
        found[row["account"]].append(row["name"])
    return list(found.values())


async def test_keys_that_nobody_names_are_joined_by_what_they_do():
    """One is drained, the others are refused until the same moment: about one refusal a key."""
    with shared(8, "plain", latency=0.01) as fake:
        found = await ask(fake, 40, 1, strategy="priority", tell_limits=False)
        assert len(found) < 8
        assert fake.served == 40
        assert fake.refused <= 16


@pytest.mark.parametrize("strategy", ["priority", "adaptive"])
@pytest.mark.parametrize("vendor", ["plain", "silent", "openai"])
async def test_separate_accounts_are_never_joined_under_load(vendor, strategy):
    """Each has two keys of its own; keys of different ones stay apart, whatever is refused."""
    limits = FakeLimits(rpm=8)
    keys = [
        FakeKey(f"key-canary-{account}{n}", account=account, limits=limits, name=f"{account}-{n}")
        for n in range(2)
        for account in ("left", "right")
    ]
    with FakeProvider(keys, vendor=vendor, name="fake", time_scale=SCALE, latency=0.01) as fake:
        found = await ask(fake, 48, 6, strategy=strategy, tell_limits=False)
    assert all(len({name.partition("-")[0] for name in names}) == 1 for names in found)
