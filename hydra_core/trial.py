"""What is known of each variant of an experiment, unit by unit."""

from __future__ import annotations

import math
from collections import Counter, deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from hydra_core.intervals import CONFIDENCE, difference, interval, percentile, spread
from hydra_core.trial_report import Difference, ExperimentReport, Metric, VariantReport

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hydra_core.intervals import Estimate, Spread
    from hydra_core.messages import ReplyKind

# The report covers the latest so many units and replies of a variant: its memory is bounded.
UNITS: Final = 20_000
LATENCIES: Final = 10_000
_METRICS: Final[tuple[Metric, ...]] = ("quality", "latency", "cost_usd")
# What a metric can be at all: an interval of few units may reach beyond it.
_HIGHEST: Final[dict[Metric, float]] = {"quality": 1.0, "latency": math.inf, "cost_usd": math.inf}


@dataclass(frozen=True, slots=True)
class Observation:
    """One reply. `by_variant`: the model that answered is one that the variant means."""

    kind: ReplyKind
    latency: float
    cost_usd: float | None
    by_variant: bool


@dataclass(slots=True)
class _Unit:
    """Counts and sums of one unit's replies and feedback."""

    replies: int = 0
    latency: float = 0.0
    cost_usd: float = 0.0
    unpriced: int = 0
    judgements: int = 0
    quality: float = 0.0


class Score:
    """One variant's record. Not safe for two threads at once."""

    def __init__(self) -> None:
        self.failed = 0
        self.counts: Counter[str] = Counter()
        self._units: dict[str, _Unit] = {}
        self._latencies: deque[float] = deque(maxlen=LATENCIES)

    def replied(self, unit: str, seen: Observation) -> None:
        """Count a reply; only a full one by the variant's own model is scored."""
        if seen.kind != "full":
            self.counts[seen.kind] += 1
            return
        if not seen.by_variant:
            self.counts["other model"] += 1
            return
        record = self._unit(unit)
        record.replies += 1
        record.latency += seen.latency
        if seen.cost_usd is None:
            record.unpriced += 1
        else:
            record.cost_usd += seen.cost_usd
        self._latencies.append(seen.latency)

    def judged(self, unit: str, quality: float, *, instead_of: float | None = None) -> None:
        """Take in a quality from 0 to 1; `instead_of` is what was said before of this reply."""
        record = self._unit(unit)
        if instead_of is not None and record.judgements:
            record.quality += quality - instead_of
            return
        record.judgements += 1
        record.quality += quality

    def _unit(self, unit: str) -> _Unit:
        record = self._units.get(unit)
        if record is None:
            if len(self._units) >= UNITS:
                del self._units[next(iter(self._units))]
            record = self._units[unit] = _Unit()
        return record

    def copy(self) -> Summary:
        """What the record holds now, detached from it."""
        units = self._units.values()
        return Summary(
            replies=sum(unit.replies for unit in units),
            units=sum(unit.replies > 0 for unit in units),
            unpriced=any(unit.unpriced for unit in units),
            seen={
                "quality": [(unit.judgements, unit.quality) for unit in units],
                "latency": [(unit.replies, unit.latency) for unit in units],
                "cost_usd": [(unit.replies, unit.cost_usd) for unit in units],
            },
            latencies=tuple(self._latencies),
            counts=self.counts.copy(),
            failed=self.failed,
        )


@dataclass(frozen=True, slots=True)
class Summary:
    """A `Score` at one instant; `seen` holds each unit's count and sum, by metric."""

    replies: int
    units: int
    unpriced: bool
    seen: dict[Metric, list[tuple[int, float]]]
    latencies: tuple[float, ...]
    counts: Counter[str]
    failed: int

    def spread(self, metric: Metric) -> Spread | None:
        """The metric's mean and its variance; a cost is known only when every price is."""
        if metric == "cost_usd" and self.unpriced:
            return None
        return spread(self.seen[metric], shares=metric == "quality")


def compared(name: str, summaries: Mapping[str, Summary]) -> ExperimentReport:
    """The report of an experiment; the first variant is what the others are compared with."""
    spreads = {
        (variant, metric): summary.spread(metric)
        for variant, summary in summaries.items()
        for metric in _METRICS
    }
    first, *others = summaries
    confidence = 1 - (1 - CONFIDENCE) / len(others)
    differences = [
        Difference(
            variant,
            first,
            metric,
            _minus(spreads[variant, metric], spreads[first, metric], confidence),
        )
        for variant in others
        for metric in _METRICS
    ]
    reports = [
        _told(variant, summary, {metric: spreads[variant, metric] for metric in _METRICS})
        for variant, summary in summaries.items()
    ]
    return ExperimentReport(name, tuple(reports), tuple(differences))


def _minus(one: Spread | None, other: Spread | None, confidence: float) -> Estimate | None:
    return None if one is None or other is None else difference(one, other, confidence)


def _told(
    variant: str, summary: Summary, spreads: Mapping[Metric, Spread | None]
) -> VariantReport:
    estimates = {
        metric: _possible(interval(of), _HIGHEST[metric]) if of else None
        for metric, of in spreads.items()
    }
    return VariantReport(
        name=variant,
        n=summary.replies,
        units=summary.units,
        quality=estimates["quality"],
        latency=estimates["latency"],
        latency_p50=percentile(summary.latencies, 0.5),
        latency_p95=percentile(summary.latencies, 0.95),
        cost_usd=estimates["cost_usd"],
        waits=summary.counts["wait"],
        cached=summary.counts["cached"],
        other_models=summary.counts["other model"],
        failed=summary.failed,
    )


def _possible(found: Estimate, highest: float) -> Estimate:
    """The estimate with its interval kept to what can be: from 0 to `highest`."""
    if found.low is None or found.high is None:
        return found
    return replace(found, low=max(0.0, found.low), high=min(highest, found.high))
