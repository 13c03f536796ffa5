"""What a caller could know: is an error explained, are the engine's books right?

The oracle hears what every caller hears and keeps its own notes of it, in its own
arithmetic; it never asks the engine what it believes. Its notes are generous to the
engine: a rest counts as justified for as long as the fault table can make it, a booking
for as long as the request may still be counted.

**Unexplained.** A call that ends with "no capacity" is unexplained if there was, among
the deployments of its route, one that the oracle knows to have been free: no fault of
it, its key, account, model or provider within the time for which such a fault may rest
it; limits that are known (where one is not, never a refusal that did not say for what);
room in all of them for the most that the call could have been booked with, as the ledger
counts it; a free place; and more such quota groups than there were other callers in line.
One that had stood idle for two seconds, free for every call that its limits let in at all,
is enough however many waited, since any of them could have had it. If nobody else waited
at all, a deployment that was to become free before the caller's patience ended (by more
than two seconds) is enough. A call that ends with a refusal of its content or size is
unexplained unless it was told so by a provider.
"""

from __future__ import annotations

from collections import defaultdict, deque
from typing import TYPE_CHECKING, Final

from hydra_core.messages import Fault
from hydra_core.testing.limits import COUNTS_TOKENS, WINDOW_SECONDS
from hydra_core.testing.simulation.faults import HANG
from hydra_core.testing.simulation.ledger import NEVER, Ledger
from hydra_core.wire import DAY

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hydra_core.testing.simulation.faults import Trouble
    from hydra_core.testing.simulation.provider import Outcome, Provider, Sent
    from hydra_core.testing.simulation.traffic import Call
    from hydra_core.testing.simulation.world import KeyPlan, ModelPlan

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


class Oracle:
    """Everything that callers heard from one provider."""

    def __init__(self, provider: Provider) -> None:
        self.provider = provider
        self.ledger = Ledger(provider.plan)
        self._keys = {key.name: key for key in provider.plan.keys}
        self._models = {model.name: model for model in provider.plan.models}
        self._rests: dict[tuple[str | None, str | None], float] = defaultdict(float)
        self._limited: dict[str, set[str]] = defaultdict(set)
        self._gone: dict[str, set[str]] = defaultdict(set)
        self._lately: dict[str, deque[bool]] = defaultdict(lambda: deque(maxlen=_RECENT))
        self._suspect: dict[str, float] = {}
        self._refused: set[str] = set()
        self._yields: set[tuple[str, str]] = set()  # refused, and not served since then
        self.unreached_at: float | None = None
        self.answered_at = -NEVER

    def heard(self, sent: Sent, outcome: Outcome, now: float) -> None:
        """An answer was heard: who may rest because of it, and until when."""
        fault = outcome.fault
        key, model = sent.key.name, sent.model.name
        self.ledger.read(sent, outcome, now)
        if fault is Fault.UNREACHABLE:
            self.unreached_at = now
            self._rest((None, None), now + _OUTAGE_REST)
        elif fault != HANG:
            self.answered_at, self.unreached_at = now, None
        if fault is None:
            self._yields.discard((sent.key.account, model))
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
            if outcome.refusal is None or self.provider.plan.manners != "openai":
                self._limited[account].add(model)
            unsaid = _MINUTE_REST if fault is Fault.RATE_LIMIT_MINUTE else _DAY_REST
            wait = unsaid if outcome.wait is None else max(1.0, outcome.wait)
            if fault is Fault.RATE_LIMIT_MINUTE:
                # Who is refused again after a wait has company, and may yield to it for longer.
                wait = max(wait, unsaid) if (account, model) in self._yields else wait
                self._yields.add((account, model))
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

    def key(self, name: str) -> KeyPlan:
        """The key of this name."""
        return self._keys[name]

    def model(self, name: str) -> ModelPlan:
        """The model of this name."""
        return self._models[name]

    def free_from(
        self, key: KeyPlan, model: ModelPlan, call: Call, now: float, *, idle: bool = False
    ) -> float:
        """Since or from when this deployment is surely free for the call; `NEVER`: unknown.

        `idle`: nothing is under way there, and any call could go that its limits let in at all.
        """
        account, plan = key.account, self.provider.plan
        limits, ledger = plan.limits[account, model.name], self.ledger
        if limits.stated() and not self.provider.knows(account):
            return NEVER
        # It was refused without being told for what: perhaps for a limit that nobody told.
        if plan.daily and self._limited[account]:
            return NEVER
        if model.name in self._limited[account] and (limits.rpm is None or limits.tpm is None):
            return NEVER
        place = (account, model.name)
        if ledger.open_at(place) >= (1 if idle else limits.concurrency or NEVER):
            return NEVER
        scopes = (
            (None, None), (None, model.name), (key.name, None), (account, None),
            (key.name, model.name), place,
        )  # fmt: skip
        rested = max(self._rests.get(scope, 0.0) for scope in scopes)
        if idle or limits.concurrency is not None:
            rested = max(rested, ledger.freed_at(place))
        most = call.most_tokens()
        for name, limit in limits.stated().items():
            if name in WINDOW_SECONDS:
                need = most if name in COUNTS_TOKENS else 1.0
                if idle and need <= limit:
                    need = float(limit)
                rested = max(rested, ledger.room_at(place, name, need, now))
        return rested
