"""The driver for event loops: the text of `sync` with `await` where it waits."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, assert_never

from hydra_core.drive.exchange import DRAIN
from hydra_core.drive.gate import LoopBell
from hydra_core.engine.quality import shaped
from hydra_core.engine.steps import GiveUp, Park, Send
from hydra_core.errors import HydraClosed, RequestRejected
from hydra_core.messages import Reply
from hydra_core.wire import Answer, Failed, Replied

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from hydra_core.drive.exchange import Exchange
    from hydra_core.drive.gate import Gate
    from hydra_core.drive.stream_record import StreamPatience, StreamRecord
    from hydra_core.drive.transport import AsyncOpenStream, AsyncTransport
    from hydra_core.engine.dispatch import Dispatch
    from hydra_core.messages import Chunk


class AsyncDriver:
    """Carries journeys through one gate over the transport of one event loop."""

    def __init__(self, gate: Gate, exchange: Exchange, transport: AsyncTransport) -> None:
        self._gate = gate
        self._exchange = exchange
        self._transport = transport

    async def complete(self, journey: Dispatch) -> Reply | GiveUp:
        """One whole reply, or the reason why there is none."""
        answer: Answer | None = None
        try:
            while True:
                match self._gate.step(journey, LoopBell, answer):
                    case Send() as send:
                        answer = await self._send(journey, send)
                    case Park() as park:
                        answer = None
                        await LoopBell.wait(park)
                    case Reply() | GiveUp() as end:
                        return end
                    case unknown:
                        assert_never(unknown)
        except RequestRejected:  # it cannot be written, so nothing of it was sent
            self._gate.ask(journey.withdraw)
            raise
        finally:
            self._gate.abandon(journey)

    async def _send(self, journey: Dispatch, send: Send) -> Answer:
        deployment = send.lease.deployment
        wire, secret = self._exchange.write(journey.request, deployment)
        outcome: Replied | Failed
        try:
            outcome = await self._transport.send(wire, secret, timeout=send.timeout)
        except Exception as error:
            outcome = self._exchange.raised(error)
        return shaped(journey.request, self._exchange.read(outcome, deployment))

    async def stream(
        self, journey: Dispatch, patience: StreamPatience
    ) -> AsyncGenerator[Chunk | Reply | GiveUp, None]:
        """The chunks of one reply, then the reply itself, or why there is none.

        Before the first chunk, failing over is invisible.

        Raises StreamBroken, with the text so far, when it breaks off after that.
        """
        record: StreamRecord | None = None
        try:
            while True:
                match self._gate.step(journey, LoopBell):
                    case Send() as send:
                        try:
                            opened = await self._open(journey, send, patience)
                        except RequestRejected:
                            self._gate.ask(journey.withdraw)
                            raise
                        if isinstance(opened, Answer):
                            self._gate.report(journey, opened)
                            continue
                        record, body = opened
                        async with aclosing(body):
                            while record.answer is None:
                                seconds = record.seconds_left(self._gate.clock())
                                piece = await self._read(body, seconds)
                                for chunk in record.feed(piece, self._gate.clock()):
                                    yield chunk
                            if record.answer.verdict.fault is None:
                                # Read the body's end, so that the connection can be kept.
                                await body.read(DRAIN)
                        # The frame of a StreamBroken may be printed: it must not show raw bytes.
                        piece = None
                        self._gate.report(journey, shaped(journey.request, record.answer))
                        record.raise_if_broken(journey)
                        record = None
                    case Park() as park:
                        await LoopBell.wait(park)
                    case Reply() | GiveUp() as end:
                        yield end
                        return
                    case unknown:
                        assert_never(unknown)
        finally:
            self._gate.abandon(journey, usage=record.usage_so_far if record else None)

    async def _open(
        self, journey: Dispatch, send: Send, patience: StreamPatience
    ) -> tuple[StreamRecord, AsyncOpenStream] | Answer:
        """The stream and its record, or the answer of a refusal."""
        deployment = send.lease.deployment
        begun = self._gate.clock()
        wire, secret = self._exchange.write(journey.request, deployment, stream=True)
        timeout = min(send.timeout, patience.first_token)
        opened: AsyncOpenStream | Failed
        try:
            opened = await self._transport.open(wire, secret, timeout=timeout)
        except Exception as error:
            opened = self._exchange.raised(error)
        if isinstance(opened, Failed):
            return self._exchange.failed(opened)
        if opened.status // 100 == 2:
            return self._exchange.record(
                opened.status, opened.headers, send, patience, begun
            ), opened
        async with aclosing(opened):
            body = await read_all(opened, send.timeout)
        return self._exchange.read(body, deployment)

    async def _read(self, body: AsyncOpenStream, seconds: float) -> bytes | Failed | None:
        piece: bytes | Failed | None
        try:
            piece = await body.read(seconds)
        except Exception as error:
            piece = self._exchange.raised(error)
        if self._gate.closed:  # what `close` broke off is nobody's fault
            raise HydraClosed("this Hydra was closed during the stream; build a new one")
        return piece

    async def aclose(self) -> None:
        """Close the connections of this loop."""
        await self._transport.aclose()


async def read_all(opened: AsyncOpenStream, timeout: float) -> Replied | Failed:  # noqa: ASYNC109 -
    # the transport's own timeout for each piece, not a deadline around this coroutine
    """The rest of a refusal's body."""
    pieces: list[bytes] = []
    while True:
        piece = await opened.read(timeout)
        if piece is None:
            return Replied(opened.status, opened.headers, b"".join(pieces))
        if isinstance(piece, Failed):
            return piece
        pieces.append(piece)
