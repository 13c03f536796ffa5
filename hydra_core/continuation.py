"""A streamed answer that goes on after it broke off: another key is asked for the rest."""

from __future__ import annotations

from contextlib import aclosing, closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Literal, cast

from hydra_core.engine.faults import FAULTS, Next
from hydra_core.errors import HydraError, RequestRejected, StreamBroken
from hydra_core.messages import Fault

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator

    from hydra_core.messages import Attempt, ChatRequest, Chunk, Message

OnBroken = Literal["raise", "continue"]

_GO_ON: Final = (
    "Your answer broke off there. Go on exactly where it stopped, in the middle of a word if it "
    "did: repeat nothing and say nothing else."
)


class Parts:
    """What was shown of one answer, part by part, and what to ask for next.

    `ends` is when the whole call must end, by `clock`; its parts together wait for capacity for
    `max_wait` seconds at most; at most `most` parts are asked for, one for each route there is.
    JSON and tool calls are not continued: two halves by two models fit together only by chance.
    """

    __slots__ = (
        "_attempts",
        "_clock",
        "_ends",
        "_left",
        "_on_exhausted",
        "_patience",
        "_request",
        "_text",
    )

    def __init__(
        self,
        request: ChatRequest,
        *,
        on_exhausted: str | None,
        ends: float,
        max_wait: float,
        clock: Callable[[], float],
        most: int,
    ) -> None:
        self._request = request
        self._on_exhausted = on_exhausted
        self._ends = ends
        self._patience = max_wait
        self._clock = clock
        self._left = most
        self._text = ""
        self._attempts: tuple[Attempt, ...] = ()

    def asked(self) -> dict[str, Any]:
        """The arguments of the stream that brings the next part."""
        request = self._request
        return {
            **request.params,
            "messages": self._messages(),
            "model": request.model,
            "provider": request.provider,
            "lane": request.lane,
            "deadline": max(0.0, self._ends - self._clock()),
            # A notice or an earlier answer must not be shown as the second half of this one.
            "on_exhausted": "raise" if self._text else self._on_exhausted,
            "priority": request.priority,
            "max_wait": self._patience,
        }

    def shown(self, chunk: Chunk) -> Chunk:
        """The chunk as the caller sees it: marked, unless it is of the first part."""
        return replace(chunk, continued=True) if self._text else chunk

    def broke(self, error: HydraError) -> None:
        """This part failed. Raises what the caller must know when there can be no other."""
        attempts: tuple[Attempt, ...] = getattr(error, "attempts", ())
        self._attempts += attempts
        waited = max((attempt.waited for attempt in attempts), default=0.0)
        self._patience = max(0.0, self._patience - waited)
        if isinstance(error, StreamBroken):
            self._text += error.partial
            self._left -= 1
            if error.partial and self._may_go_on(error):
                return
        if not self._text:
            raise error from None
        told = str(error)
        if self._text != getattr(error, "partial", None):
            told = (
                f"the answer broke off after {len(self._text):,} characters and could not be "
                f"continued: {told}"
            )
        if not isinstance(error, StreamBroken):
            told += "\nThe text so far is in .partial"
        raise StreamBroken(told, partial=self._text, attempts=self._attempts) from None

    def _may_go_on(self, error: StreamBroken) -> bool:
        """Whether to ask another key; never for the rest of what a provider refused to say."""
        faults = [Fault(attempt.outcome) for attempt in error.attempts[-1:]]
        refused = any(FAULTS[fault].next is Next.STOP for fault in faults)
        late = self._clock() >= self._ends
        return self._left > 0 and not (late or refused or self._request.needs_structure)

    def _messages(self) -> list[Message]:
        if not self._text:
            return self._request.messages
        return [
            *self._request.messages,
            {"role": "assistant", "content": self._text},
            {"role": "user", "content": _GO_ON},
        ]


def going_on(on_broken: str) -> bool:
    """Whether to continue. Raises RequestRejected for a word that means neither."""
    if on_broken not in ("raise", "continue"):
        raise RequestRejected("on_broken must be 'raise' or 'continue'")
    return on_broken == "continue"


def joined(
    stream: Callable[..., Iterator[Chunk]], parts: Parts
) -> Generator[Chunk, None, None]:
    """The chunks of all parts, in order. Raises as `stream` does."""
    while True:
        part = cast("Generator[Chunk]", stream(**parts.asked()))
        with closing(part) as chunks:
            try:
                for chunk in chunks:
                    yield parts.shown(chunk)
            except HydraError as error:
                failed = error
            else:
                return
        parts.broke(failed)


async def ajoined(
    stream: Callable[..., AsyncIterator[Chunk]], parts: Parts
) -> AsyncGenerator[Chunk, None]:
    """`joined` for event loops."""
    while True:
        part = cast("AsyncGenerator[Chunk]", stream(**parts.asked()))
        async with aclosing(part) as chunks:
            try:
                async for chunk in chunks:
                    yield parts.shown(chunk)
            except HydraError as error:
                failed = error
            else:
                return
        parts.broke(failed)
