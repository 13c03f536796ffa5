"""Intervals of means and differences, against printed tables and against seeded draws."""

from __future__ import annotations

import math
import random
from statistics import fmean, stdev

import pytest

from hydra_core.intervals import difference, interval, percentile, spread, t_quantile


@pytest.mark.parametrize(
    ("freedom", "printed"), [(9, 2.262), (12, 2.179), (29, 2.045), (120, 1.980), (math.inf, 1.960)]
)
def test_students_quantile_is_the_printed_one(freedom, printed):
    """The 97.5 % points of Student's table, to its three decimals."""
    assert round(t_quantile(0.95, freedom), 3) == printed


def test_units_seen_once_give_the_usual_interval():
    """Without repeats or skew the interval is the mean and t times s over the root of n."""
    values = [0.3, 1.7, 2.2, 0.9, 1.1, 2.7, 1.3, 0.8, 2.1, 1.9]
    found = interval(spread([(1, value) for value in values]))
    margin = 2.262 * stdev(values) / math.sqrt(10)
    assert found.mean == pytest.approx(fmean(values))
    assert (found.low, found.high) == pytest.approx(
        (found.mean - margin, found.mean + margin), abs=1e-3
    )


def test_a_mean_weighs_every_observation_alike():
    """A unit seen three times counts three times in the mean, and once among the units."""
    found = spread([(3, 3.0), (1, 0.0), (0, 0.0)])
    assert (found.mean, found.n, found.units) == (0.75, 4, 2)
    assert spread([(0, 0.0)]) is None


def covered(rng, draw, truth, *, shares):
    """Whether the interval of one seeded experiment holds the truth."""
    found = interval(spread(draw(rng), shares=shares))
    return found.low <= truth <= found.high


def users(rng):
    """Forty users whose own level differs, with one to nine answers each; true mean 5."""
    drawn = []
    for _ in range(40):
        level, many = rng.gauss(5, 1), rng.randint(1, 9)
        drawn.append((many, sum(rng.gauss(level, 0.3) for _ in range(many))))
    return drawn


def verdicts(rng):
    """Twelve answers of which nine in ten are right."""
    return [(1, float(rng.random() < 0.9)) for _ in range(12)]


def latencies(rng):
    """Twelve calls of which a few are slow; true mean 1.2 s."""
    return [(1, 0.2 + rng.expovariate(1.0)) for _ in range(12)]


@pytest.mark.parametrize(
    ("draw", "truth", "shares"),
    [(users, 5.0, False), (verdicts, 0.9, True), (latencies, 1.2, False)],
)
def test_intervals_hold_the_truth_as_often_as_they_say(draw, truth, shares):
    """At least 92 of 100 seeded experiments hold it, with repeated users and all-right runs too."""
    rng = random.Random(20)
    held = sum(covered(rng, draw, truth, shares=shares) for _ in range(1000))
    assert held >= 920


def test_the_interval_of_skewed_values_is_longer_on_the_long_side():
    """What was seen of a few slow calls leaves room for slower ones, and less for faster."""
    found = interval(spread([(1, value) for value in (1.0,) * 9 + (4.0,) * 3]))
    assert found.high - found.mean > 1.5 * (found.mean - found.low) > 0.0
    mirrored = interval(spread([(1, -value) for value in (1.0,) * 9 + (4.0,) * 3]))
    assert (mirrored.low, mirrored.high) == pytest.approx((-found.high, -found.low))
    same = interval(spread([(1, 0.1)] * 12))
    assert (same.low, same.high) == pytest.approx((0.1, 0.1))


def test_one_user_asking_often_is_one_witness():
    """The same answers look surer as single users than as the few users they came from."""
    rng = random.Random(3)
    grouped = users(rng)
    alone = [(1, total / many) for many, total in grouped for _ in range(many)]
    wide, narrow = interval(spread(grouped)), interval(spread(alone))
    assert wide.mean == pytest.approx(narrow.mean)
    assert wide.high - wide.low > 1.5 * (narrow.high - narrow.low)


def test_ten_times_the_same_quality_is_no_certainty():
    """Ten perfect answers do not prove that the eleventh will be one."""
    found = interval(spread([(1, 1.0)] * 10, shares=True))
    even = interval(few := spread([(1, 1.0)] * 9 + [(1, 0.0)] * 4, shares=True))
    assert even.high - few.centre == pytest.approx(few.centre - even.low)
    assert found.mean == 1.0
    assert found.low < 0.9


@pytest.mark.parametrize("units", [1, 9])
def test_few_units_give_no_interval(units):
    """Below ten units there is a mean and no interval, and no difference is judged."""
    few = spread([(5, 2.0)] * units)
    many = spread([(1, float(n)) for n in range(30)])
    for found in (interval(few), difference(few, many), difference(many, few)):
        assert (found.low, found.high, found.units) == (None, None, units)


def test_a_difference_is_welchs():
    """Unequal variances and sizes, against the hand-computed interval."""
    one = spread([(1, float(n)) for n in range(1, 13)])
    other = spread([(1, 10.0 * n) for n in range(1, 21)])
    found = difference(one, other)
    # s1^2/n1 = 13/12, s2^2/n2 = 3500/20; 19.23 degrees of freedom; t = 2.0913
    margin = 2.0913 * math.sqrt(13 / 12 + 175)
    assert found.mean == pytest.approx(6.5 - 105)
    assert found.high - found.mean == pytest.approx(margin, rel=1e-3)


def test_percentiles_want_a_value_beyond_them():
    """The 95th needs twenty values; the median of four is the second."""
    assert percentile([4.0, 1.0, 3.0, 2.0], 0.5) == 2.0
    assert percentile(range(1, 20), 0.95) is None
    assert percentile(range(1, 21), 0.95) == 19
    assert percentile([], 0.5) is None
