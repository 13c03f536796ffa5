"""Which limit a refusal shows that names none: arithmetic over our own calls.

A provider that refuses has counted up to its limit, and the wait that it states says
when enough of that comes back. So its wait and our calls give the limit:

- sliding window: at most the calls of the last window were counted; the wait ends when
  those leave it that must.
- bucket of limit L refilling in T seconds: the wait is (need - level) / (L / T). With S
  units spent since the bucket was last full, t0 seconds ago, the level is
  L + t0 * L/T - S, hence L = (need + S) / (1 + (t0 + wait) / T). A bucket never holds
  more than L, so the greatest such L over all possible t0 is the one.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import floor, log10
from typing import TYPE_CHECKING, Final

from hydra_core.engine.windows import NEVER
from hydra_core.wire import MINUTE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hydra_core.engine.study import Call
    from hydra_core.wire import LimitKind

# Waits are stated in whole seconds, rounded up.
_ROUNDING: Final = 1.0
# Some providers check their minute by the second or by ten: Azure does both.
_LENGTHS: Final = (MINUTE, 10.0, 1.0)  # the longest that explains the wait is meant
_STEPS: Final = (5.0, 2.0, 1.0)
# Of the limits that providers publish most have one of these leading digits; they are
# about a fifth apart.
_USUAL: Final = (1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0)
_SPACING: Final = 0.21
_HABIT: Final = 0.9


@dataclass(frozen=True, slots=True)
class Estimate:
    """A limit of `kind` per `length` seconds: `low <= limit < high`."""

    kind: LimitKind
    length: float
    low: float
    high: float

    @property
    def limit(self) -> float:
        """The roundest number that it may be: limits are made by people."""
        return roundest(self.low, self.high)

    @property
    def surprise(self) -> float:
        """P(what we see | this limit refused) / P(what we see | another did).

        Limits are made by people: a true one is a usual number, and the estimate of one
        that did not refuse is any number.
        """
        chance = min(0.9, (self.high - self.low) / self.high / _SPACING)
        size = 10.0 ** floor(log10(self.high))
        usual = any(
            self.low <= number * scale < self.high
            for scale in (size, size / 10.0)
            for number in _USUAL
        )
        return _HABIT / chance if usual else (1.0 - _HABIT) / (1.0 - chance)


@dataclass(frozen=True, slots=True)
class Refused:
    """What is known of a refusal: `need` tokens asked for, `wait` as stated, None if it was not.

    `slack` is by how many seconds the times may be wrong: the call's own latency.
    """

    need: float
    wait: float | None
    now: float
    slack: float
    scale: float

    @property
    def soonest(self) -> float:
        """The least wait, in seconds, that may have been meant."""
        return -NEVER if self.wait is None else self.wait - _ROUNDING * self.scale - self.slack

    @property
    def latest(self) -> float:
        """The longest wait that may have been meant."""
        return NEVER if self.wait is None else self.wait + self.slack


def roundest(low: float, high: float) -> float:
    """The roundest number from `low` to below `high`; `low` itself where there is none."""
    size = 10.0 ** len(str(int(high)))
    while size >= 1.0:
        for step in _STEPS:
            unit = size * step / 10.0
            number = max(unit, -(-low // unit) * unit)
            if unit >= 1.0 and number < high:
                return number
        size /= 10.0
    return low or high / 2.0  # no limit is zero


def sliding_limits(calls: Sequence[Call], refused: Refused) -> list[Estimate]:
    """The limits of a rolling window that would explain the refusal.

    `calls` are those that were let pass, oldest first.
    """
    for length in _LENGTHS if refused.wait is not None else _LENGTHS[:1]:
        span = length * refused.scale
        counted = [call for call in calls if call.sent > refused.now - span]
        found = list(_full_of_requests(counted, span, refused))
        found += _full_of_tokens(counted, span, refused)
        if found:
            return found
    return []


def _full_of_requests(
    counted: Sequence[Call], span: float, refused: Refused
) -> Iterator[Estimate]:
    """A window full of requests opens when the oldest leaves it."""
    if counted and refused.soonest <= counted[0].sent + span - refused.now <= refused.latest:
        sure = sum(1.0 for call in counted if call.answered <= refused.now)
        yield Estimate("requests", span, max(1.0, sure), len(counted) + 1.0)


def _full_of_tokens(
    counted: Sequence[Call], span: float, refused: Refused
) -> Iterator[Estimate]:
    """It opens when as many tokens have left it as this request lacks."""
    oldest = refused.now - span  # of what is counted now
    surely = sum(call.tokens for call in counted if call.sent < oldest + refused.soonest)
    perhaps = sum(call.tokens for call in counted if call.sent <= oldest + refused.latest)
    spent = sum(call.tokens for call in counted)
    sure = sum(call.tokens for call in counted if call.answered <= refused.now)
    low, high = max(sure, sure - perhaps + refused.need), spent - surely + refused.need
    if perhaps and low < high:
        yield Estimate("tokens", span, low, high)


def bucket_limits(calls: Sequence[Call], refused: Refused) -> list[Estimate]:
    """The limits of a bucket of a minute that would explain the refusal."""
    span = MINUTE * refused.scale
    found = (
        _drained("requests", 1.0, calls, span, refused),
        _drained("tokens", refused.need, calls, span, refused),
    )
    return [estimate for estimate in found if estimate.high > estimate.low]


def _drained(
    kind: LimitKind, need: float, calls: Sequence[Call], span: float, refused: Refused
) -> Estimate:
    """Of all moments at which the bucket may last have been full, the one that explains most."""
    low, high, sure, taken = 0.0, 0.0, need, need
    soonest, latest = max(0.0, refused.soonest), min(span, refused.latest)
    for sent, tokens, answered in reversed(calls):
        amount = tokens if kind == "tokens" else 1.0
        taken += amount
        sure += amount if answered <= refused.now else 0.0
        ago = refused.now - sent
        low = max(low, sure / (1.0 + (ago + refused.slack + latest) / span))
        high = max(high, taken / (1.0 + (max(0.0, ago - refused.slack) + soonest) / span))
    return Estimate(kind, span, low, high)
