"""Budgets and hours over real HTTP: the provider's own log says what was spent."""

from __future__ import annotations

import asyncio
import datetime as dt
import json

import openai
import pytest

from hydra_core import Hydra
from hydra_core.engine.size import USUAL_OUTPUT
from hydra_core.errors import RequestRejected, StreamBroken
from hydra_core.testing import ExtractiveModel, FakeAnswer, FakeKey, FakeLimits

# A day that turns within a test would only make it flaky; a scaled one begins with the process.
SCALE = 0.5
READ, WRITTEN = 0.3, 1.0  # USD for one token
PRICED = {"name": "fake-model", "input_usd": READ * 1e6, "output_usd": WRITTEN * 1e6}
BOUNDLESS = {"usd_per_day": 1e9, "tokens_per_day": 10**9}
POOL = "budget/usd_per_day"


def priced(fake, *keys, **changes):
    """The fake as a provider whose model has prices; `keys` change its keys, in order."""
    (row,) = fake.config()["providers"]
    for key, changed in zip(row["keys"], keys, strict=False):
        key.update(changed)
    return {**row, "models": [PRICED], **changes}


def billed(fake, key=None):
    """What the provider would bill, by its own log."""
    calls = [call for call in fake.log if key is None or call.key == key]
    return sum(c.prompt_tokens * READ + c.completion_tokens * WRITTEN for c in calls)


def spent(hydra, name=POOL):
    """What the pool has counted under a budget's name."""
    return hydra._gate.ask(lambda manager, now: manager.budgets[name].used(now))


def test_no_flood_of_callers_overshoots_a_budget(caller, pool, serve):
    """Sixty calls at once: the provider's sum is spent to the last call, and not passed."""
    many = FakeLimits(concurrency=60, rpm=1000)
    fake = serve([FakeKey(f"key-canary-{n}", limits=many) for n in (1, 2)], latency=0.02)
    row = priced(fake, {"budget": {"usd_per_day": 200.0}}, budget={"usd_per_day": 300.0})
    hydra = pool(fake, providers=[row], time_scale=SCALE, max_wait=5.0)
    replies = caller.chats(hydra, [f"question {n}" for n in range(60)], max_tokens=40)
    fake.wait_idle()
    assert billed(fake, "fake-1") <= 200.0
    assert 300.0 - 60.0 < billed(fake) <= 300.0
    assert spent(hydra, "budget/fake/usd_per_day") == pytest.approx(billed(fake))
    waits = [reply for reply in replies if reply.kind == "wait"]
    assert {reply.kind for reply in replies} == {"full", "wait"}
    # Those who wait behind others are told by a rehearsal, right to a minute in half a day.
    assert [reply.eta for reply in waits if not 43_000 < reply.eta <= 43_260] == []


class Wordy:
    """A model whose answers are three times as long as usual ones, if it is let."""

    def answer(self, _body):
        return FakeAnswer("word " * 614)  # 768 tokens


@pytest.mark.parametrize(("asked", "calls"), [({"max_tokens": 300}, 6), ({}, 7)])
def test_a_burst_of_first_calls_is_bounded_by_what_it_reserved(caller, pool, serve, asked, calls):
    """With max_tokens the day ends within its budget; without, by what answers are longer."""
    limit = FakeLimits(concurrency=60, rpm=1000)
    fake = serve([FakeKey("key-canary-1", limits=limit)], answer=Wordy(), latency=0.2)
    row = priced(fake, budget={"usd_per_day": 1_900.0})
    hydra = pool(fake, providers=[row], time_scale=SCALE, max_wait=0.6)
    caller.chats(hydra, [f"question {n}" for n in range(20)], **asked)
    fake.wait_idle()
    most = 1_900.0 if asked else 1_900.0 + calls * (768 - USUAL_OUTPUT) * WRITTEN
    assert 0 < len(fake.log) <= calls
    assert billed(fake) <= most
    assert (billed(fake) > 1_900.0) == (not asked)
    assert spent(hydra, "budget/fake/usd_per_day") == pytest.approx(billed(fake))


def test_a_budget_is_used_up_before_another_key_serves(caller, pool, serve):
    """The first key serves until one more call might not fit; then the second does."""
    fake = serve()
    row = priced(fake, {"budget": {"tokens_per_day": 100}})
    hydra = pool(fake, providers=[row], time_scale=SCALE)
    assert {caller.chat(hydra, "hello", max_tokens=60).kind for _ in range(12)} == {"full"}
    tokens = fake.by_key["fake-1"].prompt_tokens + fake.by_key["fake-1"].completion_tokens
    assert 30 < tokens <= 100
    first, second = hydra.health()["providers"]["fake"]["keys"]
    assert first["limits"]["tokens_per_day"]["used"] == tokens
    assert 43_000 < first["limits"]["tokens_per_day"]["resets_in"] <= 43_200
    assert (second["limits"], second["why"]) == ({}, "ready")
    told = {r["key"]: r["why"] for r in hydra.explain("hello", max_tokens=60)}
    assert told["fake-1"].startswith(f"budget of key fake-1: {tokens} tokens of 100 spent")
    assert told["fake-1"].endswith("again in 12 h 0 min")


def test_every_way_of_asking_is_charged(caller, pool, serve):
    """Chats, streams and SDKs: the sums are the provider's own."""
    fake = serve()
    hydra = pool(fake, providers=[priced(fake)], time_scale=SCALE, budget=BOUNDLESS)
    caller.chat(hydra, "one question")
    caller.stream(hydra, "another question")
    asked = [{"role": "user", "content": "a third question"}]
    with openai.OpenAI(
        api_key="-", base_url="http://hydra/v1", http_client=hydra.http_client()
    ) as sdk:
        sdk.chat.completions.create(model="fake-model", messages=asked)
        told = {"stream": True, "stream_options": {"include_usage": True}}
        list(sdk.chat.completions.create(model="fake-model", messages=asked, **told))
    fake.wait_idle()
    assert len(fake.log) == 4
    assert spent(hydra) == pytest.approx(billed(fake))
    counted = sum(call.prompt_tokens + call.completion_tokens for call in fake.log)
    assert spent(hydra, "budget/tokens_per_day") == counted
    assert hydra.stats()["cost_usd"] == pytest.approx(billed(fake))


@pytest.mark.parametrize(
    ("told", "cost"),
    [
        (None, 100 * WRITTEN),
        ({"tokens": 10}, 10 * WRITTEN),
        ({"tokens": 10, "completion_tokens": 4}, 6 * READ + 4 * WRITTEN),
    ],
)
def test_a_lease_costs_what_it_said_it_took(caller, pool, serve, told, cost):
    """Tokens of which nobody says whether they were written count at the dearer price."""
    fake = serve()
    hydra = pool(fake, providers=[priced(fake)], time_scale=SCALE, budget=BOUNDLESS)
    caller.lease(hydra, lambda lease: told and lease.used(**told), tokens=100)
    assert spent(hydra) == pytest.approx(cost)


def test_a_swarm_is_charged_and_says_its_cost(caller, pool, serve):
    """All calls of a reading are in the budget, and its bill is theirs."""
    fake = serve(answer=ExtractiveModel())
    hydra = pool(fake, providers=[priced(fake)], time_scale=SCALE, budget=BOUNDLESS)
    text = "\n\n".join(f"Paragraph {n}: the ship sailed on day {n}." for n in range(60))
    result = hydra.swarm("On which day did the ship sail?", text)
    fake.wait_idle()
    assert fake.log
    assert result.usage.cost_usd == pytest.approx(billed(fake))
    assert spent(hydra) == pytest.approx(billed(fake))


def test_a_swarm_reads_what_its_budget_pays_for(caller, pool, serve):
    """The rest is told, with the moment from which it can be read; the plan said so before."""
    fake = serve(keys=["key-canary-1"], answer=ExtractiveModel())
    text = "\n\n".join(f"Paragraph {n}: the ship sailed on day {n}." * 30 for n in range(120))
    row = priced(fake, budget={"tokens_per_day": 25_000})
    hydra = pool(fake, providers=[row], time_scale=SCALE, max_wait=1.0)
    plan = hydra.plan(text, "On which day did the ship sail?")
    assert (plan.bound_by, plan.seconds_p50 > 30_000) == ("daily limit", True)
    result = hydra.swarm("On which day did the ship sail?", text)
    fake.wait_idle()
    assert result.kind == "partial"
    assert 0.0 < result.coverage < 1.0
    assert 40_000 < result.eta <= 43_200
    assert sum(c.prompt_tokens + c.completion_tokens for c in fake.log) <= 25_000


def test_a_refusal_costs_nothing(caller, pool, serve):
    """What was booked for a call that was refused comes back."""
    fake = serve()
    hydra = pool(fake, providers=[priced(fake)], time_scale=SCALE, budget=BOUNDLESS)
    fake.fail("rate_limit", key=0, times=1)
    reply = caller.chat(hydra, "one question")
    fake.wait_idle()
    assert [attempt.outcome for attempt in reply.attempts] == ["rate_limit_minute", "ok"]
    assert spent(hydra) == pytest.approx(reply.usage.cost_usd)


def test_a_stream_that_breaks_off_costs_what_was_shown(caller, pool, serve):
    """Nobody reports the usage of a broken stream: its prompt and its text are counted."""
    fake = serve(keys=["key-canary-1"])
    hydra = pool(fake, providers=[priced(fake)], time_scale=SCALE, budget=BOUNDLESS)
    fake.fail("cut", times=1)
    texts, error = caller.shown(hydra, "a question of some length", max_tokens=500)
    assert isinstance(error, StreamBroken)
    assert texts
    assert 0.0 < spent(hydra) < 500 * WRITTEN


def test_the_sum_of_a_day_outlives_the_process(serve, tmp_path):
    """Who starts anew does not start with a new budget."""
    fake = serve()
    config = fake.config(
        cache=False, time_scale=SCALE, max_wait=0.0, store=f"sqlite:///{tmp_path / 'hydra.db'}"
    )
    config["providers"] = [priced(fake, budget={"tokens_per_day": 100})]
    kinds = []
    for _ in range(3):
        with Hydra(config) as hydra:
            kinds.append([hydra.chat("hello", max_tokens=40).kind for _ in range(5)])
    assert kinds[0] == ["full"] * 5
    assert kinds[-1] == ["wait"] * 5
    assert 50 < fake.total.prompt_tokens + fake.total.completion_tokens <= 100


async def test_calls_that_are_cancelled_leave_no_booking_open(serve):
    """Whoever leaves is charged once: what is counted never exceeds what could have been spent."""
    fake = serve(latency=0.03)
    config = fake.config(cache=False, time_scale=SCALE, budget=BOUNDLESS, max_wait=30.0)
    config["providers"] = [priced(fake)]
    async with Hydra(config) as hydra:
        tasks = [
            asyncio.create_task(hydra.achat(f"question {n}", max_tokens=20)) for n in range(60)
        ]
        for n, task in enumerate(tasks):
            await asyncio.sleep(0.002)
            if n % 2:
                task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        fake.wait_idle()
        assert billed(fake) - 1e-6 <= spent(hydra) <= len(tasks) * (30 * READ + 20 * WRITTEN)
        assert sum(row["in_flight"] for row in hydra.health()["providers"]["fake"]["keys"]) == 0


def test_a_key_outside_its_hours_is_not_used(caller, pool, serve):
    """The other key serves; with no other, the wait is told and so is why."""
    fake = serve()
    far = (dt.datetime.now(dt.UTC).hour + 12) % 24
    closed = {"active_hours": f"{far:02}:00-{far:02}:30 UTC"}
    hydra = pool(fake, providers=[priced(fake, closed)])
    assert {caller.chat(hydra, "hello").key for _ in range(3)} == {"fake-2"}
    first, _ = hydra.health()["providers"]["fake"]["keys"]
    assert (first["state"], first["calls"]) == ("resting", 0)
    assert first["why"].startswith("outside of its active hours, again in ")
    alone = pool(fake, providers=[priced(fake, closed, closed)], max_wait=0.0)
    reply = caller.chat(alone, "hello")
    assert reply.kind == "wait"
    assert 10.9 * 3600 < reply.eta <= 12 * 3600


def test_a_request_beyond_any_day_is_refused_with_what_it_may_cost(caller, pool, serve):
    """No wait would help it, so none is offered."""
    fake = serve()
    row = priced(fake, budget={"usd_per_day": 50.0})
    hydra = pool(fake, providers=[row], time_scale=SCALE)
    with pytest.raises(RequestRejected, match="budget of provider fake: this may take 100"):
        caller.chat(hydra, "hello", max_tokens=1000)
    assert fake.log == ()


def test_what_the_large_model_costs_too_much_for_a_cheaper_one_answers(caller, pool, serve):
    """A request that no day would pay for at one model steps down to the next."""
    fake = serve(models=("large", "small"))
    models = [{**PRICED, "name": "large"}, {"name": "small", "input_usd": 0.0, "output_usd": 1e4}]
    row = priced(fake, models=models, budget={"usd_per_day": 50.0})
    hydra = pool(fake, providers=[row], time_scale=SCALE)
    reply = caller.chat(hydra, "hello", max_tokens=1000)
    assert (reply.kind, reply.model) == ("full", "small")
    assert caller.chat(hydra, "hello", max_tokens=10).model == "large"


@pytest.mark.parametrize("place", ["key", "provider", "pool"])
def test_dollars_of_an_unknown_price_are_not_counted_and_that_is_said(serve, place):
    """A notice names the budget, the model and the remedy; the cost stays unknown, not zero."""
    fake = serve()
    config = fake.config(cache=False)
    (row,) = config["providers"]
    holder = {"key": row["keys"][0], "provider": row, "pool": config}[place]
    holder["budget"] = {"usd_per_day": 1.0}
    with Hydra(config) as hydra:
        (notice,) = hydra.stats()["notices"]
        assert "'fake-model' at fake" in notice["text"]
        assert "input_usd and output_usd" in notice["text"]
        replies = [hydra.chat("hello") for _ in range(3)]
        assert {(reply.kind, reply.usage.cost_usd) for reply in replies} == {("full", None)}
        name = next(iter(hydra._gate.ask(lambda manager, _: list(manager.budgets))))
        assert spent(hydra, name) == 0.0


def test_what_a_reply_says_that_it_cost_is_counted(caller, pool, raw):
    """Without a price of ours too; once the budget is spent, so is the model's day."""
    choice = {"index": 0, "message": {"role": "assistant", "content": "ok"}}
    usage = {"prompt_tokens": 3, "completion_tokens": 4, "cost": 0.6}
    body = json.dumps({"choices": [{**choice, "finish_reason": "stop"}], "usage": usage}).encode()
    server = raw(lambda _: [b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n" + body])
    row = server.provider(budget={"usd_per_day": 1.0})
    hydra = pool(providers=[row], max_wait=0.0)
    kinds = [caller.chat(hydra, "hello").kind for _ in range(3)]
    assert kinds == ["full", "full", "wait"]
    assert spent(hydra, "budget/raw/usd_per_day") == pytest.approx(1.2)
    (told,) = hydra.explain("hello")
    assert "nobody knows the price" in told["why"]
