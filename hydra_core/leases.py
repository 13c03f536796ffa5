"""A key for one call of any SDK, and what the SDK's exception says of that key."""

from __future__ import annotations

import contextlib
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Protocol, Self

from hydra_core.drive.gate import LoopBell, ThreadBell
from hydra_core.drive.redaction import redacted
from hydra_core.engine.steps import GiveUp, Park, Send
from hydra_core.errors import HydraError, InvalidArgument
from hydra_core.messages import Reply, Usage
from hydra_core.wire import Answer, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from hydra_core.drive.exchange import Exchange
    from hydra_core.drive.gate import Gate
    from hydra_core.engine.deployment import Deployment
    from hydra_core.engine.dispatch import Dispatch
    from hydra_core.engine.steps import Step
    from hydra_core.messages import Attempt
    from hydra_core.vault import Secret

_MOST: Final = 1e12  # tokens; no call takes as many


class Tell(Protocol):
    """Hears how a call ended that was sent with our keys."""

    def __call__(self, attempts: Sequence[Attempt], *, served: bool) -> None: ...


class HeldLease:
    """The right to one call with one key. Use it as a context manager, sync or async."""

    def __init__(
        self, gate: Gate, exchange: Exchange, journey: Dispatch, tell: Tell | None = None
    ) -> None:
        self._gate = gate
        self._tell = tell
        self._exchange = exchange
        self._journey = journey
        self._begun = False
        self._ended = False
        self._deployment: Deployment | None = None
        self._used: Usage | None = None

    def __repr__(self) -> str:
        if self._deployment is None:
            return "<HeldLease [no key yet]>"
        state = "ended" if self._ended else "held"
        return f"<HeldLease {self.provider}/{self.model} [{self.key}: {state}]>"

    @property
    def _held(self) -> Deployment:
        if self._deployment is None:
            raise HydraError("the lease holds a key only inside its `with` block")
        return self._deployment

    @property
    def api_key(self) -> Secret | None:
        """The key; None for a server that wants none. It is held only until the block ends."""
        if self._ended:
            raise HydraError("the lease has ended, and its key with it; ask for another")
        return self._exchange.line(self._held).secret

    @property
    def base_url(self) -> str:
        """The address that the key belongs to."""
        return self._exchange.line(self._held).base_url

    @property
    def provider(self) -> str:
        """The provider's configured name."""
        return self._held.provider

    @property
    def model(self) -> str:
        """The model to ask for."""
        return self._held.model.name

    @property
    def key(self) -> str:
        """The key's name."""
        return self._held.key

    def used(self, tokens: int, *, completion_tokens: int | None = None) -> None:
        """Say how many tokens the call really took; else the reserved ones count.

        `completion_tokens` is how many of them were written. While nobody says so, a budget
        in dollars counts all of them at the model's dearer price. Raises InvalidArgument
        unless 0 <= `completion_tokens` <= `tokens`.
        """
        written = completion_tokens or 0
        numbers = isinstance(tokens, int | float) and isinstance(written, int | float)
        if not numbers or not 0 <= written <= tokens <= _MOST:
            raise InvalidArgument(
                "used() takes the call's tokens, and how many of those were written"
            )
        if completion_tokens is None:
            self._used = Usage(tokens, 0, self._held.model.dearest_usd(tokens))
        else:
            self._used = Usage(tokens - completion_tokens, completion_tokens)

    def __enter__(self) -> Self:
        self._begin()
        try:
            while (park := self._taken(self._gate.step(self._journey, ThreadBell))) is not None:
                ThreadBell.wait(park)
        except BaseException:
            self._gate.abandon(self._journey)
            raise
        return self

    async def __aenter__(self) -> Self:
        self._begin()
        try:
            while (park := self._taken(self._gate.step(self._journey, LoopBell))) is not None:
                await LoopBell.wait(park)
        except BaseException:
            self._gate.abandon(self._journey)
            raise
        return self

    def _begin(self) -> None:
        if self._begun:
            raise HydraError("a lease is for one call; ask for another with lease()")
        self._begun = True

    def _taken(self, step: Step) -> Park | None:
        """Keep what the step grants, or the wait that it asks for."""
        match step:
            case Send(lease):
                self._deployment = lease.deployment
                return None
            case Park():
                return step
            case GiveUp(error):
                raise error
            case Reply():  # pragma: no cover - a journey ends with its lease
                raise HydraError("this lease was used already")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.end(error)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.end(error)

    def end(self, error: BaseException | None) -> bool:
        """Settle. True when the error was a provider's answer that blames a key or a limit."""
        self._ended = True
        if error is None:
            # A lease without a count keeps its reservation: the tokens were announced.
            self._gate.report(self._journey, Answer(Verdict(), usage=self._used))
            self._ended_with(served=True)
            return False
        verdict = verdict_of(error, self._held, self._exchange)
        if verdict is None:
            self._gate.abandon(self._journey)
            return False
        self._gate.report(self._journey, Answer(verdict))
        self._ended_with(served=False)
        return True

    def _ended_with(self, *, served: bool) -> None:
        if self._tell is not None:
            self._tell(self._journey.attempts, served=served)


def verdict_of(error: BaseException, deployment: Deployment, exchange: Exchange) -> Verdict | None:
    """What an SDK's exception says of the key that was used; None when it says nothing.

    Read are `response` (`status_code`, `headers`, `content`) and `status_code`, as the
    SDKs of OpenAI, Anthropic, Groq, Mistral and plain httpx carry them.
    """
    response = getattr(error, "response", None)
    status = getattr(error, "status_code", None) or getattr(response, "status_code", None)
    if not isinstance(status, int):
        return None
    line = exchange.line(deployment)
    verdict = line.dialect.verdict_of(
        status, _headers(response), _body(response, error), now=time.time()
    )
    return replace(verdict, message=redacted(verdict.message, exchange.secrets))


def _headers(response: object) -> dict[str, str]:
    # A foreign object's properties may raise anything: whatever they do, the caller
    # must see his own exception.
    with contextlib.suppress(Exception):
        pairs = dict(getattr(response, "headers", None) or {})
        return {str(name).lower(): str(value) for name, value in pairs.items()}
    return {}


def _body(response: object, error: BaseException) -> bytes:
    with contextlib.suppress(Exception):  # httpx: a streamed body that nobody has read
        body = getattr(response, "content", None)
        if isinstance(body, bytes):
            return body
    with contextlib.suppress(Exception):
        return str(error).encode(errors="replace")
    return b""
