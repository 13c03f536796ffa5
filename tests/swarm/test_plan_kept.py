"""What a plan promises to have read by a deadline is what a swarm then reads, or less."""

from __future__ import annotations

import random
from dataclasses import replace
from heapq import heappop, heappush
from statistics import mean

import pytest

from hydra_core import Hydra
from hydra_core.engine.capacity import GroupCapacity, WindowCapacity
from hydra_core.errors import PoolExhausted
from hydra_core.messages import Attempt, Fault, Reply, Usage
from hydra_core.swarm.account import Account
from hydra_core.swarm.coverage import CoverageLedger
from hydra_core.swarm.document import Document
from hydra_core.swarm.job import SwarmJob, reading_plan
from hydra_core.swarm.map import Exhausted, Failed, Read
from hydra_core.swarm.pace import PREPARING, outstanding
from hydra_core.swarm.plan import plan
from hydra_core.swarm.reading import MAP_TOKENS, Close, Start, SwarmRun
from hydra_core.swarm.shortage import Allowance
from hydra_core.swarm.split import split
from hydra_core.testing import FakeKey, FakeLimits, FakeProvider
from hydra_core.testing.extractive import ExtractiveModel
from hydra_core.testing.ships_log import ships_log

SENTENCE = "The keeper of the light wrote down what he saw and what he did not. "
BOOK = Document.of("".join(f"CHAPTER {n}\n\n{SENTENCE * 150}\n\n" for n in range(1, 41)))
LOG = ships_log(pages=60)
LANES, LATENCY = 3, 2.0
POOL = [
    GroupCapacity("g", "p", "m", ("k",), (), LANES, 0, 0.0, 4_000, None, LATENCY, None, None)
]


def share_read(deadline, shard_chars, rng):
    """The share that a swarm of noisy calls on a pool of three lanes reads, in virtual time."""
    ledger = CoverageLedger([BOOK])
    run = SwarmRun(
        "Why?", {BOOK.id: BOOK}, split(BOOK, budget=shard_chars), ledger=ledger,
        account=Account((BOOK.id,), ledger), width=outstanding(POOL), deadline=deadline,
    )  # fmt: skip
    now, lanes, ends = 0.0, [0.0] * LANES, []
    while not isinstance(step := run.step(now), Close):
        for task in step.tasks if isinstance(step, Start) else ():
            seconds = LATENCY * rng.lognormvariate(-0.125, 0.5)
            end = max(now, heappop(lanes)) + seconds
            heappush(lanes, end)
            heappush(ends, (min(end, now + task.timeout), end, task.shard.index, seconds, task))
        if not isinstance(step, Start):
            before, (now, end, _, seconds, task) = now, heappop(ends)
            if now > before + step.seconds:
                break  # it closes with these calls under way
            attempt = Attempt("p", "m", "k", "ok", latency=seconds)
            reply = Reply("", {}, attempts=(attempt,), latency=seconds) if now == end else None
            read = Read((), relevant=False) if reply else Failed(Fault.TIMEOUT)
            run.report(task, read, reply, now)
    return ledger.coverage


@pytest.mark.parametrize("deadline", [6.0, 9.0, 14.0, 30.0])
def test_no_more_is_promised_than_the_map_reads_before_it_closes(deadline):
    """It closes early, so that the answer can still be written: the plan knows by how much."""
    planned = plan([BOOK], POOL, deadline=deadline)
    rng = random.Random(1)
    read = mean(share_read(deadline, planned.shard_chars, rng) for _ in range(20))
    assert 0.6 * read <= planned.coverage_at_deadline <= 1.05 * read


def test_a_plan_sends_no_more_at_once_than_a_swarm_keeps_outstanding():
    """Where nobody stated how many calls a key takes at once, both send the same few."""
    group = replace(POOL[0], concurrency=None, context_window=2_000)
    planned = plan([BOOK], [group])
    rounds = planned.shards / outstanding([group])
    assert rounds > 5
    assert planned.seconds_p50 > rounds * LATENCY


def test_a_plan_counts_the_time_that_the_text_takes_before_the_first_call():
    """Loading and cutting a long text takes longer than calls of a millisecond."""
    planned = plan([BOOK], [replace(POOL[0], latency=0.001)])
    assert planned.seconds_p50 > PREPARING * len(BOOK) > 0.1


def test_a_deadline_is_used_to_its_end_where_calls_take_less_than_was_thought():
    """The quota is counted by estimates before the first call, and by what calls took after it."""
    limits = FakeLimits(rpm=5, tpm=8_000, concurrency=2, window="bucket")
    key = FakeKey("key-1", limits=limits)
    with FakeProvider([key], answer=ExtractiveModel(), time_scale=0.02) as fake:
        config = fake.config(cache=False)
        config["providers"][0]["models"] = [{"name": "fake-model", "context_window": 4_000}]
        with Hydra(config) as hydra:
            result = hydra.swarm(LOG.questions[0].text, LOG.text, deadline=4.0)
    # 8,000 tokens a scaled minute of 1.2 s are 8,000 + 6,700 a second; a call takes about 2,200.
    assert result.kind == "partial"
    assert sum(report.state == "read" for report in result.shards) >= 7
    assert result.text


def test_calls_that_found_no_capacity_do_not_make_the_others_look_cheap():
    """What a call takes is the mean of those that were answered; two calls' worth is kept here."""
    window = WindowCapacity("tokens", 60.0, 24_000, 0, "sliding", ())
    pool = [replace(POOL[0], windows=(window,), context_window=2_000)]
    job = SwarmJob.prepare(
        "Why?", BOOK, pool, deadline=30.0, resume=None, language="en", patience=30.0
    )
    answered, *others = job.reading.step(0.0).tasks
    assert others
    reply = Reply("", {}, usage=Usage(1_000, 200), latency=1.0)
    job.reading.report(answered, Read((), relevant=False), reply, 1.0)
    for task in others:
        job.reading.report(task, Exhausted(PoolExhausted("full", eta=1.0)), None, 1.0)
    job.recount(pool, 30, 1.0)
    assert job.reading._allowance.calls == 24_000 / 1_200 - 2
    spent = replace(window, used=24_000, frees=((40.0, 24_000),))
    job.recount([replace(pool[0], windows=(spent,))], 30, 1.0)
    assert job.reading._allowance == Allowance(0, 41.0)


def test_no_more_is_promised_than_the_quota_lets_a_swarm_read():
    """The provider counts the calls: one of them is kept for the answer, and is not promised."""
    keys = [FakeKey(f"key-{n}", limits=FakeLimits(rpm=5)) for n in range(3)]
    with FakeProvider(keys, answer=ExtractiveModel()) as fake:
        config = fake.config(cache=False)
        config["providers"][0]["models"] = [{"name": "fake-model", "context_window": 4_000}]
        with Hydra(config) as hydra:
            hydra.chat("hi")  # from now on the model's latency is known
            question = LOG.questions[0].text
            planned = hydra.plan(LOG.text, question, deadline=20.0)
            result = hydra.swarm(question, LOG.text, deadline=20.0)
    maps = sum(call.status == 200 for call in fake.log) - 2
    assert planned.shards > maps == 13
    assert 0.75 * result.coverage <= planned.coverage_at_deadline <= 1.02 * result.coverage


@pytest.mark.parametrize("ratio", [0.25, 0.28, 1.1])
def test_a_shard_is_planned_as_large_as_the_engine_books_it(ratio):
    """What is planned to fit a limit is let go at once: nobody counts more characters a token."""
    limit = WindowCapacity("tokens", 60.0, 20_000, 0.0, "sliding")
    group = replace(POOL[0], windows=(limit,), context_window=None, tokens_per_char=ratio)
    planned = reading_plan([BOOK], [group], question="Why?", deadline=None)
    assert planned.shard_chars * ratio + MAP_TOKENS < limit.limit
    assert planned.tokens > len(BOOK) * ratio


def test_planners_hear_what_a_character_is_booked_as():
    """The ratio that replies have taught, and its deviation."""
    with FakeProvider(["k"]) as fake, Hydra(fake.config(store="memory", cache=False)) as hydra:
        (fresh,) = hydra.capacity()
        hydra.chat("The sea was calm. " * 100)
        (taught,) = hydra.capacity()
    assert taught.tokens_per_char < fresh.tokens_per_char == pytest.approx(0.28)
