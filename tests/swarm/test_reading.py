from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from hydra_core.engine.capacity import GroupCapacity, WindowCapacity
from hydra_core.errors import PoolExhausted, RequestRejected
from hydra_core.messages import Attempt, Fault, Reply, Usage
from hydra_core.swarm.account import Account
from hydra_core.swarm.coverage import CoverageLedger
from hydra_core.swarm.document import Document
from hydra_core.swarm.map import Exhausted, Failed, Outcome, Read, TooLong, Truncated, Unparsable
from hydra_core.swarm.reading import (
    MAP_TOKENS,
    MAX_ATTEMPTS,
    ROOMY_TOKENS,
    Close,
    MapTask,
    Recount,
    Start,
    SwarmRun,
    Wait,
)
from hydra_core.swarm.shortage import Allowance, allowance_of, pause_before
from hydra_core.swarm.split import split

if TYPE_CHECKING:
    from hydra_core.swarm.reading import Step

BOOK = Document.of("".join(f"Paragraph {n} of the book.\n\n" for n in range(200)), name="book")
READ = Read((), relevant=False)
REPLY = Reply(
    "{}", {}, usage=Usage(10, 5), provider="p", model="m", key="k1", latency=2.0,
    attempts=(Attempt("p", "m", "k1", "ok", latency=2.0),),
)  # fmt: skip


def run_of(
    *,
    width: int = 4,
    deadline: float | None = None,
    budget: int = 600,
    allowance: Allowance | None = None,
    patience: float = 30.0,
) -> SwarmRun:
    ledger = CoverageLedger(BOOK)
    shards = split(BOOK, budget=budget)
    return SwarmRun(
        "Why?", {"book": BOOK}, shards, ledger=ledger, account=Account(("book",), ledger),
        width=width, deadline=deadline, allowance=allowance, patience=patience,
    )  # fmt: skip


def started(step: Step) -> tuple[MapTask, ...]:
    assert isinstance(step, Start), step
    return step.tasks


def serve(run: SwarmRun, outcome: Outcome, *, now: float = 0.0, reply: Reply | None = REPLY) -> int:
    """Answer every call the same way until the run closes; the number of calls."""
    calls = 0
    while True:
        match run.step(now):
            case Start(tasks=tasks):
                for task in tasks:
                    calls += 1
                    run.report(task, outcome, reply, now)
            case Wait(seconds=seconds):
                assert seconds is not None
                now += seconds
            case Close():
                run.close(now)
                return calls


def shortage(eta: float | None) -> Exhausted:
    return Exhausted(PoolExhausted("full", eta=eta))


def states(run: SwarmRun) -> Counter[str]:
    return Counter(report.state for report in run._account.reports)


def test_no_more_calls_are_outstanding_than_the_width() -> None:
    """The run keeps `width` calls outstanding and starts one more for each that ends."""
    run = run_of(width=3)
    tasks = started(run.step(0.0))
    assert len(tasks) == 3
    assert run.step(0.1) == Wait(None)
    run.report(tasks[0], READ, REPLY, 1.0)
    assert len(started(run.step(1.0))) == 1


def test_every_shard_read_makes_the_coverage_whole() -> None:
    """When every call succeeds, every character is read, by one call for each shard."""
    run = run_of()
    assert serve(run, READ) == len(run._account.reports)
    assert run._ledger.coverage == 1.0
    assert set(states(run)) == {"read"}


def test_a_lack_of_capacity_spends_no_attempt_and_holds_new_starts() -> None:
    """A shard that found no capacity waits; nothing starts before capacity returns."""
    run = run_of(width=2)
    first, second = started(run.step(0.0))
    run.report(first, shortage(20.0), None, 1.0)
    assert run.step(1.0) == Wait(20.0)
    run.report(second, shortage(20.0), None, 1.0)
    again = started(run.step(21.0))
    assert {task.shard.index for task in again} == {first.shard.index, second.shard.index}
    for task in again:
        run.report(task, READ, REPLY, 22.0)
    assert serve(run, READ, now=22.0) > 0
    assert run._ledger.coverage == 1.0


def test_capacity_that_returns_too_late_ends_the_map() -> None:
    """A daily limit is not waited for: what is read stays, the rest says until when it waits."""
    run = run_of(width=2)
    first, second = started(run.step(0.0))
    run.report(first, READ, REPLY, 1.0)
    run.report(second, shortage(7_200.0), None, 1.0)
    assert run.step(1.0) == Close()
    run.close(1.0)
    assert states(run)["read"] == 1
    assert run.eta_at == 7_201.0
    assert {span.until for span in run._ledger.unread()} == {7_201.0}


def test_promises_that_are_not_kept_end_the_map() -> None:
    """Capacity that is always promised at once and never there does not spin for ever."""
    run = run_of()
    calls = serve(run, shortage(0.0), reply=None)
    assert calls < 100
    assert run._ledger.coverage == 0.0


def test_the_map_closes_in_time_for_the_synthesis() -> None:
    """With a deadline, the last calls end before it with a reserve, and late ones are waiting."""
    run = run_of(width=2, deadline=10.0)
    assert run.close_at == 8.0
    first, _second = started(run.step(0.0))
    assert first.timeout == 8.0
    run.report(first, READ, REPLY, 2.0)
    assert run.close_at == pytest.approx(7.0)
    assert isinstance(run.step(7.0), Wait)
    assert run.step(9.0) == Close()
    run.close(9.0)
    assert {span.reason for span in run._ledger.unread()} == {"deadline"}


def test_a_report_after_the_close_is_ignored() -> None:
    """An abandoned call that ends late changes nothing any more."""
    run = run_of(width=1, deadline=1.0)
    (task,) = started(run.step(0.0))
    run.close(1.0)
    run.report(task, READ, REPLY, 5.0)
    assert run._ledger.coverage == 0.0
    assert run._account.timeline == []


def test_an_unparsable_report_gets_one_repair_call() -> None:
    """The second call shows the model its output; a second failure is final."""
    run = run_of(width=1)
    (task,) = started(run.step(0.0))
    run.report(task, Unparsable("oops"), REPLY, 1.0)
    (repair,) = started(run.step(1.0))
    assert repair.shard == task.shard
    assert repair.messages[-2]["content"] == "oops"
    run.report(repair, Unparsable("oops"), REPLY, 2.0)
    assert run._ledger.unread()[0].reason == Fault.INVALID_RESPONSE
    assert run._account.reports[0].attempts == 2


def test_a_timeout_is_tried_again_and_then_given_up() -> None:
    """A call that may succeed another time is made at most `MAX_ATTEMPTS` times."""
    run = run_of(width=1, budget=100_000)
    assert serve(run, Failed(Fault.TIMEOUT, again=True), reply=None) == MAX_ATTEMPTS
    assert states(run) == {"failed": 1}


def test_a_refused_shard_is_not_tried_again() -> None:
    """A content filter's refusal is final for the shard and named in the ledger."""
    run = run_of(width=1, budget=100_000)
    assert serve(run, Failed(Fault.CONTENT_FILTER)) == 1
    assert run._ledger.unread()[0].reason == Fault.CONTENT_FILTER


def test_what_is_too_long_is_read_in_halves() -> None:
    """A shard that fits no model is cut until its parts fit; no character is lost."""
    run = run_of(width=1, budget=100_000)
    limit = 700
    while (step := run.step(0.0)) != Close():
        for task in started(step):
            fits = len(task.shard) <= limit
            run.report(task, READ if fits else TooLong(), REPLY if fits else None, 1.0)
    assert run._ledger.coverage == 1.0
    assert len(run._account.reports) >= len(BOOK) / limit
    spans = [(report.start, report.end) for report in run._account.reports]
    assert spans == sorted(spans)


def test_a_report_cut_before_its_first_fact_gets_more_room_once() -> None:
    """A model that thinks aloud gets room for it; cut again, the shard is halved."""
    run = run_of(width=1, budget=100_000)
    (task,) = started(run.step(0.0))
    assert task.max_tokens == MAP_TOKENS
    run.report(task, Truncated(()), REPLY, 1.0)
    (roomy,) = started(run.step(1.0))
    assert (roomy.max_tokens, roomy.shard) == (ROOMY_TOKENS, task.shard)
    run.report(roomy, Truncated(()), REPLY, 2.0)
    assert len(run._account.reports) == 2


def group(requests: float, used: float, window: float) -> GroupCapacity:
    frees = ((window, used),) if used else ()
    limit = WindowCapacity("requests", window, requests, used, "sliding", frees)
    return GroupCapacity("g", "p", "m", ("k",), (limit,), 1, 0, 0.0, None, None, 9.0, None, None)


def test_one_call_of_the_quota_is_kept_for_the_synthesis() -> None:
    """When the quota cannot serve all shards in time, the map takes all but one of its calls."""
    groups = [group(5, 3, 60.0), group(4, 0, 60.0)]
    allowance = allowance_of(groups, calls=9, tokens=100, horizon=10.0)
    assert allowance == Allowance(5, 60.0)
    assert allowance_of(groups, calls=5, tokens=100, horizon=10.0) is None


def test_the_map_ends_when_its_allowance_is_spent() -> None:
    """Calls beyond the allowance are not started; a call that was not served gives its own back."""
    run = run_of(width=2, allowance=Allowance(2, 60.0))
    first, second = started(run.step(0.0))
    run.report(first, shortage(1.0), None, 0.5)
    run.report(second, READ, REPLY, 0.5)
    (again,) = started(run.step(1.5))
    assert again.shard == first.shard
    run.report(again, READ, REPLY, 2.0)
    left = len(run._account.reports) - 2
    assert run.step(2.0) == Recount(left)
    run.recounted(Allowance(0, 60.0))
    assert run.step(2.0) == Close()
    run.close(2.0)
    assert {span.until for span in run._ledger.unread()} == {60.0}


def test_a_quota_that_calls_used_less_of_than_was_thought_is_counted_again() -> None:
    """The map goes on with what the quota really leaves, as often as it is found to leave some."""
    run = run_of(width=2, allowance=Allowance(2, 60.0))
    for _ in range(2):
        for task in started(run.step(0.0)):
            run.report(task, READ, REPLY, 0.0)
        assert isinstance(run.step(0.0), Recount)
        run.recounted(Allowance(2, 60.0))
    run.recounted(None)
    assert serve(run, READ) == len(run._account.reports) - 4


def test_errors_are_kept_for_the_caller() -> None:
    """What the pool said is there when nothing could be read."""
    run = run_of(width=1, budget=100_000)
    error = RequestRejected("no such model")
    serve(run, Failed(Fault.BAD_REQUEST, error), reply=None)
    assert run.errors == [error]


def test_the_books_hold_every_call_and_its_tokens() -> None:
    """The timeline has each call once, the bill the sum of all, the shard who read it."""
    run = run_of(width=2)
    calls = serve(run, READ)
    account = run._account
    assert len(account.timeline) == calls
    assert account.usage.total_tokens == 15 * calls
    assert account.usage.cost_usd is None
    assert {report.key for report in account.reports} == {"k1"}


def test_events_count_up_to_the_whole() -> None:
    """Progress tells each start and end, with a coverage that only grows to 1."""
    run = run_of()
    serve(run, READ)
    events = run._account.drain()
    shares = [event.coverage for event in events]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert Counter(event.event for event in events)["read"] == len(run._account.reports)
    assert events[-1].shards_done == events[-1].shards_total


def outage(
    fault: Fault, eta: float | None = 2.0, limit_eta: float | None = None
) -> Exhausted:
    attempt = Attempt("p", "m", "k1", fault.value, detail="could not connect")
    return Exhausted(
        PoolExhausted("down", eta=eta, attempts=(attempt,), limit_eta=limit_eta)
    )


def test_a_limit_that_says_when_it_ends_is_waited_for() -> None:
    """Without a deadline ten minutes of saturation delay the reading and end nothing."""
    run = run_of(width=2)
    for task in started(run.step(0.0)):
        run.report(task, shortage(600.0), None, 1.0)
    assert run.step(1.0) == Wait(600.0)
    assert serve(run, READ, now=601.0) == len(run._account.reports)
    assert run._ledger.coverage == 1.0


def test_an_outage_is_borne_for_as_long_as_the_caller_waits() -> None:
    """Calls that fail again and again end the map after the patience, and the ledger says why."""
    run = run_of(patience=20.0)
    calls = serve(run, outage(Fault.UNREACHABLE), reply=None)
    assert 4 < calls < 100
    assert {span.reason for span in run._ledger.unread()} == {"unreachable"}
    assert {span.until for span in run._ledger.unread()} == {None}
    assert run.eta_at is None


@pytest.mark.parametrize("free_at", [60.0, 240.0])
def test_a_well_key_is_waited_for_while_others_fail(free_at: float) -> None:
    """A key that but waits for its limit is no outage, however long the others are down."""
    run = run_of(width=1, patience=20.0)
    now = 0.0
    while now < free_at:
        (task,) = started(run.step(now))
        run.report(task, outage(Fault.OVERLOADED, limit_eta=free_at - now), None, now)
        assert run.eta_at == free_at
        step = run.step(now)
        assert isinstance(step, Wait)
        now += step.seconds
    assert serve(run, READ, now=now) == len(run._account.reports)
    assert run._ledger.coverage == 1.0


def test_a_well_key_of_tomorrow_is_not_waited_for() -> None:
    """Beyond the horizon a limit helps nobody: it is an outage of those that fail."""
    run = run_of(width=1, patience=20.0)
    calls = serve(run, outage(Fault.OVERLOADED, limit_eta=36_000.0), reply=None)
    assert calls < 100
    assert {span.reason for span in run._ledger.unread()} == {"overloaded"}


def test_a_well_key_that_keeps_no_promise_is_waited_for_in_vain_once() -> None:
    """When its limit has passed and nothing is served for long, the map ends."""
    run = run_of(width=1, patience=20.0)
    calls = serve(run, outage(Fault.OVERLOADED, limit_eta=60.0), reply=None)
    assert 4 < calls < 100
    assert {span.reason for span in run._ledger.unread()} == {"waiting"}


@pytest.mark.parametrize(("limit_eta", "pause"), [(40.0, 40.0), (36_000.0, None), (None, None)])
def test_the_answer_waits_for_a_well_key_while_others_fail(
    limit_eta: float | None, pause: float | None
) -> None:
    """The last call is made again when a limit lets it; an outage promises nothing."""
    error = outage(Fault.OVERLOADED, limit_eta=limit_eta).error
    assert pause_before(error, waited=0.0, tries=1) == pause


def test_an_outage_that_ends_is_forgotten() -> None:
    """One served call begins the patience anew."""
    run = run_of(width=1, patience=20.0)
    (task,) = started(run.step(0.0))
    run.report(task, outage(Fault.OVERLOADED), None, 15.0)
    (task,) = started(run.step(17.0))
    run.report(task, READ, REPLY, 18.0)
    (task,) = started(run.step(18.0))
    run.report(task, outage(Fault.OVERLOADED), None, 30.0)
    assert isinstance(run.step(30.0), Wait)


def test_dead_keys_are_not_said_to_be_waited_for() -> None:
    """When every key was refused, what is unread names the refusal."""
    run = run_of(width=1)
    (task,) = started(run.step(0.0))
    run.report(task, READ, REPLY, 1.0)
    (task,) = started(run.step(1.0))
    run.report(task, outage(Fault.AUTH, eta=None), None, 2.0)
    assert run.step(2.0) == Close()
    run.close(2.0)
    assert {span.reason for span in run._ledger.unread()} == {"auth"}


def test_a_model_that_has_followed_the_form_is_asked_a_third_time() -> None:
    """Where other shards were read, a failed repair is followed by one fresh call."""
    run = run_of(width=1)
    (task,) = started(run.step(0.0))
    run.report(task, READ, REPLY, 1.0)
    for made in (1, 2, 3):
        (task,) = started(run.step(1.0))
        assert (len(task.messages) > 2) == (made == 2)
        run.report(task, Unparsable("oops"), REPLY, 1.0)
    assert Counter(report.state for report in run._account.reports)["failed"] == 1


def test_the_pace_leaves_out_the_wait_for_the_first_capacity() -> None:
    """After a long wait the seconds to go are judged by the calls, not by the wait."""
    run = run_of(width=1)
    (task,) = started(run.step(0.0))
    run.report(task, shortage(100.0), None, 1.0)
    (task,) = started(run.step(101.0))
    run.report(task, READ, REPLY, 102.0)
    last = run._account.drain()[-1]
    assert last.eta == pytest.approx(last.shards_total - 1)
