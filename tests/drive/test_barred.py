"""A provider that does not serve the place where this machine is: nobody's key is wrong."""

from __future__ import annotations

import json

import pytest

from hydra_core.errors import PoolExhausted

ERROR = {
    "message": "Country, region, or territory not supported",
    "type": "request_forbidden",
    "param": None,
    "code": "unsupported_country_region_territory",
}
KEYS = tuple(f"key-canary-barred-{n}" for n in range(3))


def refusing(_head=None):
    """A refusal for the place from which it was asked."""
    body = json.dumps({"error": ERROR}).encode()
    head = b"HTTP/1.1 403 Forbidden\r\ncontent-type: application/json\r\nconnection: close\r\n"
    return [head + b"content-length: %d\r\n\r\n" % len(body) + body]


def test_others_serve_and_no_key_is_asked_in_vain(caller, pool, raw, serve):
    """One refusal tells of all keys; none of them is dead, and the next provider answers."""
    server = raw(refusing)
    fake = serve()
    rows = [server.provider("openai", KEYS), *fake.config()["providers"]]
    hydra = pool(fake, providers=rows)
    for stream in (False, True):
        assert caller.ask(hydra, "Ahoy!", stream=stream) == ("You said: Ahoy!", "full")
    assert len(server.heads) == 1
    states = {key["state"] for key in hydra.health()["providers"]["openai"]["keys"]}
    assert states == {"resting"}
    (notice,) = hydra.stats()["notices"]
    assert notice["subject"] == "openai"
    assert "HTTPS_PROXY" in notice["text"]
    assert "No key is blamed" in notice["text"]


def test_alone_it_is_told_as_what_it_is(caller, pool, raw):
    """The error is no refused key and no outage of this machine, and its remedy is the network."""
    server = raw(refusing)
    hydra = pool(providers=[server.provider("openai", KEYS)], max_wait=0.0)
    for _ in range(2):
        with pytest.raises(PoolExhausted, match="country or network of this machine") as caught:
            caller.chat(hydra, "Ahoy!", on_exhausted="raise")
        assert not caught.value.offline
        assert "Check their values" not in str(caught.value)
    wait = caller.chat(hydra, "Ahoy!")
    assert wait.kind == "wait"
    assert "HTTPS_PROXY" in wait.text


def test_it_serves_again_when_the_network_has_changed(caller, pool, raw):
    """A probe that passes opens it for all its keys; one that does not doubles the pause."""
    replies = [refusing(), refusing()]
    choice = {"index": 0, "message": {"role": "assistant", "content": "ok"}}
    body = json.dumps({"choices": [{**choice, "finish_reason": "stop"}]}).encode()
    good = [b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n" + body]
    server = raw(lambda _: replies.pop(0) if replies else good)
    hydra = pool(providers=[server.provider("openai", KEYS)], time_scale=0.005, max_wait=3.0)
    assert caller.chat(hydra, "Ahoy!").text == "ok"
    assert len(server.heads) == 3
    states = {key["state"] for key in hydra.health()["providers"]["openai"]["keys"]}
    assert states == {"active"}
