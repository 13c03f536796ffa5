"""`hydra-llm simulate` as a user runs it: one history a seed, its exit status, how it ends."""

import os
import signal
import subprocess
import sys
from contextlib import suppress

import pytest

PROGRAM = "import sys; from hydra_core.cli import main; sys.exit(main())"
# Started in the background by a shell, a process inherits that it must not hear SIGINT.
HEARING = f"import signal; signal.signal(signal.SIGINT, signal.default_int_handler); {PROGRAM}"
LONG = ("simulate", "--seeds", "2000", "--requests", "100", "--workers", "2")
SMALL = ("simulate", "--seeds", "2", "--requests", "60")


def test_the_same_seeds_give_the_same_report(run):
    """Two runs, with any number of processes, print one log hash; no law broken is status 0."""
    told = [run(*SMALL, "--json", "--workers", workers) for workers in (1, 2)]
    assert [ended.status for ended in told] == [0, 0]
    first, second = ({**ended.json, "seconds": 0} for ended in told)
    assert first == second
    assert first["requests"] == 120
    assert set(first["broken"].values()) == {0}


def test_a_replay_writes_the_log_of_its_seed(run, place):
    """`--seed --log` plays one world; twice gives the same file to the byte."""
    for name in ("one.log", "two.log"):
        assert run("simulate", "--seed", 17, "--requests", 80, "--log", name).status == 0
    assert (place / "one.log").read_bytes() == (place / "two.log").read_bytes() != b""


@pytest.mark.parametrize(
    "arguments",
    [["--seeds", "0"], ["--seed", "-4"], ["--requests", "many"], ["--log", "events.log"], ["17"]],
)
def test_wrong_arguments_are_status_2(run, arguments):
    """What cannot be meant is refused with the usage, before a world is built."""
    ended = run("simulate", *arguments)
    assert ended.status == 2
    assert "usage: hydra-llm" in ended.err
    assert ended.out == ""


def test_a_configuration_is_not_ignored(run):
    """Simulated worlds have their own keys; who names a configuration expects something else."""
    ended = run("--config", "hydra.toml", "simulate", "--seeds", 1)
    assert (ended.status, "takes no --config" in ended.err) == (2, True)


def test_a_log_that_cannot_be_written_is_told_in_the_form_asked_for(run):
    """With --json, a failure of the disk is one JSON object on stdout too."""
    ended = run("simulate", "--seed", 1, "--requests", 5, "--log", "no/such/folder.log", "--json")
    assert ended.status == 1
    assert ended.json["error"]["type"] == "FileNotFoundError"
    assert "no/such/folder.log" in ended.json["error"]["message"]
    assert "no/such/folder.log" in ended.err


@pytest.mark.skipif(os.name == "nt", reason="SIGINT is not sent to a group there")
def test_ctrl_c_ends_every_process_at_once():
    """An interrupt reaches the whole group: no world is played on, nothing but one word said."""
    command = subprocess.Popen(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", HEARING, *LONG],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        assert b"seeds, 0 with a broken law" in command.stderr.readline()  # all are at work
        os.killpg(command.pid, signal.SIGINT)
        out, rest = command.communicate(timeout=20)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(command.pid, signal.SIGKILL)
    assert command.returncode == 130
    assert out == b""
    assert rest.decode().splitlines()[-1] == "interrupted"
    assert "Traceback" not in rest.decode()


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL there")
def test_no_worker_outlives_its_parent():
    """A parent that is killed outright can end nobody: the workers see it and end themselves."""
    command = subprocess.Popen(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", PROGRAM, *LONG],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        assert b"seeds, 0 with a broken law" in command.stderr.readline()  # all are at work
        command.kill()
        _, rest = command.communicate(timeout=20)  # until nobody holds the pipe any more
    finally:
        with suppress(ProcessLookupError):
            os.killpg(command.pid, signal.SIGKILL)
    assert b"Traceback" not in rest


def test_a_log_overwrites_no_file_of_yours(run, place):
    """A log of an earlier run is replaced; anything else is left as it is."""
    own = place / "events.log"
    for _ in range(2):
        assert run("simulate", "--seed", 1, "--requests", 5, "--log", own).status == 0
    own.write_text("dear diary")
    ended = run("simulate", "--seed", 1, "--requests", 5, "--log", own)
    assert (ended.status, own.read_text()) == (1, "dear diary")
    assert "did not write" in ended.err
