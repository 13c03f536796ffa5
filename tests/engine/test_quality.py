"""Whether a reply has the form that was asked for, and what follows when it has not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hydra_core.engine.quality import form_of, shaped
from hydra_core.engine.score import Score, ScoreWeights
from hydra_core.messages import ChatRequest, Fault, ToolCall
from hydra_core.wire import Answer, Verdict

JSON = {"response_format": {"type": "json_object"}}
SCHEMA = {"response_format": {"type": "json_schema", "json_schema": {}}}
TOOLS = {"tools": [{"type": "function", "function": {"name": "look"}}]}
REQUIRED = {**TOOLS, "tool_choice": "required"}
DEEP = "[" * 100_000


@pytest.mark.parametrize(
    ("params", "text", "quality"),
    [
        (JSON, '{"a": 1}', 1.0),
        (JSON, "[1]", 0.0),
        (SCHEMA, "[1]", 1.0),
        (JSON, "Sure! Here it is", 0.0),
        (JSON, '{"a": 1', 0.0),
        (JSON, "", 0.0),
        (SCHEMA, DEEP, 0.0),
        (JSON, '```json\n{"a": 1}\n```', 0.5),
        (JSON, "```\nno\n```", 0.0),
        (TOOLS, "no tool is needed", None),
        (REQUIRED, "no tool is needed", 0.0),
        ({"response_format": {"type": "text"}}, "hello", None),
    ],
)
def test_a_text_is_weighed_by_the_form_asked_for(params, text, quality):
    """JSON parses, and is an object where one was asked for; prose has no form."""
    assert form_of(params, Answer(Verdict(), text=text)) == quality


@pytest.mark.parametrize(
    ("calls", "quality"),
    [
        ([("look", "{}")], 1.0),
        ([("look", "")], 1.0),
        ([("leap", "{}")], 0.0),
        ([("look", "{"), ("look", '{"at": "sea"}')], 0.5),
        ([("look", "[]")], 0.0),
    ],
)
def test_tool_calls_name_a_declared_tool_with_arguments_that_parse(calls, quality):
    """The share of calls that a framework could carry out."""
    made = tuple(ToolCall(str(place), *call) for place, call in enumerate(calls))
    assert form_of(TOOLS, Answer(Verdict(), tool_calls=made)) == quality


def test_what_was_cut_off_or_never_asked_for_says_nothing():
    """A reply's own token limit, a failure and a request without a form teach nothing."""
    prose = Answer(Verdict(status=200), text="hello")
    request = ChatRequest([], params=JSON)
    assert shaped(request, replace(prose, finish_reason="length")).quality is None
    assert shaped(ChatRequest([], params={"temperature": 0}), prose) is prose
    failed = Answer(Verdict(fault=Fault.TIMEOUT))
    assert shaped(request, failed) is failed
    assert shaped(request, prose).quality == 0.0


def test_a_sign_of_form_weighs_less_than_a_reader():
    """Twenty signs make an opinion, where five readers do."""
    seen, read = Score(ScoreWeights()), Score(ScoreWeights())
    seen.glanced(0.0)
    read.judged(0.0)
    assert 1.0 > seen.quality > 0.9 > read.quality


def test_a_good_form_does_not_make_up_for_what_a_reader_said():
    """However many replies parse, only a reader takes back that one was wrong; nor the reverse."""
    read, formed = Score(ScoreWeights()), Score(ScoreWeights())
    read.judged(0.0)
    formed.glanced(0.0)
    low = read.quality, formed.quality
    for _ in range(60):
        read.glanced(1.0)
        formed.judged(1.0)
    assert (read.quality, formed.quality) == low
    for _ in range(60):
        read.judged(1.0)
    assert read.quality > 0.99


@pytest.fixture
def asked(make_pool, make_world):
    """Ask once for JSON of keys that answer as told: (keys asked, the end, the pool)."""

    def ask(rows, answers, **request):
        pool = make_pool(rows, strategy="priority")
        world = make_world(pool, lambda lease, _: (1.0, answers[lease.deployment.key]))
        world.ask(1.0, params=JSON, **request)
        world.run()
        return [lease.deployment.key for _, lease in world.sent], world, pool

    return ask


def test_a_reply_without_the_form_is_asked_for_once_elsewhere(asked, ok):
    """The caller gets JSON; the first key is neither rested nor called a failure."""
    keys, world, pool = asked([{}, {}], {"k1": replace(ok(), quality=0.0), "k2": ok()})
    ((_, reply),) = world.replies
    assert (keys, reply.key) == (["k1", "k2"], "k2")
    assert [attempt.outcome for attempt in reply.attempts] == ["invalid_response", "ok"]
    assert not any(d.failures or d.rests_at(3.0) for d in pool.deployments)
    assert pool.by("k1").score.quality < 1.0


def test_another_model_is_preferred_for_the_second_try(asked, ok):
    """What one model cannot shape, its other keys would not either."""
    rows = [{"models": ["a"]}, {"models": ["a"]}, {"models": ["b"]}]
    bad = replace(ok(), quality=0.0)
    keys, _, _ = asked(rows, {"k1": bad, "k2": bad, "k3": ok()})
    assert keys == ["k1", "k3"]


@pytest.mark.parametrize(
    "rows", [[{}], [{}, {"rpm": 1}], [{}, {}, {}]], ids=["no other", "no room", "also bad"]
)
def test_the_reply_that_there_is_is_given_rather_than_none(make_pool, make_world, ok, rows):
    """One more try if it can start at once, never a wait, an error or a third call for it."""
    pool = make_pool(rows, strategy="priority")
    if len(rows) == 2:
        pool.lease(0.5, avoid=[pool.by("k1")])
    world = make_world(pool, lambda *_: (1.0, replace(ok(), text="prose", quality=0.0)))
    world.ask(1.0, params=JSON)
    world.run()
    ((at, reply),) = world.replies
    assert (reply.text, reply.key) == ("prose", "k1")
    assert (at, len(world.sent)) == ((3.0, 2) if len(rows) == 3 else (2.0, 1))


@pytest.mark.parametrize("fault", [Fault.TIMEOUT, Fault.BAD_REQUEST, Fault.CONTEXT_TOO_LONG])
def test_a_second_try_that_fails_costs_nothing_but_time(asked, ok, refuse, fault):
    """The first reply is still an answer."""
    _, world, _ = asked([{}, {}], {"k1": replace(ok(), quality=0.0), "k2": refuse(fault)})
    ((_, reply),) = world.replies
    assert (reply.key, reply.text, len(reply.attempts)) == ("k1", "ok", 2)


def test_what_a_reader_has_seen_is_not_asked_for_again(asked, ok):
    """A stream was shown as it came: its form teaches the score, and no more."""
    bad = replace(ok(), quality=0.0, shown=True)
    keys, world, pool = asked([{}, {}], {"k1": bad})
    assert keys == ["k1"]
    assert world.replies[0][1].attempts[0].outcome == "ok"
    assert pool.by("k1").score.quality < 1.0
