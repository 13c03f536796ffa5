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
from math import ceil, floor, log10
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
_GRAIN: Final = 1e-6
_STEPS: Final = (5.0, 2.0, 1.0)
# Of the limits that providers publish most have one of these leading digits; they are
# about a fifth apart.
_USUAL: Final = (1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0)
_SPACING: Final = 0.21
_HABIT: Final = 0.9
# Hardly anybody sells fewer tokens a minute: one question with its context takes as many.
_FEWEST_TOKENS: Final = 4_000.0


@dataclass(frozen=True, slots=True)
class Estimate:
    """A limit of `kind` per `length` seconds: `low <= limit < high`."""

    kind: LimitKind
    length: float
    low: float
    high: float

    @property
    def limit(self) -> float:
        """The number that it most likely is: limits are made by people.

        Of several usual ones it is the middle one, so that the next calls halve the question.
        """
        usual = usual_numbers(self.low, self.high, whole=self.counts)
        if usual:
            return usual[len(usual) // 2]
        return roundest(float(ceil(self.low)) if self.counts else self.low, self.high)

    @property
    def counts(self) -> bool:
        """It is a number of requests: whole."""
        return self.kind == "requests"

    @property
    def possible(self) -> bool:
        """There is such a limit."""
        return (ceil(self.low - _GRAIN) if self.counts else self.low) < self.high

    @property
    def surprise(self) -> float:
        """P(what we see | this limit refused) / P(what we see | another did).

        Limits are made by people: a true one is a usual number, and the estimate of one
        that did not refuse is any number.
        """
        chance = min(0.9, (self.high - self.low) / self.high / _SPACING)
        usual = (self.counts or self.high > _FEWEST_TOKENS) and usual_numbers(
            self.low, self.high, whole=self.counts
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
    def stated(self) -> float:
        """The wait as stated, in seconds; infinite where it was not."""
        return NEVER if self.wait is None else self.wait

    @property
    def soonest(self) -> float:
        """The least wait that may have been meant by it."""
        return -NEVER if self.wait is None else self.wait - _ROUNDING * self.scale


def usual_numbers(low: float, high: float, *, whole: bool) -> list[float]:
    """The limits that people make, from `low` to below `high`, but no less than a tenth of it."""
    size = 10.0 ** floor(log10(high))
    numbers = [number * scale for scale in (size / 10.0, size) for number in _USUAL]
    return [n for n in numbers if low <= n < high and (n.is_integer() or not whole)]


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

    `calls` are those that were sent before and let pass, oldest first.
    """
    for length in _LENGTHS if refused.wait is not None else _LENGTHS[:1]:
        span = length * refused.scale
        counted = [call for call in calls if _left(call, span, refused)[1] > 0.0]
        found = list(_full_of_requests(counted, span, refused))
        found += _full_of_tokens(counted, span, refused)
        if found:
            return found
    return []


def _left(call: Call, span: float, refused: Refused) -> tuple[float, float]:
    """Seconds from the refusal's making until the call leaves the window: least and most.

    It arrived between its sending and its answer, as the refused call did. Of a call that
    nobody has answered the sending is all that is known.
    """
    least = call.sent + span - refused.now
    arrived = call.sent if call.answered > refused.now else call.answered
    return least, arrived + span - (refused.now - refused.slack)


def _full_of_requests(
    counted: Sequence[Call], span: float, refused: Refused
) -> Iterator[Estimate]:
    """A window full of requests opens when the oldest leaves it."""
    low, high = 0.0, 0.0
    for place, oldest in enumerate(counted):
        least, most = _left(oldest, span, refused)
        if refused.soonest <= most and least <= refused.stated:
            low = max(1.0, sum(1.0 for call in counted[place:] if not call.lost))
            high = high or len(counted) - place + 1.0
        if least > 0.0:
            break  # it was counted for sure, so nobody younger was the oldest
    if high:
        yield Estimate("requests", span, low, high)


def _full_of_tokens(
    counted: Sequence[Call], span: float, refused: Refused
) -> Iterator[Estimate]:
    """It opens when as many tokens have left it as this request lacks."""
    surely = perhaps = spent = sure = 0.0
    for call in counted:
        least, most = _left(call, span, refused)
        spent += call.tokens
        sure += call.tokens if least > 0.0 and not call.lost else 0.0
        perhaps += call.tokens if least <= refused.stated else 0.0
        surely += call.tokens if most < refused.soonest else 0.0
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
    soonest, latest = max(0.0, refused.soonest), min(span, refused.stated)
    for call in reversed(calls):
        amount = call.tokens if kind == "tokens" else 1.0
        taken += amount
        sure += 0.0 if call.lost else amount
        ago = refused.now - call.sent
        low = max(low, sure / (1.0 + (ago + latest) / span))
        # It may have been under way as long as the refused call and its refusal were.
        ago = max(0.0, ago - 2.0 * refused.slack)
        high = max(high, taken / (1.0 + (ago + soonest) / span))
    return Estimate(kind, span, low, high)
