"""What a caller could know: is an error explained, are the engine's books right?

The oracle hears what every caller hears and keeps its own notes of it, in its own
arithmetic; it never asks the engine what it believes. Its notes are generous to the
engine: a rest counts as justified for as long as the fault table can make it, a booking
for as long as the request may still be counted.

**Unexplained.** A call that ends with "no capacity" is unexplained if there was, among
the deployments of its route, one that the oracle knows to have been free: no fault of
it, its key, account, model or provider within the time for which such a fault may rest
it; limits that are known (where one of requests or tokens is not, never a refusal for
one, which may have shown it); room in all of them for the most that the call could have
been booked with, every request counted that may still count, and of a bucket no more than
what answers and refusals left of it; a free place; and more such quota groups than there were
other callers in line. One that had stood idle for two seconds, free for every call that its
limits let in at all, is enough however many waited, since any of them could have had it. If nobody
else waited at all, a deployment that was to become free before the caller's patience ended
(by more than two seconds) is enough. A call that ends with a refusal of its content or size
is unexplained unless it was told so by a provider.
"""

from __future__ import annotations

from collections import defaultdict, deque
from itertools import takewhile
from typing import TYPE_CHECKING, Final

from hydra_core.messages import Fault
from hydra_core.testing.limits import COUNTS_TOKENS, WINDOW_SECONDS
from hydra_core.testing.simulation.faults import CHARGED, HANG
from hydra_core.testing.simulation.level import Level
from hydra_core.wire import DAY, MINUTE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hydra_core.testing.keys import LimitName
    from hydra_core.testing.simulation.faults import Trouble
    from hydra_core.testing.simulation.provider import Outcome, Provider, Sent
    from hydra_core.testing.simulation.traffic import Call
    from hydra_core.testing.simulation.world import KeyPlan, ModelPlan

NEVER: Final = float("inf")
_LATE: Final = 1.0
"""Seconds after sending within which a provider may date a request."""

_REMEMBERED_LATE: Final = 0.05
"""By what share of a window the return of what it held may be late after a restart."""

_MINUTE_REST: Final = 60.0
_DAY_REST: Final = DAY
_OUTAGE_REST: Final = 200.0
_SIGN_IN_REST: Final = 600.0
_RECENT: Final = 8
_MANY: Final = 3
_ALIKE: Final = 2
"""An outage of a model may be inferred from `_ALIKE` failures in a row, or from `_MANY`
among the `_RECENT` last calls. It rests everything until a probe passes."""

_SOFT_RESTS: Final[Mapping[Trouble, float]] = {
    Fault.OVERLOADED: 30.0,
    Fault.INVALID_RESPONSE: 30.0,
    Fault.STREAM_BROKEN: 30.0,
    Fault.TIMEOUT: 30.0,
    HANG: 30.0,
    Fault.UNKNOWN: 80.0,
}
"""The longest rest in seconds that one fault may earn a deployment by inference."""

NAMES: Final[Mapping[tuple[str, float], LimitName]] = {
    ("requests", MINUTE): "rpm",
    ("tokens", MINUTE): "tpm",
    ("requests", DAY): "rpd",
    ("tokens", DAY): "tpd",
}
"""The limits by what they count and for how long."""

Place = tuple[str, str]
"""An account and a model, or a key and a model."""


class Booking:
    """One request as the engine had to book it: when, and how many tokens."""

    __slots__ = ("booked", "requests", "sent_at", "tokens")

    def __init__(self, sent_at: float, tokens: float) -> None:
        self.sent_at = sent_at
        self.requests = 1
        self.tokens = self.booked = tokens


class Oracle:
    """Everything that callers heard from one provider."""

    def __init__(self, provider: Provider) -> None:
        self.provider = provider
        self._keys = {key.name: key for key in provider.plan.keys}
        self._models = {model.name: model for model in provider.plan.models}
        self._freed_at: dict[Place, float] = defaultdict(float)
        self._bookings: dict[Place, deque[Booking]] = defaultdict(deque)
        self._of: dict[int, Booking] = {}
        self._open: dict[Place, int] = defaultdict(int)
        self._flying: dict[str, int] = defaultdict(int)
        self._rests: dict[tuple[str | None, str | None], float] = defaultdict(float)
        self._limited: set[Place] = set()
        self._gone: dict[str, set[str]] = defaultdict(set)
        self._lately: dict[str, deque[bool]] = defaultdict(lambda: deque(maxlen=_RECENT))
        self._suspect: dict[str, float] = {}
        self._refused: set[str] = set()
        self._remembered = False
        self._levels = _levels(provider)
        self.unreached_at: float | None = None
        self.answered_at = -NEVER

    def sent(self, sent: Sent, now: float) -> None:
        """A request leaves."""
        place = (sent.key.account, sent.model.name)
        booking = self._of[sent.number] = Booking(now, sent.booked)
        bookings = self._bookings[place]
        while bookings and bookings[0].sent_at < now - DAY - _LATE:
            bookings.popleft()
        bookings.append(booking)
        self._take(place, 1.0, sent.booked, now)
        self._open[place] += 1
        self._flying[sent.model.name] += 1

    def closed(self, sent: Sent, fault: Trouble | None, now: float) -> None:
        """A request is over: only what it really took stays booked, or all if nobody knows."""
        booking = self._of.pop(sent.number)
        booking.requests, booking.tokens = _settled(sent, fault)
        place = (sent.key.account, sent.model.name)
        self._take(place, 0.0, max(0.0, booking.tokens - booking.booked), now)
        self._open[place] -= 1
        self._freed_at[place] = now
        self._flying[sent.model.name] -= 1

    def heard(self, sent: Sent, outcome: Outcome, now: float) -> None:
        """An answer was heard: who may rest because of it, and until when."""
        fault = outcome.fault
        key, model = sent.key.name, sent.model.name
        self._read((sent.key.account, model), outcome, now)
        if fault is Fault.UNREACHABLE:
            self.unreached_at = now
            self._rest((None, None), now + _OUTAGE_REST)
        elif fault != HANG:
            self.answered_at, self.unreached_at = now, None
        if fault is None:
            self._lately[model].append(False)
            if sent.sent_at >= self._suspect.get(model, 0.0):
                self._suspect.pop(model, None)
        elif fault in _SOFT_RESTS:
            self._rest((key, model), now + _SOFT_RESTS[fault])
            self._suspected(model, now)
        else:
            self._refusal(sent, outcome, now)

    def _refusal(self, sent: Sent, outcome: Outcome, now: float) -> None:
        """The provider refused: for how long its words may keep others away."""
        fault, key = outcome.fault, sent.key.name
        account, model = sent.key.account, sent.model.name
        if fault in (Fault.RATE_LIMIT_MINUTE, Fault.RATE_LIMIT_DAY):
            self._limited.add((account, model))
            unsaid = _MINUTE_REST if fault is Fault.RATE_LIMIT_MINUTE else _DAY_REST
            wait = unsaid if outcome.wait is None else max(1.0, outcome.wait)
            self._rest((account, None if outcome.whole_account else model), now + wait)
        elif fault is Fault.QUOTA_EXHAUSTED_BILLING:
            self._rest((account, None), now + _DAY_REST)
        elif fault is Fault.AUTH:
            self._rest((key, None), NEVER)
            self._refused.add(key)
            if len(self._refused) > 1:
                self._rest((None, None), now + _SIGN_IN_REST)
        elif fault is Fault.MODEL_UNAVAILABLE:
            self._rest((account, model), now + _DAY_REST)
            # Who shares an account that is not declared counts for himself.
            self._gone[model].add(account if self.provider.plan.tells_accounts else key)
            if len(self._gone[model]) > 1:
                self._rest((None, model), now + _DAY_REST)

    def _take(self, place: Place, requests: float, tokens: float, now: float) -> None:
        for name in self.provider.plan.limits[place].stated():
            level = self._levels.get((place, name))
            if level is not None:
                level.take(tokens if name in COUNTS_TOKENS else requests, now)

    def _read(self, place: Place, outcome: Outcome, now: float) -> None:
        """What the words of an answer leave of a bucket: by its headers, or by its numbers.

        Those of a refusal count as far as its wait bears them out.
        """
        for reading in outcome.readings:
            if reading.remaining is not None and reading.window is not None:
                level = self._levels.get((place, NAMES[reading.kind, reading.window]))
                if level is not None:
                    level.told(reading.remaining, now)
        refusal = outcome.refusal
        if refusal is None or outcome.wait is None or self.provider.plan.manners != "openai":
            return
        level = self._levels.get((place, refusal.name))
        if level is not None:
            returns = outcome.wait * refusal.limit / WINDOW_SECONDS[refusal.name]
            level.told(max(refusal.limit - refusal.used, refusal.requested - returns), now)

    def _suspected(self, model: str, now: float) -> None:
        """One more failure from which the engine may infer an outage of what many share."""
        lately = self._lately[model]
        lately.append(True)
        if sum(lately) >= _MANY or list(lately)[-_ALIKE:] == [True] * _ALIKE:
            self._suspect[model] = now
            self._rest((None, model), now + _OUTAGE_REST)
            if len(self._suspect) > 1:
                self._rest((None, None), now + _OUTAGE_REST)

    def _rest(self, scope: tuple[str | None, str | None], until: float) -> None:
        self._rests[scope] = max(self._rests[scope], until)

    def restarted(self) -> None:
        """What the engine counted before is remembered from now on, with later dates."""
        self._remembered = True

    def key(self, name: str) -> KeyPlan:
        """The key of this name."""
        return self._keys[name]

    def model(self, name: str) -> ModelPlan:
        """The model of this name."""
        return self._models[name]

    def open_at(self, place: Place) -> int:
        """How many requests to this account and model are under way."""
        return self._open[place]

    def free_from(
        self, key: KeyPlan, model: ModelPlan, call: Call, now: float, *, idle: bool = False
    ) -> float:
        """Since or from when this deployment is surely free for the call; `NEVER`: unknown.

        `idle`: nothing is under way there, and any call could go that its limits let in at all.
        """
        place = (key.account, model.name)
        limits = self.provider.plan.limits[place]
        if self.provider.plan.daily or (limits.stated() and not self.provider.knows(key.account)):
            return NEVER
        if place in self._limited and (limits.rpm is None or limits.tpm is None):
            return NEVER  # it was refused, perhaps for a limit that nobody told
        if self._open[place] >= (1 if idle else limits.concurrency or NEVER):
            return NEVER
        if model.name in self._suspect and self._flying[model.name]:
            return NEVER  # one call may be finding out
        scopes = (
            (None, None), (None, model.name), (key.name, None), (key.account, None),
            (key.name, model.name), place,
        )  # fmt: skip
        rested = max(self._rests.get(scope, 0.0) for scope in scopes)
        if idle or limits.concurrency is not None:
            rested = max(rested, self._freed_at[place])
        most = call.most_tokens()
        for name, limit in limits.stated().items():
            if name in WINDOW_SECONDS:
                need = most if name in COUNTS_TOKENS else 1.0
                if idle and need <= limit:
                    need = float(limit)
                rested = max(rested, self._room(place, name, need, float(limit), now))
        return rested

    def _room(self, place: Place, name: LimitName, need: float, limit: float, now: float) -> float:
        """When `need` surely fits a limit; some moment that is over if it fits already."""
        length = WINDOW_SECONDS[name]
        # A header counts what was there when it was written: it may be heard, and believed,
        # when a part of that has come back.
        weight = 2.0 if self.provider.plan.states_limits else 1.0
        late = _LATE + (_REMEMBERED_LATE * length if self._remembered else 0.0)
        excess = need - limit
        if excess > 0.0:
            return NEVER
        level = self._levels.get((place, name))
        if level is not None:
            return level.fits(need) + late
        for booking in reversed(self._bookings[place]):
            if booking.sent_at + late + length <= now:
                break
            excess += weight * (booking.booked if name in COUNTS_TOKENS else 1.0)
            if excess > 0.0:
                return booking.sent_at + late + length
        return 0.0

    def booked(self, place: Place, name: LimitName, now: float) -> float:
        """The most that a limit's window may hold of what was booked."""
        since = now - WINDOW_SECONDS[name] - _LATE
        recent = takewhile(lambda b: b.sent_at > since, reversed(self._bookings[place]))
        return sum(b.tokens if name in COUNTS_TOKENS else b.requests for b in recent)


def _levels(provider: Provider) -> dict[tuple[Place, LimitName], Level]:
    """The buckets of a provider, all full."""
    if provider.plan.window != "bucket":
        return {}
    return {
        (place, name): Level(float(limit), WINDOW_SECONDS[name])
        for place, limits in provider.plan.limits.items()
        for name, limit in limits.stated().items()
        if name in WINDOW_SECONDS
    }


def _settled(sent: Sent, fault: Trouble | None) -> tuple[int, float]:
    """Requests and tokens that stay booked, by the law of settlement."""
    if fault is None:
        return 1, float(sent.usage.total_tokens)
    if fault is Fault.UNREACHABLE:
        return 0, 0.0
    return 1, sent.booked if fault in CHARGED else 0.0
