"""How sure a mean is: intervals for observations that come in units, and for differences.

A unit (a user, a document, a session) is what was drawn for a variant, so it is what the
uncertainty counts: ten answers to one user are not ten independent witnesses.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

CONFIDENCE: Final = 0.95
# With fewer units an interval would rest on the shape of a distribution that nobody knows.
ENOUGH_UNITS: Final = 10
# A percentile near the edge needs observations beyond it: one in twenty is slower than p95.
_BEYOND: Final = 1.0
_SYMMETRIC: Final = 1e-6  # below it the transformation changes nothing but the rounding


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean and the interval that holds the true one 95 times in 100.

    `n` observations of `units` units; `low` and `high` are None with too few units.
    """

    mean: float
    low: float | None
    high: float | None
    n: int
    units: int


@dataclass(frozen=True, slots=True)
class Spread:
    """A mean with its variance and skewness; `centre` is where its interval is drawn around."""

    mean: float
    centre: float
    variance: float
    n: int
    units: int
    skewness: float = 0.0


def spread(observed: Sequence[tuple[int, float]], *, shares: bool = False) -> Spread | None:
    """The mean of all observations and its variance; each unit is its count and its sum.

    The mean is a ratio (all sums over all counts), and its variance the linearised one of
    ratios of cluster totals: Cochran, Sampling Techniques, 3rd ed., eq. 6.13. Where each
    unit was seen once it is the usual s^2 / n. `shares`: values lie in 0..1; one unit of 0
    and one of 1 are then added for the interval, as Agresti and Caffo do for proportions
    (The American Statistician 54, 2000), so that ten times the same is not certainty.
    None when nothing was observed.
    """
    units = [unit for unit in observed if unit[0]]
    if not units:
        return None
    n = sum(count for count, _ in units)
    mean = sum(total for _, total in units) / n
    drawn = [*units, (1, 0.0), (1, 1.0)] if shares else units
    count = sum(count for count, _ in drawn)
    centre = sum(total for _, total in drawn) / count
    off = [total - centre * many for many, total in drawn]
    squares = sum(error**2 for error in off)
    variance = squares / count**2 * len(drawn) / max(1, len(drawn) - 1)
    skewness = 0.0 if shares else _skewness_of_mean(off, squares)
    return Spread(mean, centre, variance, n, len(units), skewness)


def _skewness_of_mean(off: Sequence[float], squares: float) -> float:
    """How skewed the mean of such deviations is: theirs, over the root of how many they are."""
    n = len(off)
    if n < ENOUGH_UNITS or squares <= 0.0:
        return 0.0
    cubes = sum(error**3 for error in off)
    return cubes * math.sqrt(n * (n - 1)) / (n - 2) / math.sqrt(squares) ** 3


def interval(of: Spread, confidence: float = CONFIDENCE) -> Estimate:
    """Student's interval of a mean, or none when there are fewer than ten units.

    Where the observations are skewed, as latencies and costs are, its ends are moved to the
    long side by Hall's transformation (Journal of the Royal Statistical Society B 54, 1992):
    Student's alone holds the mean of a few latencies 83 times in 100 and not 95.
    """
    if of.units < ENOUGH_UNITS:
        return Estimate(of.mean, None, None, of.n, of.units)
    t, error = t_quantile(confidence, of.units - 1), math.sqrt(of.variance)
    low = of.centre - error * _unskewed(t, of.skewness)
    return Estimate(of.mean, low, of.centre - error * _unskewed(-t, of.skewness), of.n, of.units)


def _unskewed(t: float, skewness: float) -> float:
    """The quantile of a skewed mean for Student's of a symmetric one."""
    if abs(skewness) < _SYMMETRIC:
        return t
    return 3.0 / skewness * (math.cbrt(1.0 + skewness * (t - skewness / 6.0)) - 1.0)


def difference(one: Spread, other: Spread, confidence: float = CONFIDENCE) -> Estimate:
    """`one` minus `other`, by Welch's interval (Biometrika 34, 1947): variances may differ."""
    mean, n = one.mean - other.mean, one.n + other.n
    units = min(one.units, other.units)
    if units < ENOUGH_UNITS:
        return Estimate(mean, None, None, n, units)
    both = one.variance + other.variance
    shares = one.variance**2 / (one.units - 1) + other.variance**2 / (other.units - 1)
    freedom = both**2 / shares if shares else math.inf
    margin = t_quantile(confidence, freedom) * math.sqrt(both)
    centre = one.centre - other.centre
    return Estimate(mean, centre - margin, centre + margin, n, units)


def t_quantile(confidence: float, freedom: float) -> float:
    """How many standard errors to go either way, for `freedom` of 9 or more.

    Abramowitz and Stegun 26.7.5: the normal quantile, corrected in powers of 1 / freedom.
    """
    x = NormalDist().inv_cdf(0.5 + confidence / 2)
    terms = (
        (x**3 + x) / 4,
        (5 * x**5 + 16 * x**3 + 3 * x) / 96,
        (3 * x**7 + 19 * x**5 + 17 * x**3 - 15 * x) / 384,
        (79 * x**9 + 776 * x**7 + 1482 * x**5 - 1920 * x**3 - 945 * x) / 92160,
    )
    return x + sum(term / freedom**power for power, term in enumerate(terms, 1))


def percentile(values: Iterable[float], share: float) -> float | None:
    """The smallest value that `share` of the values do not exceed; None with too few values.

    `share` lies between 0 and 1. There must be one value beyond it on average.
    """
    ordered = sorted(values)
    if not ordered or len(ordered) * (1 - share) < _BEYOND - 1e-9:
        return None
    return ordered[math.ceil(share * len(ordered)) - 1]
