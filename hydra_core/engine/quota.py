"""Quota groups: charged before sending, settled afterwards.

Law 1: what is charged is settled exactly once, by the provider's count, by our
       estimate, or by a refund.
Law 2: the limits belong to a group (account x model); keys only point at it.
Doubt: a provider that counts refused requests would need them charged as well.

All times are monotonic seconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hydra_core.engine.windows import NEVER

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hydra_core.engine.ceiling import Ceiling, SlowStart
    from hydra_core.engine.study import Study
    from hydra_core.engine.windows import Charge, Window
    from hydra_core.wire import LimitKind


Booking = tuple[tuple["Window", "Charge"], ...]
"""What one call has booked, and where: a group may gain and lose windows meanwhile."""


class QuotaGroup:
    """The limits that the keys of one account share for one model, and who is in flight.

    `study` is there while not all limits are known; see `engine.study`.
    """

    __slots__ = (
        "_ceiling",
        "_concurrency",
        "_most",
        "in_flight",
        "name",
        "slow_start",
        "study",
        "windows",
    )

    def __init__(
        self, name: str, windows: Iterable[Window] = (), *, concurrency: int | None = None
    ) -> None:
        self.name = name
        self.windows: list[Window] = list(windows)
        self.in_flight = 0
        self.study: Study | None = None
        self.slow_start: SlowStart | None = None
        self._concurrency = concurrency
        self._ceiling: Ceiling | None = None
        self.refresh()

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

    def earliest(self, tokens: float, now: float, *, paced: bool = True) -> float:
        """The first moment from `now` on at which one request of `tokens` fits every limit.

        `NEVER` when it is larger than a limit. Concurrency is not a time: see `full`.
        `paced`: with our own slow start counted.
        """
        start = now
        if paced and self.slow_start is not None:
            start = self.slow_start.opens(self.in_flight, now)
        for window in self.windows:
            need = tokens if window.kind == "tokens" else 1.0
            if need > window.limit and window.tentative:
                need = window.limit  # a guess makes nothing impossible
            begin = window.earliest(need, now)
            if begin > start:
                start = begin
        return start

    @property
    def concurrency(self) -> int | None:
        """The calls that the account allows at once, None where no limit is known."""
        return None if self._most == NEVER else int(self._most)

    @concurrency.setter
    def concurrency(self, stated: int | None) -> None:
        self._concurrency = stated
        self.refresh()

    @property
    def ceiling(self) -> Ceiling | None:
        """The calls at once that a refusal showed to be bearable."""
        return self._ceiling

    @ceiling.setter
    def ceiling(self, ceiling: Ceiling | None) -> None:
        self._ceiling = ceiling
        self.refresh()

    def refresh(self) -> None:
        """Take over what the ceiling allows now."""
        stated = NEVER if self._concurrency is None else self._concurrency
        own = NEVER if self._ceiling is None else self._ceiling.allowed
        self._most = min(stated, own)

    def join(self, other: QuotaGroup) -> None:
        """The other's calls are ours from now on, and so is what was found out about it."""
        self.in_flight += other.in_flight
        known = [c for c in (self._concurrency, other._concurrency) if c is not None]
        self._concurrency = min(known, default=None)
        ceilings = [c for c in (self._ceiling, other._ceiling) if c is not None]
        self._ceiling = min(ceilings, key=lambda ceiling: ceiling.allowed, default=None)
        if self.study is not None and other.study is not None:
            self.study.join(other.study)
        else:
            self.study = None  # one of them knows all its limits, and so all of ours
            self.slow_start = None
        self.refresh()

    @property
    def full(self) -> bool:
        """True while as many calls are in flight as the account allows."""
        return self.in_flight >= self._most

    def held(self, now: float) -> bool:
        """True while the account or our own caution keeps the next call back."""
        if self.in_flight >= self._most:
            return True
        return self.slow_start is not None and self.slow_start.opens(self.in_flight, now) > now

    def weigh(self, tokens: float, now: float) -> tuple[float, float]:
        """How one more request weighs on the limits: its pressure and its strain.

        Pressure is the share of the scarcest limit in use after it; above 1: no room now,
        `NEVER` while the group is `full`. Strain, from 0 to about 1, is half of that and half
        of what the request takes of all limits together, which is least where it has their
        shape: small requests use up the calls of whoever may send many, large ones the
        tokens of whoever may send few. Where no limit is known, the calls under way stand
        for one.

        It answers for every candidate of every call, hence one look at each window.
        """
        in_flight, most = self.in_flight, self._most
        if in_flight >= most:
            return NEVER, NEVER
        # A free slot is no scarcity until the last one is taken.
        worst = in_flight / most
        windows = self.windows
        if not windows and most == NEVER:
            return worst, in_flight / (1.0 + in_flight)
        taken = 0.0
        for window in windows:
            limit = window.limit
            need = tokens if window.kind == "tokens" else 1.0
            if need > limit and window.tentative:
                need = limit
            used = window.spent if now < window.steady_until else window.used(now)
            share = (used + need) / limit
            if share > worst:
                worst = share
            taken += need / limit
        return worst, (worst + taken) / 2.0

    def charge(self, tokens: float, now: float) -> Booking:
        """Book one request of `tokens` in every window."""
        self.in_flight += 1
        return tuple(
            [
                (window, window.charge(tokens if window.kind == "tokens" else 1.0, now))
                for window in self.windows
            ]
        )

    def settle(
        self,
        booking: Booking,
        *,
        requests: float,
        tokens: float,
        now: float,
        answered: bool = True,
    ) -> None:
        """Correct what `charge` booked: `requests` is 1, or 0 for a full refund.

        `answered`: the provider did, so the request had arrived by `now`.
        """
        self.in_flight -= 1
        for window, charge in booking:
            amount = tokens if window.kind == "tokens" else requests
            window.settle(charge, amount, now, answered=answered)

    def window(self, kind: LimitKind, length: float) -> Window | None:
        """The limit of this kind and length, if one is known."""
        for window in self.windows:
            # A length that was stored, or scaled, is not the same to the last bit.
            if window.kind == kind and abs(window.length - length) <= 0.01 * length:
                return window
        return None
