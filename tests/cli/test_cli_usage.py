"""How commands are called, where their configuration comes from, and how they end."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hydra_core.cli import entry
from hydra_core.cli.parser import parser
from hydra_core.cli.session import configured
from hydra_core.errors import ConfigError
from hydra_core.testing import FakeKey, FakeLimits, FakeProvider

CANARY = "sk-canary-0123456789abcdef"
# Run in the background by a shell, a process inherits that it must not hear SIGINT.
HEARING = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
CALL = "import sys; from hydra_core.cli import main; sys.exit(main())"
PROGRAM = [sys.executable, "-c", f"{HEARING}; {CALL}"]


def a_config(path, provider):
    path.write_text(json.dumps({"providers": [{"name": provider, "base_url": "http://localhost/v1",
                                               "models": ["m"]}]}))  # fmt: skip
    return path


def test_a_named_file_comes_first(place, monkeypatch):
    """`--config` wins over HYDRA_CONFIG, which wins over ./hydra.toml and the environment."""
    monkeypatch.setenv("GROQ_API_KEY", "gsk_canary_0123456789")
    assert configured(None).providers[0].name == "groq"
    (place / "hydra.toml").write_text(
        '[[providers]]\nname = "here"\nbase_url = "http://localhost/v1"\nmodels = ["m"]\n'
    )
    assert configured(None).providers[0].name == "here"
    monkeypatch.setenv("HYDRA_CONFIG", str(a_config(place / "env.json", "named")))
    assert configured(None).providers[0].name == "named"
    assert configured(str(a_config(place / "arg.json", "given"))).providers[0].name == "given"


@pytest.mark.parametrize("places", [(0, 1), (1, 0), (0, 0), (1, 1)])
def test_what_every_command_takes_may_stand_before_its_name(places):
    """`--config` and `--json` mean the same on either side of the command."""
    sides = [[], []]
    for place, argument in zip(places, (["--config", "c.toml"], ["--json"]), strict=True):
        sides[place] += argument
    args = parser().parse_args([*sides[0], "status", *sides[1]])
    assert (args.config, args.json) == ("c.toml", True)
    plain = parser().parse_args(["status"])
    assert (plain.config, plain.json) == (None, False)


def test_a_missing_configuration_is_an_error():
    """A file that was named and is not there is never silently left out."""
    with pytest.raises(ConfigError, match="check the path"):
        configured("nowhere.toml")


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["fly"],
        ["ask"],
        ["ask", "book.txt"],
        ["ask", "book.txt", "  "],
        ["ask", "book.txt", "Who?", "--deadline", "soon"],
        ["ask", "book.txt", "Who?", "--deadline", "-1"],
        ["ask", "book.txt", "Who?", "--deadline", "nan"],
        ["demo", "--pages", "0"],
    ],
)
def test_wrong_usage_is_status_2(run, arguments):
    """What cannot be meant is refused with a sentence, before anything is read."""
    ended = run(*arguments)
    assert ended.status == 2
    assert "usage: hydra-llm" in ended.err
    assert "Traceback" not in ended.err


def test_a_bad_configuration_hides_what_was_given(run, place):
    """A mistyped setting is told without the key that stands beside it."""
    file = place / "bad.json"
    key = {"name": "a", "value": CANARY, "limit": {"rpm": CANARY}}
    file.write_text(json.dumps({"providers": [{"name": "groq", "keys": [key]}]}))
    ended = run("status", "--config", file)
    assert ended.status == 1
    assert "limit" in ended.err
    assert CANARY not in ended.out + ended.err


def test_an_unforeseen_error_shows_its_place_and_not_its_words(run, monkeypatch):
    """A fault of our own is status 1 without a traceback; its text may hold a secret."""

    def broken(*_):
        raise LookupError(CANARY)

    monkeypatch.setattr(entry, "_command", lambda _: broken)
    ended = run("status")
    assert ended.status == 1
    assert "LookupError at test_cli_usage.py" in ended.err
    assert CANARY not in ended.err
    assert "Traceback" not in ended.err


def test_a_reader_who_leaves_is_no_error(book):
    """A closed pipe ends the command quietly, with a shell's status for it."""
    command = subprocess.Popen(  # noqa: S603 - our own interpreter
        [*PROGRAM, "plan", str(book), "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    command.stdout.close()
    told = command.stderr.read().decode()
    command.stderr.close()
    assert command.wait() == 141
    assert "Traceback" not in told
    assert "Broken" not in told


def test_a_reader_who_leaves_in_the_middle_of_a_stream_is_no_error_either(write):
    """What was still to come is let go of in order: nothing is said of it."""
    with FakeProvider(["k"]) as echo:
        question = "word " * 5_000
        command = subprocess.Popen(  # noqa: S603 - our own interpreter
            [*PROGRAM, "chat", question, "--config", str(write(echo))],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        command.stdout.close()
        told = command.stderr.read()
        command.stderr.close()
        assert (command.wait(), told) == (141, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full disk here")
@pytest.mark.parametrize("form", [[], ["--json"]])
def test_an_output_that_takes_nothing_is_told_in_words(config, form):
    """A full disk behind stdout: status 1 and one line, not a traceback."""
    with Path("/dev/full").open("w") as full:
        command = [*PROGRAM, "chat", "Ahoy", "--config", str(config), *form]
        ended = subprocess.run(  # noqa: S603 - our own interpreter
            command, stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert ended.returncode == 1
    assert ended.stderr.decode().splitlines()[-1] == "hydra-llm: error: No space left on device"
    assert b"Traceback" not in ended.stderr


@pytest.mark.parametrize("name", ["stdin", "stdout", "stderr"])
def test_a_stream_that_was_closed_before_is_no_fault(run, config, monkeypatch, name):
    """As under a service manager or after `2>&-`: the command does what it can without it."""
    monkeypatch.setattr(f"sys.{name}", None)
    question = [] if name == "stdin" else ["Ahoy"]
    ended = run("chat", *question, "--config", config)
    assert ended.status == (2 if name == "stdin" else 0)


@pytest.mark.skipif(os.name == "nt", reason="SIGINT is not sent to one process there")
def test_ctrl_c_ends_at_once(book, write):
    """An interrupt cancels what is under way: status 130, one word, no traceback."""
    with FakeProvider(["k"], latency=30.0) as slow:
        command = subprocess.Popen(  # noqa: S603 - our own interpreter
            [*PROGRAM, "ask", str(book), "Who?", "--config", str(write(slow))],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        while not slow.in_flight and command.poll() is None:
            time.sleep(0.01)
        command.send_signal(signal.SIGINT)
        out, told = command.communicate(timeout=20)
        assert command.returncode == 130, told
        assert out == b""
        assert told.decode().rstrip().endswith("interrupted")
        assert "Traceback" not in told.decode()


def test_status_shows_every_key(run, config):
    """One row a key with its state and limits; status 0 while any key can answer."""
    ended = run("status", "--config", config)
    assert ended.status == 0
    assert [line.split()[:2] for line in ended.out.splitlines()[2:]] == [
        ["fake-1", "active"],
        ["fake-2", "active"],
    ]
    assert "rpm 0/30" in ended.out
    assert CANARY not in ended.out + ended.err


def test_status_as_json_is_the_health_report(run, config):
    """`status --json` has the shape of Hydra.health()."""
    ended = run("status", "--config", config, "--json")
    keys = ended.json["providers"]["fake"]["keys"]
    assert [key["name"] for key in keys] == ["fake-1", "fake-2"]
    assert {"state", "available_in", "limits", "score"} <= keys[0].keys()


def test_status_shows_what_an_earlier_run_stored(run, place):
    """A second process says what the first one met, how old that is, and makes no call."""
    limits = FakeLimits(rpm=30, rpd=50)
    keys = [FakeKey(f"{CANARY}-{number}", limits=limits) for number in (1, 2)]
    with FakeProvider(keys) as served:
        file = place / "keys.json"
        settings = {"store": f"sqlite:///{place}/hydra.db", "strategy": "priority"}
        file.write_text(json.dumps(served.config(**settings)))
        assert "Nothing is stored yet" in run("status", "--config", file).err
        served.fail("rate_limit", key=0, times=1, retry_after=7200)
        assert run("chat", "hello", "--config", file).status == 0
        sent = len(served.log)
        ended, told = (run("status", "--config", file, *more) for more in ((), ("--json",)))
        assert len(served.log) == sent
    assert "resting 2 h 0 min" in ended.out
    assert "rpd 1/50" in ended.out
    assert "an earlier run stored it" in ended.err
    assert 0 <= told.json["stored_age"] < 60
    assert [e["fault"] for e in told.json["recent_errors"]] == ["rate_limit_minute"]
