"""Transports for httpx and httpx2 clients: one request of an SDK, whichever key it takes.

The two libraries have the same interface and unrelated classes, so what belongs to
one is taken from its module at run time. Both transports obey a journey's steps, as
the drivers in `drive` do for Hydra's own calls.
"""

from __future__ import annotations

from contextlib import AsyncExitStack, ExitStack
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, Self, assert_never

from hydra_core.drive import aio, sync
from hydra_core.drive.gate import LoopBell, ThreadBell
from hydra_core.drive.per_loop import PerLoop
from hydra_core.drive.transport import generation, make_async_transport, make_transport
from hydra_core.engine.steps import GiveUp, Park, Send
from hydra_core.messages import Fault, Reply
from hydra_core.sdk.reply import SdkReply
from hydra_core.sdk.streams import AsyncBody, SyncBody
from hydra_core.wire import Failed

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from hydra_core.drive.transport import (
        AsyncOpenStream,
        AsyncTransport,
        OpenStream,
        Transport,
    )
    from hydra_core.sdk.errand import Errand, SdkDesk
    from hydra_core.sdk.streams import Flow
    from hydra_core.wire import Verdict

Body = Literal["sync", "async"]


class SdkTransport:
    """A transport for a blocking client; any number of threads may use it."""

    def __init__(self, desk: SdkDesk, module: Any) -> None:
        self._desk = desk
        self._gate = desk.pool.gate
        self._module = module
        self._held: tuple[int, Transport] | None = None

    def handle_request(self, request: Any) -> Any:
        """Answer one request, whichever key it takes.

        Every failure is a response, which an SDK turns into its own exceptions; only a
        stream that breaks off after its first token ends with an exception of the library.
        """
        request.read()
        errand = self._desk.receive(**_parts(request))
        if isinstance(errand, SdkReply):
            return _whole(self._module, errand)
        with ExitStack() as stack:
            stack.callback(errand.abandon)
            while True:
                match self._gate.step(errand.journey, ThreadBell):
                    case Send() as send:
                        try:
                            shown = self._send(errand, send)
                        except Exception as error:
                            errand.raised(send, error)
                            continue
                        if shown is not None:
                            stack.pop_all()
                            return _streamed(self._module, request, "sync", *shown)
                    case Park() as park:
                        ThreadBell.wait(park)
                    case Reply() | GiveUp() as end:
                        return _whole(self._module, errand.end(end))
                    case unknown:
                        assert_never(unknown)

    def _send(self, errand: Errand, send: Send) -> tuple[Flow, OpenStream] | None:
        """One attempt: a stream that may be shown, or None once its outcome is reported."""
        wire, secret = errand.write(send)
        if not errand.request.stream:
            errand.took(send, self._wires.send(wire, secret, timeout=errand.seconds(send)))
            return None
        begun = self._gate.clock()
        opened = self._wires.open(wire, secret, timeout=errand.seconds(send))
        if isinstance(opened, Failed):
            errand.took(send, opened)
            return None
        with ExitStack() as stack:
            stack.callback(opened.close)
            if opened.status // 100 != 2:
                errand.took(send, sync.read_all(opened, errand.seconds(send)))
                return None
            flow = errand.flow(send, opened.status, opened.headers, begun)
            while not flow.decided:
                flow.feed(opened.read(flow.seconds_left()))
            if flow.failed:
                flow.settle()
                return None
            stack.pop_all()
        return flow, opened

    @property
    def _wires(self) -> Transport:
        # Two threads may both come here first: one of the two is dropped unused.
        held = self._held
        if held is None or held[0] != generation():
            pause = self._desk.patience.longest
            made = make_transport(self._desk.pool.config.transport, longest_pause=pause)
            held = self._held = generation(), made
        return held[1]

    def close(self) -> None:
        """Close the connections."""
        held, self._held = self._held, None
        if held is not None:
            held[1].close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class AsyncSdkTransport:
    """A transport for an async client: the text of `SdkTransport` with `await` where it waits.

    Connections belong to the loop that made them, so there are as many sets as loops.
    """

    def __init__(self, desk: SdkDesk, module: Any) -> None:
        self._desk = desk
        self._gate = desk.pool.gate
        self._module = module
        name = desk.pool.config.transport
        pause = desk.patience.longest
        self._held = PerLoop(lambda: make_async_transport(name, longest_pause=pause))

    async def handle_async_request(self, request: Any) -> Any:
        """See `SdkTransport.handle_request`."""
        await request.aread()
        errand = self._desk.receive(**_parts(request))
        if isinstance(errand, SdkReply):
            return _whole(self._module, errand)
        with ExitStack() as stack:
            stack.callback(errand.abandon)
            while True:
                match self._gate.step(errand.journey, LoopBell):
                    case Send() as send:
                        try:
                            shown = await self._send(errand, send)
                        except Exception as error:
                            errand.raised(send, error)
                            continue
                        if shown is not None:
                            stack.pop_all()
                            return _streamed(self._module, request, "async", *shown)
                    case Park() as park:
                        await LoopBell.wait(park)
                    case Reply() | GiveUp() as end:
                        return _whole(self._module, errand.end(end))
                    case unknown:
                        assert_never(unknown)

    async def _send(self, errand: Errand, send: Send) -> tuple[Flow, AsyncOpenStream] | None:
        """One attempt: a stream that may be shown, or None once its outcome is reported."""
        wire, secret = errand.write(send)
        if not errand.request.stream:
            errand.took(send, await self._wires.send(wire, secret, timeout=errand.seconds(send)))
            return None
        begun = self._gate.clock()
        opened = await self._wires.open(wire, secret, timeout=errand.seconds(send))
        if isinstance(opened, Failed):
            errand.took(send, opened)
            return None
        async with AsyncExitStack() as stack:
            stack.push_async_callback(opened.aclose)
            if opened.status // 100 != 2:
                errand.took(send, await aio.read_all(opened, errand.seconds(send)))
                return None
            flow = errand.flow(send, opened.status, opened.headers, begun)
            while not flow.decided:
                flow.feed(await opened.read(flow.seconds_left()))
            if flow.failed:
                flow.settle()
                return None
            stack.pop_all()
        return flow, opened

    @property
    def _wires(self) -> AsyncTransport:
        return self._held.here()

    async def aclose(self) -> None:
        """Close the connections of this loop; another loop's go with it."""
        await self._held.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()


def _parts(request: Any) -> dict[str, Any]:
    """What an httpx or httpx2 request asks for. Its read timeout travels in an extension."""
    return {
        "method": request.method,
        "url": str(request.url),
        "headers": request.headers.multi_items(),
        "body": request.content,
        "read_timeout": request.extensions.get("timeout", {}).get("read"),
    }


def _whole(module: Any, reply: SdkReply) -> Any:
    return module.Response(reply.status, headers=list(reply.headers), content=reply.body)


def _streamed(module: Any, request: Any, body: Body, flow: Flow, opened: Any) -> Any:
    def broken(verdict: Verdict) -> Exception:
        error = module.ReadTimeout if verdict.fault is Fault.TIMEOUT else module.RemoteProtocolError
        failure: Exception = error(
            f"the stream broke off after its first token ({verdict.fault}): {verdict.message}. "
            "Ask again for a new answer",
            request=request,
        )
        return failure

    stream = _body_types(module)[body](flow, opened, broken)
    return module.Response(flow.status, headers=list(flow.headers), stream=stream)


@cache
def _body_types(module: Any) -> dict[Body, Callable[..., Any]]:
    """The bodies as the library's own kinds of stream, which its clients insist on."""
    return {
        "sync": type("SyncBody", (SyncBody, module.SyncByteStream), {}),
        "async": type("AsyncBody", (AsyncBody, module.AsyncByteStream), {}),
    }
