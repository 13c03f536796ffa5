"""HTTP and OpenAI's format, as bytes on a socket and as a client reads them."""

import json
import socket
import threading

import httpx2
import pytest

from hydra_core.messages import ToolCall
from hydra_core.testing import FakeAnswer, FakeKey, FakeLimits, FakeProvider

TEXT = "  To go, as a ship's naturalist,\n\nround the world.  "


class Says:
    def __init__(self, **answer):
        self._answer = FakeAnswer(**answer)

    def answer(self, _body):
        return self._answer


@pytest.fixture
def client():
    with httpx2.Client(timeout=5) as http:
        yield http


def body(**fields):
    return {"model": "m", "messages": [{"role": "user", "content": "hello"}], **fields}


def provider(**how):
    return FakeProvider(["k1"], models=("m", "small"), **how)


def post(client, fake, **fields):
    headers = {"authorization": "Bearer k1"}
    return client.post(f"{fake.base_url}/chat/completions", json=body(**fields), headers=headers)


def chunks(reply):
    lines = [line for line in reply.text.split("\n\n") if line]
    assert all(line.startswith("data: ") for line in lines)
    assert lines[-1] == "data: [DONE]"
    return [json.loads(line[6:]) for line in lines[:-1]]


def test_a_stream_is_role_content_finish_and_end(client):
    """A stream opens with the role, brings the text unchanged, then the reason, then the end."""
    with provider(answer=Says(text=TEXT)) as fake:
        reply = post(client, fake, stream=True)
    first, *middle, last = chunks(reply)
    assert reply.headers["content-type"].startswith("text/event-stream")
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert len(middle) > 2
    assert "".join(chunk["choices"][0]["delta"]["content"] for chunk in middle) == TEXT
    assert (last["choices"][0]["delta"], last["choices"][0]["finish_reason"]) == ({}, "stop")
    assert {chunk["object"] for chunk in (first, last)} == {"chat.completion.chunk"}
    assert not any("usage" in chunk for chunk in (first, *middle, last))


def test_usage_comes_in_a_last_chunk_if_asked_for(client):
    """With `include_usage` one more chunk without choices holds what the log says it cost."""
    with provider() as fake:
        last = chunks(post(client, fake, stream=True, stream_options={"include_usage": True}))[-1]
        (call,) = fake.log
    assert last["choices"] == []
    assert last["usage"] == {
        "prompt_tokens": call.prompt_tokens,
        "completion_tokens": call.completion_tokens,
        "total_tokens": call.prompt_tokens + call.completion_tokens,
    }


def test_tool_calls_come_in_fragments(client):
    """A streamed tool call has its name and id once, and arguments that join to the whole."""
    calls = (
        ToolCall("call_1", "weigh", '{"anchor": "starboard", "fathoms": 12}'),
        ToolCall("call_2", "sail", "{}"),
    )
    with provider(answer=Says(tool_calls=calls)) as fake:
        streamed = chunks(post(client, fake, stream=True))
        whole = post(client, fake).json()["choices"][0]
    pieces = [p for c in streamed for p in c["choices"][0]["delta"].get("tool_calls", ())]
    joined = {0: "", 1: ""}
    for piece in pieces:
        joined[piece["index"]] += piece["function"]["arguments"]
    assert [joined[0], joined[1]] == [call.arguments for call in calls]
    assert [piece["id"] for piece in pieces if "id" in piece] == ["call_1", "call_2"]
    assert streamed[-1]["choices"][0]["finish_reason"] == "tool_calls"
    assert whole["finish_reason"] == "tool_calls"
    assert [call["function"]["name"] for call in whole["message"]["tool_calls"]] == [
        "weigh",
        "sail",
    ]


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_max_tokens_cuts_the_answer(client, name):
    """The answer is cut at four characters a token, and says that it was."""
    with provider(answer=Says(text="abcd" * 100)) as fake:
        reply = post(client, fake, **{name: 10}).json()
    (choice,) = reply["choices"]
    assert choice["message"]["content"] == "abcd" * 10
    assert (choice["finish_reason"], reply["usage"]["completion_tokens"]) == ("length", 10)


def test_an_answerer_may_say_what_it_costs(client):
    """Token counts that the answerer states are reported and charged as they are."""
    key = FakeKey("k1", limits=FakeLimits(tpm=100))
    costly = Says(text="yes", prompt_tokens=70, completion_tokens=30)
    with FakeProvider([key], models=("m",), answer=costly) as fake:
        replies = [post(client, fake) for _ in range(2)]
    assert replies[0].json()["usage"]["total_tokens"] == 100
    assert replies[1].status_code == 429


def test_models_are_listed_and_echoed(client):
    """The list names the models; a reply names the one that was asked for; another is unknown."""
    headers = {"authorization": "Bearer k1"}
    with provider() as fake:
        listed = client.get(f"{fake.base_url}/models", headers=headers).json()
        assert [row["id"] for row in listed["data"]] == ["m", "small"]
        assert post(client, fake, model="small").json()["model"] == "small"
        assert post(client, fake, model="large").status_code == 404
        assert client.get(f"{fake.base_url}/elsewhere", headers=headers).status_code == 404


def test_a_server_without_keys_wants_none(client):
    """A key of no value is that of a caller who sends none; others want one."""
    with FakeProvider([FakeKey("")], models=("m",)) as local, provider() as remote:
        url = "{}/chat/completions".format
        assert client.post(url(local.base_url), json=body()).status_code == 200
        assert client.post(url(remote.base_url), json=body()).status_code == 401
        assert "value" not in local.config()["providers"][0]["keys"][0]


@pytest.mark.parametrize(
    "wrong",
    [
        {"tools": []},
        {"tool_choice": "auto"},
        {"tools": [{"type": "retrieval"}]},
        {"messages": [{"role": "captain", "content": "hello"}]},
        {"messages": [{"role": "user"}]},
        {"messages": [{"role": "user", "content": [{"type": "hologram"}]}]},
        {"messages": [{"role": "tool", "tool_call_id": "call_9", "content": "12"}]},
    ],
)
def test_a_strict_provider_rejects_what_openai_rejects(client, wrong):
    """Strict: status 400 for malformed requests; otherwise they are answered."""
    with provider(strict=True) as strict, provider() as lenient:
        reply = post(client, strict, **wrong)
        assert (reply.status_code, reply.json()["error"]["type"]) == (400, "invalid_request_error")
        assert strict.log[0].fault == "bad_request"
        assert post(client, lenient, **wrong).status_code == 200


def test_a_strict_provider_accepts_what_is_well_formed(client):
    """Strict: text and image parts, tools and their results pass."""
    call = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    parts = [
        {"type": "text", "text": "look"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}},
    ]
    messages = [
        {"role": "developer", "content": "be brief"},
        {"role": "user", "content": parts},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "12"},
    ]
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
    with provider(strict=True) as fake:
        reply = post(client, fake, messages=messages, tools=tools)
    assert reply.json()["choices"][0]["message"]["content"] == "The tool says: 12"


@pytest.mark.parametrize("raw", [b"{", b"[]", b'{"model": "m"}', b'{"messages": [], "model": "m"}'])
def test_what_is_no_request_is_refused(client, raw):
    """A body that is not a chat request gets status 400, strict or not."""
    headers = {"authorization": "Bearer k1"}
    with provider() as fake:
        reply = client.post(f"{fake.base_url}/chat/completions", content=raw, headers=headers)
    assert reply.status_code == 400


def test_a_connection_is_kept_for_the_next_request():
    """Many requests, a pipelined pair among them, are answered in order on one connection."""
    content = json.dumps(body()).encode()
    head = "POST /v1/chat/completions HTTP/1.1\r\nhost: fake\r\nauthorization: Bearer k1\r\n"
    request = f"{head}content-length: {len(content)}\r\n\r\n".encode() + content
    with provider(latency=0.01) as fake:
        host, _, port = fake.url.removeprefix("http://").partition(":")
        with socket.create_connection((host, int(port)), timeout=5) as line:
            line.sendall(request * 3)
            received = b""
            while received.count(b'"total_tokens"') < 3:
                received += line.recv(65536)
        assert [f"req_{n:06d}".encode() in received for n in (1, 2, 3)] == [True] * 3
        assert fake.served == 3


def test_what_is_no_http_closes_the_connection():
    """Bytes that are no HTTP end the connection; the server serves on."""
    with provider() as fake:
        host, _, port = fake.url.removeprefix("http://").partition(":")
        with socket.create_connection((host, int(port)), timeout=5) as line:
            line.sendall(b"\x16\x03\x01 no http\r\n\r\n")
            assert line.recv(1024) == b""
        with httpx2.Client() as client:
            assert post(client, fake).status_code == 200


@pytest.mark.parametrize("how", [{"latency": 30.0}, {"chunk_delay": 30.0}])
def test_a_caller_who_leaves_is_noticed(client, how):
    """Who hangs up before the answer or within the stream is logged as not finished, at once."""
    client.timeout = 0.2
    with provider(**how) as fake:
        with pytest.raises(httpx2.ReadTimeout):
            post(client, fake, stream=True)
        fake.wait_idle(timeout=5)
        (call,) = fake.log
        assert (call.finished, fake.in_flight, fake.total.broken) == (False, 0, 1)
        assert (call.status is None) == ("latency" in how)


def test_stopping_ends_what_is_in_flight(client):
    """Stop drops a caller in the middle of a stream, and the log says so."""
    with provider(chunk_delay=30.0) as fake:
        headers = {"authorization": "Bearer k1"}
        url = f"{fake.base_url}/chat/completions"
        with client.stream("POST", url, json=body(stream=True), headers=headers) as reply:
            fake.stop()
            with pytest.raises(httpx2.HTTPError):
                reply.read()
    assert (fake.in_flight, fake.log[0].finished, fake.log[0].status) == (0, False, 200)


def test_many_callers_at_once():
    """Two hundred connections opened at the same time are all served."""
    seen = []

    def call(fake):
        with httpx2.Client(timeout=20, verify=False) as client:
            seen.append(post(client, fake).status_code)

    with provider() as fake:
        threads = [threading.Thread(target=call, args=(fake,)) for _ in range(200)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (seen, fake.served) == ([200] * 200, 200)


def test_the_configuration_tells_what_it_is_asked_to_tell():
    """`config()` has everything Hydra needs; limits and accounts may be kept from it."""
    limits = FakeLimits(rpm=5, window="bucket")
    keys = [FakeKey("k1", "acme", limits), FakeKey("k2", "acme", limits)]
    own = {"m": FakeLimits(tpm=100)}
    with FakeProvider(keys, models=("m",), time_scale=0.05, model_limits=own) as fake:
        told = fake.config(strategy="priority")
        silent = fake.config(tell_limits=False, tell_accounts=False)["providers"][0]
    entry = told["providers"][0]
    assert (told["time_scale"], told["store"], told["strategy"]) == (0.05, "memory", "priority")
    assert (entry["name"], entry["models"], entry["window"]) == ("fake", ["m"], "bucket")
    assert entry["keys"][1] == {
        "name": "fake-2",
        "value": "k2",
        "account": "acme",
        "limits": {"rpm": 5},
        "model_limits": {"m": {"tpm": 100}},
    }
    assert silent["keys"][0] == {"name": "fake-1", "value": "k1"}
    assert "window" not in silent
