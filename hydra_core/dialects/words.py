"""Which limit a refusal's words name: its kind, window, size, and how much of it was used."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Final

from hydra_core.wire import DAY, HOUR, MINUTE, LimitKind

if TYPE_CHECKING:
    from hydra_core.dialects.envelope import ProviderError

WEEK: Final = 7 * DAY
MONTH: Final = 30 * DAY

# Longest first: of several windows the longer one holds the request back.
_WINDOWS: Final = (
    (MONTH, r"per[ -]month|/ ?month|monthly"),
    (WEEK, r"per[ -]week|/ ?week|weekly"),
    (DAY, r"per[ -]?day|/ ?day|daily|\b[tr]pd\b"),
    (5 * HOUR, r"session usage limit"),
    (HOUR, r"per[ -]?hour|/ ?hour|hourly|\b[tr]ph\b"),
    (MINUTE, r"per[ -]?min|/ ?min|\b[tr]pm\b"),
    (1.0, r"per[ -]?sec|/ ?sec|\b[tr]ps\b"),
)
_LETTER_WINDOWS: Final = {"s": 1.0, "m": MINUTE, "h": HOUR, "d": DAY}
_KIND_CODES: Final[dict[str, LimitKind]] = {
    "tokens": "tokens",
    "token_quota_exceeded": "tokens",
    "dynamic_token_limited": "tokens",
    "requests": "requests",
    "request_quota_exceeded": "requests",
    "dynamic_request_limited": "requests",
}
_KIND_WORDS: Final[tuple[tuple[LimitKind, str], ...]] = (
    ("concurrency", r"concurren"),
    ("tokens", r"token"),
    # "too many requests" is only how HTTP spells 429
    ("requests", r"(?<!too many )\brequest|\bcalls?\b|free-models-per"),
)
# Bounded on purpose: two open runs of blanks would be searched in quadratic time.
_AMOUNT: Final = r"[:\s]{0,3}~?\s?([\d,]{1,24}(?:\.\d{1,6})?)"


@dataclass(frozen=True, slots=True)
class LimitWords:
    """The limit that refused, as far as the words go; `window` is in seconds."""

    kind: LimitKind | None = None
    window: float | None = None
    limit: float | None = None
    used: float | None = None
    requested: float | None = None

    @property
    def too_large(self) -> bool:
        """True when the request could not pass even if nothing else had been used."""
        return (
            self.kind != "concurrency"
            and self.limit is not None
            and self.requested is not None
            and 0.0 < self.limit < self.requested
        )

    @property
    def refill_wait(self) -> float | None:
        """Seconds until a continuously refilled bucket has room for this request.

        (used + requested - limit) / (limit / window); replies of Groq and
        OpenAI state their own waits by the same formula.
        """
        if self.limit is None or self.used is None or self.requested is None or not self.window:
            return None
        missing = self.used + self.requested - self.limit
        return missing / (self.limit / self.window) if self.limit > 0.0 < missing else None


@cache
def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text)


def limit_words(error: ProviderError) -> LimitWords:
    """Read the limit that an error names. Google's quota ids beat its words."""
    amounts = LimitWords(
        limit=_first(error.words, r"limit(?:ed)?(?: of| to)?" + _AMOUNT),
        used=_first(error.words, r"\b(?:used|current concurrency is)" + _AMOUNT),
        requested=_first(error.words, r"\brequested(?: up to)?" + _AMOUNT),
    )
    actual = _pattern(r"\(actual/limit\): ?([\d,]{1,24})/([\d,]{1,24})").search(error.words)
    if actual:
        amounts = replace(amounts, used=_amount(actual[1]), limit=_amount(actual[2]))
    excess = _pattern(r"limit exceeded: ?([\d,]{1,24}) > ([\d,]{1,24})").search(error.words)
    if excess:
        amounts = replace(amounts, requested=_amount(excess[1]), limit=_amount(excess[2]))
    if error.quotas:
        return _quota_words(error.quotas, amounts)
    named = _pattern(r"\([io]?([tr])p([smhd])\)").search(error.words)
    if named:
        kind: LimitKind = "tokens" if named[1] == "t" else "requests"
        return replace(amounts, kind=kind, window=_LETTER_WINDOWS[named[2]])
    return replace(amounts, kind=_kind(error), window=_window(error.words))


def amount_after(words: str, phrase: str) -> float | None:
    """The number that follows a phrase (a pattern without groups), if any."""
    return _first(words, phrase + _AMOUNT)


def _quota_words(quotas: tuple[tuple[str, str], ...], amounts: LimitWords) -> LimitWords:
    """Of several quotas the longest; its id is like `GenerateRequestsPerDayPerProjectPerModel`."""
    quota, value = max(quotas, key=lambda pair: _window(pair[0].lower()) or 0.0)
    limit = _amount(value)
    return replace(
        amounts,
        kind="tokens" if "token" in quota.lower() else "requests",
        window=_window(quota.lower()),
        limit=amounts.limit if limit is None else limit,
    )


def _kind(error: ProviderError) -> LimitKind | None:
    # `requests` is also the code of a limit on simultaneous ones, which passes in a moment.
    if _pattern(_KIND_WORDS[0][1]).search(error.words):
        return "concurrency"
    for code, kind in _KIND_CODES.items():
        if code in error.codes:
            return kind
    for kind, words in _KIND_WORDS:
        if _pattern(words).search(error.words):
            return kind
    return None


def _window(words: str) -> float | None:
    words = _pattern(r"https?://\S+").sub(" ", words)  # a link's path says nothing of the limit
    for seconds, pattern in _WINDOWS:
        if _pattern(pattern).search(words):
            return seconds
    return None


def _first(words: str, pattern: str) -> float | None:
    match = _pattern(pattern).search(words)
    return _amount(match[1]) if match else None


def _amount(text: str) -> float | None:
    digits = text.replace(",", "")
    try:
        return float(digits)
    except ValueError:
        return None
