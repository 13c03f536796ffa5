"""How long a refusal says to wait: the provider's words in their order of authority.

1. Only rate limits, overload, and money with a stated date have a wait at all.
2. The calendar beats hints, where the vendor's day is certain.
3. Else the largest of the hints in this reply.
4. Without a hint: the bucket arithmetic of limit, used and requested.
5. Without that: the slowest reset of a limit with nothing remaining, if it is over no
   shorter window than the limit that refused.

Waits are not clamped here: the one who waits decides how often to look again.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final

from hydra_core.dialects import times
from hydra_core.messages import Fault
from hydra_core.wire import DAY

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hydra_core.dialects.envelope import ProviderError
    from hydra_core.dialects.vendors import Vendor
    from hydra_core.dialects.words import LimitWords

RATES: Final = (Fault.RATE_LIMIT_MINUTE, Fault.RATE_LIMIT_DAY)


@dataclass(frozen=True, slots=True)
class Refusal:
    """One refusal, read as far as its wait needs.

    `headers` include those that the body repeats. `in_success`: it came inside
    a 2xx, whose `retry-after` means nothing. `reference` is the reply's own
    time, in epoch seconds.
    """

    fault: Fault
    error: ProviderError
    limit: LimitWords
    headers: Mapping[str, str]
    reference: float
    in_success: bool


@cache
def _said() -> re.Pattern[str]:
    amount = r"\d{1,18}(?:\.\d{1,18})?\s?[a-zµ]*"
    return re.compile(
        r"(?:(?:try again|retry|retrying)\s+(?:in|after)|wait(?:\s+for)?)\s+(?:about\s+|~\s?)?"
        rf"({amount}(?:\s?{amount})*)"
    )


@cache
def _regained() -> re.Pattern[str]:
    return re.compile(r"regain access on (\d{4}-\d{2}-\d{2})(?: at (\d{2}:\d{2}))?")


def retry_after(vendor: Vendor, refusal: Refusal) -> float | None:
    """Seconds until the provider would serve again, by its own account; None: it does not say."""
    if refusal.fault is Fault.QUOTA_EXHAUSTED_BILLING:
        return _stated_date(refusal)
    if refusal.fault is not Fault.OVERLOADED and refusal.fault not in RATES:
        return None
    midnight = _day_end(vendor, refusal)
    if midnight is not None and vendor.day_certain:
        return midnight
    hint = max(_hints(vendor, refusal), default=None)
    if hint is not None:
        return hint
    if refusal.fault in RATES and refusal.limit.refill_wait is not None:
        return refusal.limit.refill_wait
    reset = vendor.layout.spent_reset(
        refusal.headers, refusal.reference, refusal.limit.window
    )
    return midnight if reset is None else reset


def _day_end(vendor: Vendor, refusal: Refusal) -> float | None:
    if vendor.day_zone is None or refusal.fault is not Fault.RATE_LIMIT_DAY:
        return None
    if refusal.limit.window != DAY:
        return None
    return times.until_midnight(vendor.day_zone, refusal.reference)


def _hints(vendor: Vendor, refusal: Refusal) -> Iterator[float]:
    if not refusal.in_success:
        yield from _header_hints(vendor, refusal)
    for text in refusal.error.waits:
        wait = times.duration(text)
        if wait is not None:
            yield wait
    for match in _said().finditer(refusal.error.words):
        wait = times.duration(match[1])
        if wait is not None:
            yield wait


def _header_hints(vendor: Vendor, refusal: Refusal) -> Iterator[float]:
    headers, reference = refusal.headers, refusal.reference
    # A repeated header arrives as one, joined by commas; a HTTP date holds a comma itself.
    value = headers.get("retry-after", "")
    for text in (value, *value.split(",")):
        wait = times.until(text, reference)
        if wait is not None:
            yield wait
    for text in headers.get("retry-after-ms", "").split(","):
        wait = times.milliseconds(text)
        if wait is not None:
            yield wait
    for name, clock in vendor.wait_headers:
        wait = clock(headers.get(name, ""), reference)
        if wait is not None:
            yield wait


def _stated_date(refusal: Refusal) -> float | None:
    match = _regained().search(refusal.error.words)
    if match is None:
        return None
    return times.until_rfc3339(f"{match[1]}T{match[2] or '00:00'}:00Z", refusal.reference)
