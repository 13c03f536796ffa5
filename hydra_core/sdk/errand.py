"""One SDK request's way through the pool: what both of its drivers do between two waits."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from hydra_core.dialects.json_body import loads
from hydra_core.dialects.streams import EventReader
from hydra_core.drive.gate import ThreadBell
from hydra_core.drive.redaction import Forms, Veil, redact_bytes
from hydra_core.drive.stream_record import StreamPatience, StreamRecord
from hydra_core.engine.dispatch import Dispatch
from hydra_core.engine.fallback import FallbackDispatch
from hydra_core.engine.routing import Route
from hydra_core.engine.size import size_of
from hydra_core.engine.steps import GiveUp, Patience
from hydra_core.errors import HydraError, RequestRejected, StreamBroken
from hydra_core.messages import ChatRequest, Fault, Reply
from hydra_core.sdk.events import EventSteps, ReasoningShown, any_usage
from hydra_core.sdk.reply import (
    SdkReply,
    refused,
    refused_for,
    response_headers,
    route_headers,
)
from hydra_core.sdk.request import Reception, SdkRequest
from hydra_core.sdk.streams import Flow
from hydra_core.wire import Answer, Failed, Replied, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from hydra_core.config import HydraConfig
    from hydra_core.dialects.base import StreamReader
    from hydra_core.drive.exchange import Exchange
    from hydra_core.drive.gate import Gate
    from hydra_core.engine.deployment import Deployment
    from hydra_core.engine.key_manager import KeyManager
    from hydra_core.engine.steps import Send
    from hydra_core.sdk.reply import RawHeaders
    from hydra_core.stats import Tally
    from hydra_core.vault import Secret
    from hydra_core.wire import WireRequest

# Written to learn a deployment's address and headers from its dialect.
_ANY_CHAT: Final = ChatRequest([{"role": "user", "content": "-"}])
_UNSPOKEN: Final = (
    "every provider of {!r} speaks another language than OpenAI's or does not serve {}; use its "
    "own SDK with its own base URL, or Hydra.chat()"
)


@dataclass(frozen=True, slots=True)
class SdkPool:
    """What SDK requests need of a Hydra. `check_open` raises HydraClosed after its end."""

    gate: Gate
    exchange: Exchange
    config: HydraConfig
    tally: Tally
    check_open: Callable[[], None]


class SdkDesk:
    """Takes SDK requests in and sends each on its errand. Serves threads and loops alike."""

    def __init__(self, pool: SdkPool) -> None:
        config = pool.config
        providers = config.resolve()
        self.pool = pool
        self.dialects: Final = {provider.name: provider.dialect for provider in providers}
        self.patience: Final = StreamPatience(config.first_token_timeout, config.stall_timeout)
        self._patience = Patience(config.max_wait, config.attempt_timeout, config.timeout)
        self._steps_down = config.on_exhausted == "answer"
        self._reception = Reception(providers, config.aliases)
        self._routes: dict[tuple[Route, tuple[str, ...]], Route] = {}

    def receive(
        self,
        method: str,
        url: str,
        headers: Iterable[tuple[str, str]],
        body: bytes,
        *,
        read_timeout: float | None,
    ) -> Errand | SdkReply:
        """The errand of a request, or the reply to one that no key is needed or found for."""
        try:
            self.pool.check_open()
            request = self._reception.receive(method, url, headers, body, read_timeout=read_timeout)
            if isinstance(request, SdkReply):
                return request
            return Errand(self, request, self._journey(request))
        except RequestRejected as error:  # no route; once there is one, a journey ends with errors
            return refused(404, "model_not_found", str(error))
        except HydraError as error:
            return refused_for(error)

    def _journey(self, request: SdkRequest) -> Dispatch:
        chat = request.as_chat()
        size = size_of(chat)
        if request.endpoint.endswith("embeddings"):
            size = replace(size, max_tokens=0)  # nothing is written

        def begin(manager: KeyManager, now: float) -> Dispatch:
            find, provider, lane = manager.routes.find, request.provider, request.lane
            route = self._spoken(
                find(provider=provider, model=request.model, lane=lane), request.dialects
            )
            if not route.deployments:
                raise RequestRejected(_UNSPOKEN.format(route.name, request.endpoint))
            if self._steps_down and request.model is None:
                smaller = self._spoken(
                    find(provider=provider, lane=lane, smaller=True), request.dialects
                )
                if smaller.tiers:
                    return FallbackDispatch(
                        chat, route, self._patience, now=now, size=size, smaller=smaller
                    )
            return Dispatch(chat, route, self._patience, now=now, size=size)

        return self.pool.gate.ask(begin)

    def _spoken(self, route: Route, speakers: tuple[str, ...]) -> Route:
        """The route without the providers that do not speak the request's language.

        Called under the gate's lock. A route that needs no change is the one that all
        other calls wait in line for.
        """
        if all(self.dialects[d.provider] in speakers for d in route.deployments):
            return route
        found = self._routes.get((route, speakers))
        if found is None:
            tiers = [
                [d for d in tier.deployments if self.dialects[d.provider] in speakers]
                for tier in route.tiers
            ]
            found = self._routes[route, speakers] = Route(route.name, tiers, route.credit)
        return found


class Errand:
    """One SDK request under way: writes each attempt, reads its outcome, keeps the response."""

    def __init__(self, desk: SdkDesk, request: SdkRequest, journey: Dispatch) -> None:
        self.request = request
        self.journey = journey
        self._desk = desk
        self._gate = desk.pool.gate
        self._exchange = desk.pool.exchange
        self._kept: SdkReply | None = None

    def write(self, send: Send) -> tuple[WireRequest, Secret | None]:
        """The request for the leased deployment, and the key that the transport attaches."""
        deployment = send.lease.deployment
        wire, secret = self._exchange.write(_ANY_CHAT, deployment)
        return self.request.addressed(wire, deployment), secret

    def seconds(self, send: Send) -> float:
        """How long the response may take, of a stream its beginning: the shortest limit counts."""
        limits = [send.timeout]
        if self.request.read_timeout is not None:
            limits.append(self.request.read_timeout)
        if self.request.stream:
            limits.append(self.patience.first_token)
        return max(0.001, min(limits))

    def took(self, send: Send, outcome: Replied | Failed) -> None:
        """An attempt is over: learn from it, and keep the response in case it is the last."""
        deployment = send.lease.deployment
        answer = self._read(outcome, deployment)
        self._gate.report(self.journey, answer)
        if isinstance(outcome, Failed):
            return
        # A reply of status 200 that is no answer would be taken for one, unless it says
        # itself why it is empty.
        if answer.verdict.fault is None or outcome.status // 100 != 2 or answer.message:
            secret = self._exchange.line(deployment).secret
            self._kept = SdkReply(
                outcome.status,
                self._headers(deployment, outcome.headers, len(self.journey.attempts)),
                redact_bytes(outcome.body, secret),
            )

    def raised(self, send: Send, error: Exception) -> None:
        """The transport raised, against its promise: the attempt failed, and no more than that."""
        self.took(send, self._exchange.raised(error))

    def end(self, end: Reply | GiveUp) -> SdkReply:
        """What the SDK is told: the answer, the last refusal, or why nothing could be sent."""
        tally = self._desk.pool.tally
        if isinstance(end, GiveUp):
            tally.gave_up(end.error)
            return refused_for(end.error) if self._kept is None else self._kept.final()
        tally.replied(end)
        if self._kept is None:  # pragma: no cover - `took` keeps what it reports as good
            raise AssertionError
        return self._kept

    def abandon(self) -> None:
        """Leave the journey wherever it is; idempotent."""
        self._gate.abandon(self.journey)

    @property
    def patience(self) -> StreamPatience:
        """The shorter of Hydra's pauses and the SDK's."""
        own, theirs = self._desk.patience, self.request.read_timeout
        if theirs is None:
            return own
        return StreamPatience(min(own.first_token, theirs), min(own.stall, theirs))

    def flow(self, send: Send, status: int, headers: Mapping[str, str], begun: float) -> Flow:
        """The flow of a stream that began well at `begun` (monotonic seconds)."""
        deployment = send.lease.deployment
        forms = Forms(self._exchange.line(deployment).secret)
        record = StreamRecord(
            deployment,
            self._reader(deployment, status, headers),
            self.patience,
            begun=begun,
            deadline=send.deadline,
            prompt_tokens=int(deployment.model.prompt_tokens(send.lease.size)),
            veil=Veil(forms, self._exchange.secrets),
        )
        return Flow(
            record,
            self._settle,
            status=status,
            headers=self._headers(deployment, headers, len(self.journey.attempts) + 1),
            clock=self._gate.clock,
            stall=self.patience.stall,
            forms=forms,
            raised=self._exchange.raised,
        )

    def _settle(self, record: StreamRecord) -> None:
        """A stream is over: it ended, failed before it was shown, broke off, or was left."""
        answer, tally = record.answer, self._desk.pool.tally
        if answer is None:
            self._gate.abandon(self.journey, usage=record.usage_so_far if record.shown else None)
            return
        self._gate.report(self.journey, answer)
        if answer.verdict.fault is None:
            end = self._gate.step(self.journey, ThreadBell)
            if isinstance(end, Reply):
                tally.replied(end)
        elif record.shown:
            self._gate.abandon(self.journey)
            tally.gave_up(StreamBroken("it broke off", attempts=self.journey.attempts))

    def _headers(
        self, deployment: Deployment, headers: Mapping[str, str], attempts: int
    ) -> RawHeaders:
        secret = self._exchange.line(deployment).secret
        return (*response_headers(headers, secret), *route_headers(deployment, attempts))

    def _read(self, outcome: Replied | Failed, deployment: Deployment) -> Answer:
        if isinstance(outcome, Failed) or self._readable(deployment):
            return self._exchange.read(outcome, deployment)
        if outcome.status // 100 != 2:
            return _of_endpoint(self._exchange.read(outcome, deployment))
        value: object = {}
        if "json" in outcome.headers.get("content-type", "json"):
            try:
                value = loads(outcome.body)
            except ValueError:
                value = None
        elif "html" in outcome.headers["content-type"]:
            value = None
        if not isinstance(value, dict) or value.get("error"):
            return self._exchange.read(outcome, deployment)
        dialect = self._exchange.line(deployment).dialect
        told = dialect.stream(outcome.status, outcome.headers, now=time.time())
        good = Verdict(status=outcome.status, readings=told.readings, scope_hint=told.scope_hint)
        return Answer(good, usage=any_usage(value))

    def _reader(
        self, deployment: Deployment, status: int, headers: Mapping[str, str]
    ) -> StreamReader:
        dialect = self._exchange.line(deployment).dialect
        reader = dialect.stream(status, headers, now=time.time())
        if self._readable(deployment):
            return ReasoningShown(reader)

        def judge(data: bytes) -> Verdict:
            return self._exchange.read(Replied(status, headers, data), deployment).verdict

        return EventReader(
            EventSteps(judge),
            read=lambda body: Answer(judge(body)),
            readings=reader.readings,
            scope_hint=reader.scope_hint,
        )

    def _readable(self, deployment: Deployment) -> bool:
        return self.request.readable(self._desk.dialects[deployment.provider])


def _of_endpoint(answer: Answer) -> Answer:
    """A refusal of an endpoint that not every provider has.

    "Not found" then says nothing of the model, which must not rest for it, unless the
    provider's code names the model.
    """
    verdict = answer.verdict
    if verdict.fault is not Fault.MODEL_UNAVAILABLE or "model" in (verdict.code or ""):
        return answer
    return replace(answer, verdict=replace(verdict, fault=Fault.BAD_REQUEST))
