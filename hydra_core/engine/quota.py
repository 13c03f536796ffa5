"""Quota groups: charged before sending, settled afterwards.

Law 1: what is charged is settled exactly once, by the provider's count, by our
       estimate, or by a refund.
Law 2: the limits belong to a group (account x model); keys only point at it.
Doubt: a provider that counts refused requests would need them charged as well.

All times are monotonic seconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hydra_core.engine.windows import Charge, Window
    from hydra_core.wire import LimitKind


class QuotaGroup:
    """The limits that the keys of one account share for one model, and who is in flight."""

    __slots__ = ("concurrency", "in_flight", "name", "windows")

    def __init__(
        self, name: str, windows: Iterable[Window] = (), *, concurrency: int | None = None
    ) -> None:
        self.name = name
        self.windows: list[Window] = list(windows)
        self.concurrency = concurrency
        self.in_flight = 0

    def __repr__(self) -> str:
        return f"<QuotaGroup {self.name}: {len(self.windows)} limits, {self.in_flight} in flight>"

    def reserve(self, prompt: float, tokens: float) -> float:
        """The tokens to book for a request.

        A prompt that fits a limit is not kept out by the answer's room alone, since few
        answers use all of it.
        """
        for window in self.windows:
            if window.kind == "tokens" and tokens > window.limit >= prompt:
                tokens = window.limit
        return tokens

    def earliest(self, tokens: float, now: float) -> float:
        """The first moment from `now` on at which one request of `tokens` fits every limit.

        `NEVER` when it is larger than a limit. Concurrency is not a time: see `full`.
        """
        start = now
        for window in self.windows:
            begin = window.earliest(tokens if window.kind == "tokens" else 1.0, now)
            if begin > start:
                start = begin
        return start

    @property
    def full(self) -> bool:
        """True while as many calls are in flight as the account allows."""
        return self.concurrency is not None and self.in_flight >= self.concurrency

    def pressure(self, tokens: float, now: float) -> float:
        """The share of the scarcest limit in use after one more request; above 1: no room now.

        It answers for every candidate of every call, hence one look at each window.
        """
        worst = 0.0
        for window in self.windows:
            need = tokens if window.kind == "tokens" else 1.0
            share = 1.0 - (window.room(now) - need) / window.limit
            if share > worst:
                worst = share
        if self.concurrency:
            # A free slot is no scarcity until the last one is taken.
            worst = max(worst, self.in_flight / self.concurrency)
        return worst

    def charge(self, tokens: float, now: float) -> tuple[Charge, ...]:
        """Book one request of `tokens` in every window."""
        self.in_flight += 1
        return tuple(
            window.charge(tokens if window.kind == "tokens" else 1.0, now)
            for window in self.windows
        )

    def settle(
        self, charges: tuple[Charge, ...], *, requests: float, tokens: float, now: float
    ) -> None:
        """Correct what `charge` booked: `requests` is 1, or 0 for a full refund."""
        self.in_flight -= 1
        # A window learned since then is longer than the bookings; it starts from the
        # provider's own count, so nothing is missing from it.
        for window, charge in zip(self.windows, charges, strict=False):
            window.settle(charge, tokens if window.kind == "tokens" else requests, now)

    def window(self, kind: LimitKind, length: float) -> Window | None:
        """The limit of this kind and length, if one is known."""
        for window in self.windows:
            if window.kind == kind and abs(window.length - length) <= 0.01 * length:
                return window
        return None
