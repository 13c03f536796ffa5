"""From a reply to its verdict: what happened, to which limit, and for how long."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from hydra_core.dialects import rules, times
from hydra_core.dialects.envelope import ProviderError, error_of, read_error
from hydra_core.dialects.waits import RATES, Refusal, retry_after
from hydra_core.dialects.words import LimitWords, amount_after, limit_words
from hydra_core.messages import Fault
from hydra_core.wire import HOUR, LimitReading, Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hydra_core.dialects.vendors import Vendor

MESSAGE_CAP: Final = 500
_HINT_CAP: Final = 128
_UNSAID: Final = {Fault.INVALID_RESPONSE: "the reply is no answer of the API"}
_NO_LIMIT: Final = LimitWords()
# Scheme and host of a URL; who may be named before them is left out.
_ADDRESS: Final = re.compile(r"(https?://)(?:[^/?#@]*@)?([^/?#@\s]+)")


@cache
def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text)


def plain(text: str) -> str:
    """A stranger's text in one line, without what would steer a terminal or forge a log."""
    if text.isprintable():
        return text
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def reference_time(headers: Mapping[str, str], now: float) -> float:
    """The moment a reply was made, in epoch seconds: its `date` header, else our clock."""
    stated = headers.get("date")
    epoch = times.http_date(stated) if stated else None
    return now if epoch is None else epoch


def readings_of(vendor: Vendor, headers: Mapping[str, str], now: float) -> tuple[LimitReading, ...]:
    """The limits that a good reply's headers state."""
    reference = reference_time(headers, now) if vendor.layout.dated else now
    return vendor.layout.readings(headers, reference)


def hint_of(vendor: Vendor, headers: Mapping[str, str]) -> str | None:
    """The account as the headers name it."""
    hint = plain(headers.get(vendor.hint_header, "")).strip() if vendor.hint_header else ""
    part = plain(headers.get(vendor.hint_part, "")).strip() if hint and vendor.hint_part else ""
    return (f"{hint}/{part}" if part else hint)[:_HINT_CAP] or None


def judge(
    vendor: Vendor, status: int | None, headers: Mapping[str, str], body: bytes, *, now: float
) -> Verdict:
    """Classify a failure by its raw body. `status` None: not known."""
    return judge_error(vendor, status, headers, read_error(body), now=now)


def judge_value(
    vendor: Vendor, status: int | None, headers: Mapping[str, str], value: Any, *, now: float
) -> Verdict:
    """Classify a failure whose body is JSON already, such as an error inside a stream."""
    return judge_error(vendor, status, headers, error_of(value), now=now)


def judge_error(
    vendor: Vendor,
    status: int | None,
    headers: Mapping[str, str],
    error: ProviderError,
    *,
    now: float,
) -> Verdict:
    """Classify a failure by what its body says."""
    judged = rules.effective_status(status, error)
    limit = limit_words(error)
    fault, row = _fault(vendor, status, judged, error, limit)
    if row is not None and row.window is not None:
        limit = replace(limit, window=row.window)
    if fault is rules.RATE and (limit.window or 0.0) > HOUR:
        fault = Fault.RATE_LIMIT_DAY
    if fault not in (*RATES, Fault.REQUEST_TOO_LARGE):
        limit = _NO_LIMIT
    headers = {**error.headers, **headers} if error.headers else headers
    reference = reference_time(headers, now)
    in_success = status is not None and 200 <= status < 300
    refusal = Refusal(fault, error, limit, headers, reference, in_success)
    return Verdict(
        fault=fault,
        status=status if judged is None else judged,
        message=plain(_said(error, status, headers)) or _UNSAID.get(fault, ""),
        code=None if error.code is None else plain(error.code),
        retry_after=retry_after(vendor, refusal),
        kind=limit.kind,
        window=limit.window,
        limit=limit.limit,
        used=limit.used,
        requested=limit.requested,
        scope_hint=_scope_hint(vendor, headers, error),
        concurrency_limit=_whole(limit.limit if limit.kind == "concurrency" else None),
        affordable_tokens=_whole(amount_after(error.words, "can only afford")),
        whole_account=_whole_account(vendor, fault, row),
        every_account=_every_account(fault, judged, error, limit),
        readings=vendor.layout.readings(headers, reference, limit.window),
    )


def _said(error: ProviderError, status: int | None, headers: Mapping[str, str]) -> str:
    """What the provider said, or did: a redirect says where to, and nothing that helps."""
    if status is None or not 300 <= status < 400:
        return error.message[:MESSAGE_CAP]
    address = _ADDRESS.match(headers.get("location", ""))
    where = "" if address is None else f" to {''.join(address.groups())[:MESSAGE_CAP]}"
    return f"the server redirects{where}, which is not followed: check base_url"


def invalid(message: str, status: int | None = 200) -> Verdict:
    """The verdict on a reply that is no answer, in our own words."""
    return Verdict(fault=Fault.INVALID_RESPONSE, status=status, message=message)


class ReplyContext:
    """The reply around a body or an event: what a judgement needs beside it."""

    __slots__ = ("_headers", "_now", "_status", "_vendor")

    def __init__(self, vendor: Vendor, status: int, headers: Mapping[str, str], now: float) -> None:
        self._vendor = vendor
        self._status = status
        self._headers = headers
        self._now = now

    @property
    def good(self) -> Verdict:
        """The verdict on this reply as long as nothing is wrong with it."""
        return Verdict(status=self._status)

    def judge(self, body: bytes) -> Verdict:
        """Classify raw bytes."""
        return judge(self._vendor, self._status, self._headers, body, now=self._now)

    def judge_value(self, value: Any) -> Verdict:
        """Classify JSON."""
        return judge_value(self._vendor, self._status, self._headers, value, now=self._now)


def _fault(
    vendor: Vendor,
    status: int | None,
    judged: int | None,
    error: ProviderError,
    limit: LimitWords,
) -> tuple[Fault, rules.Rule | None]:
    if error.is_page:
        return rules.default_fault(judged, error), None
    if limit.too_large and judged in (None, 413, 429):
        return Fault.REQUEST_TOO_LARGE, None
    row = rules.find(vendor.rules, judged, error)
    if row is not None:
        return row.fault, row
    if status is None and judged is None:
        return Fault.UNKNOWN, None
    return rules.default_fault(judged, error), None


def _whole(amount: float | None) -> int | None:
    return None if amount is None else int(amount)


def _whole_account(vendor: Vendor, fault: Fault, row: rules.Rule | None) -> bool:
    if row is not None:
        return row.whole_account or (vendor.account_wide and fault in RATES)
    return fault is Fault.QUOTA_EXHAUSTED_BILLING or (vendor.account_wide and fault in RATES)


def _every_account(
    fault: Fault, judged: int | None, error: ProviderError, limit: LimitWords
) -> bool:
    """A 413 speaks of the request's bytes, unless its words name tokens or a rate.

    Groq says by it that a request is above the account's tokens per minute.
    """
    if fault is not Fault.REQUEST_TOO_LARGE or judged != 413:
        return False
    rated = limit.kind == "tokens" or limit.window is not None
    return error.is_page or not (rated or rules.ACCOUNTS_SIZE.holds(judged, error))


def _scope_hint(vendor: Vendor, headers: Mapping[str, str], error: ProviderError) -> str | None:
    hint = hint_of(vendor, headers)
    if hint is None and vendor.hint_words:
        match = _pattern(vendor.hint_words).search(error.message)
        hint = plain(match[1][:_HINT_CAP]) if match else None
    return hint or (None if error.user_id is None else plain(error.user_id))
