"""Make the calls that turn facts into an answer: the drivers of a `Synthesis`, both of them.

They make the calls, wait, and enter their ends in the books; what is asked is the
synthesis' own decision.
"""

from __future__ import annotations

import asyncio
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hydra_core.errors import ContextTooLong, PoolExhausted, RequestRejected
from hydra_core.messages import OK
from hydra_core.swarm.calls import synthesis_limits
from hydra_core.swarm.shortage import pause_before

if TYPE_CHECKING:
    from hydra_core.messages import Reply
    from hydra_core.swarm.calls import Route
    from hydra_core.swarm.job import SwarmJob
    from hydra_core.swarm.synthesize import ReduceCall, Synthesis

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Written:
    """How a call of the synthesis ended; neither reply nor error: there was no time for it."""

    reply: Reply | None
    error: Exception | None
    start: float
    end: float


def write_answer(route: Route, job: SwarmJob, synthesis: Synthesis) -> None:
    """Make the synthesis' calls, those of one level at once."""
    with ThreadPoolExecutor(max_workers=job.width, thread_name_prefix="hydra-swarm") as pool:
        while calls := synthesis.calls():
            runs = [
                (call, pool.submit(copy_context().run, _write, route, job, call)) for call in calls
            ]
            for call, run in runs:
                _report(job, synthesis, call, run.result())


def _write(route: Route, job: SwarmJob, call: ReduceCall) -> _Written:
    start, tries = route.clock(), 0
    while True:
        left = job.time_left(route.clock())
        if left == 0.0:
            return _Written(None, None, start, start)
        try:
            reply = route.chat(call.messages, **synthesis_limits(left, route.max_wait))
        except (PoolExhausted, RequestRejected) as error:
            tries += 1
            pause = _pause(error, left, waited=route.clock() - start, tries=tries)
            if pause is None:
                return _Written(None, error, start, route.clock())
            time.sleep(pause)
        else:
            return _Written(reply, None, start, route.clock())


async def awrite_answer(route: Route, job: SwarmJob, synthesis: Synthesis) -> None:
    """`write_answer` for event loops."""
    while calls := synthesis.calls():
        runs = [(call, asyncio.create_task(_awrite(route, job, call))) for call in calls]
        try:
            for call, run in runs:
                _report(job, synthesis, call, await run)
        finally:
            for _, run in runs:
                run.cancel()
            await asyncio.gather(*(run for _, run in runs), return_exceptions=True)


async def _awrite(route: Route, job: SwarmJob, call: ReduceCall) -> _Written:
    start, tries = route.clock(), 0
    while True:
        left = job.time_left(route.clock())
        if left == 0.0:
            return _Written(None, None, start, start)
        try:
            reply = await route.achat(call.messages, **synthesis_limits(left, route.max_wait))
        except (PoolExhausted, RequestRejected) as error:
            tries += 1
            pause = _pause(error, left, waited=route.clock() - start, tries=tries)
            if pause is None:
                return _Written(None, error, start, route.clock())
            await asyncio.sleep(pause)
        else:
            return _Written(reply, None, start, route.clock())


def _pause(error: Exception, left: float | None, *, waited: float, tries: int) -> float | None:
    """Seconds to wait for the capacity that the answer needs; None: go on without."""
    # With a deadline the call itself has waited for as long as there was time.
    pause = pause_before(error, waited=waited, tries=tries) if left is None else None
    if pause is not None:
        _log.warning("all is read; the answer can be written in %.0f s", pause)
    return pause


def _report(job: SwarmJob, synthesis: Synthesis, call: ReduceCall, end: _Written) -> None:
    """Enter the end of a synthesis' call in the books, and tell the synthesis."""
    if end.reply is not None or end.error is not None:
        outcome = OK if end.error is None else type(end.error).__name__
        job.account.book_synthesis(end.reply, outcome, start=end.start, now=end.end)
    text = end.reply.text if end.reply is not None and end.reply.kind != "wait" else None
    synthesis.report(call, text, too_long=isinstance(end.error, ContextTooLong))
