"""When nobody can answer: a smaller model, an old answer, an honest wait, or an error."""

from __future__ import annotations

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
    """The same request gets the reply of better times, marked as such; another one does not."""
    fake = serve()
    hydra = pool(fake, max_wait=0.0, cache=True)
    caller.ask(hydra, "hello", stream=stream)
    fake.saturate(seconds=100)
    reply = caller.chat(hydra, "hello")
    assert (reply.kind, reply.text, reply.key) == ("cached", "You said: hello", "fake-1")
    assert (0 <= reply.age < 60, 0 < reply.eta <= 100) == (True, True)
    assert caller.ask(hydra, "hello", stream=stream) == ("You said: hello", "cached")
    assert caller.ask(hydra, "hello", stream=stream, temperature=1.0)[1] == "wait"
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
def test_a_model_asked_for_by_name_is_not_replaced(caller, pool, serve, stream):
    """Who names a model gets that model or a wait."""
    fake = serve(models=("large", "small"))
    fake.fail("rate_limit", model="large", retry_after=100)
    hydra = pool(fake, max_wait=0.0)
    assert caller.ask(hydra, "hello", stream=stream, model="large")[1] == "wait"
    assert {call.model for call in fake.log} == {"large"}


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
