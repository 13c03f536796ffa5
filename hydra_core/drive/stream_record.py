"""One stream as it comes in. No I/O happens here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from hydra_core.dialects.completion import thinks_aloud
from hydra_core.drive.redaction import Forms, Veil
from hydra_core.engine.size import tokens_of
from hydra_core.errors import StreamBroken
from hydra_core.messages import Chunk, Fault, Usage
from hydra_core.wire import Answer, Failed, StreamEvent, Verdict

if TYPE_CHECKING:
    from hydra_core.dialects.base import StreamReader
    from hydra_core.engine.deployment import Deployment
    from hydra_core.engine.dispatch import Dispatch
    from hydra_core.messages import ToolCall

# Seconds before the deadline at which a transport may already have given up for its sake.
_NEAR: Final = 0.005
_OUT_OF_TIME: Final = "the deadline has passed"


@dataclass(frozen=True, slots=True)
class StreamPatience:
    """Seconds until the first token, and between two tokens afterwards."""

    first_token: float = 20.0
    stall: float = 30.0

    @property
    def longest(self) -> float:
        """Seconds that any part of a stream may take at most."""
        return max(self.first_token, self.stall)


class StreamRecord:
    """One stream as it comes in: what it has shown, how long it may pause, how it ended.

    `answer` is set when it is over: a success, or the verdict of its failure. One that ends
    with its call's deadline while it still came is nobody's fault.
    Comments and empty events do not feed the timer; what a reader sees does, and
    reasoning, which proves that the model is at work. Reasoning commits nothing: it is kept
    until the answer itself begins, so that failing over stays invisible until then.
    """

    __slots__ = (
        "_begun",
        "_deadline",
        "_deployment",
        "_finish_reason",
        "_heard",
        "_patience",
        "_prompt_tokens",
        "_reader",
        "_text",
        "_thinking",
        "_thoughts",
        "_usage",
        "_veil",
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
        veil: Veil | None = None,
    ) -> None:
        """`begun` and `deadline` are monotonic seconds; `veil` None: there is no key to hide."""
        self._deployment = deployment
        self._reader = reader
        self._patience = patience
        self._begun = begun
        self._heard = begun
        self._deadline = deadline
        self._prompt_tokens = prompt_tokens
        self._veil = veil or Veil(Forms(None))
        self._usage: Usage | None = None
        self._finish_reason: str | None = None
        self._text: list[str] = []
        self._thinking = False
        self._thoughts: list[str] = []  # those that were not handed on yet
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
                if not event.text and (event.reasoning or thinks_aloud(event.raw)):
                    self._heard = now  # a model that thinks is alive; nothing is shown yet
                if self.answer is not None:
                    break
            if chunks:
                self._heard = now
            if self.answer is None and now >= min(self._heard + self._pause, self._deadline):
                self._fail(Fault.TIMEOUT, "no token came in time", now, chunks)
        elif piece is None:
            last = self._reader.finish()
            if last is not None:
                self._take(last, chunks)
            if self.answer is None:
                self._end(None, chunks)
        else:
            self._fail(piece.fault, piece.detail, now, chunks)
        return chunks

    def _fail(self, fault: Fault, detail: str, now: float, chunks: list[Chunk]) -> None:
        """Nothing more comes; a timeout is the provider's silence or the end of the call's time."""
        if fault is not Fault.TIMEOUT or now < self._deadline - _NEAR:
            self._end(Verdict(fault=fault, message=detail), chunks)
            return
        # Its last silence was shorter than its speech: it was at work when the time was up.
        coming = self.shown and now - self._heard < self._heard - self._begun
        verdict = Verdict(fault=Fault.TIMEOUT, message=_OUT_OF_TIME)
        self._end(verdict, chunks)
        self.answer = Answer(verdict, usage=self.usage_so_far if self.shown else None, cut=coming)

    @property
    def _pause(self) -> float:
        return self._patience.stall if self.shown else self._patience.first_token

    def _take(self, event: StreamEvent, chunks: list[Chunk]) -> None:
        if event.usage is not None:
            self._usage = event.usage
        if event.finish_reason is not None:
            self._finish_reason = self._veil.word(event.finish_reason)
        text = self._veil.text(event.text)
        if event.reasoning:
            self._thinking = True
            self._thoughts.append(self._veil.thought(event.reasoning))
            if self.shown and not event.content:
                self._show("", (), chunks)
        # A text that is all held back, since a key may begin with it, is not shown yet.
        if text or (event.content and not event.text):
            self._show(text, event.tool_calls, chunks)
        if event.verdict is not None:
            self._end(self._veil.verdict(event.verdict), chunks)
        elif event.done:
            self._end(None, chunks)

    def _show(self, text: str, calls: tuple[ToolCall, ...], chunks: list[Chunk]) -> None:
        deployment = self._deployment
        self.shown = True
        if text:
            self._text.append(text)
        reasoning = self._thought(ended=bool(text or calls)) if self._thinking else ""
        chunks.append(
            Chunk(
                text=text,
                tool_calls=self._veil.calls(calls) if calls else (),
                provider=deployment.provider,
                model=deployment.model.name,
                key=deployment.key,
                reasoning=reasoning,
            )
        )

    def _thought(self, *, ended: bool) -> str:
        """The reasoning that was not handed on yet; `ended`: now the answer goes on."""
        if ended:
            self._thinking = False
            self._thoughts.append(self._veil.thoughts_rest())
        told = "".join(self._thoughts)
        self._thoughts.clear()
        return told

    def _end(self, verdict: Verdict | None, chunks: list[Chunk]) -> None:
        rest = self._veil.rest()
        if self._thinking:
            self._thoughts.append(self._veil.thoughts_rest())
        if (rest or any(self._thoughts)) and (self.shown or verdict is None):
            self._show(rest, (), chunks)
        text = self.text
        if verdict is None:
            self.answer = Answer(
                Verdict(
                    status=200,
                    readings=self._reader.readings,
                    scope_hint=self._reader.scope_hint,
                ),
                text=text,
                message={"role": "assistant", "content": text},
                finish_reason=self._finish_reason,
                usage=self._usage,
                shown=True,
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
        shown = tokens_of(sum(map(len, self._text)))
        return Usage(
            max(told.prompt_tokens, self._prompt_tokens), max(told.completion_tokens, shown)
        )

    def raise_if_broken(self, journey: Dispatch) -> None:
        """Nothing that was shown is replayed: such a stream ends with StreamBroken."""
        if self.answer is None or self.answer.verdict.fault is None or not self.shown:
            return
        verdict = self.answer.verdict
        remedy = "ask again for a new answer"
        if verdict.fault is Fault.CONTENT_FILTER:
            remedy = "the refusal is the provider's answer, and no key was blamed"
        elif verdict.message == _OUT_OF_TIME:
            remedy += " with more time"
        raise StreamBroken(
            f"{self._deployment.name} broke off after {len(self.text)} characters "
            f"({verdict.fault}): {verdict.message.rstrip('.')}. The text so far is in .partial; "
            f"{remedy}",
            partial=self.text,
            attempts=journey.attempts,
        )
