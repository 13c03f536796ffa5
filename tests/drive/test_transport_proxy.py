"""Proxies: the standard variables are honoured, loopback never goes through one."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from hydra_core.drive.proxies import Proxies, from_environment
from hydra_core.drive.transport import make_transport
from hydra_core.errors import ConfigError
from hydra_core.messages import Fault
from hydra_core.vault import Secret
from hydra_core.wire import Replied, WireRequest

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY = "sk-CANARY0123456789abcdefghijklmnop"
CLIENTS = ["pyreqwest", "httpx2"]
VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY")


class Listener:
    """Answers each connection once and keeps what it read."""

    def __init__(self, reply: bytes) -> None:
        self.read: list[bytes] = []
        self._reply = reply
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                with connection, suppress(OSError):
                    self.read.append(connection.recv(65536))
                    connection.sendall(self._reply)

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def proxy(monkeypatch) -> Iterator[Listener]:
    """A proxy that answers by itself, named by both variables; no other is in force."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    made = Listener(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok")
    monkeypatch.setenv("HTTP_PROXY", made.url)
    monkeypatch.setenv("HTTPS_PROXY", made.url)
    yield made
    made.close()


def call(client: str, url: str):
    transport = make_transport(client)
    try:
        return transport.send(WireRequest("GET", url, (), b""), Secret(KEY), timeout=10.0)
    finally:
        transport.close()


@pytest.mark.parametrize("client", CLIENTS)
def test_a_remote_host_is_reached_through_the_proxy(client, proxy):
    """`HTTP_PROXY` carries a call to a host that only the proxy can resolve."""
    assert isinstance(call(client, "http://provider.invalid/v1"), Replied)
    assert proxy.read[0].startswith(b"GET http://provider.invalid/v1 HTTP/1.1")


@pytest.mark.parametrize("client", CLIENTS)
def test_a_key_for_https_never_reaches_the_proxy_itself(client, proxy):
    """Through a proxy, an https call asks for a tunnel first, without the key."""
    failed = call(client, "https://provider.invalid/v1")
    assert failed.fault is not None
    assert proxy.read[0].startswith(b"CONNECT provider.invalid:443 HTTP/1.1")
    assert KEY.encode() not in b"".join(proxy.read)


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_loopback_is_reached_directly(client, host, proxy):
    """A local server is never asked for through a proxy."""
    local = Listener(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nhi")
    replied = call(client, local.url.replace("127.0.0.1", host))
    assert (replied.body, proxy.read) == (b"hi", [])
    local.close()


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("excluded", ["provider.invalid", ".invalid", "other, *.invalid", "*"])
def test_no_proxy_is_honoured(client, excluded, proxy, monkeypatch):
    """A host that `NO_PROXY` covers is asked for directly."""
    monkeypatch.setenv("NO_PROXY", excluded)
    assert call(client, "http://provider.invalid/v1").fault is Fault.UNREACHABLE
    assert proxy.read == []


@pytest.mark.parametrize("client", CLIENTS)
def test_other_proxy_variables_are_not_used(client, proxy, monkeypatch):
    """`ALL_PROXY` does not lead a key anywhere."""
    monkeypatch.delenv("HTTP_PROXY")
    monkeypatch.setenv("ALL_PROXY", proxy.url)
    assert call(client, "http://provider.invalid/v1").fault is Fault.UNREACHABLE
    assert proxy.read == []


def test_a_proxy_set_by_a_web_request_is_ignored():
    """Under CGI, `HTTP_PROXY` may come from the caller of the script."""
    environ = {"HTTP_PROXY": "http://evil.example", "REQUEST_METHOD": "GET"}
    assert from_environment(environ).http is None


@pytest.mark.parametrize("value", ["socks5://user:CANARY@h:1", "http://CANARY:99999x", "http://"])
def test_an_unusable_proxy_is_a_configuration_error(value):
    """The error names the variable and never its value, which may hold a password."""
    with pytest.raises(ConfigError, match="HTTPS_PROXY") as caught:
        from_environment({"HTTPS_PROXY": value})
    assert "CANARY" not in str(caught.value)


@pytest.mark.parametrize(
    ("host", "direct"),
    [("localhost", True), ("127.8.8.8", True), ("::1", True), ("a.example.com", True),
     ("10.1.2.3", True), ("notexample.com", False), ("11.1.2.3", False)],
)  # fmt: skip
def test_names_and_networks_can_be_excluded(host, direct):
    """An entry covers its name, everything below it, or the addresses of its network."""
    proxies = from_environment({"http_proxy": "proxy:8080", "NO_PROXY": ".example.com,10.0.0.0/8"})
    assert (proxies.lead_to("http", host) is None) is direct
    assert "proxy" not in repr(Proxies(http="http://u:CANARY@proxy"))
