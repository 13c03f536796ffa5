"""Whatever a provider does with a key that it was sent, none of our sinks shows it."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import pickle
import traceback
from urllib.parse import quote

import pytest

from hydra_core import Hydra
from hydra_core.errors import HydraError
from hydra_core.messages import Fault

KEYS = ("sk-CANARY-7fQ2/xM9+vL4bZ8wK3=tail", "sk-CANARY-h5J1/rT6+yN0cD8gP2=foot")
FORMS = {
    form
    for key in KEYS
    for form in (key, quote(key, safe=""), key[::-1], key.encode().hex(), json.dumps(key)[1:-1])
} | {base64.b64encode(b"\0" * n + key.encode()).decode()[4:-4] for key in KEYS for n in range(3)}
WINDOWS = {form[n : n + 8] for form in FORMS for n in range(len(form) - 7)}
ASKED = "Where is the lamp?"


def reply(status, body, *, kind="application/json", headers=()):
    """One whole HTTP reply."""
    lines = [f"HTTP/1.1 {status} X", f"content-type: {kind}", f"content-length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers]
    return "\r\n".join([*lines, "connection: close", "", ""]).encode() + body


def sent_key(head):
    """The key that came with a request."""
    (line,) = (line for line in head.splitlines() if line.lower().startswith("authorization:"))
    return line.partition("Bearer ")[2].strip()


def completion(content, **more):
    """A chat completion's body."""
    choice = {"index": 0, "message": {"role": "assistant", "content": content}, **more}
    return json.dumps({"choices": [{"finish_reason": "stop", **choice}]}).encode()


def event(content=None, **more):
    """One event of a stream."""
    choice = {"index": 0, "delta": {"content": content}, "finish_reason": None}
    return b"data: " + json.dumps({"choices": [choice], **more}).encode() + b"\n\n"


def error(status, said, **headers):
    """An error in OpenAI's shape whose every field says it."""
    body = {"error": {"message": f"bad {said}", "type": said, "code": said, "param": said}}
    return [reply(status, json.dumps(body).encode(), headers=headers.items())]


def stream(*events):
    """A stream's bytes."""
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
    return [head, *events]


def tool_call(key):
    """A completion that calls a tool with the key."""
    function = {"name": "look", "arguments": json.dumps({"key": key})}
    call = {"id": key, "type": "function", "function": function}
    return completion(None, message={"role": "assistant", "content": None, "tool_calls": [call]})


def basic(key):
    """The key as a header of basic authentication holds it."""
    return base64.b64encode(f"user:{key}".encode()).decode()


ECHOES = {
    "error body": lambda key: error(401, key),
    "error body, day limit": lambda key: error(429, f"{key} per day"),
    "error body, bad request": lambda key: error(400, key),
    "error body, server": lambda key: error(500, key),
    "error body, page": lambda key: [reply(403, f"<html>{key}</html>".encode(), kind="text/html")],
    "error body, quoted": lambda key: error(404, quote(key, safe="")),
    "error body, base64": lambda key: error(402, basic(key)),
    "error body, hex": lambda key: error(503, key.encode().hex()),
    "error body, reversed": lambda key: error(403, key[::-1]),
    "error header": lambda key: error(429, "x", **{"openai-organization": key, "retry-after": key}),
    "location": lambda key: [reply(307, b"", headers=[("location", f"http://127.0.0.1:9/{key}")])],
    "success body": lambda key: [reply(200, completion(f"Your key is {key}."))],
    "success body, escaped": lambda key: [
        reply(200, completion(f"Your key is {key}.").replace(b"/", b"\\/"))
    ],
    "success body, tool call": lambda key: [reply(200, tool_call(key))],
    "success body, finish": lambda key: [reply(200, completion("Yes.", finish_reason=key))],
    "success body, error": lambda key: [
        reply(200, json.dumps({"error": {"message": key, "code": 500}}).encode())
    ],
    "success header": lambda key: [
        reply(200, completion("Yes."), headers=[("x-request-id", key), ("set-cookie", key)])
    ],
    "stream": lambda key: stream(event(f"Your key is {key}."), b"data: [DONE]\n\n"),
    "stream, in pieces": lambda key: stream(
        *(event(key[n : n + 5]) for n in range(0, len(key), 5)), b"data: [DONE]\n\n"
    ),
    "stream, error": lambda key: stream(event(error={"message": key, "code": key})),
    "stream, late error": lambda key: stream(event("Half"), event(error={"message": key})),
    "stream, cut inside": lambda key: stream(event("Half "), event(key[:-1])),
    "stream, bad JSON": lambda key: stream(event("Half"), f'data: {{"{key}\n\n'.encode()),
    "no HTTP": lambda key: [f"HTTP/9 {key}\r\n\r\n".encode()],
    "bad header": lambda key: [f"HTTP/1.1 200 OK\r\n{key}\r\n\r\n".encode()],
    "cut body": lambda key: [reply(200, completion(key))[:-9]],
}


def leaks(sinks):
    """The sinks that show eight characters in a row of any form of a key."""
    return {
        name: text for name, text in sinks.items() if any(window in text for window in WINDOWS)
    }


def told(error):
    """Everything that an exception may print, with the variables of every frame."""
    trace = traceback.TracebackException.from_exception(error, capture_locals=True)
    shown = [*trace.format(), repr(error), str(error), repr(error.args), repr(vars(error))]
    with_reasons = (error.__cause__, error.__context__)
    return "\n".join([*shown, *map(repr, with_reasons)])


def attempt(ask, sinks, name):
    """What one call shows, whether it ends well or not."""
    try:
        ends = ask()
    except HydraError as error:
        sinks[name] = told(error)
    else:
        sinks[name] = f"{ends!r} {[getattr(end, 'text', '') for end in ends]}"


async def collected(stream):
    """All chunks of a stream."""
    return [chunk async for chunk in stream]


async def alone(call):
    """One reply in a list."""
    return [await call]


RAISE = {"on_exhausted": "raise"}
DOORS = {
    "chat": lambda hydra: [hydra.chat(ASKED)],
    "chat, raising": lambda hydra: [hydra.chat(ASKED, **RAISE)],
    "stream": lambda hydra: list(hydra.stream(ASKED)),
    "stream, raising": lambda hydra: list(hydra.stream(ASKED, **RAISE)),
    "achat": lambda hydra: asyncio.run(alone(hydra.achat(ASKED, **RAISE))),
    "astream": lambda hydra: asyncio.run(collected(hydra.astream(ASKED, **RAISE))),
}


def everything(hydra, door, sinks):
    """Ask through one door, and collect what Hydra says of it."""
    attempt(lambda: DOORS[door](hydra), sinks, door)
    for report in ("health", "stats", "session_summary", "__repr__"):
        sinks[f"{door}: {report}"] = str(getattr(hydra, report)())
    sinks[f"{door}: explain"] = str(hydra.explain(ASKED))
    sinks[f"{door}: config"] = f"{hydra.config!r} {hydra.config.model_dump()}"
    sinks[f"{door}: config as JSON"] = hydra.config.model_dump_json()
    for what in (hydra._pool, hydra._pool.exchange, hydra._gate, vars(hydra)):
        sinks[f"{door}: {type(what).__name__}"] = repr(what)


# What reaches a client's own errors and logs depends on the client.
CLIENTS = [(source, "pyreqwest") for source in ECHOES] + [
    (source, "httpx2")
    for source in ("error header", "location", "no HTTP", "bad header", "cut body", "stream, error")
]


@pytest.mark.parametrize(("source", "transport"), CLIENTS)
def test_an_echoed_key_is_nowhere(raw, tmp_path, caplog, capfd, recwarn, source, transport):
    """Replies, errors with all variables, logs, reports, warnings, what is stored: no key."""
    caplog.set_level(logging.DEBUG)
    server = raw(lambda head: ECHOES[source](sent_key(head)))
    config = {
        "providers": [server.provider(keys=KEYS)],
        "transport": transport,
        "max_wait": 0.0,
    }
    sinks = {}
    for number, door in enumerate(DOORS):  # each without the memory of what the others met
        with Hydra({**config, "store": f"sqlite:///{tmp_path}/{number}.db"}) as hydra:
            everything(hydra, door, sinks)
    assert len(server.heads) >= len(DOORS)
    sinks["logs"] = "\n".join(f"{r.getMessage()} {r.args} {r.exc_text}" for r in caplog.records)
    sinks["formatted logs"] = caplog.text
    sinks["output"] = "".join(capfd.readouterr())
    sinks["warnings"] = " ".join(str(warning.message) for warning in recwarn)
    for file in tmp_path.iterdir():
        sinks[file.name] = file.read_bytes().decode("latin-1")
    assert leaks(sinks) == {}


class Raising:
    """A transport that breaks its promise: it raises, and says the key."""

    name = "raising"

    def send(self, _wire, secret, **_limits):
        raise OSError(f"cannot send {secret.get_secret_value()}")

    open = send

    def close(self):
        """Nothing is held."""


class ARaising(Raising):
    """The same for event loops."""

    async def send(self, _wire, secret, **_limits):
        raise ValueError(f"cannot send {secret.get_secret_value()}")

    open = send

    async def aclose(self):
        """Nothing is held."""


def test_a_raising_transport_fails_one_attempt_and_tells_nothing(
    serve, monkeypatch, caplog, tmp_path
):
    """What a transport raises is a fault of that attempt: in the trail, without its words."""
    caplog.set_level(logging.DEBUG)
    made = "hydra_core.drive.transport.make"
    monkeypatch.setattr(f"{made}_transport", lambda *_, **__: Raising())
    monkeypatch.setattr(f"{made}_async_transport", lambda *_, **__: ARaising())
    sinks = {}
    config = serve(KEYS).config(cache=False, max_wait=0.0)
    for door in DOORS:
        with Hydra(config) as hydra:
            everything(hydra, door, sinks)
            health = hydra.health()
        assert {error["fault"] for error in health["recent_errors"]} == {Fault.UNKNOWN.value}
        assert [key["in_flight"] for key in health["providers"]["fake"]["keys"]] == [0, 0]
    sinks["logs"] = caplog.text
    assert leaks(sinks) == {}


def test_the_values_of_a_call_pickle_without_a_key(raw, tmp_path):
    """Replies and errors cross to other processes; what crosses holds no key."""
    server = raw(lambda head: ECHOES["error body"](sent_key(head)))
    config = {"providers": [server.provider(keys=KEYS)], "store": "memory", "max_wait": 0.0}
    with Hydra(config) as hydra:
        crossed = pickle.dumps(hydra.chat(ASKED))
        with pytest.raises(HydraError) as caught:
            hydra.chat(ASKED, on_exhausted="raise")
        crossed += pickle.dumps(caught.value.attempts)
    assert leaks({"pickles": crossed.decode("latin-1")}) == {}


def test_the_checker_sees_a_leak():
    """The check itself can fail: each form of a key is found in a text."""
    assert len(leaks({form: f"<{form}>" for form in FORMS})) == len(FORMS)
    assert leaks({"tail": KEYS[0][-4:], "words": "sk-CANARY"[:7]}) == {}
