"""Scripted faults as a client meets them, streaming and not."""

import json

import httpx2
import pytest

from hydra_core.testing import FakeProvider

http = httpx2.Client(timeout=0.5)


@pytest.fixture(scope="module", autouse=True)
def _client_closed():
    yield
    http.close()


REFUSED = {
    "rate_limit": 429,
    "day_limit": 429,
    "billing": 429,
    "auth": 401,
    "model_gone": 404,
    "overloaded": 503,
    "server_error": 500,
    "context_too_long": 400,
    "too_large": 413,
}
TEXT = "one two three four five six seven eight nine ten eleven twelve"


@pytest.fixture
def fake():
    with FakeProvider(["secret-canary-1", "secret-canary-2"], models=("a", "b")) as served:
        yield served


def post(fake, *, stream=False, key=1, model="a"):
    body = {"model": model, "stream": stream, "messages": [{"role": "user", "content": TEXT}]}
    headers = {"authorization": f"Bearer secret-canary-{key}"}
    return http.stream("POST", f"{fake.base_url}/chat/completions", json=body, headers=headers)


def ask(fake, **how):
    """The whole reply, and the error that broke it off."""
    lines = []
    try:
        with post(fake, **how) as reply:
            lines.extend(reply.iter_lines())
    except httpx2.HTTPError as error:
        return "\n".join(lines), type(error)
    return "\n".join(lines), reply.status_code


def content(text):
    """The words of a stream, as far as it can be read."""
    events = [line[6:] for line in text.splitlines() if line.startswith("data: {")]
    chunks = []
    for event in events:
        try:
            chunks.append(json.loads(event))
        except ValueError:
            break
    deltas = [choice["delta"] for c in chunks for choice in c.get("choices", ())]
    return "".join(delta.get("content") or "" for delta in deltas)


@pytest.mark.parametrize(("fault", "status"), REFUSED.items())
def test_a_refusal_has_the_vendors_status_and_is_logged(fake, fault, status):
    """A refused call gets an error status and a JSON body; the log calls it by the fault's name."""
    fake.fail(fault, times=1)
    text, seen = ask(fake)
    assert seen == status
    assert json.loads(text)["error"]["message"]
    assert [(call.fault, call.status, call.admitted) for call in fake.log] == [
        (fault, status, False)
    ]
    assert ask(fake)[1] == 200


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("fault", "broken"),
    [
        ("hang", httpx2.ReadTimeout),
        ("timeout", httpx2.ReadTimeout),
        ("stall", httpx2.ReadTimeout),
        ("reset", httpx2.ReadError),
        ("cut", httpx2.RemoteProtocolError),
        ("role_then_cut", httpx2.RemoteProtocolError),
    ],
)
def test_a_broken_connection_breaks_as_it_says(fake, fault, broken, stream):
    """A fault of the line ends in the client's own error for it; the log says not finished."""
    fake.fail(fault, times=1)
    assert ask(fake, stream=stream)[1] is broken
    fake.wait_idle()
    (call,) = fake.log
    assert (call.fault, call.finished, call.admitted) == (fault, False, True)
    assert (call.status is None) == (fault in ("hang", "timeout", "reset"))
    assert ask(fake, stream=stream)[1] == 200


def test_a_cut_stream_shows_some_of_its_text(fake):
    """A stream is cut in the middle, or after as many chunks as are asked for, or none."""
    whole = content(ask(fake, stream=True)[0])
    fake.fail("cut", times=1)
    fake.fail("cut", times=1, after_chunks=1)
    fake.fail("role_then_cut", times=1)
    shown = [content(ask(fake, stream=True)[0]) for _ in range(3)]
    assert whole.startswith(shown[0])
    assert 0 < len(shown[0]) < len(whole)
    assert shown[1:] == ["You said: one ", ""]


def test_an_error_event_comes_inside_a_reply_of_status_200(fake):
    """The status is 200 and the error is in the body, or in the stream in place of its end."""
    fake.fail("error_event", times=2)
    text, status = ask(fake)
    assert (status, "error" in json.loads(text)) == (200, True)
    text, status = ask(fake, stream=True)
    assert status == 200
    assert json.loads(text.strip().splitlines()[-1][6:])["error"]["code"] == 500
    assert "[DONE]" not in text


@pytest.mark.parametrize("stream", [False, True])
def test_replies_of_status_200_may_be_worthless(fake, stream):
    """Empty content, a web page and broken JSON all come with status 200 and a whole body."""
    for fault in ("empty", "html", "bad_json", "content_filter"):
        fake.fail(fault, times=1)
    empty, page, broken, filtered = (ask(fake, stream=stream) for _ in range(4))
    assert {status for _, status in (empty, page, broken, filtered)} == {200}
    assert content(empty[0]) == ""
    assert "You said" not in empty[0]
    assert page[0].startswith("<!DOCTYPE html>")
    last = broken[0].strip().splitlines()[-1].removeprefix("data: ")
    with pytest.raises(json.JSONDecodeError):
        json.loads(last)
    assert '"finish_reason":"content_filter"' in filtered[0]
    assert [call.fault for call in fake.log] == ["empty", "html", "bad_json", "content_filter"]


def test_a_fault_strikes_whom_and_when_it_should(fake):
    """`key`, `model`, `after` and `times` choose the calls; all others are served."""
    fake.fail("server_error", key="fake-2", model="b", after=1, times=2)
    assert [ask(fake, key=2, model="b")[1] for _ in range(4)] == [200, 500, 500, 200]
    assert (ask(fake, key=1, model="b")[1], ask(fake, key=2, model="a")[1]) == (200, 200)


def test_probability_is_seeded():
    """The same seed strikes the same calls, and about as many as it should."""
    runs = []
    for _ in range(2):
        with FakeProvider(["secret-canary-1"], models=("a",), seed=7) as fake:
            fake.fail("server_error", probability=0.5)
            runs.append([ask(fake)[1] for _ in range(40)])
    assert runs[0] == runs[1]
    assert 10 <= runs[0].count(500) <= 30


def test_a_stated_wait_and_another_status(fake):
    """`retry_after` is sent as it is, in real seconds, and `status` replaces the fault's own."""
    fake.fail("overloaded", times=1, retry_after=1.5, status=529)
    with post(fake) as reply:
        assert (reply.status_code, reply.headers["retry-after"]) == (529, "1.5")


def test_slow_is_slower_by_its_factor():
    """A slow call takes the factor times the latency: long enough for this client to give up."""
    with FakeProvider(["secret-canary-1"], models=("a",), latency=0.1) as fake:
        fake.fail("slow", times=1, factor=50)
        assert [ask(fake)[1], ask(fake)[1]] == [httpx2.ReadTimeout, 200]


def test_a_dead_key_is_refused_until_it_is_revived(fake):
    """A killed key gets 401 for calls and for the list of models; others do not notice."""
    fake.kill("fake-1")
    headers = {"authorization": "Bearer secret-canary-1"}
    assert http.get(f"{fake.base_url}/models", headers=headers).status_code == 401
    assert [ask(fake, key=key)[1] for key in (1, 2)] == [401, 200]
    fake.revive("fake-1")
    assert ask(fake, key=1)[1] == 200


def test_clearing_and_naming_faults(fake):
    """Cleared faults strike no more; an unknown fault or key is an error that shows no key."""
    fake.fail("server_error")
    fake.clear_faults()
    assert ask(fake)[1] == 200
    with pytest.raises(ValueError, match="there is no fault 'sulk'"):
        fake.fail("sulk")
    with pytest.raises(LookupError, match="no such key; there are fake-1, fake-2"):
        fake.kill("secret-canary-3")


def test_a_stopped_provider_comes_back_at_its_address():
    """A provider that was stopped refuses connections and, started again, serves where it was."""
    fake = FakeProvider(["secret-canary-1"], models=("a",)).start()
    address = fake.base_url
    fake.stop()
    assert ask(fake)[1] is httpx2.ConnectError
    with fake:
        assert (fake.base_url, ask(fake)[1]) == (address, 200)
