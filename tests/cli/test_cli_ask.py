"""`hydra-llm ask` and `plan`: what a reader gets, and what a script can rely on."""

from dataclasses import fields
from pathlib import Path

import pytest

from hydra_core.messages import Usage
from hydra_core.swarm.values import SwarmPlan, SwarmResult
from hydra_core.testing import ExtractiveModel, FakeKey, FakeLimits, FakeProvider
from hydra_core.testing.embedded import STATEMENT

QUESTION = "Who came to the inn?"
CANARY = "sk-canary-0123456789abcdef"


def names(value):
    return {field.name for field in fields(value)}


def test_an_answer_has_its_quote_its_place_and_its_coverage(run, book, config):
    """The answer goes to stdout with page, heading, quote and coverage; status 0."""
    ended = run("ask", book, QUESTION, "--config", config)
    assert ended.status == 0, ended.err
    assert "Pew" in ended.out
    assert "the blind man Pew came to the inn and knocked twice." in ended.out
    assert "(exact), Chapter 8. A Day" in ended.out
    assert "100 % of the text was read" in ended.out


def test_plan_and_progress_go_to_stderr(run, book, config):
    """What happens on the way is no part of the answer."""
    ended = run("ask", book, QUESTION, "--config", config)
    assert "bound by" in ended.err
    assert "writing the answer" in ended.err
    assert "bound by" not in ended.out
    assert "\x1b" not in ended.err + ended.out


def test_without_a_key_the_built_in_model_answers_and_says_so(run, book):
    """No key is no error: the embedded default answers, stated once and plainly."""
    ended = run("ask", book, QUESTION)
    assert ended.status == 0
    assert "Pew" in ended.out
    assert ended.err.count(STATEMENT) == 1


def test_json_is_the_result_itself(run, book, config):
    """`--json` prints one object with the fields of SwarmResult, and totals its usage."""
    ended = run("ask", book, QUESTION, "--config", config, "--json")
    assert ended.status == 0
    assert ended.json.keys() == names(SwarmResult)
    assert ended.json["plan"].keys() == names(SwarmPlan)
    assert ended.json["usage"].keys() == names(Usage) | {"total_tokens"}
    assert ended.json["kind"] == "full"
    assert ended.json["coverage"] == 1.0


def test_a_deadline_that_is_too_short_gives_a_partial_answer(run, book, write):
    """What was read by the deadline is answered from, with status 3; the rest is named."""
    keys = [FakeKey("k", limits=FakeLimits(rpm=3))]
    with FakeProvider(keys, answer=ExtractiveModel(), latency=0.1) as slow:
        config = write(slow, window=3_000)
        ended = run("ask", book, QUESTION, "--config", config, "--deadline", 3, "--json")
    assert ended.status == 3, ended.err
    assert 0 < ended.json["coverage"] < 1
    assert ended.json["not_read"]


def test_when_all_keys_wait_the_answer_is_a_wait(run, book, provider, config):
    """Nothing could be read before the deadline: a wait with an ETA, and status 4."""
    provider.saturate(seconds=30)
    ended = run("ask", book, QUESTION, "--config", config, "--deadline", 2, "--json")
    assert ended.status == 4, ended.err
    assert ended.json["kind"] == "wait"
    assert ended.json["coverage"] == 0.0
    assert ended.json["eta"] > 2


def test_when_all_keys_are_dead_it_is_an_error(run, book, provider, config):
    """Keys that will never serve are an error, told by name and never by value."""
    for key in range(2):
        provider.kill(key)
    ended = run("ask", book, QUESTION, "--config", config, "--json")
    assert ended.status == 1, ended.out
    assert ended.json["error"]["type"] == "PoolExhausted"
    assert "fake-1" in ended.err
    assert "auth" in ended.err
    assert CANARY not in ended.out + ended.err


def test_with_one_key_dead_the_other_reads_everything(run, book, provider, config):
    """A refused key costs nothing but time."""
    provider.kill(0)
    ended = run("ask", book, QUESTION, "--config", config)
    assert ended.status == 0
    assert "100 % of the text was read" in ended.out
    assert provider.violations == ()


def test_a_report_tells_the_whole_run(run, book, config, place):
    """`--report` writes question, answer, sources, coverage, keys, parts and calls."""
    report = place / "run.md"
    ended = run("ask", book, QUESTION, "--config", config, "--report", report)
    assert ended.status == 0
    text = report.read_text("utf-8")
    assert text.startswith(f"# {QUESTION}\n")
    titles = ("Answer", "Sources", "Coverage", "Plan", "Keys", "Parts", "Calls")
    assert [line[3:] for line in text.splitlines() if line.startswith("## ")] == list(titles)
    assert "> In the last watch the blind man Pew" in text
    assert CANARY not in text


def test_a_report_that_cannot_be_written_costs_no_call(run, book, config, provider, place):
    """The path is tried before the first call, not after the last."""
    ended = run("ask", book, QUESTION, "--config", config, "--report", place / "no" / "run.md")
    assert ended.status == 1
    assert "--report" in ended.err
    assert provider.log == ()


def test_a_report_overwrites_no_file_of_yours(run, book, config, provider, place):
    """That of an earlier run is replaced; anything else is told before the first call."""
    own, earlier = place / "notes.md", place / "run.md"
    own.write_text("# Notes")
    ended = run("ask", book, QUESTION, "--config", config, "--report", own)
    assert (ended.status, own.read_text(), provider.log) == (1, "# Notes", ())
    assert "did not write" in ended.err
    own.write_bytes(b"\xff\xd8\xff\xe0")
    assert "did not write" in run("ask", book, QUESTION, "--config", config, "--report", own).err
    assert (own.read_bytes(), provider.log) == (b"\xff\xd8\xff\xe0", ())
    earlier.write_text("# Why?\n\nSource: `b.txt`. Answer: full.\n")
    assert run("ask", book, QUESTION, "--config", config, "--report", earlier).status == 0
    assert "Why?" not in earlier.read_text("utf-8").splitlines()[0]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full disk here")
def test_a_report_that_fails_at_last_costs_no_answer(run, book, config):
    """A disk that is full by then: the answer is printed all the same, and the status says so."""
    ended = run("ask", book, QUESTION, "--config", config, "--json", "--report", "/dev/full")
    assert ended.status == 1
    assert "Pew" in ended.json["text"]
    assert "the report was not written: /dev/full: No space left" in ended.err


def test_a_report_never_takes_the_place_of_the_text(run, book, config, provider):
    """The same file as source and report is a slip, and told before anything is lost."""
    before = book.read_bytes()
    ended = run("ask", book, QUESTION, "--config", config, "--report", book)
    assert (ended.status, book.read_bytes(), provider.log) == (1, before, ())
    assert "--report" in ended.err


@pytest.mark.parametrize(
    ("content", "told"),
    [(None, "No such file"), (b"", "empty"), (b"\x00\x01" * 99, "binary"), (b"%PDF-1.7", "PDF")],
)
@pytest.mark.parametrize("command", ["ask", "plan"])
def test_what_cannot_be_read_is_one_plain_line(run, place, command, content, told):
    """A bad file is status 1 and a sentence, never a traceback."""
    file = place / "bad.txt"
    if content is not None:
        file.write_bytes(content)
    ended = run(command, file, *([QUESTION] if command == "ask" else []))
    assert ended.status == 1
    assert told in ended.err
    assert "Traceback" not in ended.err
    assert ended.out == ""


def test_plan_makes_no_call(run, book, config, provider):
    """`plan` says what reading would take, and asks no provider."""
    ended = run("plan", book, "--config", config)
    assert ended.status == 0
    assert "rounds" in ended.out
    assert "requests per minute" in ended.out or "longest shard" in ended.out
    assert provider.log == ()


def test_a_plan_as_json(run, book, config):
    """`plan --json` prints the fields of SwarmPlan."""
    ended = run("plan", book, "--config", config, "--deadline", 5, "--json")
    assert ended.json.keys() == names(SwarmPlan)
    assert ended.json["deadline"] == 5.0
