"""One request's journey, as steps that a driver obeys (see `steps`).

A journey is an object, not a generator: it can be printed, asked and abandoned at
any moment. Its methods change the KeyManager, so the gate calls them under its lock.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from hydra_core.drafts import drafted
from hydra_core.engine.ending import Impasse, rejected
from hydra_core.engine.exclusion import (
    avoids_all,
    misshaper,
    no_larger,
    too_small,
    within_credit,
)
from hydra_core.engine.faults import FAULTS, Next
from hydra_core.engine.quality import FIT
from hydra_core.engine.steps import GiveUp, Park, Send
from hydra_core.engine.windows import NEVER
from hydra_core.messages import OK, Attempt, ChatRequest, Fault, Reply, Usage

if TYPE_CHECKING:
    from hydra_core.engine.deployment import Deployment, Lease
    from hydra_core.engine.key_manager import KeyManager
    from hydra_core.engine.queue import Ticket
    from hydra_core.engine.routing import Route
    from hydra_core.engine.size import Size
    from hydra_core.engine.steps import Patience, Step
    from hydra_core.errors import HydraError
    from hydra_core.wire import Answer

# Nobody sleeps longer without looking: a lost bell is a delay, not a hang.
_LONGEST_PARK: Final = 5.0
_LONGEST_BEHIND: Final = 30.0  # for those of whom many stand behind one that looks
# An attempt that gets less, in seconds, could only be charged and blamed for its timeout.
_TOO_SHORT: Final = 0.005
# Credit that others spend meanwhile may pay for less again; so often it is followed down.
_LOWERINGS: Final = 4
_attempt = drafted(Attempt)
_reply = drafted(Reply)


class Dispatch:
    """The journey of one request from its first step to its reply, error or abandonment."""

    __slots__ = (
        "_answered",
        "_avoid",
        "_begun",
        "_deadline",
        "_error",
        "_kept",
        "_lease",
        "_lowered",
        "_parked_at",
        "_patience",
        "_retaken",
        "_route",
        "_size",
        "_started",
        "_ticket",
        "_tried",
        "_waited",
        "attempts",
        "request",
    )

    def __init__(
        self, request: ChatRequest, route: Route, patience: Patience, *, now: float, size: Size
    ) -> None:
        """`now` is the start of the whole call; deadlines count from it."""
        self.request = request
        self.attempts: list[Attempt] = []
        self._route = route
        self._patience = patience
        self._size = size
        self._started = now
        self._begun = now
        limit = request.deadline if request.deadline is not None else patience.timeout
        self._deadline = now + limit
        self._avoid: set[object] = set()
        self._lowered = 0
        if route.windowed or route.credit.said:
            self._avoid = too_small(route, size, now)
            self._ask_for_less(now)
        self._tried: set[object] = set()
        self._ticket: Ticket | None = None
        self._lease: Lease | None = None
        self._parked_at = now  # counts while there is a ticket
        self._waited = 0.0
        self._answered: Reply | None = None
        self._kept: Reply | None = None
        self._retaken = False
        self._error: HydraError | None = None

    @property
    def deadline(self) -> float:
        """When the call must have ended, in monotonic seconds."""
        return self._deadline

    @property
    def started(self) -> float:
        """When the call began, in monotonic seconds."""
        return self._started

    def next_step(self, manager: KeyManager, now: float) -> Step:
        """What the driver must do now."""
        if self._answered is not None:
            return self._answered
        if self._kept is not None:
            return self._retake(manager, self._kept, now)
        if self._error is not None:
            return GiveUp(self._error)
        if self._over(now):
            return self._give_up(manager, self._promise(manager, now), now)
        lease = self._take(manager, now)
        if lease is not None:
            return self._send(lease, now)
        ticket = self._ticket
        if ticket is None:
            ticket = self._ticket = manager.join(
                self._route, self._size, self._avoid, self.request.priority, now
            )
            self._parked_at = now
            lease = self._take(manager, now)
            if lease is not None:
                return self._send(lease, now)
            if manager.room.overfull:
                return self._refuse(manager, self._promise(manager, now), now)
        return self._wait(ticket, manager, now)

    def _retake(self, manager: KeyManager, kept: Reply, now: float) -> Step:
        """Ask one other for a reply that is not in form, if it can start at once."""
        lease = None
        if not self._retaken and not self._over(now):
            self._retaken = True
            self._avoid.add(misshaper(self._route, kept))
            lease = self._take(manager, now)
        if lease is not None:
            return self._send(lease, now)
        self._answered = replace(kept, attempts=tuple(self.attempts))
        return self._answered

    def _take(self, manager: KeyManager, now: float) -> Lease | None:
        """The lease that this journey may use now, if there is one."""
        if self._ticket is not None:
            if self._ticket.lease is None and now >= manager.room.due:
                manager.serve(now)
            return manager.claim(self._ticket, now)
        if manager.room:
            return None  # those who wait are asked first, so it joins them
        return manager.lease(self._route, self._size, self._avoid, now)

    def _send(self, lease: Lease, now: float) -> Send:
        if self._ticket is not None:
            self._stop_waiting(now)
        self._lease = lease
        self._begun = now
        timeout = min(self._patience.attempt_timeout, self._deadline - now)
        return Send(lease, timeout, self._deadline)

    def _wait(self, ticket: Ticket, manager: KeyManager, now: float) -> Step:
        """Park until the earliest start, or give up at once when that is too late."""
        max_wait = self.request.max_wait
        allowed = self._patience.max_wait if max_wait is None else max_wait
        waited = self._waited + now - self._parked_at
        limit = min(self._deadline - _TOO_SHORT, now + allowed - waited)
        if ticket.start <= limit and now < limit:
            return self._park(ticket, ticket.start, now)
        if now < limit and manager.room.keeps(ticket, limit, now):
            return self._park(ticket, limit, now)  # its bell rings when its turn comes
        return self._refuse(manager, self._promise(manager, now), now)

    def _park(self, ticket: Ticket, until: float, now: float) -> Park:
        longest = _LONGEST_PARK if ticket.start < NEVER else _LONGEST_BEHIND
        seconds = min(max(0.001, until - now), longest)
        ticket.parked_until = now + seconds
        return Park(ticket, seconds)

    def _promise(self, manager: KeyManager, now: float) -> float:
        """When this request can start, those counted who go before it."""
        ticket = self._ticket or manager.room.ticket(
            self._route, self._size, self._avoid, self.request.priority
        )
        return manager.room.promise(ticket, now)

    def _refuse(self, manager: KeyManager, start: float, now: float) -> Step:
        """Waiting is of no use: what is left is a probe, or an end that says when."""
        self._drop_ticket(manager, now)
        return self._probe(manager, now) or self._give_up(manager, start, now)

    def _probe(self, manager: KeyManager, now: float) -> Step | None:
        """As a last resort try, once each, those that we only believe to be ill."""
        avoid = self._avoid | self._tried
        lease = manager.lease(self._route, self._size, avoid, now, desperate=True)
        if lease is None:
            return None
        self._tried.add(lease.deployment)
        if lease.deployment.breaker.open_until:
            self._tried.add(lease.deployment.breaker)  # an outage is not met key by key
        return self._send(lease, now)

    def _over(self, now: float) -> bool:
        """No time is left for an attempt."""
        return now > self._deadline - _TOO_SHORT

    def _give_up(self, manager: KeyManager, start: float, now: float) -> GiveUp:
        self._drop_ticket(manager, now)
        first = manager.room.first(self._route, self._size, self._avoid, now)
        impasse = Impasse(self._route, self._size, self._avoid, self.attempts, first)
        self._error = impasse.error(start, now, late=self._over(now))
        return GiveUp(self._error)

    def report(self, manager: KeyManager, answer: Answer, now: float) -> None:
        """How the attempt ended: learn from it, settle its lease, decide what follows."""
        lease, self._lease = self._lease, None
        if lease is None or lease.settled:
            return
        verdict = answer.verdict
        deployment = lease.deployment
        latency = now - self._begun
        outcome = OK if verdict.fault is None else verdict.fault.value
        self.attempts.append(
            _attempt(
                provider=deployment.provider,
                model=deployment.model.name,
                key=deployment.key,
                outcome=outcome,
                status=verdict.status,
                latency=latency,
                waited=self._waited,
                detail=verdict.message,
            )
        )
        manager.accounts.heard(lease, verdict, now)
        if verdict.fault is None:
            self._succeed(manager, lease, answer, now)
        else:
            self._fail(manager, lease, answer, now)

    def _succeed(self, manager: KeyManager, lease: Lease, answer: Answer, now: float) -> None:
        deployment = lease.deployment
        usage = answer.usage
        if usage is not None and usage.total_tokens:  # who counted nothing did not count
            deployment.model.learn(self._size, usage.prompt_tokens, usage.completion_tokens)
        else:
            usage = deployment.model.estimated(self._size, answer.text)
        manager.passed(lease, now - self._begun)
        tokens, cost = float(usage.total_tokens), deployment.model.cost_of(usage)
        manager.settle(lease, now, tokens=tokens, usd=cost, readings=answer.verdict.readings)
        reply = _reply(
            text=answer.text,
            message=answer.message,
            tool_calls=answer.tool_calls,
            finish_reason=answer.finish_reason,
            usage=usage if usage.cost_usd == cost else replace(usage, cost_usd=cost),
            provider=deployment.provider,
            model=deployment.model.name,
            key=deployment.key,
            attempts=tuple(self.attempts),
            latency=now - self._started,
            raw=answer.raw,
        )
        if answer.quality is not None and self._misshapen(deployment, answer.quality, answer.shown):
            self._kept = self._kept or reply
        else:
            self._answered = reply

    def _misshapen(self, deployment: Deployment, quality: float, shown: bool) -> bool:
        """Learn from a reply's form; True when it is worth to ask another for a better one."""
        deployment.score.glanced(quality)
        if quality >= FIT or shown:
            return False
        self.attempts[-1] = replace(
            self.attempts[-1],
            outcome=Fault.INVALID_RESPONSE.value,
            detail="the reply is not in the form that was asked for (JSON, or declared tools)",
        )
        return True

    def _fail(self, manager: KeyManager, lease: Lease, answer: Answer, now: float) -> None:
        verdict = answer.verdict
        fault = verdict.fault or Fault.UNKNOWN
        rule = FAULTS[fault]
        hurried = (
            fault is Fault.TIMEOUT
            and self._over(now)
            and now - self._begun < self._patience.attempt_timeout
        )
        if verdict.out_of_tokens:
            manager.passed(lease, now - self._begun)  # who answers so is well
        elif not answer.cut:
            manager.failed(lease, verdict, now, hurried=hurried)
        self._tried.add(lease.deployment)
        usage = answer.usage if answer.usage and answer.usage.total_tokens else None
        cost = None if usage is None else lease.deployment.model.cost_of(usage)
        charged = rule.charged and answer.sent
        tokens = float(usage.total_tokens) if usage else (None if charged else 0.0)
        requests = 0.0 if verdict.status is None and not charged else 1.0
        manager.settle(
            lease,
            now,
            requests=requests,
            tokens=tokens,
            usd=cost,
            readings=verdict.readings,
            answered=verdict.status is not None,
        )
        if rule.next is Next.STOP or (verdict.out_of_tokens and self._thinks_as_long(lease)):
            self._error = rejected(self.attempts, fault, verdict.message, verdict.status)
        elif rule.next is Next.MOVE_LARGER:
            self._avoid.update(no_larger(self._route, lease.deployment, verdict))
            if avoids_all(self._avoid, self._route) and not self._ask_for_less(now):
                self._error = rejected(self.attempts, fault, verdict.message, verdict.status)

    def _thinks_as_long(self, lease: Lease) -> bool:
        """Whether every other key would use up its tokens, too: none has another model.

        One is asked that has; its model may think less.
        """
        self._avoid.add(lease.deployment.model)
        asked_before, self._retaken = self._retaken, True
        return asked_before or avoids_all(self._avoid, self._route)

    def _ask_for_less(self, now: float) -> bool:
        """Ask for an answer of as many tokens as an account can pay for, where that helps.

        Without a number, providers that are paid in advance want the credit for the
        longest answer that the model can give. What the last calls cost lowers it again.
        """
        said = replace(self._size, max_tokens=None) if self._lowered else self._size
        found = within_credit(self._route, said, self._avoid, now)
        if found is None or not self.request.messages or self._lowered >= _LOWERINGS:
            return False
        group, tokens = found
        params = {**self.request.params, "max_tokens": tokens}
        self.request = replace(self.request, params=params)
        self._size = replace(self._size, max_tokens=tokens)
        self._lowered += 1
        self._avoid.discard(group)
        return not avoids_all(self._avoid, self._route)

    def _ask_as_said(self) -> None:
        """Take back what was lowered for the sake of one account: others have their own credit."""
        if self._lowered:
            params = {name: of for name, of in self.request.params.items() if name != "max_tokens"}
            self.request = replace(self.request, params=params)
            self._size = replace(self._size, max_tokens=None)
            self._lowered = 0

    def abandon(self, manager: KeyManager, now: float, *, usage: Usage | None = None) -> None:
        """End the journey wherever it is; idempotent, synchronous, blames nobody.

        A request that was on its way may have been charged: its booking stays, or
        becomes what a broken-off stream had shown (`usage`).
        """
        self._drop_ticket(manager, now)
        lease, self._lease = self._lease, None
        if lease is not None and not lease.settled:
            if usage is None or not usage.total_tokens:
                manager.settle(lease, now, answered=False)
                return
            cost = lease.deployment.model.cost_of(usage)
            manager.settle(lease, now, tokens=float(usage.total_tokens), usd=cost)

    def withdraw(self, manager: KeyManager, now: float) -> None:
        """End an attempt of which nothing was sent: what was booked for it goes back."""
        lease, self._lease = self._lease, None
        if lease is not None:
            manager.refund(lease, now)

    def _drop_ticket(self, manager: KeyManager, now: float) -> None:
        ticket = self._stop_waiting(now)
        if ticket is not None:
            manager.leave(ticket, now)

    def _stop_waiting(self, now: float) -> Ticket | None:
        """The ticket with which this journey waited until now, if it did."""
        ticket, self._ticket = self._ticket, None
        if ticket is not None:
            self._waited += now - self._parked_at
        return ticket
