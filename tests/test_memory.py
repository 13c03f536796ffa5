"""A second process knows what the first one learned; the provider's own log is the judge."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading

import pytest

from hydra_core import Hydra
from hydra_core.errors import RequestRejected
from hydra_core.memory import Memory
from hydra_core.store.state_store import StateFile
from hydra_core.testing import FakeKey, FakeLimits, FakeProvider

CANARIES = ("gsk_CANARY0123456789abcdefg1", "gsk_CANARY0123456789abcdefg2")


def provider(*, rpd=None, **options):
    limits = FakeLimits(rpm=1000, rpd=rpd)
    keys = [FakeKey(value, name=f"groq-{n}", limits=limits) for n, value in enumerate(CANARIES, 1)]
    return FakeProvider(keys, **options)


@pytest.fixture
def store(tmp_path):
    """The URL of a store that is not there yet."""
    return f"sqlite:///{tmp_path}/memory/hydra.db"


@pytest.fixture
def opened(store):
    """Build a Hydra on the store; it asks the first key first, and does not wait."""

    def build(fake, **settings):
        usual = {"strategy": "priority", "cache": False, "max_wait": 0.0, "store": store}
        return Hydra(fake.config(**{**usual, **settings}))

    return build


def calls(fake):
    return {name: count.calls for name, count in fake.by_key.items()}


def test_a_key_that_was_told_to_wait_is_not_called_by_the_next_process(opened):
    """A 429 with an hour's Retry-After holds across a restart: the judge sees no call."""
    with provider() as fake:
        fake.fail("rate_limit", key=0, times=1, retry_after=3600)
        with opened(fake) as first:
            assert first.chat("hello").key == "groq-2"
        seen = calls(fake)["groq-1"]
        with opened(fake) as second:
            assert {second.chat(f"question {n}").key for n in range(5)} == {"groq-2"}
            row = keys_of(second)[0]
        assert calls(fake)["groq-1"] == seen
        assert row["state"] == "resting"
        assert 3590 < row["available_in"] <= 3600


def test_what_a_key_has_used_of_its_day_is_known_to_the_next_process(opened):
    """Four of six calls in the first process, two in the second: no refusal, then the other."""
    with provider(rpd=6) as fake:
        with opened(fake, rotate_at=1.0) as first:
            assert [first.chat(f"first {n}").key for n in range(4)] == ["groq-1"] * 4
        with opened(fake, rotate_at=1.0) as second:
            keys = [second.chat(f"second {n}").key for n in range(4)]
        assert sorted(keys) == ["groq-1", "groq-1", "groq-2", "groq-2"]
        assert fake.refused == 0
        assert fake.violations == ()


def test_what_a_budget_has_spent_of_its_day_is_known_to_the_next_process(opened):
    """The owner's money is not spent twice because the process began anew."""
    with provider() as fake:
        with opened(fake, budget={"tokens_per_day": 1000}) as first:
            kinds = [first.chat(f"question {n}", max_tokens=300).kind for n in range(3)]
            while kinds[-1] == "full":
                kinds.append(first.chat("more", max_tokens=300).kind)
        spent = fake.served
        with opened(fake, budget={"tokens_per_day": 1000}) as second:
            assert second.chat("again", max_tokens=300).kind == "wait"
        assert fake.served == spent
        with opened(fake, budget={"tokens_per_day": 5000}) as third:
            assert third.chat("with more", max_tokens=300).kind == "full"


def test_limits_that_were_never_configured_are_known_to_the_next_process(opened):
    """What the headers said of a key's limits is in its health report before any call."""
    with provider(rpd=50, vendor="groq") as fake:
        with opened(fake, tell_limits=False) as first:
            first.chat("hello")
        with opened(fake, tell_limits=False) as second:
            row = keys_of(second)[0]
            assert second.remembered is not None
        assert row["limits"]["rpd"]["limit"] == 50
        assert row["limits"]["rpd"]["used"] >= 1
        assert calls(fake) == {"groq-1": 1, "groq-2": 0}


def test_a_dead_key_is_named_and_left_alone_until_it_is_replaced(opened, caplog):
    """A refused key is not tried again by the next process; a new value under its name is."""
    with provider() as fake:
        fake.kill(0)
        with opened(fake) as first:
            first.chat("hello")
        seen = calls(fake)["groq-1"]
        with opened(fake) as second:
            second.chat("hello")
            assert keys_of(second)[0]["state"] == "dead"
        assert calls(fake)["groq-1"] == seen
        assert "refused them on an earlier run: fake/groq-1" in caplog.text
        config = fake.config()["providers"]
        config[0]["keys"][0]["value"] = config[0]["keys"][1]["value"]
        del config[0]["keys"][1]
        with opened(fake, providers=config) as third:
            assert third.chat("hello").key == "groq-1"


def test_keys_that_answer_again_are_alive_for_good(opened):
    """All were refused, one run later all answer: beside a new key none is dead in a third."""
    with provider() as fake:
        fake.kill(0)
        fake.kill(1)
        with opened(fake) as first:
            assert first.chat("hello").kind == "wait"
        fake.revive(0)
        fake.revive(1)
        with opened(fake) as second:
            assert second.chat("hello").kind == "full"
        config = fake.config()["providers"]
        config[0]["keys"].append({"name": "new", "value": "gsk_CANARY0123456789abcdefg3"})
        with opened(fake, providers=config) as third:
            assert [row["state"] for row in keys_of(third)] == ["active"] * 3


def test_a_death_that_was_taken_back_is_taken_back_in_the_store(opened):
    """Refused first of many, hence dead; when all are, the sign-in is suspect, and no key."""
    with provider() as fake:
        with opened(fake) as first:
            first.chat("hello")
            fake.kill(0)
            first.chat("one is refused")
            first._memory._keeper._kept()
            assert keys_of(first)[0]["state"] == "dead"
            fake.kill(1)
            first.chat("so is the other")
            assert keys_of(first)[0]["state"] == "resting"
        with opened(fake) as second:
            assert [row["state"] for row in keys_of(second)] == ["active"] * 2


def test_the_last_fifty_errors_are_remembered(opened):
    """The next process reports them, oldest first, before its own."""
    with provider() as fake:
        for number in range(3):
            fake.fail("content_filter", times=20)
            with opened(fake) as hydra:
                for question in range(20):
                    with pytest.raises(RequestRejected):
                        hydra.chat(f"{number}.{question}")
        with opened(fake) as last:
            errors = last.health()["recent_errors"]
        assert len(errors) == 50
        assert [e["timestamp"] for e in errors] == sorted(e["timestamp"] for e in errors)
        assert {e["fault"] for e in errors} == {"content_filter"}


def test_memory_keeps_nothing(opened, tmp_path):
    """`store = "memory"`: no file, and the next process knows nothing."""
    with provider() as fake:
        fake.fail("rate_limit", key=0, times=1, retry_after=3600)
        for key in ("groq-2", "groq-1"):
            with opened(fake, store="memory") as hydra:
                assert hydra.chat("hello").key == key
                assert hydra.remembered is None
    assert not (tmp_path / "memory").exists()


def test_looking_makes_no_file(opened, tmp_path):
    """A Hydra that is never asked anything writes nothing."""
    with provider() as fake, opened(fake) as hydra:
        hydra.health()
    assert not (tmp_path / "memory").exists()


def test_no_key_and_no_part_of_one_is_in_the_file(opened, tmp_path):
    """Neither the values nor eight characters in a row of them, though the provider echoes one."""
    with provider() as fake:
        fake.kill(0)
        with opened(fake) as hydra:
            hydra.chat(f"my key is {CANARIES[0]}")
    raw = b"".join(file.read_bytes() for file in (tmp_path / "memory").iterdir())
    assert b"groq" in raw or b"fake/" in raw
    runs = {value[at : at + 8] for value in CANARIES for at in range(len(value) - 7)}
    assert not [run for run in runs if run.encode() in raw]


def test_removing_the_file_at_any_time_is_harmless(opened, tmp_path):
    """It is begun anew, with all that the running process knows."""
    with provider() as fake:
        fake.fail("rate_limit", key=0, times=1, retry_after=3600)
        with opened(fake) as hydra:
            hydra.chat("hello")
            hydra._memory._keeper._kept()
            for file in (tmp_path / "memory").iterdir():
                file.unlink()
            hydra.chat("again")
        with opened(fake) as second:
            assert second.chat("hello").key == "groq-2"


def test_keys_of_another_address_are_other_keys(opened, store):
    """The same value at another provider's address has a memory of its own."""
    with provider() as one, provider() as other:
        one.kill(0)
        with opened(one) as hydra:
            hydra.chat("hello")
        with opened(other) as hydra:
            assert hydra.chat("hello").key == "groq-1"


BESIDE = """
import json, sys
from hydra_core import Hydra
with open(sys.argv[1]) as file, Hydra(json.load(file)) as hydra:
    print("ready", flush=True)
    for asked in sys.stdin:
        for number in range(int(asked)):
            hydra.chat(f"question {number}", max_tokens=20)
        hydra._memory._keeper._kept()
        print("done", flush=True)
"""


def test_what_processes_send_at_the_same_time_adds_up(opened, store, tmp_path):
    """Two that share keys, limits and a budget, by turns: the next one knows the sum of both."""
    budget = {"tokens_per_day": 1_000_000}
    with provider(rpd=1000) as fake, contextlib.ExitStack() as stack:
        file = tmp_path / "config.json"
        settings = {"strategy": "round_robin", "cache": False, "budget": budget}
        file.write_text(json.dumps({**fake.config(**settings), "store": store}))
        command = [sys.executable, "-c", BESIDE, str(file)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        both = [stack.enter_context(subprocess.Popen(command, **pipes)) for _ in range(2)]  # noqa: S603
        assert [process.stdout.readline() for process in both] == ["ready\n"] * 2
        for asked in (6, 4, 8):
            for process in both:
                print(asked, file=process.stdin, flush=True)
                assert process.stdout.readline() == "done\n"
        for process in both:
            process.stdin.close()
            assert process.wait(20) == 0
        counted = {name: count.calls for name, count in fake.by_key.items()}
        tokens = sum(call.prompt_tokens + call.completion_tokens for call in fake.log)
        with opened(fake, budget=budget) as third:
            rows = keys_of(third)
        assert sum(counted.values()) == 36
        assert {row["name"]: row["limits"]["rpd"]["used"] for row in rows} == counted
        assert rows[0]["limits"]["tokens_per_day"]["used"] == tokens


def test_processes_that_spend_one_budget_hear_of_each_other(store, tmp_path):
    """Together they overspend by no more than what one of them sends between two writings."""
    with provider() as fake, contextlib.ExitStack() as stack:
        file = tmp_path / "config.json"
        settings = {"cache": False, "max_wait": 0.0, "budget": {"tokens_per_day": 1000}}
        file.write_text(json.dumps({**fake.config(**settings), "store": store}))
        command = [sys.executable, "-c", BESIDE, str(file)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        three = [stack.enter_context(subprocess.Popen(command, **pipes)) for _ in range(3)]  # noqa: S603
        assert [process.stdout.readline() for process in three] == ["ready\n"] * 3
        for _ in range(40):
            for process in three:
                print(2, file=process.stdin, flush=True)
                assert process.stdout.readline() == "done\n"
        for process in three:
            process.stdin.close()
            assert process.wait(20) == 0
        tokens = [call.prompt_tokens + call.completion_tokens for call in fake.log]
    assert 900 < sum(tokens) <= 1000 + 4 * max(tokens)


def test_a_store_that_was_out_of_reach_at_the_start_is_heard_later(opened, store, monkeypatch):
    """What was stored before is known from the first moment at which it can be read."""
    with provider() as fake:
        fake.fail("rate_limit", key=0, times=1, retry_after=3600)
        with opened(fake, budget={"tokens_per_day": 1000}) as first:
            assert first.chat("hello", max_tokens=300).key == "groq-2"
            spent = keys_of(first)[1]["limits"]["tokens_per_day"]["used"]
        with monkeypatch.context() as broken:
            broken.setattr(StateFile, "peek", lambda _: 1 / 0)
            second = opened(fake, budget={"tokens_per_day": 1000})
        with second:
            assert keys_of(second)[0]["state"] == "active"
            taken = second.chat("hello", max_tokens=300).usage.total_tokens
            assert second._memory._keeper._kept()
            rows = keys_of(second)
        assert rows[0]["state"] == "resting"
        assert rows[1]["limits"]["tokens_per_day"]["used"] == spent + taken


SCRIPT = """
import json, sys, time
import hydra_core.memory
from hydra_core import Hydra
hydra_core.memory._EVERY = float(sys.argv[3])
with open(sys.argv[1]) as file:
    hydra = Hydra(json.load(file))
for number in range(int(sys.argv[2])):
    hydra.chat(f"question {number}")
"""


def run(tmp_path, config, asked, every):
    file = tmp_path / "config.json"
    file.write_text(json.dumps(config))
    command = [sys.executable, "-c", SCRIPT, str(file), str(asked), str(every)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)  # noqa: S603


def test_a_script_that_never_closes_is_remembered(opened, store, tmp_path):
    """What it learned is written at the interpreter's exit, without noise."""
    with provider(rpd=6) as fake:
        config = {**fake.config(strategy="priority", cache=False), "store": store}
        process = run(tmp_path, config, 4, 2.0)
        _, complaints = process.communicate(timeout=50)
        assert (process.returncode, complaints) == (0, "")
        with opened(fake) as hydra:
            (used, _) = [k["limits"]["rpd"]["used"] for k in keys_of(hydra)]
        assert used == 4


def keys_of(hydra):
    (provider,) = hydra.health()["providers"].values()
    return provider["keys"]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no such signal here")
def test_a_killed_process_leaves_a_sound_store_and_living_keys(opened, store, tmp_path, until):
    """Three kills in the middle of the work: the store is sound, every key answers."""
    path = tmp_path / "memory" / "hydra.db"
    with provider() as fake:
        config = {**fake.config(cache=False), "store": store}
        for _ in range(3):
            process = run(tmp_path, config, 100_000, every=0.001)
            before = fake.total.calls
            until(lambda before=before: fake.total.calls > before + 100 and path.exists())
            process.kill()
            process.communicate(timeout=20)
        with opened(fake, strategy="round_robin") as hydra:
            assert {hydra.chat(f"question {n}").key for n in range(4)} == {"groq-1", "groq-2"}
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()
    assert not list(path.parent.glob("*.corrupt-*"))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_keeps_what_it_learns(store, tmp_path):
    """A child has a writer of its own; what parent and child learned is all there."""
    script = f"""
import os, sys
from hydra_core import Hydra
from hydra_core.testing import FakeKey, FakeProvider
with FakeProvider([FakeKey("key-canary-1"), FakeKey("key-canary-2")]) as fake:
    config = {{**fake.config(strategy="priority", cache=False), "store": "{store}"}}
    hydra = Hydra(config)
    hydra.chat("hello")
    if os.fork() == 0:
        fake_hydra = hydra._memory._keeper
        assert fake_hydra.thread is None
        hydra._check_open()
        assert fake_hydra.thread is not None
        hydra.close()
        os._exit(0)
    assert os.wait()[1] == 0
    hydra.close()
    with Hydra(config) as second:
        assert second.remembered is not None
"""
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, check=False, timeout=50, capture_output=True, text=True)  # noqa: S603
    assert done.returncode == 0, done.stderr


def test_no_thread_is_left_behind(opened):
    """The writer ends with its Hydra, also with one that was forgotten without `close`."""
    with provider() as fake:
        hydra = opened(fake)
        hydra.chat("hello")
        names = [thread.name for thread in threading.enumerate()]
        assert "hydra-memory" in names
        hydra.close()
        hydra._memory.close()
    assert "hydra-memory" not in [thread.name for thread in threading.enumerate()]


def test_a_clock_that_was_ahead_is_put_right(opened, store):
    """A store written ten years ahead is believed no longer than today's would be."""
    ahead = 10 * 365 * 86_400.0
    with provider() as fake:
        fake.fail("rate_limit", key=0, times=1, retry_after=3600)
        with opened(fake, store="memory") as first:
            pool = first._gate, first._pool.exchange, first._tally
            early = Memory(store, *pool, wall=lambda: 1_790_000_000.0 + ahead)
            early.wake()
            first.chat("hello")
            early.close()
            late = Memory(store, *pool, wall=lambda: 1_790_000_000.0)
            assert late.age == 0.0
            late.wake()
            late.close()
            assert Memory(store, *pool, wall=lambda: 1_790_000_100.0).age == 100.0
