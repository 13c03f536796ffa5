"""When nobody can answer: a smaller model, an old answer, an honest wait, or an error."""

from __future__ import annotations

import threading
import time

import pytest

from hydra_core.degrade import duration
from hydra_core.errors import DeadlineExceeded, PoolExhausted

STREAM = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
JSON = {"type": "json_object"}
TOOL = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]


def one(caller, hydra, *args, stream=False, **kwargs):
    """The reply, or the only chunk of a stream that brings no reply."""
    if not stream:
        return caller.chat(hydra, *args, **kwargs)
    (chunk,) = caller.stream(hydra, *args, **kwargs)
    return chunk


@STREAM
def test_a_saturated_pool_tells_when_to_come_back(caller, pool, serve, stream):
    """The notice says in how many seconds the request can start; then it is served."""
    fake = serve()
    fake.saturate(seconds=40)
    hydra = pool(fake, max_wait=0.0)
    assert one(caller, hydra, "hello", stream=stream).kind == "wait"
    reply = caller.chat(hydra, "hello")
    assert (reply.kind, reply.key, reply.usage.total_tokens) == ("wait", None, 0)
    assert 0 < reply.eta <= 40
    assert f"in about {duration(reply.eta)}." in reply.text
    assert len(fake.log) == 2


@pytest.mark.parametrize(
    ("language", "wait", "dead"),
    [
        ("en", "No key can answer now. This request could start in about", "waiting will not help"),
        ("es", "Ninguna llave puede responder ahora. Esta petición podría", "esperar no ayudará"),
    ],
)
def test_the_notice_speaks_the_readers_language(caller, pool, serve, language, wait, dead):
    """The wait and the lack of any are told in the configured language."""
    fake = serve()
    hydra = pool(fake, max_wait=0.0, language=language)
    fake.saturate(seconds=100)
    assert wait in caller.chat(hydra, "hello").text
    fake.kill(0)
    fake.kill(1)
    other = pool(fake, max_wait=0.0, language=language)
    reply = caller.chat(other, "hello")
    assert (reply.kind, reply.eta) == ("wait", None)
    assert dead in reply.text
    assert "auth" in reply.text


def test_a_notice_tells_how_long_the_call_took(caller, pool, serve):
    """A call that waited and tried before it degraded has its latency, as an answer has."""
    fake = serve(latency=0.05)
    fake.fail("rate_limit", retry_after=50)
    reply = caller.chat(pool(fake, max_wait=0.0), "hello")
    assert reply.kind == "wait"
    assert reply.latency >= sum(attempt.latency for attempt in reply.attempts) > 0


@STREAM
def test_a_notice_names_what_time_alone_may_not_mend(caller, pool, serve, stream):
    """No money, a model that is gone: with the provider's words at first, and the fault later."""
    fake = serve()
    fake.fail("billing")
    hydra = pool(fake, max_wait=0.0)
    first, later = (one(caller, hydra, "hello", stream=stream).text for _ in range(2))
    assert "ask again then. The cause: quota_exhausted_billing (" in first
    assert first.count("quota_exhausted_billing") == 1
    assert later.endswith("ask again then. The cause: quota_exhausted_billing.")


def test_a_mere_limit_is_no_cause_to_tell(caller, pool, serve):
    """A rate limit passes by itself: the wait says all."""
    fake = serve()
    fake.fail("rate_limit", retry_after=50)
    hydra = pool(fake, max_wait=0.0)
    for _ in range(2):
        assert caller.chat(hydra, "hello").text.endswith("ask again then.")


@pytest.mark.parametrize(
    ("language", "told"), [("en", "Besides, calls failed"), ("es", "Además, fallaron llamadas")]
)
def test_the_fault_of_one_key_is_no_cause_of_the_wait_for_another(
    caller, pool, serve, language, told
):
    """The wait is for the key that is only limited: what befell the other one is told apart."""
    fake = serve(["key-canary-1", "key-canary-2"])
    fake.fail("billing", key=0)
    fake.fail("rate_limit", key=1, retry_after=7)
    reply = caller.chat(pool(fake, max_wait=0.0, language=language), "hello")
    assert reply.eta == pytest.approx(7.0, abs=1.5)
    assert f"{told}: quota_exhausted_billing" in reply.text


@STREAM
@pytest.mark.parametrize(
    ("language", "told"),
    [("en", ("No answer came before", "The cause: ")), ("es", ("No llegó ninguna", "La causa: "))],
)
def test_a_slow_answer_is_not_told_as_a_lack_of_keys(caller, pool, serve, language, told, stream):
    """Who gave too little time for an answer is told so, and that a new try may start soon."""
    hydra = pool(serve(latency=30.0), language=language)
    reply = one(caller, hydra, "hello", stream=stream, deadline=0.2)
    assert reply.kind == "wait"
    assert [words for words in told if words not in reply.text] == []
    assert reply.eta < 5
    with pytest.raises(DeadlineExceeded, match="deadline passed before an answer came"):
        caller.ask(hydra, "hello", stream=stream, deadline=0.2, on_exhausted="raise")


@STREAM
def test_dead_keys_are_told_at_once_and_not_asked_again(caller, pool, serve, stream):
    """When all keys are dead every call ends at once, without another call to the provider."""
    fake = serve()
    fake.kill(0)
    fake.kill(1)
    hydra = pool(fake, max_wait=60.0)
    with pytest.raises(PoolExhausted) as caught:
        caller.ask(hydra, "hello", stream=stream, on_exhausted="raise")
    assert caught.value.eta is None
    assert [(a.key, a.outcome) for a in caught.value.attempts] == [
        ("fake-1", "auth"),
        ("fake-2", "auth"),
    ]
    assert one(caller, hydra, "hello", stream=stream).kind == "wait"
    assert len(fake.log) == 2


@STREAM
def test_raising_is_a_setting_and_an_argument(caller, pool, serve, stream):
    """`on_exhausted` raises PoolExhausted with the ETA; the argument beats the setting."""
    fake = serve()
    fake.saturate(seconds=100)
    hydra = pool(fake, max_wait=0.0, on_exhausted="raise")
    with pytest.raises(PoolExhausted, match="could start in") as caught:
        caller.ask(hydra, "hello", stream=stream)
    assert 0 < caught.value.eta <= 100
    assert not isinstance(caught.value, DeadlineExceeded)
    assert caller.ask(hydra, "hello", stream=stream, on_exhausted="answer")[1] == "wait"


@STREAM
@pytest.mark.parametrize("asked", [{"response_format": JSON}, {"tools": TOOL}])
def test_structured_requests_raise_rather_than_get_prose(caller, pool, serve, asked, stream):
    """JSON and tool calls are never replaced by a notice, nor by an old answer."""
    fake = serve()
    hydra = pool(fake, max_wait=0.0, cache=True)
    caller.ask(hydra, "hello", stream=stream, **asked)
    fake.saturate(seconds=100)
    with pytest.raises(PoolExhausted):
        caller.ask(hydra, "hello", stream=stream, **asked)


@STREAM
def test_an_old_answer_comes_with_its_age(caller, pool, serve, stream):
    """The same request gets the reply of better times, marked as such; another does not."""
    fake = serve()
    hydra = pool(fake, max_wait=0.0, cache=True)
    caller.ask(hydra, "hello", stream=stream)
    fake.saturate(seconds=100)
    reply = caller.chat(hydra, "hello")
    assert (reply.kind, reply.text, reply.key) == ("cached", "You said: hello", "fake-1")
    assert (0 <= reply.age < 60, 0 < reply.eta <= 100) == (True, True)
    assert caller.ask(hydra, "hello", stream=stream) == ("You said: hello", "cached")
    assert caller.ask(hydra, "hallo", stream=stream)[1] == "wait"
    assert [a.outcome for a in reply.attempts] == ["rate_limit_minute"] * 2


@STREAM
def test_a_smaller_model_of_the_provider_steps_in(caller, pool, serve, stream):
    """When the default model has no capacity a later one of the list answers in full."""
    fake = serve(models=("large", "small"))
    fake.fail("rate_limit", model="large", retry_after=100)
    hydra = pool(fake, max_wait=0.0)
    if stream:
        chunks = caller.stream(hydra, "hello")
        assert "".join(chunk.text for chunk in chunks) == "You said: hello"
        assert {chunk.model for chunk in chunks} == {"small"}
    else:
        reply = caller.chat(hydra, "hello")
        assert (reply.text, reply.model, reply.kind) == ("You said: hello", "small", "full")
        assert [(a.model, a.outcome) for a in reply.attempts] == [
            ("large", "rate_limit_minute"),
            ("large", "rate_limit_minute"),
            ("small", "ok"),
        ]
    assert [call.model for call in fake.log] == ["large", "large", "small"]


@STREAM
def test_a_smaller_model_may_also_answer_with_structure(caller, pool, serve, stream):
    """JSON from the smaller model is JSON: no reason to raise."""
    fake = serve(models=("large", "small"))
    fake.fail("rate_limit", model="large", retry_after=100)
    hydra = pool(fake, max_wait=0.0)
    text, kind = caller.ask(hydra, "hello", stream=stream, response_format=JSON)
    assert (text[0], kind) == ("{", "full")


@STREAM
@pytest.mark.parametrize("named", ["large", "fake/large"])
def test_a_model_asked_for_by_name_has_smaller_ones_too(caller, pool, serve, stream, named):
    """Naming a model is a wish: with no capacity for it the reply says who answered instead."""
    fake = serve(models=("large", "middle", "small"))
    fake.fail("rate_limit", model="large", retry_after=100)
    hydra = pool(fake, max_wait=0.0)
    assert caller.ask(hydra, "hello", stream=stream, model=named)[1] == "full"
    assert [call.model for call in fake.log] == ["large", "large", "middle"]
    fake.fail("rate_limit", model="middle", retry_after=100)
    fake.fail("rate_limit", model="small", retry_after=100)
    assert caller.ask(hydra, "hello", stream=stream, model="small")[1] == "wait"
    assert "large" not in [call.model for call in fake.log][3:]


@STREAM
def test_who_wants_one_model_and_no_other_says_so(caller, pool, serve, stream):
    """With `on_exhausted="raise"` nothing stands in for the model that was named."""
    fake = serve(models=("large", "small"))
    fake.fail("rate_limit", model="large", retry_after=100)
    hydra = pool(fake, max_wait=0.0)
    with pytest.raises(PoolExhausted):
        caller.ask(hydra, "hello", stream=stream, model="large", on_exhausted="raise")
    assert {call.model for call in fake.log} == {"large"}


@STREAM
def test_an_alias_is_its_own_ladder(caller, pool, serve, stream):
    """Its later entries serve when the first cannot; models outside it do not."""
    one = serve(models=("large", "small"), name="one")
    two = serve(models=("other",), name="two")
    hydra = pool(one, two, max_wait=0.0, aliases={"smart": ["one/large", "two/other"]})
    one.fail("rate_limit", model="large", retry_after=100)
    assert caller.ask(hydra, "hello", stream=stream, model="smart")[1] == "full"
    assert [call.model for call in two.log] == ["other"]
    two.fail("rate_limit", retry_after=100)
    assert caller.ask(hydra, "hello", stream=stream, model="smart")[1] == "wait"
    assert "small" not in {call.model for call in one.log}


@STREAM
@pytest.mark.parametrize(
    ("question", "more"),
    [
        ("  who wrote\t treasure island? ".replace("\t", ""), {}),
        ("Who wrote Treasure Island?", {"temperature": 0.7, "max_tokens": 50, "seed": 7}),
        ("Who wrote Treasure Island?", {"model": "fake/large"}),
        ("Who wrote Treasure Island?", {"provider": "fake"}),
    ],
)
def test_the_same_question_put_otherwise_finds_the_old_answer(
    caller, pool, serve, stream, question, more
):
    """How it is typed, sampled or routed does not matter when nobody can answer now."""
    fake = serve(models=("large",))
    hydra = pool(fake, max_wait=0.0, cache=True)
    caller.ask(hydra, "Who wrote Treasure Island?")
    fake.saturate(seconds=100)
    reply = one(caller, hydra, question, stream=stream, **more)
    assert (reply.kind, reply.text) == ("cached", "You said: Who wrote Treasure Island?")
    assert (0 <= reply.age < 60, reply.eta > 0) == (True, True)
    assert one(caller, hydra, "Who wrote Kidnapped?", stream=stream, **more).kind == "wait"


@STREAM
def test_the_same_sources_in_another_order_find_the_old_answer(caller, pool, serve, stream):
    """Passages may be retrieved in any order; another passage is another request."""
    lines = "\n---------------------\n"
    prompt = "Context information is below." + lines + "{}" + lines + "Query: Who is Pew?\nAnswer: "
    pew = "name: a.txt\n\nPew is a blind beggar (and a pirate)."
    flint = "name: b.txt\n\nFlint is a captain; so is the parrot."
    fake = serve()
    hydra = pool(fake, max_wait=0.0, cache=True)
    text, _ = caller.ask(hydra, prompt.format(f"{pew}\n\n{flint}"))
    fake.saturate(seconds=100)
    asked = prompt.format(f"{flint}\n\n{pew}")
    assert caller.ask(hydra, asked, stream=stream) == (text, "cached")
    for other in (flint, f"{flint}\n\n{pew.replace('blind', 'kind')}"):
        assert caller.ask(hydra, prompt.format(other), stream=stream)[1] == "wait"


@STREAM
def test_the_request_itself_is_preferred_to_one_like_it(caller, pool, serve, stream):
    """First the exact request's answer, then a similar one's, however new that is."""
    fake = serve()
    hydra = pool(fake, max_wait=0.0, cache=True)
    caller.ask(hydra, "Who is Pew?")
    caller.ask(hydra, "who is pew?")
    fake.saturate(seconds=100)
    assert one(caller, hydra, "Who is Pew?", stream=stream).text == "You said: Who is Pew?"
    assert one(caller, hydra, "Who  is Pew?", stream=stream).text == "You said: who is pew?"


def test_a_cut_answer_is_no_answer_to_a_similar_request(caller, pool, serve):
    """What `max_tokens` cut short is good for the request that set it, and for no other."""
    fake = serve()
    hydra = pool(fake, max_wait=0.0, cache=True)
    asked = "Who is the blind man that came to the inn on a cold day?"
    assert caller.chat(hydra, asked, max_tokens=2).finish_reason == "length"
    fake.saturate(seconds=100)
    assert caller.chat(hydra, asked, max_tokens=2).kind == "cached"
    assert caller.chat(hydra, asked).kind == "wait"


@STREAM
def test_half_an_emoji_neither_fails_the_call_nor_the_memory(caller, pool, serve, stream):
    """A prompt that was cut inside a character is mended for sending, and so it is remembered."""
    fake = serve()
    hydra = pool(fake, max_wait=0.0, cache=True)
    caller.ask(hydra, "hello \ud83d", stream=stream)
    fake.saturate(seconds=100)
    assert caller.ask(hydra, "hello \ud83d", stream=stream)[1] == "cached"


@pytest.mark.parametrize("kept", ["memory", "file"])
def test_a_conversation_that_went_on_is_not_the_one_that_was_answered(
    caller, pool, serve, tmp_path, kept
):
    """Callers append to their list of messages; the answer belongs to what it was then."""
    fake = serve()
    store = "memory" if kept == "memory" else f"sqlite:///{tmp_path}/state.db"
    hydra = pool(fake, max_wait=0.0, cache=True, store=store)
    messages = [{"role": "user", "content": "Who is Pew?"}]
    caller.chat(hydra, messages)
    messages.append({"role": "assistant", "content": "A beggar."})
    messages.append({"role": "user", "content": "And Flint?"})
    fake.saturate(seconds=100)
    assert caller.chat(hydra, messages).kind == "wait"
    assert caller.chat(hydra, "who is pew?").kind == "cached"


def test_an_old_answer_outlives_the_process_also_for_a_similar_request(
    caller, pool, serve, tmp_path
):
    """Another Hydra on the same store finds it in the file."""
    fake = serve()
    store = f"sqlite:///{tmp_path}/state.db"
    first = pool(fake, cache=True, store=store)
    caller.ask(first, "Who is Pew?")
    caller.close(first)
    fake.saturate(seconds=100)
    reply = caller.chat(pool(fake, max_wait=0.0, cache=True, store=store), "who is pew?")
    assert (reply.kind, reply.text) == ("cached", "You said: Who is Pew?")


def test_a_disk_that_hangs_does_not_hold_a_call(caller, pool, serve, tmp_path, monkeypatch):
    """Looking for an old answer ends with the call's deadline, whatever the disk does."""
    from hydra_core.store.cache_file import CacheFile

    free = threading.Event()
    monkeypatch.setattr(CacheFile, "read", lambda *_: free.wait(30) and None)
    fake = serve()
    fake.saturate(seconds=100)
    hydra = pool(fake, cache=True, store=f"sqlite:///{tmp_path}/state.db", max_wait=0.0)
    began = time.monotonic()
    assert caller.chat(hydra, "hello", deadline=0.5).kind == "wait"
    took = time.monotonic() - began
    free.set()
    assert took < 10  # a hang would have taken 30


@STREAM
def test_a_short_wait_for_a_smaller_model_beats_a_notice(caller, pool, serve, stream):
    """The patience that is left holds for the smaller model too."""
    fake = serve(models=("large", "small"), time_scale=0.05)
    fake.fail("rate_limit", model="large", retry_after=100)
    fake.fail("rate_limit", model="small", retry_after=0.2, times=2)
    hydra = pool(fake, max_wait=5.0)
    assert caller.ask(hydra, "hello", stream=stream) == ("You said: hello", "full")
    with pytest.raises(PoolExhausted):
        caller.ask(hydra, "hello", stream=stream, on_exhausted="raise")


@STREAM
def test_no_smaller_model_is_asked_after_the_deadline(caller, pool, serve, stream):
    """The deadline is one for the whole call: it is not begun anew for the smaller model."""
    fake = serve(models=("large", "small"))
    fake.fail("hang", model="large")
    hydra = pool(fake)
    with pytest.raises(DeadlineExceeded):
        caller.ask(hydra, "hello", stream=stream, deadline=0.3, response_format=JSON)
    assert {call.model for call in fake.log} == {"large"}
    fake.clear_faults()
