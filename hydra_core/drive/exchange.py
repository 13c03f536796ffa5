"""What both drivers do between a step and the wire: write the request, read what came back.

No I/O happens here; the two drivers differ only in how they wait.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from hydra_core.drive.redaction import redact_bytes, redacted
from hydra_core.errors import StreamBroken
from hydra_core.messages import Chunk, Fault, Usage
from hydra_core.wire import Answer, Failed, Replied, StreamEvent, Target, Verdict, WireRequest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hydra_core.dialects.base import Dialect, StreamReader
    from hydra_core.engine.deployment import Deployment
    from hydra_core.engine.dispatch import Dispatch, Send
    from hydra_core.messages import ChatRequest
    from hydra_core.vault import Secret


DRAIN: Final = 0.05
"""Seconds to wait for the end of a body whose stream has given its end mark."""


@dataclass(frozen=True, slots=True)
class Line:
    """How to reach one provider with one key."""

    dialect: Dialect
    base_url: str
    secret: Secret | None
    auth_header: str = "authorization"
    auth_prefix: str = "Bearer "
    headers: tuple[tuple[str, str], ...] = ()


class Exchange:
    """Writes requests for, and reads replies of, the deployments of one pool."""

    def __init__(self, lines: Mapping[tuple[str, str], Line]) -> None:
        """`lines` maps (provider, key name) to the way there."""
        self._lines = lines
        self.secrets = [line.secret for line in lines.values() if line.secret is not None]

    def line(self, deployment: Deployment) -> Line:
        """The way to a deployment."""
        return self._lines[deployment.provider, deployment.key]

    def write(
        self, request: ChatRequest, deployment: Deployment, *, stream: bool = False
    ) -> tuple[WireRequest, Secret | None]:
        """The request in the provider's words, and the key that the transport attaches."""
        line = self.line(deployment)
        target = Target(line.base_url, deployment.model.name, line.headers)
        wire = line.dialect.encode(target, request, stream=stream)
        if line.auth_header != wire.auth_header or line.auth_prefix != wire.auth_prefix:
            wire = replace(wire, auth_header=line.auth_header, auth_prefix=line.auth_prefix)
        return wire, line.secret

    def read(self, outcome: Replied | Failed, deployment: Deployment) -> Answer:
        """What came back, whatever it was; the key is cut out of it first."""
        line = self.line(deployment)
        if isinstance(outcome, Failed):
            return self.failed(outcome)
        body = redact_bytes(outcome.body, line.secret)
        answer = line.dialect.read(outcome.status, outcome.headers, body, now=time.time())
        if answer.verdict.fault is not None:
            answer = replace(answer, verdict=self._clean(answer.verdict))
        return answer

    def record(
        self,
        status: int,
        headers: Mapping[str, str],
        send: Send,
        patience: StreamPatience,
        begun: float,
    ) -> StreamRecord:
        """The record of a stream that began well at `begun` (monotonic seconds)."""
        deployment = send.lease.deployment
        reader = self.line(deployment).dialect.stream(status, headers, now=time.time())
        return StreamRecord(
            deployment,
            reader,
            patience,
            begun=begun,
            deadline=send.deadline,
            prompt_tokens=int(deployment.model.prompt_tokens(send.lease.size)),
        )

    def failed(self, outcome: Failed) -> Answer:
        """An exchange without a usable response."""
        return Answer(Verdict(fault=outcome.fault, message=redacted(outcome.detail, self.secrets)))

    def _clean(self, verdict: Verdict) -> Verdict:
        return replace(verdict, message=redacted(verdict.message, self.secrets))


@dataclass(frozen=True, slots=True)
class StreamPatience:
    """Seconds until the first token, and between two tokens afterwards."""

    first_token: float = 20.0
    stall: float = 30.0


class StreamRecord:
    """One stream as it comes in: what it has shown, how long it may pause, how it ended.

    `answer` is set when it is over: a success, or the verdict of its failure.
    Comments and empty events do not feed the timer; only what a reader sees does.
    """

    __slots__ = (
        "_deadline",
        "_deployment",
        "_finish_reason",
        "_heard",
        "_patience",
        "_prompt_tokens",
        "_reader",
        "_text",
        "_usage",
        "answer",
        "shown",
    )

    def __init__(
        self,
        deployment: Deployment,
        reader: StreamReader,
        patience: StreamPatience,
        *,
        begun: float,
        deadline: float,
        prompt_tokens: int,
    ) -> None:
        """`begun` and `deadline` are monotonic seconds."""
        self._deployment = deployment
        self._reader = reader
        self._patience = patience
        self._heard = begun
        self._deadline = deadline
        self._prompt_tokens = prompt_tokens
        self._usage: Usage | None = None
        self._finish_reason: str | None = None
        self._text: list[str] = []
        self.shown = False
        self.answer: Answer | None = None

    def seconds_left(self, now: float) -> float:
        """How long the next piece may take."""
        return max(0.001, min(self._heard + self._pause, self._deadline) - now)

    def feed(self, piece: bytes | Failed | None, now: float) -> list[Chunk]:
        """Take the next piece of the body (None: its end); the chunks to hand on."""
        chunks: list[Chunk] = []
        if isinstance(piece, bytes):
            for event in self._reader.feed(piece):
                self._take(event, chunks)
                if self.answer is not None:
                    break
            if chunks:
                self._heard = now
            elif self.answer is None and now >= self._heard + self._pause:
                self._end(Verdict(fault=Fault.TIMEOUT, message="no token came in time"))
        elif piece is None:
            last = self._reader.finish()
            if last is not None:
                self._take(last, chunks)
            if self.answer is None:
                self._end(None)
        else:
            self._end(Verdict(fault=piece.fault, message=piece.detail))
        return chunks

    @property
    def _pause(self) -> float:
        return self._patience.stall if self.shown else self._patience.first_token

    def _take(self, event: StreamEvent, chunks: list[Chunk]) -> None:
        if event.usage is not None:
            self._usage = event.usage
        if event.finish_reason is not None:
            self._finish_reason = event.finish_reason
        if event.text:
            self._text.append(event.text)
        if event.text or event.content:
            self.shown = True
            deployment = self._deployment
            chunks.append(
                Chunk(
                    text=event.text,
                    tool_calls=event.tool_calls,
                    provider=deployment.provider,
                    model=deployment.model.name,
                    key=deployment.key,
                )
            )
        if event.verdict is not None:
            self._end(event.verdict)
        elif event.done:
            self._end(None)

    def _end(self, verdict: Verdict | None) -> None:
        text = self.text
        if verdict is None:
            self.answer = Answer(
                Verdict(status=200, readings=self._reader.readings),
                text=text,
                message={"role": "assistant", "content": text},
                finish_reason=self._finish_reason,
                usage=self._usage,
            )
            return
        self.answer = Answer(verdict, usage=self.usage_so_far if self.shown else None)

    @property
    def text(self) -> str:
        """All text shown so far."""
        return "".join(self._text)

    @property
    def usage_so_far(self) -> Usage:
        """For a stream that broke off: what it reported, and what was shown at least."""
        told = self._usage or Usage()
        shown = sum(map(len, self._text)) // 4
        return Usage(
            max(told.prompt_tokens, self._prompt_tokens), max(told.completion_tokens, shown)
        )

    def raise_if_broken(self, journey: Dispatch) -> None:
        """Nothing that was shown is replayed: such a stream ends with StreamBroken."""
        if self.answer is None or self.answer.verdict.fault is None or not self.shown:
            return
        verdict = self.answer.verdict
        raise StreamBroken(
            f"{self._deployment.name} broke off after {len(self.text)} characters "
            f"({verdict.fault}): {verdict.message}. The text so far is in .partial; ask again "
            "for a new answer",
            partial=self.text,
            attempts=journey.attempts,
        )
