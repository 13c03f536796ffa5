"""TLS is always verified: who the server is, and that it is who it says."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from hydra_core.drive.transport import make_transport
from hydra_core.messages import Fault
from hydra_core.vault import Secret
from hydra_core.wire import Replied, WireRequest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KEY = "sk-CANARY0123456789abcdefghijklmnop"
CLIENTS = ["pyreqwest", "httpx2"]


def openssl(folder: Path, *arguments: str) -> None:
    program = shutil.which("openssl")
    assert program is not None, "these tests make their certificates with the openssl program"
    command = [program, *arguments]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)  # noqa: S603 - own words


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A folder with an authority and three servers' certificates signed by it or by nobody."""
    made: Path = tmp_path_factory.mktemp("tls")
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")
    ca = ("-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=keyCertSign")
    openssl(made, "req", "-x509", *key, "-subj", "/CN=Authority", *ca, "-keyout", "ca.key",
            "-out", "ca.pem")  # fmt: skip
    names = {"right": "IP:127.0.0.1", "other": "DNS:elsewhere.example"}
    for name, subject in names.items():
        (made / "ext").write_text(f"subjectAltName={subject}\nextendedKeyUsage=serverAuth\n")
        openssl(made, "req", *key, "-subj", f"/CN={name}", "-keyout", f"{name}.key",
                "-out", f"{name}.csr")  # fmt: skip
        openssl(made, "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key",
                "-CAcreateserial", "-extfile", "ext", "-days", "2",
                "-out", f"{name}.pem")  # fmt: skip
    openssl(made, "req", "-x509", *key, "-subj", "/CN=self", "-keyout", "self.key",
            "-addext", "subjectAltName=IP:127.0.0.1", "-out", "self.pem")  # fmt: skip
    return made


class TlsServer:
    """A TLS server on loopback that answers each connection once and notes what it read."""

    def __init__(self, folder: Path, name: str) -> None:
        self.read = b""
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(folder / f"{name}.pem", folder / f"{name}.key")
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"https://127.0.0.1:{self._listener.getsockname()[1]}/v1"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                plain, _ = self._listener.accept()
                with plain, suppress(OSError), self._context.wrap_socket(plain, True) as sock:
                    self.read += sock.recv(65536)
                    sock.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
                    sock.recv(65536)

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def server(folder, request) -> Iterator[TlsServer]:
    made = TlsServer(folder, request.param)
    yield made
    made.close()


def call(client: str, server: TlsServer):
    transport = make_transport(client)
    try:
        return transport.send(WireRequest("GET", server.url, (), b""), Secret(KEY), timeout=10.0)
    finally:
        transport.close()


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("server", ["right"], indirect=True)
def test_a_server_of_a_trusted_authority_is_accepted(client, server, folder, monkeypatch):
    """`SSL_CERT_FILE` names the authorities to trust, as for other programs."""
    monkeypatch.setenv("SSL_CERT_FILE", str(folder / "ca.pem"))
    replied = call(client, server)
    assert isinstance(replied, Replied)
    assert KEY.encode() in server.read


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("server", ["self", "right", "other"], indirect=True)
def test_an_unknown_server_is_refused_and_never_sees_the_key(client, server):
    """Self-signed, or of an unknown authority: UNREACHABLE, nothing written, cause named."""
    failed = call(client, server)
    assert failed.fault is Fault.UNREACHABLE
    assert not failed.written
    assert failed.detail == "127.0.0.1: its TLS certificate was refused"
    assert server.read == b""


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("server", ["other"], indirect=True)
def test_another_servers_certificate_is_refused(client, server, folder, monkeypatch):
    """A valid certificate for another name does not make this server that one."""
    monkeypatch.setenv("SSL_CERT_FILE", str(folder / "ca.pem"))
    failed = call(client, server)
    assert failed.fault is Fault.UNREACHABLE
    assert server.read == b""
