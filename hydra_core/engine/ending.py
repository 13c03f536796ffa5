"""How a journey ends without an answer: an error that says what hindered it, and what helps."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Final

from hydra_core.engine.barred import BARRED, all_barred
from hydra_core.engine.choice import allowed_at, expected_at, need_of, start_of
from hydra_core.engine.exclusion import avoids, avoids_all
from hydra_core.engine.explanation import hindrance
from hydra_core.engine.reasons import (
    OFFLINE,
    REFUSED,
    all_refused,
    offline,
    resting_fault,
    shortened,
)
from hydra_core.engine.windows import NEVER
from hydra_core.errors import (
    ContentRefused,
    ContextTooLong,
    DeadlineExceeded,
    PoolExhausted,
    RequestRejected,
)
from hydra_core.messages import Fault

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hydra_core.engine.deployment import Deployment
    from hydra_core.engine.exclusion import Avoid
    from hydra_core.engine.routing import Route
    from hydra_core.engine.size import Size
    from hydra_core.errors import HydraError
    from hydra_core.messages import Attempt

# An error shows at most so many attempts or keys; `attempts` holds them all.
_LINES: Final = 8
# Among so many keys, at most, one is looked for that only waits for its limits.
_LOOKED_AT: Final = 512
_LIMITS: Final = (Fault.RATE_LIMIT_MINUTE, Fault.RATE_LIMIT_DAY)
_KINDS: Final = {Fault.CONTEXT_TOO_LONG: ContextTooLong, Fault.CONTENT_FILTER: ContentRefused}
_REMEDIES: Final = {
    Fault.CONTEXT_TOO_LONG: "Shorten it, add a model with a larger window, or ask with swarm()",
    Fault.CONTENT_FILTER: "The refusal is the provider's answer; no key was blamed",
    Fault.BAD_REQUEST: "Correct the parameter that the provider names",
    Fault.REQUEST_TOO_LARGE: "Lower max_tokens, shorten it, or ask with swarm()",
}


def rejected(
    attempts: Sequence[Attempt], fault: Fault, detail: str, status: int | None
) -> RequestRejected:
    """The last attempt showed that the request itself is at fault."""
    last = attempts[-1]
    said = detail.rstrip(".") or "without a word of why"
    remedy = _REMEDIES.get(fault, "No other key would answer differently")
    return _KINDS.get(fault, RequestRejected)(
        f"{last.provider}/{last.model} via {last.key} refused the request ({fault.value}, "
        f"status {status}): {said}. {remedy}",
        attempts=attempts,
        status=status,
    )


@dataclass(frozen=True, slots=True)
class Impasse:
    """A request that nobody can serve in time: what it is, what was tried, and who is next.

    `first` is the deployment that could start it first, as far as is known.
    """

    route: Route
    size: Size
    avoid: Avoid
    attempts: Sequence[Attempt]
    first: Deployment | None

    def error(self, start: float, now: float, *, late: bool) -> HydraError:
        """The error to end with. `start` is when it could start; `late`: no time is left."""
        if not self.attempts and avoids_all(self.avoid, self.route):
            if any(d.group in self.avoid for d in self.route.deployments):
                return self._beyond_credit(now)
            return ContextTooLong(
                f"the request has about {self.size.chars} characters, more than the context "
                "window of every eligible model; shorten it, or ask with swarm()"
            )
        eta = None if start == NEVER else max(0.0, start - now)
        if eta is None and self._never_fits(now):
            tokens = self.size.known_tokens
            what = f"{self.size.chars} characters" if tokens is None else f"{tokens:.0f} tokens"
            return RequestRejected(
                f"a request of about {what} is larger than the token "
                "limit or the budget of every eligible key; shorten it, lower max_tokens, or use "
                f"swarm().{self._trail(now)}",
                attempts=self.attempts,
            )
        kind = DeadlineExceeded if late and self.attempts else PoolExhausted
        return kind(
            f"route {self.route.name!r}: {self._what(eta, late=late)}.{self._trail(now)}",
            eta=eta,
            attempts=self.attempts,
            offline=offline(self.route),
            causes=tuple(dict.fromkeys(self._causes(now))),
            limit_eta=self._limit_eta(eta, now),
        )

    def _beyond_credit(self, now: float) -> RequestRejected:
        """Nobody can pay for its longest answer, as they said lately."""
        short = (d for d in self.route.deployments if d.group in self.avoid)
        lines = (f"\n  {d.name}: {self.route.credit.told(d.group, now)}" for d in short)
        return RequestRejected(
            "no eligible account has the credit for the longest answer that this request may "
            "have; lower max_tokens, or add credit." + "".join(islice(lines, _LINES))
        )

    def _causes(self, now: float) -> Iterator[str]:
        """What is wrong beyond limits, which pass by themselves: as told now, else as known.

        That of the key which the ETA is of comes first.
        """
        if all_barred(self.route):
            yield BARRED
        for attempt in sorted(self.attempts, key=self._elsewhere):
            if attempt.outcome not in _LIMITS:
                said = shortened(attempt.detail)
                yield f"{attempt.outcome} ({said})" if said else attempt.outcome
        if not self.attempts:
            first = () if self.first is None else (self.first,)
            for deployment in (*first, *islice(self.route.deployments, _LINES)):
                fault = resting_fault(deployment, now)
                if fault is not None and fault not in _LIMITS:
                    yield fault.value

    def _elsewhere(self, attempt: Attempt) -> bool:
        first = self.first
        return first is None or (first.provider, first.model.name, first.key) != (
            attempt.provider,
            attempt.model,
            attempt.key,
        )

    def _limit_eta(self, eta: float | None, now: float) -> float | None:
        """Seconds until a key can start that is well, and held back by limits alone.

        No less than `eta`: those who go before this request go before it there as well.
        """
        first = () if self.first is None else (self.first,)
        well = (
            deployment
            for deployment in (*first, *islice(self.route.deployments, _LOOKED_AT))
            if not avoids(self.avoid, deployment)
            and resting_fault(deployment, now) in (None, *_LIMITS)
        )
        start = min((expected_at(d, self.size, now) for d in islice(well, _LINES)), default=NEVER)
        return None if start == NEVER else max(eta or 0.0, start - now)

    def _what(self, eta: float | None, *, late: bool) -> str:
        """What stands in the way of the whole route, and what helps."""
        if offline(self.route):
            return f"{OFFLINE}. Its keys are well and will be used as soon as something answers"
        if all_barred(self.route):
            return f"no key can serve it from here: {BARRED}"
        if eta is not None and late and self.attempts:
            return (
                f"its deadline passed before an answer came; another try could start in {eta:.1f} "
                "s. Give it a longer deadline"
            )
        if eta == 0.0 and late:
            return "its deadline left no time for an attempt, though one could start at once"
        if eta is not None:
            return (
                f"no capacity in time; it could start in {eta:.1f} s. Ask again then, add a key, "
                "or raise max_wait or the deadline"
            )
        if all_refused(self.route):
            return f"waiting will not help: {REFUSED}, or mend or add a key"
        return "no key can serve, and waiting will not help; mend or add a key"

    def _trail(self, now: float) -> str:
        """What was tried, else who rests and why: one line each."""
        lines = [
            f"{a.provider}/{a.model} via {a.key}: {a.outcome} (status {a.status}) {a.detail}"
            for a in self.attempts[-_LINES:]
        ] or [
            f"{deployment.name}: {why}"
            for deployment in islice(self.route.deployments, _LINES)
            if (why := self._obstacle(deployment, now)) is not None
        ]
        return "".join(f"\n  {line.rstrip()}" for line in lines)

    def _obstacle(self, deployment: Deployment, now: float) -> str | None:
        start = start_of(deployment, self.size, now)
        return hindrance(deployment, self.size, start, now)

    def _never_fits(self, now: float) -> bool:
        """True when the request is larger than a limit or a budget of everybody on the route."""
        return all(
            NEVER
            in (d.group.earliest(need_of(d, self.size), now), allowed_at(d, self.size, now))
            for d in self.route.deployments
            if not avoids(self.avoid, d)
        )
