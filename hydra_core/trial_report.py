"""What an experiment found: values for programs, and a small table for people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hydra_core.intervals import Estimate

Metric = Literal["quality", "latency", "cost_usd"]

_FORMATS: Final[dict[Metric, str]] = {"quality": ".2f", "latency": ".3g", "cost_usd": ".3g"}
_NAMES: Final[dict[Metric, str]] = {
    "quality": "quality",
    "latency": "latency (s)",
    "cost_usd": "cost (USD)",
}


@dataclass(frozen=True, slots=True)
class VariantReport:
    """What is known of one variant. Latencies are seconds, costs US dollars per reply.

    `n` full replies to `units` units were scored. Not scored, only counted: `waits` and
    `cached` replies, those by `other_models` than the variant names, and calls that
    `failed`. `quality` is None while no feedback came, `latency` while no reply did,
    `cost_usd` also when the price of any reply is unknown. Percentiles are None while
    there are too few replies for them (2 for p50, 20 for p95).
    """

    name: str
    n: int
    units: int
    quality: Estimate | None
    latency: Estimate | None
    latency_p50: float | None
    latency_p95: float | None
    cost_usd: Estimate | None
    waits: int
    cached: int
    other_models: int
    failed: int


@dataclass(frozen=True, slots=True)
class Difference:
    """One variant minus the first one, in one metric.

    `shown` is True when the interval leaves out zero, False when it does not, and None
    when there are not enough units to say, or nothing to compare (`estimate` is None).
    """

    variant: str
    against: str
    metric: Metric
    estimate: Estimate | None

    @property
    def shown(self) -> bool | None:
        """Whether the data show a difference at all."""
        found = self.estimate
        if found is None or found.low is None or found.high is None:
            return None
        return found.low > 0 or found.high < 0


@dataclass(frozen=True, slots=True)
class ExperimentReport:
    """All variants of an experiment, and how each differs from the first one.

    The intervals of the differences are widened for the number of variants (Bonferroni),
    so that one chance in twenty is the whole experiment's, metric by metric. They hold for
    one look at the end: who looks every day and stops at the first difference shown will
    find one more often than that.
    """

    name: str
    variants: tuple[VariantReport, ...]
    differences: tuple[Difference, ...]

    def __str__(self) -> str:
        head = ("variant", "n", "units", *_NAMES.values(), "p50 s", "p95 s", "not scored")
        rows = [head, *(_row(variant) for variant in self.variants)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        ]
        told = [_sentence(difference) for difference in self.differences]
        return "\n".join([f"experiment {self.name!r}, 95 % intervals", *lines, *told])


def _row(variant: VariantReport) -> tuple[str, ...]:
    return (
        variant.name,
        str(variant.n),
        str(variant.units),
        _cell("quality", variant.quality),
        _cell("latency", variant.latency),
        _cell("cost_usd", variant.cost_usd),
        _number(variant.latency_p50),
        _number(variant.latency_p95),
        _uncounted(variant),
    )


def _cell(metric: Metric, estimate: Estimate | None) -> str:
    if estimate is None:
        return "unknown"
    form = _FORMATS[metric]
    if estimate.low is None or estimate.high is None:
        return f"{estimate.mean:{form}} (not enough)"
    return f"{estimate.mean:{form}} ({estimate.low:{form}} to {estimate.high:{form}})"


def _number(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:.3g}"


def _uncounted(variant: VariantReport) -> str:
    counts: Iterable[tuple[str, int]] = (
        ("wait", variant.waits),
        ("cached", variant.cached),
        ("other model", variant.other_models),
        ("failed", variant.failed),
    )
    return ", ".join(f"{count} {word}" for word, count in counts if count) or "-"


def _sentence(found: Difference) -> str:
    what = f"{found.variant} against {found.against}, {_NAMES[found.metric]}"
    if found.estimate is None:
        return f"{what}: unknown"
    form = "+" + _FORMATS[found.metric]
    estimate = found.estimate
    if estimate.low is None or estimate.high is None:
        return f"{what}: not enough units to say"
    verdict = "a difference is shown" if found.shown else "no difference is shown"
    ends = f"{estimate.low:{form}} to {estimate.high:{form}}"
    return f"{what}: {estimate.mean:{form}} ({ends}): {verdict}"
