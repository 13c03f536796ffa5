"""What is learned of a deployment: reliability, speed, quality, recency.

score = sum(weight * part), weights summing to 1, every part in 0..1:

- reliability: exponentially weighted share of calls that went well
- speed: 1 / (1 + latency / `_TYPICAL`), latency in seconds, exponentially weighted
- quality: the lesser of two, both exponentially weighted: sense, which readers judge by
  feedback, and form, of which there are signs (hydra_core.engine.quality). What is well
  formed may be wrong, so the one does not make up for the other
- recency: 1 - exp(-t / `_FORGET`), t seconds since the last fault (1 if there was none); it
  follows the time scale, as the rests do after which a key is wanted again
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp
from typing import Final

_STEP: Final = 0.2  # the weight of the newest outcome; five calls turn an opinion
_GLANCE: Final = 0.05  # of a sign of form, which says less than a reader does
_GRADES: Final = 50
_TYPICAL: Final = 2.0
_FORGET: Final = 300.0

USUAL_LATENCY: Final = 1.0
"""Seconds that a call is expected to take where none has been served yet."""


@dataclass(frozen=True, slots=True)
class ScoreWeights:
    """How much each part counts."""

    reliability: float = 0.4
    speed: float = 0.3
    quality: float = 0.2
    recency: float = 0.1

    @classmethod
    def normal(
        cls, reliability: float, speed: float, quality: float, recency: float
    ) -> ScoreWeights:
        """The same proportions, summing to 1. Their sum must not be 0."""
        total = reliability + speed + quality + recency
        return cls(reliability / total, speed / total, quality / total, recency / total)


class Score:
    """The learned opinion of one deployment. It starts well, so that new ones are tried.

    `steady_grade` is its grade while no fault is remembered.
    """

    __slots__ = (
        "_forget",
        "_steady",
        "_weights",
        "form",
        "latency",
        "reliability",
        "sense",
        "steady_grade",
        "troubled_at",
    )

    def __init__(self, weights: ScoreWeights, scale: float = 1.0) -> None:
        """`scale` shortens the time in which a fault is forgotten; latencies are real seconds."""
        self.reliability = 1.0
        self.latency: float | None = None
        self.sense = 1.0
        self.form = 1.0
        self.troubled_at: float | None = None
        self._weights = weights
        self._forget = _FORGET * scale
        self._steady = 0.0
        self.steady_grade = 0
        self._settle()

    def passed(self, latency: float) -> None:
        """A call went well after `latency` seconds."""
        self.reliability += _STEP * (1.0 - self.reliability)
        before = self.latency
        self.latency = latency if before is None else before + _STEP * (latency - before)
        self._settle()

    def failed(self, now: float) -> None:
        """A call failed through the deployment's own fault."""
        self.reliability -= _STEP * self.reliability
        self.troubled_at = now
        self._settle()

    def opinion(self) -> tuple[float, float | None]:
        """What a failure changes: reliability and the last fault's moment."""
        return self.reliability, self.troubled_at

    def absolve(self, opinion: tuple[float, float | None]) -> None:
        """The failures since then were not its own: think of it as before them."""
        self.reliability, self.troubled_at = opinion
        self._settle()

    def judged(self, quality: float) -> None:
        """A reader's opinion of one reply, 0..1."""
        self.sense += _STEP * (quality - self.sense)
        self._settle()

    def glanced(self, quality: float) -> None:
        """How far one reply had the form that was asked for, 0..1."""
        self.form += _GLANCE * (quality - self.form)
        self._settle()

    def recall(
        self,
        *,
        reliability: float,
        latency: float | None,
        sense: float,
        form: float,
        troubled_at: float | None,
    ) -> None:
        """Take over the opinion that an earlier process formed."""
        self.reliability = reliability
        self.latency = latency
        self.sense = sense
        self.form = form
        self.troubled_at = troubled_at
        self._settle()

    @property
    def quality(self) -> float:
        """The lesser of sense and form, 0..1."""
        return min(self.sense, self.form)

    def value(self, now: float) -> float:
        """The whole opinion, 0..1."""
        if self.troubled_at is None:
            return self._steady
        fading = exp((self.troubled_at - now) / self._forget)
        return self._steady - self._weights.recency * fading

    def grade(self, now: float) -> int:
        """The opinion in fiftieths: a smaller difference is noise, and equals take turns."""
        if self.troubled_at is None:
            return self.steady_grade
        return round(self.value(now) * _GRADES)

    def _settle(self) -> None:
        """All but the fading of a fault changes only with an outcome: add it up here."""
        weights = self._weights
        speed = 1.0 if self.latency is None else 1.0 / (1.0 + self.latency / _TYPICAL)
        self._steady = (
            weights.reliability * self.reliability
            + weights.speed * speed
            + weights.quality * self.quality
            + weights.recency
        )
        self.steady_grade = round(self._steady * _GRADES)
