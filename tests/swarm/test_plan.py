"""Plans: the size found by search, honest estimates, and what binds."""

from dataclasses import replace

import pytest

from hydra_core.engine.capacity import GroupCapacity, WindowCapacity
from hydra_core.swarm import bm25
from hydra_core.swarm.document import Document
from hydra_core.swarm.plan import plan
from hydra_core.swarm.split import split

SENTENCE = "The keeper of the light wrote down what he saw and what he did not. "
BOOK = Document.of("".join(f"CHAPTER {n}\n\n{SENTENCE * 150}\n\n" for n in range(1, 41)))


def group(name, *, rpm=30.0, tpm=250_000.0, lanes=4, daily=None, price=None, latency=2.0):
    windows = [
        WindowCapacity("requests", 60.0, rpm, 0.0, "sliding"),
        WindowCapacity("tokens", 60.0, tpm, 0.0, "sliding"),
    ]
    if daily:
        windows.append(WindowCapacity("requests", 86_400.0, daily, 0.0, "fixed"))
    return GroupCapacity(
        name, "provider", "model", (f"{name}-1",), tuple(windows), lanes, 0, 0.0,
        32_768, 4_096, latency, price, price,
    )  # fmt: skip


def test_a_plan_is_what_split_gives():
    """The planned shards are those of the planned budget, all of them assigned."""
    planned = plan([BOOK], [group("a"), group("b")])
    assert planned.shards == len(split(BOOK, budget=planned.shard_chars))
    assert sum(row.calls for row in planned.groups) == planned.shards
    assert planned.tokens > len(BOOK) / 4
    assert 0 < planned.seconds_p50 <= planned.seconds_p90
    assert planned.coverage_at_deadline == 1.0


def test_the_tightest_group_sets_no_size():
    """A key of 6,000 tokens a minute beside wide ones does not shrink the shards."""
    wide = plan([BOOK], [group("a"), group("b")])
    mixed = plan([BOOK], [group("a"), group("b"), group("tight", tpm=1_500.0)])
    assert mixed.shard_chars == wide.shard_chars
    assert mixed.seconds_p50 == pytest.approx(wide.seconds_p50, rel=0.25)
    assert next(row.calls for row in mixed.groups if row.name == "a") > 0


@pytest.mark.parametrize(
    ("pool", "binds"),
    [
        ([group("a", rpm=2.0, tpm=1e9, lanes=None)], "requests per minute"),
        ([group("a", rpm=1e6, tpm=20_000.0, lanes=None)], "tokens per minute"),
        ([group("a", rpm=1e6, tpm=1e9, lanes=1)], "concurrency"),
        ([group("a", rpm=1e6, tpm=1e9, lanes=None, daily=3.0)], "daily limit"),
        ([group("a", rpm=1e6, tpm=1e9, lanes=None)], "longest shard"),
        ([group("a", tpm=100.0)], "no capacity"),
        ([], "no capacity"),
    ],
)
def test_the_plan_names_what_binds(pool, binds):
    """The limit without which it would be faster is named."""
    planned = plan([BOOK], pool)
    assert planned.bound_by == binds
    assert (planned.seconds_p50 is None) == (binds == "no capacity")


def test_a_cost_is_a_range_or_unknown_but_never_zero():
    """One group without a price makes the cost unknown."""
    priced = plan([BOOK], [group("a", price=0.5)])
    low, high = priced.cost_range
    assert 0 < low < priced.cost_usd < high
    unknown = plan([BOOK], [group("a", price=0.5), group("b")])
    assert unknown.cost_usd is None
    assert unknown.cost_range is None
    assert "unknown" in str(unknown)


def test_a_deadline_is_answered_with_the_share_that_fits():
    """The share read grows with the time given; no pool at all reads nothing."""
    pool = [group("a", tpm=20_000.0)]
    shares = [plan([BOOK], pool, deadline=d).coverage_at_deadline for d in (1.0, 70.0, 9_000.0)]
    assert shares[0] == 0.0
    assert 0.0 < shares[1] < 1.0
    assert shares[2] == 1.0
    assert plan([BOOK], [], deadline=60.0).coverage_at_deadline == 0.0


def test_the_same_seed_gives_the_same_plan():
    """Simulated times depend on the seed alone."""
    pool = [group("a"), group("b", tpm=30_000.0)]
    assert plan([BOOK], pool, rng_seed=3) == plan([BOOK], pool, rng_seed=3)
    assert plan([BOOK], pool, rng_seed=3) != plan([BOOK], pool, rng_seed=4)


def test_a_cooldown_and_used_quota_delay_the_plan():
    """What is resting or spent now is not planned for now."""
    fresh, resting = group("a"), replace(group("a"), available_in=50.0)
    later = plan([BOOK], [resting]).seconds_p50 - plan([BOOK], [fresh]).seconds_p50
    assert later == pytest.approx(50.0, abs=1.0)


def test_a_plan_prints_as_a_small_table():
    """Its text has one line per fact and per group, and no mark-up."""
    lines = str(plan([BOOK], [group("wide"), group("other")], deadline=30.0)).splitlines()
    assert lines[0].startswith("shards")
    assert any(line.startswith("bound by") for line in lines)
    assert [line.split()[0] for line in lines[-2:]] == ["wide", "other"]
    assert max(map(len, lines)) <= 80


def test_nothing_to_plan_is_an_error():
    """A plan needs a text."""
    with pytest.raises(ValueError, match="no text"):
        plan([], [group("a")])


@pytest.mark.parametrize(
    ("question", "best"),
    [
        ("Who buried the treasures?", 1),
        ("¿Dónde se escondieron los tesoros?", 2),
        ("What did the lighthouse keeper write?", 0),
    ],
)
def test_shards_are_ranked_for_the_question(question, best):
    """Stems match across endings and accents, and stop words do not count."""
    texts = [
        "The keeper of the lighthouse wrote his log every night of the winter.",
        "They burned the map; the treasure was buried by the mate and the cook.",
        "El capitán escondió el tesoro en una cueva y no se lo dijo a nadie.",
    ]
    assert bm25.rank(question, texts)[0] == best
    assert bm25.rank("the of and", texts) == [0, 1, 2]
    assert bm25.rank(question, []) == []
