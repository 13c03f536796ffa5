"""Experiments over a real provider: who is assigned what, and what is scored."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from hydra_core import Hydra
from hydra_core.errors import (
    ConfigError,
    HydraClosed,
    InvalidArgument,
    PoolExhausted,
    RequestRejected,
)
from hydra_core.experiment import Experiment
from hydra_core.swarm.values import SwarmResult
from hydra_core.testing import FakeProvider
from hydra_core.trial import UNITS, Observation, Score, compared

STYLES = {"short": {"system": "Be brief."}, "long": {"model": "small", "temperature": 0.2}}


@pytest.fixture
def fake():
    """A provider of two models that remembers the bodies it got, through its latency."""
    bodies = []

    def latency(call):
        bodies.append(call.body)
        return 0.0

    models = ("large", "small")
    with FakeProvider(["key-canary-1", "key-canary-2"], models=models, latency=latency) as served:
        served.bodies = bodies
        yield served
        assert served.violations == ()


@pytest.fixture
def hydra(fake):
    """A pool that does not wait, and prices one of its two models."""
    config = fake.config(cache=True, store="memory", max_wait=0.0)
    config["providers"][0]["models"] = [
        {"name": "large", "input_usd": 1.0, "output_usd": 2.0},
        "small",
    ]
    with Hydra(config) as built:
        yield built


def unit_of(trial, variant, start=0):
    """The first unit from `start` on that gets this variant."""
    return next(f"u{n}" for n in range(start, start + 1000) if trial.assign(f"u{n}") == variant)


def part(trial, variant):
    """One variant's part of the report."""
    return next(found for found in trial.report().variants if found.name == variant)


def test_a_unit_keeps_its_variant_in_every_process(hydra):
    """The assignment is a hash of name and unit: another process, and another order, agree."""
    units = [f"user-{n}" for n in range(40)] + ["ñandú", ""]
    code = (
        "import sys; from hydra_core.experiment import Experiment as E; "
        "t = E(None, 'styles', ['b', 'a']); print([t.assign(u) for u in sys.argv[1:]])"
    )
    told = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-X", "utf8", "-c", code, *units],
        capture_output=True, text=True, check=True, encoding="utf-8",
    ).stdout  # fmt: skip
    trial = hydra.experiment("styles", ["a", "b"])
    assert told.strip() == str([trial.assign(unit) for unit in units])


def test_weights_say_how_often_a_variant_is_drawn(hydra):
    """One to three: a quarter of 4,000 units, within three standard deviations."""
    trial = hydra.experiment("w", ["a", "b"], weights={"a": 1, "b": 3})
    drawn = Counter(trial.assign(f"user-{n}") for n in range(4000))
    assert abs(drawn["a"] - 1000) < 3 * (4000 * 0.25 * 0.75) ** 0.5


def test_a_variant_added_later_moves_only_whom_it_takes(hydra):
    """A third of the units go to the third variant, and nobody else to another than before."""
    before, after = hydra.experiment("w", ["b", "c"]), Experiment(hydra, "w", ["a", "b", "c"])
    drawn = [(before.assign(f"u{n}"), after.assign(f"u{n}")) for n in range(3000)]
    moved = [now for then, now in drawn if now != then]
    assert set(moved) == {"a"}
    assert abs(len(moved) - 1000) < 3 * (3000 * 2 / 9) ** 0.5


def test_two_experiments_draw_independently(hydra):
    """Units of one variant in one experiment are spread over those of another."""
    one, other = hydra.experiment("one", ["a", "b"]), hydra.experiment("two", ["a", "b"])
    pairs = Counter((one.assign(f"u{n}"), other.assign(f"u{n}")) for n in range(4000))
    assert all(900 < count < 1100 for count in pairs.values())


def test_a_call_goes_out_as_its_variant_has_it(hydra, fake):
    """The system prompt is put in front; what a variant sets beats the caller's argument."""
    trial = hydra.experiment("styles", STYLES)
    short, long = unit_of(trial, "short"), unit_of(trial, "long")
    reply = trial.chat("hello", unit=short, temperature=1.0)
    assert (reply.text, reply.variant, reply.unit) == ("You said: hello", "short", short)
    assert trial.chat("hello", unit=long, temperature=1.0).model == "small"
    first, second = fake.bodies
    assert [m["content"] for m in first["messages"]] == ["Be brief.", "hello"]
    assert (first["model"], first["temperature"]) == ("large", 1.0)
    assert (second["model"], second["temperature"]) == ("small", 0.2)
    assert [m["content"] for m in second["messages"]] == ["hello"]


def test_a_template_takes_the_callers_text(hydra, fake):
    """Every `{}` is filled, other braces stay; a caller's own system prompt is kept."""
    template = {"prompt": 'Answer {"a": 1} to {}', "system": "Be brief."}
    trial = hydra.experiment("t", {"a": template, "b": template})
    messages = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "this {}"}]
    trial.chat(messages, unit="u")
    (body,) = fake.bodies
    assert [m["content"] for m in body["messages"]] == [
        "Be brief.\n\nBe kind.",
        'Answer {"a": 1} to this {}',
    ]
    assert messages[1]["content"] == "this {}"


def test_every_door_is_scored_alike(hydra):
    """chat, achat, stream and astream each add one reply with its latency and cost."""

    async def on_a_loop():
        await trial.achat("hello", unit=unit)
        return [chunk async for chunk in trial.astream("hello", unit=unit)]

    trial = hydra.experiment("styles", STYLES)
    unit = unit_of(trial, "short")
    reply = trial.chat("hello", unit=unit)
    assert "".join(chunk.text for chunk in trial.stream("hello", unit=unit)) == reply.text
    assert "".join(chunk.text for chunk in asyncio.run(on_a_loop())) == reply.text
    found = part(trial, "short")
    assert (found.n, found.units, found.latency.n) == (4, 1, 4)
    assert found.cost_usd.mean == pytest.approx(reply.usage.cost_usd)
    assert 0 < found.latency_p50 <= found.latency.mean * 4


def test_a_stream_left_early_is_not_scored(hydra):
    """Half an answer says nothing of the time that a whole one takes."""
    trial = hydra.experiment("styles", STYLES)
    stream = trial.stream("hello", unit="u")
    assert next(stream).text
    stream.close()
    assert [found.n for found in trial.report().variants] == [0, 0]


def test_an_unknown_price_makes_the_cost_unknown(hydra):
    """A variant's cost is None when any of its replies has no price: never a false zero."""
    trial = hydra.experiment("styles", STYLES)
    for number in range(20):
        trial.chat("hello", unit=f"u{number}")
    assert part(trial, "long").cost_usd is None
    assert part(trial, "short").cost_usd.mean > 0
    assert "unknown" in str(trial.report())


def test_waits_and_cached_replies_are_counted_not_scored(hydra, fake):
    """What no model wrote now is no variant's latency, and feedback on it no quality."""
    trial = hydra.experiment("styles", STYLES)
    unit = unit_of(trial, "short")
    trial.chat("hello", unit=unit)
    fake.saturate(seconds=100)
    cached, wait = trial.chat("hello", unit=unit), trial.chat("another", unit=unit)
    assert (cached.kind, wait.kind) == ("cached", "wait")
    trial.feedback(cached, 0.0)
    trial.feedback(wait, 0.0)
    found = part(trial, "short")
    assert (found.n, found.cached, found.waits, found.quality) == (1, 1, 1, None)


def test_a_call_that_raises_counts_as_failed(hydra, fake):
    """The error reaches the caller, and the variant's report says that it happened."""
    trial = hydra.experiment("styles", STYLES)
    unit = unit_of(trial, "long")
    fake.saturate(seconds=100)
    with pytest.raises(PoolExhausted):
        trial.chat("hello", unit=unit, on_exhausted="raise")
    with pytest.raises(PoolExhausted):
        list(trial.stream("hello", unit=unit, on_exhausted="raise"))
    assert (part(trial, "long").failed, part(trial, "long").n) == (2, 0)


def test_feedback_reaches_its_variant_and_its_key(hydra):
    """A quality is the variant's, and the key's score learns it; said again it is corrected."""
    trial = hydra.experiment("styles", STYLES)
    reply = trial.chat("hello", unit="u")
    trial.feedback(reply, 0.2)
    trial.feedback(reply, 0.6)
    trial.feedback("u", 1.0)
    found = part(trial, reply.variant)
    assert (found.quality.n, found.quality.mean) == (2, pytest.approx(0.8))
    asked = hydra._gate.ask(lambda manager, _: manager.routes.find(model=reply.model).deployments)
    taught = {d.key: d.score.quality for d in asked}
    assert taught[reply.key] != taught[next(key for key in taught if key != reply.key)]


def test_feedback_that_cannot_be_placed_is_refused(hydra):
    """A quality outside 0..1, or another experiment's reply, is a ValueError."""
    trial = hydra.experiment("styles", STYLES)
    reply = hydra.experiment("others", ["a", "b"]).chat("hello", unit="u")
    for wrong, quality in ((reply, 0.5), (hydra.chat("hello"), 0.5), ("u", 1.1), ("u", -0.1)):
        with pytest.raises(ValueError):
            trial.feedback(wrong, quality)


def test_a_reply_got_elsewhere_can_be_scored(hydra):
    """With names alone, the caller makes the call that `assign` names and hands in its reply."""
    trial = hydra.experiment("retrievers", ["bm25", "vectors"])
    reply = trial.observe(hydra.chat("hello"), unit="u")
    trial.feedback(reply, 1.0)
    found = part(trial, trial.assign("u"))
    assert (found.n, found.quality.n, reply.text) == (1, 1, "You said: hello")


def test_what_is_no_reply_is_named(hydra):
    """A swarm's result, a text or nothing at all is refused as an argument, and scores nothing."""
    trial = hydra.experiment("retrievers", ["bm25", "vectors"])
    swarm = SwarmResult("text", "full", 1.0)
    for wrong in (swarm, "text", None):
        with pytest.raises(InvalidArgument, match="Reply"):
            trial.observe(wrong, unit="u")
    for judge in (trial.feedback, hydra.feedback):
        with pytest.raises(InvalidArgument):
            judge(swarm, 0.5)
    assert part(trial, trial.assign("u")).n == 0


def test_another_models_answer_is_not_the_variants(hydra):
    """A reply by a model that the variant does not name is counted apart."""
    trial = hydra.experiment("models", {"a": {"model": "fake/large"}, "b": {"model": "small"}})
    unit = unit_of(trial, "b")
    trial.observe(hydra.chat("hello", model="large"), unit=unit)
    trial.observe(hydra.chat("hello", model="small"), unit=unit)
    trial.observe(hydra.chat("hello", model="large"), unit=unit_of(trial, "a"))
    assert (part(trial, "b").n, part(trial, "b").other_models) == (1, 1)
    assert (part(trial, "a").n, part(trial, "a").other_models) == (1, 0)


def test_a_name_is_one_experiment(hydra):
    """Asked for again it goes on counting; with other variants or weights it is refused."""
    trial = hydra.experiment("styles", STYLES)
    trial.chat("hello", unit="u")
    assert hydra.experiment("styles", STYLES) is trial
    with pytest.raises(ConfigError, match="already compares other variants"):
        hydra.experiment("styles", ["short", "long"])
    with pytest.raises(ConfigError, match="already compares"):
        hydra.experiment("styles", STYLES, weights={"short": 1, "long": 2})


@pytest.mark.parametrize(
    ("variants", "weights", "says"),
    [
        (["alone"], None, "two variants"),
        ({"a": {}, "b": "x"}, None, "'b'.*dict"),
        ({"a": {}, "b": {"messages": "x"}}, None, "'messages' comes with each call"),
        ({"a": {}, "b": {"system": 5}}, None, "system is a text"),
        ({"a": {}, "b": {"prompt": "no gap"}}, None, "needs a {}"),
        (["a", "b"], {"a": 1}, "exactly its variants"),
        (["a", "b"], {"a": 1, "b": 0}, "above 0"),
        (["a", "b"], {"a": 1, "b": float("nan")}, "above 0"),
        (["a", "b"], {"a": 1, "b": "many"}, "above 0"),
        (["a", "b"], [1, 2], "exactly its variants"),
        ("ab", None, "list of names"),
        (None, None, "list of names"),
        (["a", 5], None, "names are texts"),
        ({"": {}, "b": {}}, None, "names are texts"),
    ],
)
def test_what_cannot_be_compared_is_refused_at_once(hydra, variants, weights, says):
    """A ConfigError names the experiment, the variant and what is wrong."""
    with pytest.raises(ConfigError, match=says):
        hydra.experiment("wrong", variants, weights=weights)


def test_an_interval_keeps_to_what_can_be():
    """Perfect replies are no better than perfect, and none takes less than no time."""
    score = Score()
    for unit in range(10):
        score.replied(f"u{unit}", Observation("full", 10.0 if unit == 0 else 0.01, 0.0, True))
        score.judged(f"u{unit}", 1.0)
    (found, _) = compared("e", {"a": score.copy(), "b": Score().copy()}).variants
    assert (found.quality.mean, found.quality.high) == (1.0, 1.0)
    assert found.latency.low == 0.0 < found.latency.mean < found.latency.high


def test_a_closed_hydra_begins_no_experiment(hydra):
    """As every other method."""
    hydra.close()
    with pytest.raises(HydraClosed):
        hydra.experiment("styles", STYLES)


def test_many_threads_lose_no_observation(hydra):
    """Sixty-four calls from eight threads are sixty-four replies in the report."""
    trial = hydra.experiment("styles", STYLES)

    def ask(number):
        trial.feedback(trial.chat("hello", unit=f"u{number}", max_wait=30.0), 0.5)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(ask, range(64)))
    found = trial.report().variants
    assert sum(v.n for v in found) == sum(v.quality.n for v in found) == 64


def scored(qualities, latency=1.0):
    """A variant's score with one unit for each quality."""
    score = Score()
    for number, quality in enumerate(qualities):
        score.replied(f"u{number}", Observation("full", latency, 0.001, by_variant=True))
        score.judged(f"u{number}", quality)
    return score.copy()


def test_a_report_says_which_differences_are_shown():
    """Clearly better is shown, alike is not, and too few units are not enough to say."""
    good, poor = [0.9, 1.0] * 20, [0.2, 0.4] * 20
    report = compared("x", {"poor": scored(poor), "good": scored(good), "same": scored(poor)})
    shown = {(d.variant, d.metric): d.shown for d in report.differences}
    assert (shown["good", "quality"], shown["same", "quality"]) == (True, False)
    assert "good against poor, quality: +0.65" in str(report)
    few = compared("x", {"poor": scored(poor[:9]), "good": scored(good)})
    assert few.differences[0].shown is None
    assert "not enough" in str(few)
    assert few.variants[0].quality.mean > 0


def test_more_variants_ask_for_more_evidence():
    """The interval of a difference widens with the number of variants compared."""
    one, other = scored([0.4, 0.6] * 20), scored([0.5, 0.7] * 20)
    two = compared("x", {"a": one, "b": other}).differences[0].estimate
    four = compared("x", {"a": one, "b": other, "c": one, "d": one}).differences[0].estimate
    assert four.high - four.low > 1.1 * (two.high - two.low)


def test_an_empty_experiment_has_a_report(hydra):
    """Before the first call there is a table too, and nothing is claimed."""
    report = hydra.experiment("styles", STYLES).report()
    assert [v.latency for v in report.variants] == [None, None]
    assert {d.shown for d in report.differences} == {None}
    assert str(report).count("unknown") == 9


def test_memory_is_bounded():
    """A variant remembers the latest units only, however many come."""
    score = Score()
    for number in range(UNITS + 5):
        score.judged(f"u{number}", 1.0)
    assert len(score.copy().seen["quality"]) == UNITS


@pytest.mark.parametrize("messages", [None, 5, ["hello"], [["hello"]]])
def test_messages_that_are_none_are_rejected_as_by_chat(hydra, messages):
    """A system prompt and a template meet what is no conversation before the pool does."""
    styles = {"head": {"system": "Be brief."}, "frame": {"prompt": "Say {}"}}
    trial = hydra.experiment("forms", styles)
    for unit in map(str, range(8)):
        with pytest.raises(RequestRejected, match="messages must be"):
            trial.chat(messages, unit=unit)


def test_what_is_no_quality_and_no_name_is_told(hydra):
    """Wrong types are told as wrong values are."""
    trial = hydra.experiment("forms", ["one", "two"])
    for quality in ("good", None):
        with pytest.raises(ValueError, match="quality is a number"):
            trial.feedback("unit", quality)
    with pytest.raises(ConfigError, match="names are texts"):
        hydra.experiment("lists", [["one"], ["two"]])
