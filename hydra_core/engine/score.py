"""What is learned of a deployment: reliability, speed, quality, recency.

score = sum(weight * part) / sum(weights), every part in 0..1:

- reliability: exponentially weighted share of calls that went well
- speed: 1 / (1 + latency / `_TYPICAL`), latency in seconds, exponentially weighted
- quality: exponentially weighted feedback
- recency: 1 - exp(-t / `_FORGET`), t seconds since the last fault (1 if there was none)
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp
from typing import Final

_STEP: Final = 0.2  # the weight of the newest outcome; five calls turn an opinion
_TYPICAL: Final = 2.0
_FORGET: Final = 300.0


@dataclass(frozen=True, slots=True)
class ScoreWeights:
    """How much each part counts; only their proportions matter."""

    reliability: float = 0.4
    speed: float = 0.3
    quality: float = 0.2
    recency: float = 0.1


class Score:
    """The learned opinion of one deployment. It starts well, so that new ones are tried."""

    __slots__ = ("latency", "quality", "reliability", "troubled_at")

    def __init__(self) -> None:
        self.reliability = 1.0
        self.latency: float | None = None
        self.quality = 1.0
        self.troubled_at: float | None = None

    def passed(self, latency: float) -> None:
        """A call went well after `latency` seconds."""
        self.reliability += _STEP * (1.0 - self.reliability)
        before = self.latency
        self.latency = latency if before is None else before + _STEP * (latency - before)

    def failed(self, now: float) -> None:
        """A call failed through the deployment's own fault."""
        self.reliability -= _STEP * self.reliability
        self.troubled_at = now

    def judged(self, quality: float) -> None:
        """A reader's opinion of one reply, 0..1."""
        self.quality += _STEP * (quality - self.quality)

    def value(self, weights: ScoreWeights, now: float) -> float:
        """The whole opinion, 0..1."""
        speed = 1.0 if self.latency is None else 1.0 / (1.0 + self.latency / _TYPICAL)
        recency = 1.0
        if self.troubled_at is not None:
            recency = 1.0 - exp(-(now - self.troubled_at) / _FORGET)
        total = weights.reliability + weights.speed + weights.quality + weights.recency
        return (
            weights.reliability * self.reliability
            + weights.speed * speed
            + weights.quality * self.quality
            + weights.recency * recency
        ) / total
