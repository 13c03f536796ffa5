"""A stream that broke off after its first token goes on, if asked to, and says so."""

from __future__ import annotations

import pytest

from hydra_core.errors import PoolExhausted, RequestRejected, StreamBroken
from hydra_core.testing import FakeAnswer, FakeKey, FakeLimits

TEXT = "one two three four five six seven eight nine ten eleven twelve"
SHOWN = "one two three "


class Reciter:
    """Says the text, from where the assistant's last message ends."""

    def answer(self, body):
        said = [m["content"] for m in body["messages"] if m["role"] == "assistant"]
        return FakeAnswer(TEXT.removeprefix("".join(said[-1:])))


def text_of(chunks):
    return "".join(chunk.text for chunk in chunks)


def test_another_key_says_the_rest_and_it_is_marked(caller, pool, serve):
    """Each chunk tells which part it is of; the last one ends the answer."""
    fake = serve(answer=Reciter())
    fake.fail("cut", times=1, after_chunks=1)
    chunks = caller.stream(pool(fake), "recite", on_broken="continue", temperature=0.5)
    assert text_of(chunks) == TEXT
    assert text_of(c for c in chunks if not c.continued) == SHOWN
    assert {(c.key, c.continued) for c in chunks} == {("fake-1", False), ("fake-2", True)}
    assert (chunks[-1].finish_reason, chunks[-1].usage is not None) == ("stop", True)


@pytest.mark.parametrize("asked", [{}, {"on_broken": "raise"}])
def test_nobody_continues_unasked(caller, pool, serve, asked):
    """Without the word for it, StreamBroken comes with the text so far."""
    fake = serve(answer=Reciter())
    fake.fail("cut", times=1, after_chunks=1)
    with pytest.raises(StreamBroken) as caught:
        caller.stream(pool(fake), "recite", **asked)
    assert (caught.value.partial, len(fake.log)) == (SHOWN, 1)


def test_a_stream_that_breaks_again_goes_on_again_once_for_each_key(caller, pool, serve):
    """When every key broke off, StreamBroken has the text of all parts and the whole trail."""
    fake = serve(["key-a", "key-b", "key-c"], answer=Reciter())
    fake.fail("cut", after_chunks=1)
    shown, error = caller.shown(pool(fake), "recite", on_broken="continue")
    assert isinstance(error, StreamBroken)
    assert error.partial == "".join(shown) == "one two three four five six seven eight nine "
    assert [a.key for a in error.attempts] == [call.key for call in fake.log]
    assert len(fake.log) == 3
    assert f"broke off after {len(error.partial)} characters" in str(error)


def test_a_notice_is_never_the_second_half(caller, pool, serve):
    """When nobody can say the rest in time, the break is told, not a wait shown as text."""
    once = FakeLimits(rpm=1)
    fake = serve([FakeKey("key-a", limits=once), FakeKey("key-b", limits=once)], answer=Reciter())
    hydra = pool(fake, max_wait=0.0, cache=False)
    caller.chat(hydra, "hello")
    fake.fail("cut", times=1, after_chunks=1)
    shown, error = caller.shown(hydra, "recite", on_broken="continue")
    assert isinstance(error, StreamBroken)
    assert (error.partial, "".join(shown)) == (SHOWN, SHOWN)
    assert "broke off after 14 characters and could not be continued" in str(error)


def test_what_ends_before_the_first_token_ends_as_always(caller, pool, serve):
    """A stream that never began gives a notice, or the error that was asked for."""
    fake = serve([FakeKey("key-a", limits=FakeLimits(rpm=1))], answer=Reciter())
    hydra = pool(fake, max_wait=0.0, cache=False)
    caller.chat(hydra, "recite")
    (notice,) = caller.stream(hydra, "recite", on_broken="continue")
    assert (notice.kind, notice.continued) == ("wait", False)
    with pytest.raises(PoolExhausted):
        caller.stream(hydra, "recite", on_broken="continue", on_exhausted="raise")


def test_json_is_not_continued(caller, pool, serve):
    """Half of one model's JSON and half of another's would be none."""
    fake = serve(answer=Reciter())
    fake.fail("cut", times=1, after_chunks=1)
    asked = {"response_format": {"type": "json_object"}, "on_broken": "continue"}
    with pytest.raises(StreamBroken):
        caller.stream(pool(fake), "recite", **asked)
    assert len(fake.log) == 1


def test_another_word_is_refused(caller, pool, serve):
    """A typing error is told before anything is sent."""
    fake = serve()
    with pytest.raises(RequestRejected, match="on_broken must be 'raise' or 'continue'"):
        caller.stream(pool(fake), "recite", on_broken="retry")
    assert fake.log == ()


class Refuser:
    """Breaks off, as a provider does that does not want to say more."""

    def answer(self, _body):
        return FakeAnswer(TEXT, finish_reason="content_filter")


def test_what_a_provider_refuses_to_say_is_asked_of_nobody_else(caller, pool, serve):
    """A refused content never rotates keys, in the midst of an answer neither."""
    fake = serve(["key-a", "key-b", "key-c"], answer=Refuser())
    _, error = caller.shown(pool(fake), "recite", on_broken="continue")
    assert isinstance(error, StreamBroken)
    assert (error.partial, [a.outcome for a in error.attempts]) == (TEXT, ["content_filter"])
    assert len(fake.log) == 1


def test_all_parts_share_one_patience(caller, pool, serve):
    """What the first part waited for capacity, the next cannot wait again."""
    once = FakeLimits(rpm=1)
    keys = [FakeKey(f"key-{name}", account="one", limits=once) for name in "ab"]
    fake = serve(keys, answer=Reciter(), time_scale=1 / 60)
    rows = [{"name": key.value[-1], "value": key.value, "account": "one"} for key in keys]
    limited = [{**row, "limits": {"rpm": 1}} for row in rows]
    provider = {**fake.config()["providers"][0], "keys": limited}
    hydra = pool(fake, providers=[provider], max_wait=1.6, time_scale=1 / 60)
    caller.chat(hydra, "hello")
    fake.fail("cut", times=1, after_chunks=1)
    shown, error = caller.shown(hydra, "recite", on_broken="continue")
    assert ("".join(shown), error.attempts[0].waited > 0.5) == (SHOWN, True)
    assert "could not be continued" in str(error)
