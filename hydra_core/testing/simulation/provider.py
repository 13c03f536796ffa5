"""The judge: a provider that counts for itself, refuses by its own books, and notes what is wrong.

It shares no code with the engine. A request is counted when it arrives; refusals are
free; whoever waits as long as he is told is let in. All times are the provider's own
seconds, which run on while its callers' machine sleeps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from hydra_core.messages import Fault
from hydra_core.testing.keys import FakeLimits
from hydra_core.testing.limits import WINDOW_SECONDS, Quota, Refusal
from hydra_core.testing.simulation.faults import CHARGED, FOR_GOOD, HANG, bad_luck
from hydra_core.wire import DAY, LimitReading

if TYPE_CHECKING:
    from collections.abc import Mapping
    from random import Random

    from hydra_core.messages import Usage
    from hydra_core.testing.keys import LimitName
    from hydra_core.testing.simulation.faults import Spell, Trouble
    from hydra_core.testing.simulation.traffic import Call
    from hydra_core.testing.simulation.world import KeyPlan, ModelPlan, ProviderPlan
    from hydra_core.wire import LimitKind

_KINDS: Final[Mapping[LimitName, LimitKind]] = {
    "rpm": "requests",
    "rpd": "requests",
    "tpm": "tokens",
    "tpd": "tokens",
    "concurrency": "concurrency",
}
# Sums of many additions may differ in the last digits, in seconds.
_GRAIN: Final = 1e-6

_SOON: Final = 0.5
"""Seconds after which to ask again where a trouble outlasts what was expected."""

_UNSAID: Final[Mapping[Trouble, float]] = {
    Fault.QUOTA_EXHAUSTED_BILLING: 60.0,
    Fault.MODEL_UNAVAILABLE: 60.0,
}
"""Seconds that anyone must leave alone what refused for such a reason without saying how long."""


class Sent:
    """One request on its way: what the caller sent, and what became of it."""

    __slots__ = (
        "booked",
        "call",
        "closed",
        "decided_at",
        "key",
        "model",
        "number",
        "plan",
        "quotas",
        "sent_at",
        "usage",
    )

    def __init__(
        self,
        number: int,
        call: Call,
        *,
        plan: ProviderPlan,
        key: KeyPlan,
        model: ModelPlan,
        booked: float,
    ) -> None:
        self.number = number
        self.call = call
        self.plan = plan
        self.key = key
        self.model = model
        self.booked = booked
        self.usage: Usage = call.usage(model)
        self.sent_at = 0.0
        self.decided_at = 0.0
        self.closed = False
        self.quotas: tuple[Quota, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the provider does with a request.

    `seconds` until the answer leaves, None: never. `wait` is the wait in seconds that
    it states; `refusal` the limit that refused; `whole_account`: it holds for all models
    of the account; `readings` are what the headers state of the limits.
    """

    seconds: float | None
    fault: Trouble | None = None
    wait: float | None = None
    refusal: Refusal | None = None
    whole_account: bool = False
    readings: tuple[LimitReading, ...] = ()


class Provider:
    """One provider of a world, with its books."""

    def __init__(self, plan: ProviderPlan, rng: Random, fault_rate: float) -> None:
        self.plan = plan
        self.wrongs: list[str] = []
        self._rng = rng
        self._fault_rate = fault_rate
        self._spells: list[Spell] = []
        self._quotas = {place: Quota(limits, scale=1.0) for place, limits in plan.limits.items()}
        daily = FakeLimits(rpd=plan.daily, window=plan.window)
        self._days = {account: Quota(daily, scale=1.0) for account in plan.accounts}
        self._saturated: dict[tuple[str, str], tuple[float, Fault]] = {}
        self._waits: dict[tuple[str, str | None], float] = {}
        self._alone = {
            account: plan.tells_accounts
            or sum(key.account == account for key in plan.keys) == 1
            for account in plan.accounts
        }

    def begin(self, spell: Spell) -> None:
        """A trouble begins."""
        self._spells.append(spell)

    def end(self, spell: Spell) -> None:
        """A trouble ends."""
        self._spells.remove(spell)

    def knows(self, account: str) -> bool:
        """True when the configuration told the limits of this account, and who shares them."""
        return self.plan.tells_limits and self._alone[account]

    def quota(self, account: str, model: str) -> Quota:
        """What an account has used of a model."""
        return self._quotas[account, model]

    def cooling(self, sent: Sent, now: float) -> float:
        """How long the sender should still have waited, by what it had heard; 0 if it may send."""
        account = sent.key.account
        until = max(
            self._waits.get((sent.key.name, None), 0.0),
            self._waits.get((account, None), 0.0) if self._alone[account] else 0.0,
            self._waits.get((account, sent.model.name), 0.0) if self._alone[account] else 0.0,
            self._waits.get((sent.key.name, sent.model.name), 0.0),
        )
        return until - now if until > now + _GRAIN else 0.0

    def heard(self, sent: Sent, outcome: Outcome, refused_at: float) -> None:
        """The refusal has reached its caller: from now on its wait is known to him.

        Keys whose common account is not declared answer each for itself.
        """
        if outcome.fault is Fault.AUTH:
            self._waits[sent.key.name, None] = FOR_GOOD
            return
        wait = outcome.wait if outcome.wait is not None else _UNSAID.get(outcome.fault or "")
        if wait is None:
            return
        owners = [sent.key.name]
        if self._alone[sent.key.account]:
            owners.append(sent.key.account)
        model = None if outcome.whole_account else sent.model.name
        for owner in owners:
            place = (owner, model)
            self._waits[place] = max(self._waits.get(place, 0.0), refused_at + wait)

    def arrive(self, sent: Sent, now: float) -> Outcome:
        """Decide what becomes of a request that arrives at `now`."""
        trouble, until = self._trouble(sent, now)
        if trouble is Fault.UNREACHABLE:
            return Outcome(self._rng.uniform(0.0, 2.0), trouble)
        if trouble is not None and trouble not in CHARGED:
            return self._refuse(sent, trouble, until, now)
        refusal, whole = self._over_limit(sent, now)
        if refusal is not None:
            return self._limited(sent, refusal, whole_account=whole)
        self._enter(sent, now)
        if trouble == HANG:
            return Outcome(None, trouble)
        seconds = sent.model.latency * self._rng.uniform(0.5, 2.0)
        return Outcome(seconds, trouble, readings=self._readings(sent, now))

    def finish(self, sent: Sent) -> None:
        """The answer has left, or the caller has hung up: its place is free."""
        quotas, sent.quotas = sent.quotas, ()
        for quota in quotas:
            quota.leave()

    def _trouble(self, sent: Sent, now: float) -> tuple[Trouble | None, float]:
        """What is wrong with this call, and until when; None: nothing."""
        for spell in self._spells:
            if spell.meets(sent.key, sent.model.name):
                return spell.kind, spell.ends
        until, fault = self._saturated.get((sent.key.account, sent.model.name), (0.0, None))
        if until > now + _GRAIN:
            return fault, until
        if self._fault_rate and self._rng.random() < self._fault_rate:
            return bad_luck(self._rng), 0.0
        return None, 0.0

    def _refuse(self, sent: Sent, trouble: Trouble, until: float, now: float) -> Outcome:
        wait: float | None = None
        refusal: Refusal | None = None
        if trouble in (Fault.RATE_LIMIT_MINUTE, Fault.RATE_LIMIT_DAY):
            fault = Fault(trouble)
            if not until:
                until = now + self._rng.choice([0.5, 4.0, 20.0])
                if fault is Fault.RATE_LIMIT_DAY:
                    until = now + 1800.0
                self._saturated[sent.key.account, sent.model.name] = (until, fault)
            wait = max(_SOON, until - now)
            refusal = _invented(sent, "rpd" if fault is Fault.RATE_LIMIT_DAY else "rpm", wait)
        whole = trouble is Fault.QUOTA_EXHAUSTED_BILLING
        return self._said(Outcome(self._quickly(), trouble, wait, refusal, whole_account=whole))

    def _limited(self, sent: Sent, refusal: Refusal, *, whole_account: bool) -> Outcome:
        """Refused by the books: if the caller could know them, he has passed a limit."""
        account = sent.key.account
        known = self.knows(account) and not whole_account and not sent.closed
        sure = sent.call.size.known_tokens is not None or _KINDS[refusal.name] != "tokens"
        if known and sure:
            self.wrongs.append(
                f"{self.plan.name}/{sent.model.name}, account {account}: {refusal.name} of "
                f"{refusal.limit} passed, {refusal.used} used and {refusal.requested} asked"
            )
        fault: Trouble = Fault.RATE_LIMIT_MINUTE
        if WINDOW_SECONDS.get(refusal.name, 0.0) >= DAY:
            fault = Fault.RATE_LIMIT_DAY
        if refusal.never:
            fault = Fault.REQUEST_TOO_LARGE
        wait = None if refusal.never else refusal.wait
        return self._said(
            Outcome(self._quickly(), fault, wait, refusal, whole_account=whole_account)
        )

    def _said(self, outcome: Outcome) -> Outcome:
        """The refusal as this provider words it: some do not say how long, nor for what."""
        fault, wait, whole = outcome.fault, outcome.wait, outcome.whole_account
        if self.plan.manners == "silent":
            wait = None
        if self.plan.manners != "openai":
            whole = whole and fault is Fault.QUOTA_EXHAUSTED_BILLING
            if fault is Fault.RATE_LIMIT_DAY:
                fault = Fault.RATE_LIMIT_MINUTE
        return Outcome(outcome.seconds, fault, wait, outcome.refusal, whole)

    def _quickly(self) -> float:
        return self._rng.uniform(0.02, 0.2)

    def _over_limit(self, sent: Sent, now: float) -> tuple[Refusal | None, bool]:
        day = self._days[sent.key.account].refusal(0, now)
        if day is not None:
            return day, True
        quota = self._quotas[sent.key.account, sent.model.name]
        return quota.refusal(sent.usage.total_tokens, now), False

    def _enter(self, sent: Sent, now: float) -> None:
        quotas = (
            self._quotas[sent.key.account, sent.model.name],
            self._days[sent.key.account],
        )
        for quota in quotas:
            quota.enter(sent.usage.total_tokens, now)
        sent.quotas = quotas
        if sent.closed:
            self.finish(sent)

    def _readings(self, sent: Sent, now: float) -> tuple[LimitReading, ...]:
        """What the headers of an answer state of the limits, if this provider has any."""
        if not self.plan.states_limits:
            return ()
        quota = self._quotas[sent.key.account, sent.model.name]
        found = []
        for name in ("rpm", "tpm", "rpd", "tpd"):
            gauge = quota.gauge(name, now)
            if gauge is not None:
                found.append(
                    LimitReading(
                        _KINDS[name],
                        WINDOW_SECONDS[name],
                        float(gauge.limit),
                        float(gauge.remaining),
                        gauge.reset,
                    )
                )
        return tuple(found)


def _invented(sent: Sent, name: LimitName, wait: float) -> Refusal:
    """A refusal for others' use of the account, worded with the account's own limit."""
    stated = sent.plan.limits[sent.key.account, sent.model.name].stated()
    limit = stated.get(name, 10_000)
    return Refusal(name, limit, limit, 1, wait)
