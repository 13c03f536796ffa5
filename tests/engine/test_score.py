"""What is learned of a deployment, and how it is told."""

from __future__ import annotations

import pytest

from hydra_core.engine.model_facts import ModelFacts
from hydra_core.engine.score import Score, ScoreWeights
from hydra_core.engine.size import Size


def test_weights_are_normal():
    """Any proportions sum to one."""
    weights = ScoreWeights.normal(4, 3, 2, 1)
    assert weights == ScoreWeights(0.4, 0.3, 0.2, 0.1)


def test_a_new_deployment_starts_well():
    """Who was never tried is worth trying."""
    assert Score(ScoreWeights()).value(0.0) == pytest.approx(1.0)


def test_each_part_moves_the_score_the_right_way():
    """A success at once keeps it, slowness, failures and bad reviews lower it."""
    slow, failing, poor = (Score(ScoreWeights()) for _ in range(3))
    slow.passed(2.0)
    failing.failed(0.0)
    poor.judged(0.0)
    assert slow.value(0.0) == pytest.approx(1.0 - 0.3 / 2)
    assert failing.value(0.0) == pytest.approx(1.0 - 0.4 * 0.2 - 0.1)
    assert poor.value(0.0) == pytest.approx(1.0 - 0.2 * 0.2)


def test_a_fault_is_forgotten_by_the_configured_time():
    """At a twentieth of the time scale a score recovers as far in 15 s as else in 300 s."""
    usual, hurried = Score(ScoreWeights()), Score(ScoreWeights(), 0.05)
    for score in (usual, hurried):
        score.failed(0.0)
    assert hurried.value(15.0) == pytest.approx(usual.value(300.0))
    assert hurried.value(15.0) > usual.value(15.0)


def test_the_newest_outcomes_weigh_most():
    """Latency and reliability follow what happens now."""
    score = Score(ScoreWeights())
    for _ in range(20):
        score.failed(0.0)
    assert score.reliability < 0.02
    for _ in range(20):
        score.passed(3.0)
    assert score.reliability > 0.98
    assert score.latency == pytest.approx(3.0)


def test_a_fault_fades():
    """Recency comes back with time alone."""
    score = Score(ScoreWeights())
    score.failed(100.0)
    values = [score.value(now) for now in (100.0, 200.0, 400.0, 5000.0)]
    assert values == sorted(values)
    assert values[-1] == pytest.approx(1.0 - 0.4 * 0.2, abs=1e-6)


def test_opinions_that_hardly_differ_have_one_grade():
    """A fiftieth is the smallest difference that a choice goes by, faded faults included."""
    quick, quicker, worse = (Score(ScoreWeights()) for _ in range(3))
    quick.passed(0.52)
    quicker.passed(0.5)
    worse.passed(0.5)
    worse.failed(0.0)
    assert quick.value(1.0) != quicker.value(1.0)
    assert quick.grade(1.0) == quicker.grade(1.0) > worse.grade(1.0) > 0
    worse.absolve(quicker.opinion())
    assert worse.grade(1.0) == quicker.grade(1.0)


@pytest.mark.parametrize(
    ("prices", "cost"),
    [
        ((1.0, 2.0), 2e-3),
        ((0.0, 0.0), 0.0),
        ((None, 2.0), None),
        ((1.0, None), None),
        ((None, None), None),
    ],
)
def test_a_cost_is_known_or_none(prices, cost):
    """An unknown price is never a false zero; a free model's cost is a true one."""
    model = ModelFacts("acme", "m", input_usd=prices[0], output_usd=prices[1])
    assert model.cost(1000, 500) == cost


def test_replies_teach_the_tokens_of_a_character():
    """The estimate follows the reported counts, and stays on the safe side of them."""
    model, size = ModelFacts("acme", "m"), Size(chars=4000, messages=1, max_tokens=100)
    before = model.prompt_tokens(size)
    for _ in range(40):
        model.learn(size, prompt_tokens=2004, completion_tokens=400)
    assert model.tokens_per_char == pytest.approx(0.5, abs=0.01)
    assert before < 2000 < model.prompt_tokens(size)
    assert model.usual_output == pytest.approx(600.0, rel=0.01)


@pytest.mark.parametrize(("chars", "prompt", "completion"), [(100, 900, 0), (4000, 0, 0)])
def test_what_teaches_nothing_is_not_learned(chars, prompt, completion):
    """Tiny prompts and absent counts leave the estimate as it is."""
    model = ModelFacts("acme", "m")
    model.learn(Size(chars, 1, None), prompt, completion)
    assert (model.tokens_per_char, model.usual_output) == (0.25, 256.0)


def test_a_booking_holds_the_prompt_and_its_answers_room():
    """max_tokens if the caller gave it, else the usual output; a known count is taken as it is."""
    model = ModelFacts("acme", "m")
    assert model.tokens(Size(1000, 1, 50)) == pytest.approx(280.0 + 4.0 + 50.0)
    assert model.tokens(Size(1000, 1, None)) == pytest.approx(280.0 + 4.0 + 256.0)
    assert model.tokens(Size(1000, 1, 50, known_tokens=77.0)) == 77.0


@pytest.mark.parametrize(
    ("small", "large", "same"), [(130.0, 500.0, True), (500.0, 600.0, False), (1e3, 1e4, False)]
)
def test_sizes_within_a_factor_of_four_share_a_class(small, large, same):
    """A roster serves one class, so the classes must be few and coarse."""
    classes = [Size(0, 1, None, known_tokens=tokens).size_class for tokens in (small, large)]
    assert (classes[0] == classes[1]) is same
    assert Size(1000, 1, None).size_class == Size(0, 1, None, known_tokens=506.0).size_class
