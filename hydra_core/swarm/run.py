"""Read a whole document with all keys at once: the two thin drivers of a `SwarmJob`.

They make the calls, wait, and tell the listener; every decision is the job's. No
lock is held while a call is under way.
"""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from dataclasses import dataclass
from typing import TYPE_CHECKING, assert_never

from hydra_core.errors import ContextTooLong, HydraError, PoolExhausted, RequestRejected
from hydra_core.messages import OK
from hydra_core.swarm.calls import Caller, Route, map_limits, synthesis_limits
from hydra_core.swarm.job import SwarmJob, reading_plan
from hydra_core.swarm.loaders import load
from hydra_core.swarm.map import read_error, read_reply
from hydra_core.swarm.progress import tell
from hydra_core.swarm.reading import Close, MapTask, Start, Wait

if TYPE_CHECKING:
    from collections.abc import Callable

    from hydra_core.messages import Reply
    from hydra_core.swarm.loaders import Source
    from hydra_core.swarm.map import Outcome
    from hydra_core.swarm.progress import OnProgress
    from hydra_core.swarm.synthesize import ReduceCall, Synthesis
    from hydra_core.swarm.values import SwarmPlan, SwarmResult
    from hydra_core.swarm.wording import Language

_Ended = tuple["Outcome", "Reply | None"]


@dataclass(frozen=True, slots=True)
class _Written:
    """How a call of the synthesis ended; neither reply nor error: there was no time for it."""

    reply: Reply | None
    error: Exception | None
    start: float
    end: float


def run_swarm(
    caller: Caller,
    question: str,
    source: Source,
    *,
    deadline: float | None = None,
    model: str | None = None,
    lane: str | None = None,
    on_progress: OnProgress | None = None,
    resume: str | SwarmResult | None = None,
    language: Language = "en",
) -> SwarmResult:
    """Answer a question from a whole source, read in parts by all keys at once.

    `deadline` is seconds from now; what is not read by then is named in the result.
    `resume` is an earlier result, or its token, of the same question and source.

    Raises:
        SourceError: the source cannot be read.
        ConfigError: `resume` belongs to another question or source.
        PoolExhausted: nothing was read, and nobody knows when it can be.
        RequestRejected: every provider rejects the calls as such.
    """
    route = Route(caller, model, lane, _stopwatch())
    job = SwarmJob.prepare(
        question,
        source,
        caller.capacity(model=model, lane=lane),
        deadline=deadline,
        resume=resume,
        language=language,
    )
    _read_all(route, job, on_progress)
    synthesis = job.begin_synthesis(route.clock())
    tell(on_progress, job.account.drain())
    _reduce(route, job, synthesis)
    result = job.result(route.clock())
    tell(on_progress, job.account.drain())
    return result


async def arun_swarm(
    caller: Caller,
    question: str,
    source: Source,
    *,
    deadline: float | None = None,
    model: str | None = None,
    lane: str | None = None,
    on_progress: OnProgress | None = None,
    resume: str | SwarmResult | None = None,
    language: Language = "en",
) -> SwarmResult:
    """`run_swarm` for event loops; cancelling it cancels every call under way."""
    route = Route(caller, model, lane, _stopwatch())
    # Loading, planning and cutting a book takes long enough to be felt by others on the loop.
    job = await asyncio.to_thread(
        SwarmJob.prepare,
        question,
        source,
        caller.capacity(model=model, lane=lane),
        deadline=deadline,
        resume=resume,
        language=language,
    )
    await _aread_all(route, job, on_progress)
    synthesis = job.begin_synthesis(route.clock())
    tell(on_progress, job.account.drain())
    await _areduce(route, job, synthesis)
    result = job.result(route.clock())
    tell(on_progress, job.account.drain())
    return result


def plan_swarm(
    caller: Caller,
    source: Source,
    question: str | None = None,
    *,
    deadline: float | None = None,
    model: str | None = None,
    lane: str | None = None,
) -> SwarmPlan:
    """What `run_swarm` would do with this source now: calls, seconds, tokens, coverage.

    Raises:
        SourceError: the source cannot be read.
    """
    capacity = caller.capacity(model=model, lane=lane)
    return reading_plan(load(source), capacity, question=question, deadline=deadline)


def _read_all(route: Route, job: SwarmJob, on_progress: OnProgress | None) -> None:
    pool = ThreadPoolExecutor(max_workers=job.width, thread_name_prefix="hydra-swarm")
    flying: dict[Future[_Ended], MapTask] = {}
    try:
        while True:
            step = job.reading.step(route.clock())
            tell(on_progress, job.account.drain())
            match step:
                case Close():
                    return
                case Start(tasks=tasks):
                    for task in tasks:
                        # Each thread sees the caller's context: tracing survives the fan-out.
                        ended = pool.submit(copy_context().run, _read, route, job, task)
                        flying[ended] = task
                case Wait(seconds=seconds):
                    _await(flying, seconds, route, job)
                case _:
                    assert_never(step)
    finally:
        # Abandoned calls end by their own deadlines; nothing waits for them here.
        pool.shutdown(wait=False, cancel_futures=True)


def _await(
    flying: dict[Future[_Ended], MapTask], seconds: float | None, route: Route, job: SwarmJob
) -> None:
    """Wait for a call to end, at most this long, and report what ended."""
    if not flying:
        time.sleep(seconds or 0.0)
        return
    for future in wait(flying, timeout=seconds, return_when=FIRST_COMPLETED).done:
        outcome, reply = future.result()
        job.reading.report(flying.pop(future), outcome, reply, route.clock())


def _read(route: Route, job: SwarmJob, task: MapTask) -> _Ended:
    try:
        reply = route.chat(task.messages, **map_limits(task))
    except HydraError as error:
        return read_error(error), None
    document = job.documents[task.shard.document]
    return read_reply(reply, document, task.shard, task.paragraphs), reply


def _reduce(route: Route, job: SwarmJob, synthesis: Synthesis) -> None:
    """Make the synthesis' calls, those of one level at once."""
    with ThreadPoolExecutor(max_workers=job.width, thread_name_prefix="hydra-swarm") as pool:
        while calls := synthesis.calls():
            runs = [
                (call, pool.submit(copy_context().run, _write, route, job, call)) for call in calls
            ]
            for call, run in runs:
                _report(job, synthesis, call, run.result())


def _write(route: Route, job: SwarmJob, call: ReduceCall) -> _Written:
    start = route.clock()
    left = job.time_left(start)
    if left == 0.0:
        return _Written(None, None, start, start)
    try:
        reply = route.chat(call.messages, **synthesis_limits(left))
    except (PoolExhausted, RequestRejected) as error:
        return _Written(None, error, start, route.clock())
    return _Written(reply, None, start, route.clock())


async def _aread_all(route: Route, job: SwarmJob, on_progress: OnProgress | None) -> None:
    flying: dict[asyncio.Task[_Ended], MapTask] = {}
    try:
        while True:
            step = job.reading.step(route.clock())
            tell(on_progress, job.account.drain())
            match step:
                case Close():
                    return
                case Start(tasks=tasks):
                    for task in tasks:
                        flying[asyncio.create_task(_aread(route, job, task))] = task
                case Wait(seconds=seconds):
                    await _aawait(flying, seconds, route, job)
                case _:
                    assert_never(step)
    finally:
        for call in flying:
            call.cancel()
        await asyncio.gather(*flying, return_exceptions=True)


async def _aawait(
    flying: dict[asyncio.Task[_Ended], MapTask],
    seconds: float | None,
    route: Route,
    job: SwarmJob,
) -> None:
    if not flying:
        await asyncio.sleep(seconds or 0.0)
        return
    done, _ = await asyncio.wait(flying, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    for call in done:
        task = flying.pop(call)
        outcome, reply = call.result()
        job.reading.report(task, outcome, reply, route.clock())


async def _aread(route: Route, job: SwarmJob, task: MapTask) -> _Ended:
    try:
        reply = await route.achat(task.messages, **map_limits(task))
    except HydraError as error:
        return read_error(error), None
    document = job.documents[task.shard.document]
    # Checking quotes folds the whole shard: some milliseconds that the loop should not lose.
    outcome = await asyncio.to_thread(read_reply, reply, document, task.shard, task.paragraphs)
    return outcome, reply


async def _areduce(route: Route, job: SwarmJob, synthesis: Synthesis) -> None:
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
    start = route.clock()
    left = job.time_left(start)
    if left == 0.0:
        return _Written(None, None, start, start)
    try:
        reply = await route.achat(call.messages, **synthesis_limits(left))
    except (PoolExhausted, RequestRejected) as error:
        return _Written(None, error, start, route.clock())
    return _Written(reply, None, start, route.clock())


def _report(job: SwarmJob, synthesis: Synthesis, call: ReduceCall, end: _Written) -> None:
    """Enter the end of a synthesis' call in the books, and tell the synthesis."""
    if end.reply is not None or end.error is not None:
        outcome = OK if end.error is None else type(end.error).__name__
        job.account.book_synthesis(end.reply, outcome, start=end.start, now=end.end)
    text = end.reply.text if end.reply is not None and end.reply.kind != "wait" else None
    synthesis.report(call, text, too_long=isinstance(end.error, ContextTooLong))


def _stopwatch() -> Callable[[], float]:
    begin = time.monotonic()
    return lambda: time.monotonic() - begin
