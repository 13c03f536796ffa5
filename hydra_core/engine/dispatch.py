"""One request's journey, as steps that a driver obeys.

    Send(lease, timeout)   put it on the wire and report how it ended
    Park(ticket, seconds)  no capacity: wait for the ticket's bell, at most this long
    Reply                  the answer itself; the journey is over
    GiveUp(error)          no answer in time, or none possible: degrade or raise

A journey is an object, not a generator: it can be printed, asked and abandoned at
any moment. Its methods change the KeyManager, so the gate calls them under its lock.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple

from hydra_core.engine.choice import allowed_at, avoids, disallowed, need_of
from hydra_core.engine.deployment import Size
from hydra_core.engine.faults import FAULTS, Next
from hydra_core.engine.quality import FIT
from hydra_core.engine.reasons import OFFLINE, REFUSED, all_refused, offline, reason
from hydra_core.engine.windows import NEVER
from hydra_core.errors import (
    ContentRefused,
    ContextTooLong,
    DeadlineExceeded,
    HydraError,
    PoolExhausted,
    RequestRejected,
)
from hydra_core.messages import OK, Attempt, ChatRequest, Fault, Reply, Usage

if TYPE_CHECKING:
    from hydra_core.engine.deployment import Deployment, Lease, ModelFacts
    from hydra_core.engine.key_manager import KeyManager
    from hydra_core.engine.promise import Promise
    from hydra_core.engine.queue import Ticket
    from hydra_core.engine.routing import Route
    from hydra_core.wire import Answer

# A prompt is kept from a model's window only when it is surely longer: the estimate
# errs upwards by its deviation.
_SURELY_LONGER: Final = 1.15
# Nobody sleeps longer without looking: a lost bell is a delay, not a hang.
_LONGEST_PARK: Final = 5.0
_LONGEST_BEHIND: Final = 30.0  # for those of whom many stand behind one that looks
# An attempt that gets less, in seconds, could only be charged and blamed for its timeout.
_TOO_SHORT: Final = 0.005
# An answer of fewer tokens is not worth asking for.
_WORTH_ASKING: Final = 64
# An error shows at most so many attempts or keys; `attempts` holds them all.
_LINES: Final = 8
_PART_CHARS: Final = 4000  # of an image or file part: its size says nothing of its tokens


class Send(NamedTuple):
    """Put the request on the wire with this lease, for at most `timeout` seconds.

    A stream is given `timeout` until it begins and `deadline` (monotonic) until it ends.
    """

    lease: Lease
    timeout: float
    deadline: float


@dataclass(frozen=True, slots=True)
class Park:
    """Wait until the ticket's bell rings, at most `seconds`."""

    ticket: Ticket
    seconds: float


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The journey ends without an answer."""

    error: HydraError


Step = Send | Park | Reply | GiveUp


@dataclass(frozen=True, slots=True)
class Patience:
    """How long one call may take, in seconds: waiting for capacity, one try, everything."""

    max_wait: float = 30.0
    attempt_timeout: float = 60.0
    timeout: float = 120.0


def size_of(request: ChatRequest) -> Size:
    """The request's size in characters, before anyone counts its tokens."""
    chars = 0
    for message in request.messages:
        content = message.get("content")
        if isinstance(content, str):
            chars += len(content)
        elif isinstance(content, list):
            for part in content:
                text = part.get("text") if isinstance(part, dict) else None
                chars += len(text) if isinstance(text, str) else _PART_CHARS
        if calls := message.get("tool_calls"):
            chars += len(str(calls))
    if request.params:
        for name in ("tools", "response_format"):
            if extra := request.params.get(name):
                chars += len(str(extra))
    return Size(chars, len(request.messages), request.max_tokens)


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
        self._tried: set[object] = set()
        self._ticket: Ticket | None = None
        self._lease: Lease | None = None
        self._parked_at: float | None = None
        self._waited = 0.0
        self._answered: Reply | None = None
        self._kept: Reply | None = None
        self._retaken = False
        self._error: HydraError | None = None
        self._keep_out_of_small_windows()

    @property
    def deadline(self) -> float:
        """When the call must have ended, in monotonic seconds."""
        return self._deadline

    def _keep_out_of_small_windows(self) -> None:
        for model in self._route.windowed:
            window = model.context_window or 0
            if model.prompt_tokens(self._size) > _SURELY_LONGER * window:
                self._avoid.add(model)

    def next_step(self, manager: KeyManager, now: float) -> Step:
        """What the driver must do now."""
        if self._answered is not None:
            return self._answered
        if self._kept is not None:
            return self._retake(manager, self._kept, now)
        if self._error is not None:
            return GiveUp(self._error)
        if self._over(now):
            return self._give_up(manager, self._promise(manager, now).likely, now)
        lease = self._take(manager, now)
        if lease is not None:
            return self._send(lease, now)
        if self._ticket is None:
            self._ticket = manager.join(
                self._route, self._size, self._avoid, self.request.priority, now
            )
            self._parked_at = now
            lease = self._take(manager, now)
            if lease is not None:
                return self._send(lease, now)
            if manager.room.overfull:
                return self._refuse(manager, self._promise(manager, now).likely, now)
        return self._wait(manager, now)

    def _retake(self, manager: KeyManager, kept: Reply, now: float) -> Step:
        """Ask one other for a reply that is not in form, if it can start at once."""
        lease = None
        if not self._retaken and not self._over(now):
            self._retaken = True
            self._avoid.add(self._misshaper(kept))
            lease = self._take(manager, now)
        if lease is not None:
            return self._send(lease, now)
        self._answered = replace(kept, attempts=tuple(self.attempts))
        return self._answered

    def _misshaper(self, kept: Reply) -> Deployment | ModelFacts:
        """Who is not asked again: the model, where there is another, else the deployment."""
        place = (kept.provider, kept.model, kept.key)
        deployments = self._route.deployments
        last = next(d for d in deployments if (d.provider, d.model.name, d.key) == place)
        return last if all(d.model is last.model for d in deployments) else last.model

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
        if self._parked_at is not None:
            self._waited += now - self._parked_at
            self._parked_at = None
        self._ticket = None
        self._lease = lease
        self._begun = now
        timeout = min(self._patience.attempt_timeout, self._deadline - now)
        return Send(lease, timeout, self._deadline)

    def _wait(self, manager: KeyManager, now: float) -> Step:
        """Park until the earliest start, or give up at once when that is too late."""
        ticket = self._ticket
        if ticket is None:  # pragma: no cover - next_step joins the line before it waits
            raise AssertionError
        max_wait = self.request.max_wait
        allowed = self._patience.max_wait if max_wait is None else max_wait
        parked_at = now if self._parked_at is None else self._parked_at
        waited = self._waited + now - parked_at
        limit = min(self._deadline - _TOO_SHORT, now + allowed - waited)
        if ticket.start <= limit and now < limit:
            return self._park(ticket, ticket.start, now)
        promise = self._promise(manager, now)
        if promise.surely <= limit and now < limit:
            return self._park(ticket, limit, now)  # its bell rings when its turn comes
        return self._refuse(manager, promise.likely, now)

    def _park(self, ticket: Ticket, until: float, now: float) -> Park:
        longest = _LONGEST_PARK if ticket.start < NEVER else _LONGEST_BEHIND
        seconds = min(max(0.001, until - now), longest)
        ticket.parked_until = now + seconds
        return Park(ticket, seconds)

    def _promise(self, manager: KeyManager, now: float) -> Promise:
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
        self._error = self._exhausted(start, now)
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
            Attempt(
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
            usage = self._estimated(deployment.model, answer.text)
        manager.passed(lease, now - self._begun)
        tokens, cost = float(usage.total_tokens), _cost(deployment, usage)
        manager.settle(lease, now, tokens=tokens, usd=cost, readings=answer.verdict.readings)
        reply = Reply(
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

    def _estimated(self, model: ModelFacts, text: str) -> Usage:
        """What a call used that reported nothing: of a lease, all that was announced."""
        usage = Usage(int(model.prompt_tokens(self._size)), len(text) // 4)
        if self._size.known_tokens is None:
            return usage
        return replace(usage, cost_usd=model.dearest_usd(usage.total_tokens))

    def _fail(self, manager: KeyManager, lease: Lease, answer: Answer, now: float) -> None:
        verdict = answer.verdict
        fault = verdict.fault or Fault.UNKNOWN
        rule = FAULTS[fault]
        hurried = (
            fault is Fault.TIMEOUT
            and self._over(now)
            and now - self._begun < self._patience.attempt_timeout
        )
        manager.failed(lease, verdict, now, hurried=hurried)
        self._tried.add(lease.deployment)
        usage = answer.usage if answer.usage and answer.usage.total_tokens else None
        cost = None if usage is None else _cost(lease.deployment, usage)
        tokens = float(usage.total_tokens) if usage else (None if rule.charged else 0.0)
        requests = 0.0 if verdict.status is None and not rule.charged else 1.0
        manager.settle(
            lease,
            now,
            requests=requests,
            tokens=tokens,
            usd=cost,
            readings=verdict.readings,
            answered=verdict.status is not None,
        )
        if rule.next is Next.STOP:
            self._error = self._rejected(fault, verdict.message, verdict.status)
        elif rule.next is Next.MOVE_LARGER:
            self._rule_out(lease.deployment, fault)
            left = not all(avoids(self._avoid, d) for d in self._route.deployments)
            if not left and not self._afforded(lease.deployment, verdict.affordable_tokens):
                self._error = self._rejected(fault, verdict.message, verdict.status)

    def _afforded(self, deployment: Deployment, tokens: int | None) -> bool:
        """Ask once more for an answer of as many tokens as the account says it can pay for.

        Only where the caller named no number: without one, providers that are paid in
        advance want the credit for the longest answer that the model can give.
        """
        asked = self.request
        if tokens is None or tokens < _WORTH_ASKING or asked.max_tokens or not asked.messages:
            return False
        self.request = replace(asked, params={**asked.params, "max_tokens": tokens})
        self._size = replace(self._size, max_tokens=tokens)
        self._avoid.discard(deployment.group)
        return True

    def _rule_out(self, deployment: Deployment, fault: Fault) -> None:
        """Leave aside whatever cannot hold more than the deployment that refused."""
        if fault is Fault.REQUEST_TOO_LARGE:
            self._avoid.add(deployment.group)
            return
        window = deployment.model.context_window
        self._avoid.add(deployment.model)
        for other in self._route.deployments:
            their = other.model.context_window
            if window is not None and their is not None and their <= window:
                self._avoid.add(other.model)

    def abandon(self, manager: KeyManager, now: float, *, usage: Usage | None = None) -> None:
        """End the journey wherever it is; idempotent, synchronous, blames nobody.

        A request that was on its way may have been charged: its booking stays, or
        becomes what a broken-off stream had shown (`usage`).
        """
        if self._ticket is not None:
            self._drop_ticket(manager, now)
        lease, self._lease = self._lease, None
        if lease is not None and not lease.settled:
            if usage is None or not usage.total_tokens:
                manager.settle(lease, now, answered=False)
                return
            cost = _cost(lease.deployment, usage)
            manager.settle(lease, now, tokens=float(usage.total_tokens), usd=cost)

    def _drop_ticket(self, manager: KeyManager, now: float) -> None:
        ticket, self._ticket = self._ticket, None
        if ticket is not None:
            if self._parked_at is not None:
                self._waited += now - self._parked_at
                self._parked_at = None
            manager.leave(ticket, now)

    def _rejected(self, fault: Fault, detail: str, status: int | None) -> RequestRejected:
        last = self.attempts[-1]
        where = f"{last.provider}/{last.model} via {last.key}"
        kinds = {Fault.CONTEXT_TOO_LONG: ContextTooLong, Fault.CONTENT_FILTER: ContentRefused}
        remedy = _REMEDIES.get(fault, "no other key would answer differently")
        return kinds.get(fault, RequestRejected)(
            f"{where} refused the request ({fault.value}, status {status}): "
            f"{detail.rstrip('.')}. {remedy}",
            attempts=self.attempts,
            status=status,
        )

    def _exhausted(self, start: float, now: float) -> HydraError:
        if not self.attempts and all(avoids(self._avoid, d) for d in self._route.deployments):
            return ContextTooLong(
                f"the request has about {self._size.chars} characters, more than the context "
                "window of every eligible model; shorten it, or ask with swarm()"
            )
        eta = None if start == NEVER else max(0.0, start - now)
        if eta is None and self._size_never_fits(now):
            return RequestRejected(
                f"a request of about {self._size.chars} characters is larger than the token "
                "limit or the budget of every eligible key; shorten it, lower max_tokens, or use "
                f"swarm().{self._state(now)}",
                attempts=self.attempts,
            )
        late = self._over(now) and bool(self.attempts)
        kind = DeadlineExceeded if late else PoolExhausted
        unreached = offline(self._route)
        if unreached:
            what = f"{OFFLINE}. Its keys are well and will be used as soon as something answers"
        elif eta is None and all_refused(self._route):
            what = f"waiting will not help: {REFUSED}, or mend or add a key"
        elif eta is None:
            what = "no key can serve, and waiting will not help; mend or add a key"
        else:
            what = (
                f"no capacity in time; it could start in {eta:.1f} s. Ask again then, add a key, "
                "or raise max_wait or the deadline"
            )
        return kind(
            f"route {self._route.name!r}: {what}.{self._state(now)}",
            eta=eta,
            attempts=self.attempts,
            offline=unreached,
        )

    def _state(self, now: float) -> str:
        """What was tried, else who rests and why: one line each."""
        lines = [
            f"{a.provider}/{a.model} via {a.key}: {a.outcome} (status {a.status}) {a.detail}"
            for a in self.attempts[-_LINES:]
        ] or [
            f"{deployment.name}: {why}"
            for deployment in islice(self._route.deployments, _LINES)
            if (why := self._obstacle(deployment, now)) is not None
        ]
        return "".join(f"\n  {line.rstrip()}" for line in lines)

    def _obstacle(self, deployment: Deployment, now: float) -> str | None:
        return reason(deployment, now) or disallowed(deployment, self._size, now)

    def _size_never_fits(self, now: float) -> bool:
        return all(
            NEVER
            in (
                d.group.earliest(need_of(d, self._size), now),
                allowed_at(d, self._size, now),
            )
            for d in self._route.deployments
            if not avoids(self._avoid, d)
        )


def _cost(deployment: Deployment, usage: Usage) -> float | None:
    """What a call cost in USD: as its reply says, else by the model's prices, where known."""
    if usage.cost_usd is not None:
        return usage.cost_usd
    return deployment.model.cost(usage.prompt_tokens, usage.completion_tokens)


_REMEDIES: Final = {
    Fault.CONTEXT_TOO_LONG: "Shorten it, add a model with a larger window, or ask with swarm()",
    Fault.CONTENT_FILTER: "The refusal is the provider's answer; no key was blamed",
    Fault.BAD_REQUEST: "Correct the parameter that the provider names",
    Fault.REQUEST_TOO_LARGE: "Lower max_tokens, shorten it, or ask with swarm()",
}
