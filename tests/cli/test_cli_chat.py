"""`hydra-llm chat`: one question, or a conversation."""

import io
from dataclasses import fields

import pytest

from hydra_core.messages import Reply
from hydra_core.testing import FakeAnswer, FakeProvider


class Remembering:
    """Answers with the number of messages it was given."""

    def answer(self, body):
        return FakeAnswer(f"I was given {len(body['messages'])}.")


@pytest.fixture
def typed(monkeypatch):
    """Type these lines at a terminal, then Ctrl-D."""

    def lines(*texts):
        rest = iter(texts)

        def read(_prompt):
            try:
                return next(rest)
            except StopIteration:
                raise EOFError from None

        monkeypatch.setattr("builtins.input", read)
        monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)

    return lines


def test_a_question_as_an_argument(run, config):
    """The answer alone goes to stdout; who gave it goes to stderr."""
    ended = run("chat", "What colour is the boat? The boat is red.", "--config", config)
    assert ended.status == 0
    assert ended.out.strip()
    assert "fake-" in ended.err
    assert "fake-" not in ended.out


def test_a_question_on_stdin(run, write, monkeypatch):
    """A pipe may ask, too."""
    monkeypatch.setattr("sys.stdin", io.StringIO("Ahoy\n"))
    with FakeProvider(["k"]) as echo:
        ended = run("chat", "--config", write(echo))
    assert ended.out == "You said: Ahoy\n"


def test_no_question_on_stdin_is_wrong_usage(run, monkeypatch):
    """An empty pipe asks nothing."""
    monkeypatch.setattr("sys.stdin", io.StringIO(" \n"))
    assert run("chat").status == 2


def test_a_reply_as_json(run, config):
    """`--json` prints the fields of Reply."""
    ended = run("chat", "Ahoy", "--config", config, "--json")
    assert ended.json.keys() == {field.name for field in fields(Reply)}
    assert ended.json["attempts"][0]["outcome"] == "ok"


def test_a_wait_is_status_4(run, provider, write):
    """When every key rests, the notice is printed and the status says wait."""
    provider.saturate(seconds=60)
    ended = run("chat", "Ahoy", "--config", write(provider, max_wait=0.1))
    assert ended.status == 4
    assert "No key can answer now" in ended.out


def test_a_conversation_remembers(run, write, typed):
    """Each question carries what was said before; /new forgets it."""
    typed("one", "two", "", "/new", "three")
    with FakeProvider(["k"], answer=Remembering()) as served:
        ended = run("chat", "--config", write(served))
    assert ended.status == 0
    assert [line for line in ended.out.splitlines() if line] == [
        "I was given 1.",
        "I was given 3.",
        "I was given 1.",
    ]


def test_a_conversation_outlives_an_error(run, write, typed):
    """A question that fails is told, and the next one is answered."""
    typed("one", "two")
    with FakeProvider(["k"], answer=Remembering()) as served:
        served.fail("content_filter", times=1)
        ended = run("chat", "--config", write(served))
    assert ended.status == 0
    assert ended.err.count("hydra-llm: ") == 1
    assert ended.out == "I was given 1.\n"
