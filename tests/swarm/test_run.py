from __future__ import annotations

import asyncio
import contextvars
import json
import re
import threading
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from hydra_core.errors import (
    ConfigError,
    ContextTooLong,
    HydraClosed,
    PoolExhausted,
    RequestRejected,
    SourceError,
)
from hydra_core.hydra import Hydra
from hydra_core.messages import Attempt, Reply, Usage
from hydra_core.swarm import arun_swarm, plan_swarm, run_swarm
from hydra_core.swarm.coverage import share_read
from hydra_core.swarm.report import nothing_read
from hydra_core.swarm.synthesize import MOST_LISTED
from hydra_core.testing.extractive import ExtractiveModel
from hydra_core.testing.keys import FakeKey, FakeLimits
from hydra_core.testing.provider import FakeProvider
from hydra_core.testing.ships_log import ships_log

if TYPE_CHECKING:
    from collections.abc import Callable

    from hydra_core.engine.capacity import GroupCapacity
    from hydra_core.swarm.progress import SwarmProgress

LOG = ships_log(pages=60)
CASKS = LOG.questions[0]
SYNTHESIS = "You answer a question from facts"


class Double:
    """A caller whose calls end as a script says; by default the extractive model answers."""

    def __init__(self, script: Callable[[int, str], Exception | str | None] | None = None) -> None:
        self.asked: list[str] = []
        self.taught: list[float] = []
        self.most = self.now = 0
        self.config = SimpleNamespace(max_wait=30.0)
        self._script = script or (lambda _number, _prompt: None)
        self._lock = threading.Lock()

    def chat(self, messages: list[dict[str, Any]], **_: Any) -> Reply:
        with self._lock:
            number = len(self.asked)
            self.asked.append("\n".join(message["content"] for message in messages))
            self.now += 1
            self.most = max(self.most, self.now)
        try:
            scripted = self._script(number, self.asked[number])
            if isinstance(scripted, Exception):
                raise scripted
            text = scripted or ExtractiveModel().answer({"messages": messages}).text
        finally:
            with self._lock:
                self.now -= 1
        usage = Usage(len(self.asked[number]) // 4, len(text) // 4)
        return Reply(text, {}, finish_reason="stop", usage=usage, provider="p", key="k1")

    async def achat(self, messages: list[dict[str, Any]], **limits: Any) -> Reply:
        return await asyncio.to_thread(self.chat, messages, **limits)

    def feedback(self, _reply: Reply, quality: float) -> None:
        self.taught.append(quality)

    def capacity(self, **_: Any) -> tuple[GroupCapacity, ...]:
        from hydra_core.engine.capacity import GroupCapacity

        return (GroupCapacity("g", "p", "m", ("k1",), (), 4, 0, 0.0, 8_000, None, 1.0, None, None),)


def is_synthesis(prompt: str) -> bool:
    return prompt.startswith(SYNTHESIS)


def after(calls: int, error: Callable[[], Exception]) -> Callable[[int, str], Exception | None]:
    return lambda number, prompt: error() if number >= calls and not is_synthesis(prompt) else None


def test_quotes_teach_the_score_of_who_gave_them() -> None:
    """Each report is judged by the share of its quotes that are in the text; prose is worth 0."""
    caller = Double(lambda number, _: "I would rather not" if number == 0 else None)
    run_swarm(caller, CASKS.text, LOG.text)
    assert caller.taught.count(0.0) == 1
    assert set(caller.taught) == {0.0, 1.0}


def test_a_count_over_the_whole_book_is_right() -> None:
    """Facts from every part are added up, cited in order, with full coverage."""
    caller = Double()
    result = run_swarm(caller, CASKS.text, LOG.text)
    assert result.kind == "full"
    assert result.coverage == 1.0
    assert CASKS.expected[0] in result.text
    assert [one.quote for one in result.citations] == list(CASKS.quotes)
    assert len(caller.asked) == len(result.shards) + 1
    assert result.resume_token is None


async def test_both_drivers_give_the_same_answer() -> None:
    """The blocking and the async driver agree on everything but the clock."""
    question = LOG.questions[4]
    one = await asyncio.to_thread(run_swarm, Double(), question.text, LOG.text)
    other = await arun_swarm(Double(), question.text, LOG.text)
    assert (one.text, one.citations, one.coverage, one.kind) == (
        other.text, other.citations, other.coverage, other.kind,
    )  # fmt: skip
    assert one.usage == other.usage


def test_calls_in_flight_stay_within_the_groups_concurrency() -> None:
    """No more calls are outstanding than the pool can start soon."""
    caller = Double()
    run_swarm(caller, CASKS.text, LOG.text)
    assert 1 <= caller.most <= 5


def test_saturation_midway_gives_a_partial_answer_with_its_coverage() -> None:
    """When capacity ends midway, the answer says what was read, what not, and until when."""
    caller = Double(after(3, lambda: PoolExhausted("daily limit", eta=36_000.0)))
    result = run_swarm(caller, CASKS.text, LOG.text)
    assert result.kind == "partial"
    assert 0 < result.coverage < 1
    assert result.coverage == share_read(result.ledger)
    assert result.eta == pytest.approx(36_000, abs=10)
    assert "Not read: " in result.text
    assert "At least" in result.text
    assert {span.until is not None for span in result.not_read} == {True}


def test_a_resume_sends_only_what_is_missing() -> None:
    """Going on from a partial result reads the rest and gives the answer of a full run."""
    cut = run_swarm(
        Double(after(3, lambda: PoolExhausted("daily limit", eta=36_000.0))), CASKS.text, LOG.text
    )
    caller = Double()
    rest = run_swarm(caller, CASKS.text, LOG.text, resume=cut.resume_token)
    assert rest.kind == "full"
    assert CASKS.expected[0] in rest.text
    assert [one.quote for one in rest.citations] == list(CASKS.quotes)
    read_before = sum(report.state == "read" for report in cut.shards)
    assert len(caller.asked) == len(cut.shards) - read_before + 1


@pytest.mark.parametrize("change", ["question", "source", "token"])
def test_a_resume_of_something_else_is_refused(change: str) -> None:
    """A token fits one question and one source, and a damaged one is named as such."""
    cut = run_swarm(
        Double(after(2, lambda: PoolExhausted("daily", eta=36_000.0))), CASKS.text, LOG.text
    )
    assert cut.resume_token is not None
    with pytest.raises(ConfigError, match="resume"):
        run_swarm(
            Double(),
            "Another question?" if change == "question" else CASKS.text,
            LOG.text + "x" if change == "source" else LOG.text,
            resume=cut.resume_token[:-9] if change == "token" else cut,
        )


def test_an_outage_is_never_a_silent_book() -> None:
    """When nothing was read the result is a wait with its ETA and claims nothing on the text."""
    caller = Double(lambda *_: PoolExhausted("all keys rest", eta=36_000.0))
    result = run_swarm(caller, CASKS.text, LOG.text)
    assert result.kind == "wait"
    assert result.eta == pytest.approx(36_000, abs=5)
    assert result.coverage == 0.0
    assert "no answer" in result.text
    assert "nothing found" not in result.text.lower()


def test_an_outage_without_an_end_is_raised() -> None:
    """When nothing was read and nobody knows when it can be, the pool's own error is raised."""
    with pytest.raises(PoolExhausted, match="all keys are dead"):
        run_swarm(Double(lambda *_: PoolExhausted("all keys are dead")), CASKS.text, LOG.text)


@pytest.mark.parametrize("error", [RequestRejected("no such model"), HydraClosed("closed")])
def test_the_callers_own_errors_are_raised(error: Exception) -> None:
    """A request that everyone rejects, or a closed object, is the caller's matter."""
    with pytest.raises(type(error)):
        run_swarm(Double(lambda *_: error), CASKS.text, LOG.text)


def test_a_model_that_never_follows_the_format_is_named() -> None:
    """Prose from every shard is no reading, and the error says what to check."""
    with pytest.raises(PoolExhausted, match="invalid_response"):
        run_swarm(Double(lambda *_: "I like the sea."), CASKS.text, LOG.text)


def test_nothing_found_in_all_of_it_is_said_so() -> None:
    """A full reading without a fact says that all was read, and no synthesis is paid for."""
    caller = Double(lambda *_: '{"relevant": false, "facts": []}')
    result = run_swarm(caller, "Is there a unicorn?", LOG.text)
    assert result.kind == "full"
    assert "nothing found" in result.text
    assert not any(map(is_synthesis, caller.asked))


def test_nothing_found_in_a_part_is_said_of_that_part() -> None:
    """A partial reading without a fact does not claim absence."""

    def script(number: int, _prompt: str) -> Exception | str:
        return PoolExhausted("x", eta=36_000.0) if number > 2 else '{"relevant": false}'

    result = run_swarm(Double(script), "Is there a unicorn?", LOG.text)
    assert result.kind == "partial"
    assert "does not show that it is absent" in result.text


def test_a_failed_synthesis_still_delivers_the_passages() -> None:
    """When no model can write the answer, the verified passages are returned in order."""
    caller = Double(lambda _, prompt: PoolExhausted("x") if is_synthesis(prompt) else None)
    result = run_swarm(caller, CASKS.text, LOG.text)
    assert result.kind == "partial"
    assert result.coverage == 1.0
    assert len(result.citations) >= len(CASKS.quotes)
    starts = [one.start for one in result.citations]
    assert starts == sorted(starts)


def test_shards_that_are_too_long_are_halved_until_they_fit() -> None:
    """A model with a small window reads the same book in smaller parts."""

    def script(_number: int, prompt: str) -> Exception | None:
        return ContextTooLong("window") if len(prompt) > 9_000 and "<text " in prompt else None

    result = run_swarm(Double(script), CASKS.text, LOG.text)
    assert result.kind == "full"
    assert CASKS.expected[0] in result.text
    assert len(result.shards) > 15


def test_a_listener_that_raises_ends_nothing() -> None:
    """What on_progress raises is logged; events still come, in order, to the last."""
    seen: list[SwarmProgress] = []

    def listener(event: SwarmProgress) -> None:
        seen.append(event)
        raise ValueError("the display is broken")

    result = run_swarm(Double(), CASKS.text, LOG.text, on_progress=listener)
    assert result.kind == "full"
    assert [seen[0].event, seen[-1].event] == ["planned", "finished"]
    assert seen[-1].coverage == 1.0


def test_calls_see_the_callers_context() -> None:
    """Context variables set by the caller hold inside the calls, as tracing needs."""
    marker: contextvars.ContextVar[str] = contextvars.ContextVar("marker", default="")
    seen: set[str] = set()

    def script(_number: int, _prompt: str) -> None:
        seen.add(marker.get())

    marker.set("here")
    run_swarm(Double(script), CASKS.text, LOG.text)
    assert seen == {"here"}


async def test_a_cancelled_swarm_leaves_no_call_behind() -> None:
    """Cancelling the task cancels its calls before it returns."""
    begun = asyncio.Event()

    class Slow(Double):
        open = 0

        async def achat(self, *_: Any, **__: Any) -> Reply:
            self.open += 1
            begun.set()
            try:
                await asyncio.sleep(30)
            finally:
                self.open -= 1
            raise AssertionError("never reached")

    caller = Slow()
    swarm = asyncio.create_task(arun_swarm(caller, CASKS.text, LOG.text))
    await begun.wait()
    swarm.cancel()
    with pytest.raises(asyncio.CancelledError):
        await swarm
    assert caller.open == 0


def test_a_deadline_is_kept_and_the_most_relevant_shard_goes_first() -> None:
    """Slow calls: the swarm ends by its deadline, having begun with what the question names."""

    def script(number: int, prompt: str) -> None:
        if number >= 4 and not is_synthesis(prompt):
            time.sleep(1.2)

    question = next(one for one in LOG.questions if "brass plate" in one.text)
    caller = Double(script)
    begin = time.monotonic()
    result = run_swarm(caller, question.text, LOG.text, deadline=1.5)
    assert time.monotonic() - begin < 2.5
    assert result.kind == "partial"
    assert question.quotes[0] in caller.asked[0]
    assert question.expected[0] in result.text


def test_several_sources_are_told_apart() -> None:
    """Citations name the document they come from, and coverage spans all of them."""
    sources = ["The lamp is red. It hangs at the door.", "The lamp of the house is green."]
    result = run_swarm(Double(), "What colour is the lamp?", sources)
    assert result.coverage == 1.0
    assert len({one.document for one in result.citations}) == 2


def test_an_empty_source_is_refused_before_any_call() -> None:
    """A source without text is the caller's error, and costs nothing."""
    caller = Double()
    with pytest.raises(SourceError):
        run_swarm(caller, "Why?", "   ")
    assert caller.asked == []


def test_spanish_readers_are_told_in_spanish() -> None:
    """Hydra's own notices follow the language asked for."""
    caller = Double(lambda *_: PoolExhausted("x", eta=36_000.0))
    result = run_swarm(caller, CASKS.text, LOG.text, language="es")
    assert "esto no es una respuesta" in result.text


def test_a_swarm_over_real_http_within_the_keys_limits() -> None:
    """Three keys over loopback HTTP read the book, and the provider counts no violation."""
    keys = [
        FakeKey(f"secret-{n}", account=f"account-{n}", limits=FakeLimits(rpm=15, tpm=250_000))
        for n in range(3)
    ]
    fake = FakeProvider(keys, answer=ExtractiveModel(), vendor="groq", time_scale=0.02)
    with fake as provider, Hydra({**provider.config(), "store": "memory"}) as hydra:
        plan = plan_swarm(hydra, LOG.text, CASKS.text)
        result = run_swarm(hydra, CASKS.text, LOG.text)
    assert result.kind == "full"
    assert CASKS.expected[0] in result.text
    assert len(result.shards) == plan.shards
    assert len({report.key for report in result.shards}) == 3
    assert not re.search(r"secret-\d", json.dumps(result.text) + str(result))


@pytest.mark.parametrize("fault", ["overloaded", "reset"])
def test_a_book_is_read_by_the_keys_that_are_left(fault: str) -> None:
    """One provider is down, the other's minute is used up again and again: it is waited for."""
    book = ships_log(pages=20)
    with (
        FakeProvider(
            [FakeKey("secret-1", limits=FakeLimits(rpm=4, window="fixed"))],
            answer=ExtractiveModel(), time_scale=0.02, name="well",
        ) as well,
        FakeProvider(["secret-2"], answer=ExtractiveModel(), time_scale=0.02, name="ill") as ill,
    ):  # fmt: skip
        ill.fail(fault)
        config = {**well.config(), "store": "memory", "max_wait": 0.4}
        config["providers"] += ill.config()["providers"]
        for provider in config["providers"]:
            provider["models"] = [{"name": "fake-model", "context_window": 4_000}]
        with Hydra(config) as hydra:
            result = run_swarm(hydra, book.questions[0].text, book.text)
    assert (result.kind, result.coverage) == ("full", 1.0)
    assert ill.served == 0


@pytest.mark.parametrize("known", [False, True])
def test_a_suspect_sign_in_is_borne_as_any_outage(known: bool) -> None:
    """All keys are refused though they had worked: that is no promise of capacity, but an error."""
    with FakeProvider(["secret-1", "secret-2", "secret-3"], time_scale=0.01) as fake:
        settings = {"store": "memory", "cache": False, "max_wait": 0.4}
        with Hydra(fake.config(**settings)) as hydra:
            for number in range(6):
                hydra.chat(f"hello {number}")
            fake.fail("auth")
            for number in range(4 * known):
                hydra.chat(f"again {number}", max_wait=0.0)
            with pytest.raises(PoolExhausted, match="auth") as info:
                run_swarm(hydra, CASKS.text, LOG.text)
    assert info.value.eta is None


def down(*_: object) -> PoolExhausted:
    attempt = Attempt("p", "m", "k1", "unreachable", detail="could not connect")
    return PoolExhausted("no capacity in time", eta=2.0, attempts=(attempt,))


@pytest.mark.parametrize("deadline", [None, 0.4])
def test_a_provider_that_is_down_is_an_error_that_says_so(deadline: float | None) -> None:
    """An outage is neither a deadline that was too short nor a limit that will be over."""
    caller = Double(down)
    caller.config.max_wait = 0.2
    with pytest.raises(PoolExhausted, match="unreachable at p/m via k1: could not connect") as info:
        run_swarm(caller, CASKS.text, LOG.text, deadline=deadline)
    assert info.value.eta is None


def test_keys_that_are_at_their_limits_are_no_outage() -> None:
    """The pool's own error says what helps; nobody is sent to check a network."""
    spent = Attempt("p", "m", "k1", "rate_limit_day")
    error = PoolExhausted("every key is spent for the day", attempts=(spent,))
    assert nothing_read([error], ()) is error


def test_the_answer_waits_for_capacity_that_was_promised() -> None:
    """All is read and the last call finds the keys at their limit: it is made when they are not."""
    refused: list[int] = []

    def script(number: int, prompt: str) -> Exception | None:
        if not is_synthesis(prompt) or refused:
            return None
        refused.append(number)
        return PoolExhausted("all keys rest", eta=0.1)

    result = run_swarm(Double(script), CASKS.text, LOG.text)
    assert (result.kind, len(refused)) == ("full", 1)
    assert CASKS.expected[0] in result.text


async def test_the_answer_of_an_event_loop_waits_too() -> None:
    """The async driver makes the last call again when the promise is due."""
    calls: list[int] = []

    def script(number: int, prompt: str) -> Exception | None:
        if is_synthesis(prompt):
            calls.append(number)
        return PoolExhausted("x", eta=0.1) if is_synthesis(prompt) and len(calls) == 1 else None

    assert (await arun_swarm(Double(script), CASKS.text, LOG.text)).kind == "full"


def test_a_long_wait_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever waits for a limit reads why, how much is read and when it goes on."""
    monkeypatch.setattr("hydra_core.swarm.run._SAID_FROM", 0.0)

    def script(number: int, _prompt: str) -> Exception | None:
        return PoolExhausted("all keys rest", eta=0.1) if number < 5 else None

    assert run_swarm(Double(script), CASKS.text, LOG.text).kind == "full"
    assert "no key can serve now" in caplog.text


def test_passages_without_a_model_are_few_and_the_surest() -> None:
    """When nobody writes the answer, a reader gets a dozen passages, in the order of the text."""
    facts = ", ".join(
        f'{{"claim": "c{n}", "quote": "Lamp number {n} of the long row.", "confidence": {n % 5}}}'
        for n in range(30)
    )
    text = " ".join(f"Lamp number {n} of the long row." for n in range(30))

    def script(_number: int, prompt: str) -> Exception | str:
        if is_synthesis(prompt):
            return PoolExhausted("x")
        return f'{{"relevant": true, "facts": [{facts}]}}'

    result = run_swarm(Double(script), "Which lamps?", text)
    assert len(result.citations) == MOST_LISTED
    assert [one.start for one in result.citations] == sorted(o.start for o in result.citations)
