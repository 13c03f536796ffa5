"""Read a whole document with all keys at once: the two thin drivers of a `SwarmJob`.

They make the calls, wait, and tell the listener; every decision is the job's. No
lock is held while a call is under way.
"""

from __future__ import annotations

import asyncio
import logging
import time
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from typing import TYPE_CHECKING, Final, assert_never

from hydra_core.errors import HydraError
from hydra_core.swarm.arguments import question_of, seconds_of
from hydra_core.swarm.calls import Caller, Route, map_limits
from hydra_core.swarm.job import SwarmJob, reading_plan
from hydra_core.swarm.loaders import load
from hydra_core.swarm.map import quality_of, read_error, read_reply
from hydra_core.swarm.progress import tell
from hydra_core.swarm.reading import Close, MapTask, Recount, Start, Wait
from hydra_core.swarm.shelf import delivered
from hydra_core.swarm.values import percent
from hydra_core.swarm.writing import awrite_answer, write_answer

if TYPE_CHECKING:
    from collections.abc import Callable

    from hydra_core.messages import Reply
    from hydra_core.swarm.loaders import Source
    from hydra_core.swarm.map import Outcome
    from hydra_core.swarm.progress import OnProgress
    from hydra_core.swarm.shelf import Shelf
    from hydra_core.swarm.values import SwarmPlan, SwarmResult
    from hydra_core.swarm.wording import Language

_log = logging.getLogger(__name__)

_SAID_FROM: Final = 3.0
"""Seconds from which a wait is worth a line in the log."""

_Ended = tuple["Outcome", "Reply | None"]


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
    shelf: Shelf | None = None,
) -> SwarmResult:
    """Answer a question from a whole source, read in parts by all keys at once.

    `deadline` is seconds from now; what is not read by then is named in the result.
    Without one, a limit that says when it lets calls through again is waited for up
    to an hour, and an outage is borne for the caller's `max_wait`; a log line tells of
    long waits.
    `resume` is an earlier result, or its token, of the same question and source.
    `shelf` keeps whole answers; the last one is given, as `cached`, when nothing can be read.

    Raises:
        SourceError: the source cannot be read.
        ConfigError: `resume` belongs to another question or source.
        PoolExhausted: nothing was read, and nobody knows when it can be.
        RequestRejected: every provider rejects the calls as such, or an argument cannot be meant.
    """
    route = Route(caller, model, lane, _stopwatch())
    job = SwarmJob.prepare(
        question_of(question),
        source,
        route.capacity(),
        deadline=seconds_of(deadline),
        resume=resume,
        language=language,
        patience=route.max_wait,
    )
    _read_all(route, job, on_progress)
    synthesis = job.begin_synthesis(route.clock())
    tell(on_progress, job.account.drain())
    write_answer(route, job, synthesis)
    result = delivered(job, shelf, route.clock())
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
    shelf: Shelf | None = None,
) -> SwarmResult:
    """`run_swarm` for event loops; cancelling it cancels every call under way."""
    route = Route(caller, model, lane, _stopwatch())
    # Loading, planning and cutting a book takes long enough to be felt by others on the loop.
    job = await asyncio.to_thread(
        SwarmJob.prepare,
        question_of(question),
        source,
        route.capacity(),
        deadline=seconds_of(deadline),
        resume=resume,
        language=language,
        patience=route.max_wait,
    )
    await _aread_all(route, job, on_progress)
    synthesis = job.begin_synthesis(route.clock())
    tell(on_progress, job.account.drain())
    await awrite_answer(route, job, synthesis)
    result = await asyncio.to_thread(delivered, job, shelf, route.clock())
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
        RequestRejected: an argument cannot be meant.
    """
    asked = None if question is None else question_of(question)
    seconds = seconds_of(deadline)
    capacity = caller.capacity(model=model, lane=lane)
    return reading_plan(load(source), capacity, question=asked, deadline=seconds)


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
                case Recount(calls=calls):
                    job.recount(route.capacity(), calls, route.clock())
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
        _say_waiting(job, seconds or 0.0)
        time.sleep(seconds or 0.0)
        return
    for future in wait(flying, timeout=seconds, return_when=FIRST_COMPLETED).done:
        outcome, reply = future.result()
        job.reading.report(flying.pop(future), outcome, reply, route.clock())


def _read(route: Route, job: SwarmJob, task: MapTask) -> _Ended:
    try:
        reply = route.chat(task.messages, **map_limits(task, route.max_wait))
    except HydraError as error:
        return read_error(error), None
    return _checked(route, job, task, reply), reply


def _checked(route: Route, job: SwarmJob, task: MapTask, reply: Reply) -> Outcome:
    """What the reply means, its quotes held against the source; who wrote it is told so."""
    document = job.documents[task.shard.document]
    outcome = read_reply(reply, document, task.shard, task.paragraphs)
    quality = quality_of(outcome)
    if quality is not None:
        route.caller.feedback(reply, quality)
    return outcome


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
                case Recount(calls=calls):
                    job.recount(route.capacity(), calls, route.clock())
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
        _say_waiting(job, seconds or 0.0)
        await asyncio.sleep(seconds or 0.0)
        return
    done, _ = await asyncio.wait(flying, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    for call in done:
        task = flying.pop(call)
        outcome, reply = call.result()
        job.reading.report(task, outcome, reply, route.clock())


async def _aread(route: Route, job: SwarmJob, task: MapTask) -> _Ended:
    try:
        reply = await route.achat(task.messages, **map_limits(task, route.max_wait))
    except HydraError as error:
        return read_error(error), None
    # Checking quotes folds the whole shard: some milliseconds that the loop should not lose.
    return await asyncio.to_thread(_checked, route, job, task, reply), reply


def _say_waiting(job: SwarmJob, seconds: float) -> None:
    """Say why nothing happens: whoever waits for minutes wants to know for what."""
    if seconds < _SAID_FROM:
        return
    _log.warning(
        "no key can serve now (%s), and %s of the text is read; going on in %.0f s. Give a "
        "deadline to be answered from what was read by then.",
        job.reading.trouble or "all are at their limits",
        percent(job.ledger.coverage),
        seconds,
    )


def _stopwatch() -> Callable[[], float]:
    begin = time.monotonic()
    return lambda: time.monotonic() - begin
