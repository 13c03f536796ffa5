"""A transport within its process: import, choice, fork, Ctrl-C and the interpreter's end."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import textwrap

import pytest

from hydra_core.drive.transport import make_async_transport, make_transport
from hydra_core.errors import ConfigError

CLIENTS = ["pyreqwest", "httpx2"]
OK = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok"

PRELUDE = """
import os, sys
from hydra_core.drive.transport import make_async_transport, make_transport
from hydra_core.wire import Failed, Replied, WireRequest
client, url = sys.argv[1:3]
wire = WireRequest("GET", url, (), b"")
"""


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0)) as made:
        made.settimeout(20)
        yield made


def run(script: str, client: str, listener: socket.socket) -> subprocess.Popen[str]:
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
    code = PRELUDE + textwrap.dedent(script)
    return subprocess.Popen(  # noqa: S603 - our own interpreter and script
        [sys.executable, "-W", "error", "-c", code, client, url],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def answer(listener: socket.socket) -> None:
    connection, _ = listener.accept()
    with connection:
        connection.recv(65536)
        connection.sendall(OK)


def test_unknown_transports_are_refused():
    """A name that is not known is a ConfigError which lists the known ones."""
    with pytest.raises(ConfigError, match="auto, httpx2, pyreqwest"):
        make_transport("carrier-pigeon")


@pytest.mark.parametrize("client", CLIENTS)
def test_a_named_transport_must_be_installed(client, monkeypatch):
    """Without its package the error says what to install; `auto` takes the other one."""
    monkeypatch.delitem(sys.modules, f"hydra_core.drive.{client}_transport", raising=False)
    for name in [name for name in sys.modules if name.partition(".")[0] == client]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, client, None)
    with pytest.raises(ConfigError, match=f"pip install {client}"):
        make_async_transport(client)
    other = {"pyreqwest": "httpx2", "httpx2": "pyreqwest"}[client]
    assert make_async_transport().name == other


def test_importing_the_door_loads_no_client():
    """The clients are imported when a transport is made, not before."""
    code = (
        "import sys; import hydra_core.drive.transport, hydra_core.drive.blocking; "
        "print({'httpx2', 'httpcore2', 'pyreqwest'} & set(sys.modules))"
    )
    done = subprocess.run(  # noqa: S603 - our own interpreter and script
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("client", CLIENTS)
def test_the_interpreter_ends_without_close(client, listener):
    """A script that never closes its transport ends at once and in silence."""
    script = """
    reply = make_transport(client).send(wire, None, timeout=20)
    print(reply.status)
    """
    process = run(script, client, listener)
    answer(listener)
    assert process.communicate(timeout=30) == ("200\n", "")
    assert process.returncode == 0


@pytest.mark.parametrize("client", CLIENTS)
def test_ctrl_c_interrupts_a_waiting_call(client, listener):
    """KeyboardInterrupt reaches a thread that waits for a silent server."""
    script = """
    import signal
    # Run in the background by a shell, a process inherits that it must not hear SIGINT.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    transport = make_transport(client)
    try:
        transport.send(wire, None, timeout=60)
    except KeyboardInterrupt:
        print("interrupted")
    """
    process = run(script, client, listener)
    connection, _ = listener.accept()
    with connection:
        connection.recv(65536)
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=30) == ("interrupted\n", "")
    assert process.returncode == 0


@pytest.mark.parametrize("client", CLIENTS)
def test_the_thread_that_loads_a_client_may_end(client, listener):
    """Threads that come and go each make a transport of their own; the interpreter survives."""
    script = """
    import asyncio, threading
    async def call():
        transport = make_async_transport(client)
        print((await transport.send(wire, None, timeout=20)).status, flush=True)
        await transport.aclose()
    for _ in range(8):
        thread = threading.Thread(target=asyncio.run, args=(call(),))
        thread.start()
        thread.join()
    """
    process = run(script, client, listener)
    listener.settimeout(5)
    with contextlib.suppress(TimeoutError):  # a process that died asks for no more
        for _ in range(8):
            answer(listener)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out.split()) == (0, ["200"] * 8), err


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.parametrize("client", CLIENTS)
def test_a_forked_child_needs_a_new_transport_and_gets_one(client, listener):
    """The inherited one fails without a hang, unwritten; a new `auto` one works."""
    script = """
    inherited = make_transport(client)
    print(inherited.send(wire, None, timeout=20).status, flush=True)
    child = os.fork()
    if child == 0:
        failed = inherited.send(wire, None, timeout=20)
        print(failed.fault, failed.written, flush=True)
        fresh = make_transport()
        print(fresh.send(wire, None, timeout=20).status, flush=True)
        fresh.close()
        inherited.close()
        os._exit(0)
    print(os.waitpid(child, 0)[1])
    """
    process = run(script, client, listener)
    answer(listener)
    answer(listener)
    out, err = process.communicate(timeout=30)
    assert out.split("\n") == ["200", "unreachable False", "200", "0", ""], err
