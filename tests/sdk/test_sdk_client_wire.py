"""What goes over the wire below an SDK, and what never does."""

import contextlib
import json
import logging
import sys
import threading
import traceback
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import httpx2
import openai
import pytest

from hydra_core import Hydra
from hydra_core.drive.transport import generation
from hydra_core.errors import ConfigError, HydraClosed
from hydra_core.testing import FakeProvider

KEYS = ("sk-canary-first-0123456789", "sk-canary-second-0123456789")
PLACEHOLDER = "sk-placeholder-0123456789"
AHOY = [{"role": "user", "content": "Ahoy"}]
COMPLETION = {
    "id": "c",
    "object": "chat.completion",
    "created": 0,
    "model": "m",
    "choices": [
        {"index": 0, "message": {"role": "assistant", "content": "Aye"}, "finish_reason": "stop"}
    ],
    "usage": {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4},
}


class Recorder:
    """A server that keeps every request and answers by the key it is sent."""

    def __init__(self):
        self.requests = []
        self.replies = {}
        recorder = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                recorder.requests.append((self.path, self.headers, body))
                auth = self.headers.get("authorization") or self.headers.get("x-api-key") or ""
                status, headers, reply = recorder.replies.get(auth[-16:], (200, {}, COMPLETION))
                data = reply if isinstance(reply, bytes) else json.dumps(reply).encode()
                self.send_response(status)
                for name, value in {"content-type": "application/json", **headers}.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.base_url = f"http://127.0.0.1:{self.server.server_port}/v1"

    def answer(self, reply, *, key=0, status=200, **headers):
        """What requests with this key get from now on."""
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        self.replies[KEYS[key][-16:]] = (status, headers, reply)

    @property
    def last(self):
        """Path, headers and JSON of the last request."""
        path, headers, body = self.requests[-1]
        return path, headers, json.loads(body)


@pytest.fixture
def recorder():
    one = Recorder()
    thread = threading.Thread(target=one.server.serve_forever, args=(0.01,))
    thread.start()
    yield one
    one.server.shutdown()
    thread.join()
    one.server.server_close()


@pytest.fixture
def pool():
    """Builds pools over a base URL, tried in the order of their keys."""
    with contextlib.ExitStack() as stack:

        def build(base_url, **provider):
            rows = [{"name": f"k{n}", "value": key} for n, key in enumerate(KEYS, 1)]
            row = {"name": "here", "base_url": base_url, "models": ["m"], "keys": rows, **provider}
            settings = {"strategy": "priority", "store": "memory", "cache": False, "max_wait": 0.2}
            return stack.enter_context(Hydra({"providers": [row], **settings}))

        yield build


@pytest.fixture(params=["httpx", "httpx2"])
def client(request, recorder, pool):
    """A bare client over two keys of the recorder."""
    with pool(recorder.base_url).http_client(request.param) as one:
        yield one


def post(client, path="/chat/completions", base="http://hydra/v1", headers=None, **fields):
    sent = {"authorization": f"Bearer {PLACEHOLDER}", **(headers or {})}
    body = {"model": "here/m", "messages": AHOY, **fields}
    return client.post(f"{base}{path}", json=body, headers=sent)


def test_only_the_key_and_the_model_are_exchanged(recorder, client):
    """Other headers and fields arrive as they were; lengths fit; no placeholder travels."""
    carried = {"x-own": "kept", "x-api-key": PLACEHOLDER, "api-key": PLACEHOLDER,
               "x-goog-api-key": PLACEHOLDER, "cookie": f"a={PLACEHOLDER}",
               "openai-organization": "org-of-the-placeholder", "x-hydra-own": "x"}  # fmt: skip
    assert post(client, headers=carried, seed=7, odd={"a": [1]}).status_code == 200
    path, headers, body = recorder.last
    assert (path, body) == (
        "/v1/chat/completions",
        {"model": "m", "messages": AHOY, "seed": 7, "odd": {"a": [1]}},
    )
    assert headers.get_all("authorization") == [f"Bearer {KEYS[0]}"]
    assert (headers["x-own"], headers["host"]) == ("kept", recorder.base_url[7:-3])
    assert headers.get_all("content-length") == [str(len(recorder.requests[-1][2]))]
    assert PLACEHOLDER not in str(headers)
    assert not {"openai-organization", "x-hydra-own", "x-goog-api-key"} & set(headers.keys())
    assert set(headers.get_all("accept-encoding")) == {"identity"}


def test_a_providers_own_address_is_served_by_its_keys(recorder, client):
    """Under its own base URL a request is sent byte for byte, with a leased key."""
    raw = b'{"messages": [{"role":"user","content":"Ahoy"}],  "model": "m"}'
    url = f"{recorder.base_url}/chat/completions?key={PLACEHOLDER}&v=1"
    assert client.post(url, content=raw).json() == COMPLETION
    path, headers, body = recorder.requests[-1]
    assert (path, body) == ("/v1/chat/completions?v=1", raw)
    assert headers["authorization"] == f"Bearer {KEYS[0]}"


def test_an_anthropic_style_key_goes_in_its_own_header(recorder, pool):
    """The dialect says where the key travels; the SDK's path and body stay."""
    usage = {"input_tokens": 2, "output_tokens": 1}
    content = [{"type": "text", "text": "Aye"}]
    recorder.answer({"content": content, "stop_reason": "end_turn", "usage": usage})
    hydra = pool(recorder.base_url, dialect="anthropic")
    with hydra.http_client("httpx2") as client:
        sent = {"x-api-key": PLACEHOLDER, "anthropic-version": "2023-06-01"}
        reply = client.post(
            f"{recorder.base_url}/messages", json={"model": "m", "messages": AHOY}, headers=sent
        )
        assert reply.json()["content"][0]["text"] == "Aye"
        assert post(client).status_code == 404  # OpenAI's format is not what it speaks
    assert hydra.stats()["tokens"] == 3
    path, headers, _ = recorder.last
    assert (path, headers["x-api-key"]) == ("/v1/messages", KEYS[0])
    assert "authorization" not in headers
    assert len(recorder.requests) == 1


@pytest.mark.parametrize(
    ("dialect", "path", "fields"),
    [
        ("gemini", "/models/{}:generateContent", {}),
        ("gemini", "/models/{}:streamGenerateContent", {}),
        ("azure", "/deployments/{}/chat/completions", {}),
        ("azure", "/deployments/{}/chat/completions", {"model": "{}"}),
    ],
)
@pytest.mark.parametrize("asked", ["hydra", "m", "wise"])
def test_a_model_in_the_path_is_a_selector_too(recorder, dialect, path, fields, asked):
    """Where the path names the model, the leased deployment's takes its place."""
    rows = [{"name": "k", "value": KEYS[0]}]
    provider = {"name": "here", "base_url": recorder.base_url, "models": ["m"], "keys": rows}
    config = {"providers": [{**provider, "dialect": dialect}], "aliases": {"wise": ["here/m"]}}
    with Hydra({**config, "store": "memory", "max_wait": 0.2}) as hydra:
        url = recorder.base_url + path.format(asked)
        sent = {name: text.format(asked) for name, text in fields.items()}
        hydra.http_client("httpx2").post(url, json={"contents": AHOY, **sent})
    assert recorder.last[0] == "/v1" + path.format("m")


@pytest.mark.parametrize(
    ("path", "fields", "usage"),
    [
        ("/embeddings", {"input": ["a", "b"]}, {"prompt_tokens": 5, "total_tokens": 5}),
        ("/completions", {"prompt": "Once"}, {"prompt_tokens": 4, "completion_tokens": 1}),
        ("/responses", {"input": "Ahoy"}, {"input_tokens": 3, "output_tokens": 2}),
    ],
)
def test_every_json_endpoint_rotates(recorder, client, path, fields, usage):
    """Embeddings, completions and responses fail over like chats and settle by their usage."""
    recorder.answer({"error": {"message": "slow down", "code": "rate_limit_exceeded"}}, status=429)
    recorder.answer({"usage": usage, "error": None}, key=1)
    assert post(client, path, **fields).json()["usage"] == usage
    assert [sent[0] for sent in recorder.requests] == [f"/v1{path}"] * 2
    assert recorder.last[2]["model"] == "m"


@pytest.mark.parametrize("library", ["httpx", "httpx2"])
def test_the_reported_usage_is_what_is_booked(recorder, pool, library):
    """The tokens of an endpoint that is no chat count in Hydra's own figures."""
    recorder.answer({"data": [], "usage": {"prompt_tokens": 5, "total_tokens": 5}})
    hydra = pool(recorder.base_url)
    with hydra.http_client(library) as client:
        post(client, "/embeddings", input="a")
    assert hydra.stats()["tokens"] == 5


@pytest.mark.parametrize("base", ["http://hydra/v1", "http://hydra/openai/v1", "http://hydra"])
def test_what_an_sdk_puts_before_the_endpoint_does_not_matter(recorder, client, base):
    """SDKs differ in how much of the path they bring along; the provider's own is used."""
    assert post(client, base=base).status_code == 200
    assert recorder.last[0] == "/v1/chat/completions"


@pytest.mark.parametrize("library", ["httpx", "httpx2"])
def test_responses_are_streamed(recorder, pool, library):
    """The newer API streams over a failing key; its usage is found in its last event."""
    done = {"type": "response.completed", "response": {"usage": {"input_tokens": 3,
            "output_tokens": 2}}}  # fmt: skip
    events = [{"type": "response.output_text.delta", "delta": "Aye"}, done]
    body = b"".join(b"data: %b\n\n" % json.dumps(event).encode() for event in events)
    error = b'data: {"type":"error","code":"server_error","message":"down"}\n\n'
    recorder.answer(error, content_type="text/event-stream")
    recorder.answer(body, key=1, content_type="text/event-stream")
    hydra = pool(recorder.base_url)
    client = hydra.http_client(library)
    with openai.OpenAI(api_key="hydra", base_url="http://hydra/v1", http_client=client) as sdk:
        shown = list(sdk.responses.create(model="m", input="Ahoy", stream=True))
    assert [event.type for event in shown] == [event["type"] for event in events]
    assert (hydra.stats()["tokens"], len(recorder.requests)) == (5, 2)


def test_a_missing_endpoint_does_not_rest_the_model(recorder, client):
    """404 for an endpoint is the provider's answer; chats go on with the same key."""
    recorder.answer(
        {"error": {"message": "Unknown request URL", "code": "unknown_url"}}, status=404
    )
    assert post(client, "/responses", input="Ahoy").json()["error"]["code"] == "unknown_url"
    recorder.answer(COMPLETION)
    assert post(client).headers["x-hydra-key"] == "k1"


def test_an_unknown_origin_is_refused(recorder, client):
    """No key and no request goes to an address that is not configured."""
    for base in ("http://127.0.0.1:9/v1", "http://elsewhere/v1", f"https{recorder.base_url[4:]}"):
        reply = post(client, base=base)
        assert (reply.status_code, reply.json()["error"]["code"]) == (421, "unknown_origin")
        assert reply.headers["x-should-retry"] == "false"
    assert recorder.requests == []


def test_redirects_are_not_followed(recorder, client):
    """A provider cannot send a key elsewhere, nor a client to where no key belongs."""
    recorder.answer(b"", status=307, location="http://127.0.0.1:9/v1/chat/completions")
    assert post(client).headers["x-hydra-key"] == "k2"
    recorder.answer(b"", key=1, status=307, location="http://127.0.0.1:9/v1/chat/completions")
    assert post(client).status_code == 307
    client.follow_redirects = True
    assert post(client).json()["error"]["code"] == "unknown_origin"


def test_only_json_is_served(recorder, client):
    """Uploads and other methods are refused in words that name what is served."""
    assert client.get("http://hydra/v1/files").json()["error"]["code"] == "unsupported_endpoint"
    upload = client.post("http://hydra/v1/files", files={"file": b"text"})
    assert (upload.status_code, recorder.requests) == (404, [])


def test_cookies_and_framing_of_a_provider_stay_with_it(recorder, client):
    """One provider's cookies are not stored, so no other is ever sent them."""
    recorder.answer(COMPLETION, set_cookie="id=1", x_own="kept")
    reply = post(client)
    assert ("set-cookie" in reply.headers, reply.headers["x-own"]) == (False, "kept")
    assert len(client.cookies) == 0


def test_an_answer_of_200_that_is_none_becomes_an_error(recorder, client):
    """HTML or an error under status 200 is never handed on as success."""
    recorder.answer(b"<html>Just a moment</html>", content_type="text/html")
    recorder.answer({"error": {"message": "overloaded", "code": 503}}, key=1)
    reply = post(client)
    assert reply.status_code >= 500
    assert reply.json()["error"]["code"] in ("invalid_response", "overloaded")
    assert reply.headers["x-should-retry"] == "false"


def test_a_refused_content_is_handed_on(recorder, client):
    """A completion that ends with content_filter is the provider's answer; no key is tried."""
    filtered = {"index": 0, "message": {"role": "assistant"}, "finish_reason": "content_filter"}
    recorder.answer({**COMPLETION, "choices": [filtered]})
    assert post(client).json()["choices"] == [filtered]
    assert len(recorder.requests) == 1


def test_an_echoed_key_is_cut_out(recorder, client):
    """A provider that repeats the key in body and headers does not make it known."""
    for key in (0, 1):
        said = {"error": {"message": f"Incorrect API key: {KEYS[key]}", "code": "invalid_api_key"}}
        recorder.answer(said, key=key, status=401, x_key=KEYS[key])
    reply = post(client)
    assert reply.status_code == 401
    assert not any(key in f"{reply.text}{reply.headers.raw}" for key in KEYS)


@pytest.mark.parametrize("fault", ["auth", "reset", "hang"])
def test_no_key_in_exceptions_reprs_and_logs(pool, caplog, fault):
    """Neither the SDK's exception, with all locals, nor any logger at DEBUG shows a key."""
    caplog.set_level(logging.DEBUG)
    with FakeProvider(KEYS) as fake:
        fake.fail(fault)
        hydra = pool(fake.base_url, models=["fake-model"])
        sdk = openai.OpenAI(
            api_key="hydra",
            base_url="http://hydra/v1",
            http_client=hydra.http_client(),
            timeout=0.2,
        )
        with sdk, pytest.raises(openai.APIStatusError) as caught:
            sdk.chat.completions.create(model="fake-model", messages=AHOY)
    trace = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    shown = "".join(trace.format()) + caplog.text + repr(sdk._client._transport.__dict__)
    assert not any(key in shown for key in KEYS)


class Faulty:
    """A transport that raises with the key in its words, against its promise."""

    def send(self, wire, secret, *, timeout):  # noqa: ARG002
        raise ValueError(secret.get_secret_value())

    open = send

    def close(self):
        """It holds nothing."""


@pytest.mark.parametrize("stream", [False, True])
def test_what_a_transport_raises_fails_an_attempt(recorder, pool, stream):
    """Its words, which may hold the key, are not repeated, and no lease is left."""
    hydra = pool(recorder.base_url)
    with hydra.http_client("httpx2") as client:
        client._transport._held = (generation(), Faulty())
        reply = post(client, stream=stream)
    assert (reply.status_code, reply.json()["error"]["code"]) == (502, "unknown")
    assert not any(key in reply.text for key in KEYS)
    assert {row["in_flight"] for row in hydra.stats()["keys"].values()} == {0}


def test_the_sdks_timeout_is_honoured(pool):
    """A silent key costs the SDK's own timeout, and the next one is tried."""
    with FakeProvider(KEYS) as fake:
        fake.fail("hang", key=0)
        hydra = pool(fake.base_url, models=["fake-model"])
        with hydra.http_client("httpx2") as client:
            body = {"model": "fake-model", "messages": AHOY}
            reply = client.post("http://hydra/v1/chat/completions", json=body, timeout=1.0)
        assert reply.headers["x-hydra-key"] == "k2"
        assert [call.fault for call in fake.log] == ["hang", None]


def test_all_silent_is_a_timeout_that_is_not_retried(pool):
    """Without any response of a provider the SDK gets 504 and the fault's name."""
    with FakeProvider(KEYS) as fake:
        fake.fail("hang")
        hydra = pool(fake.base_url, models=["fake-model"])
        sdk = openai.OpenAI(
            api_key="hydra",
            base_url="http://hydra/v1",
            http_client=hydra.http_client(),
            timeout=0.1,
        )
        with sdk, pytest.raises(openai.InternalServerError) as caught:
            sdk.chat.completions.create(model="fake-model", messages=AHOY)
        assert (caught.value.status_code, caught.value.code) == (504, "timeout")
        assert caught.value.response.headers["x-hydra-attempts"] == str(len(fake.log))


def test_a_request_names_its_lane(recorder, pool):
    """`x-hydra-lane` chooses the keys that are reserved for a lane."""
    rows = [{"name": "open", "value": KEYS[0]}, {"name": "own", "value": KEYS[1], "lanes": ["bc3"]}]
    with pool(recorder.base_url, keys=rows).http_client("httpx2") as client:
        assert post(client).headers["x-hydra-key"] == "open"
        assert post(client, headers={"x-hydra-lane": "bc3"}).headers["x-hydra-key"] == "own"
        assert post(client, headers={"x-hydra-lane": "none"}).status_code == 404


def test_auto_takes_the_library_that_is_there(recorder, pool, monkeypatch):
    """It is httpx where something has imported it, else httpx2; a missing one is named."""
    hydra = pool(recorder.base_url)
    assert isinstance(hydra.http_client(), httpx.Client)
    assert isinstance(hydra.async_http_client("httpx2"), httpx2.AsyncClient)
    monkeypatch.setitem(sys.modules, "httpx", None)
    with pytest.raises(ConfigError, match="pip install httpx"):
        hydra.http_client("httpx")
    monkeypatch.delitem(sys.modules, "httpx")
    assert isinstance(hydra.http_client(), httpx2.Client)


@pytest.mark.parametrize("option", ["transport", "proxy", "mounts", "verify"])
def test_options_that_lead_around_hydra_are_refused(recorder, pool, option):
    """What would send the placeholder past the pool is an error; other options are taken."""
    hydra = pool(recorder.base_url)
    with pytest.raises(ConfigError, match=option):
        hydra.http_client(**{option: None})
    with hydra.http_client(headers={"x-own": "1"}, timeout=5.0) as client:
        post(client)
    assert recorder.last[1]["x-own"] == "1"


def test_misuse_is_told_at_once(recorder, pool):
    """An unknown library and a closed Hydra are errors when the client is asked for."""
    hydra = pool(recorder.base_url)
    with pytest.raises(ConfigError, match="one of: auto, httpx, httpx2"):
        hydra.http_client("requests")
    hydra.close()
    with pytest.raises(HydraClosed):
        hydra.async_http_client()
