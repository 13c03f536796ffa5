"""What the engine alone costs: a request's whole journey with the wire left out."""

from __future__ import annotations

import gc
import time
from typing import TYPE_CHECKING, Final

from clients import PROMPT, config
from loopback import BODY, REPLY

from hydra_core.assemble import assemble
from hydra_core.config import HydraConfig
from hydra_core.drive.gate import Gate, LoopBell
from hydra_core.engine.dispatch import Dispatch
from hydra_core.engine.size import size_of
from hydra_core.engine.steps import Patience, Send
from hydra_core.messages import Reply
from hydra_core.request import chat_request
from hydra_core.wire import Replied

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hydra_core.messages import ChatRequest
    from hydra_core.wire import Answer

PARTS: Final = ("journey", "write the request", "read the reply")
"""What is measured: the engine, and beside it the two translations of a call."""


def _headers() -> dict[str, str]:
    head = REPLY.partition(b"\r\n\r\n")[0].decode().splitlines()[1:]
    return dict(line.split(": ", 1) for line in head)


class EngineShare:
    """One pool of so many deployments, without a transport."""

    def __init__(self, keys: int) -> None:
        self._pool = assemble(
            HydraConfig.model_validate(config("http://127.0.0.1:9/v1", keys)),
            now=time.monotonic(),
        )
        self._gate = Gate(self._pool.manager)
        self._patience = Patience()
        self._outcome = Replied(200, _headers(), BODY)
        self._deployment = self._pool.manager.deployments[0]
        self._answer = self._pool.exchange.read(self._outcome, self._deployment)

    def measure(self, calls: int) -> Mapping[str, float]:
        """CPU microseconds per call of each part."""
        parts = (self._journey, self._write, self._read)
        return {name: _per_call(part, calls) for name, part in zip(PARTS, parts, strict=True)}

    def _journey(self) -> None:
        """Request -> journey -> lease -> report -> reply, as the drivers do it."""
        request = chat_request(PROMPT, {}, {})
        size = size_of(request)
        route = self._pool.manager.routes.find(
            provider=request.provider, model=request.model, lane=request.lane
        )
        now = self._gate.clock()
        journey = Dispatch(request, route, self._patience, now=now, size=size)
        step = self._gate.step(journey, LoopBell)
        assert isinstance(step, Send), step
        end = self._gate.step(journey, LoopBell, self._answer)
        assert isinstance(end, Reply), end
        self._gate.abandon(journey)

    def _write(self) -> None:
        request: ChatRequest = chat_request(PROMPT, {}, {})
        self._pool.exchange.write(request, self._deployment)

    def _read(self) -> Answer:
        return self._pool.exchange.read(self._outcome, self._deployment)


def _per_call(part: object, calls: int) -> float:
    assert callable(part)
    for _ in range(min(calls, 200)):
        part()
    gc.collect()
    begun = time.process_time()
    for _ in range(calls):
        part()
    return (time.process_time() - begun) / calls * 1e6
