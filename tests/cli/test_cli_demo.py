"""`hydra-llm demo`: what a newcomer sees first has to be true."""

import json

import pytest

from hydra_core.testing.ships_log import ships_log


def test_the_demonstration_reads_everything_though_a_key_dies(run):
    """Full coverage, the right number, a dead key, and no violation in the provider's log."""
    ended = run("demo", "--json")
    assert ended.status == 0, ended.err
    shown = ended.json
    asked = next(one for one in ships_log().questions if one.text == shown["question"])
    assert asked.expected[0] in shown["result"]["text"]
    assert shown["result"]["coverage"] == 1.0
    assert [quote["quote"] for quote in shown["result"]["citations"]] == list(asked.quotes)
    assert [quote["page"] for quote in shown["result"]["citations"]] == list(asked.pages)
    states = [key["state"] for key in shown["health"]["providers"]["embedded"]["keys"]]
    assert states.count("dead") == 1
    assert shown["embedded"] is True
    assert shown["provider"]["violations"] == 0
    assert shown["provider"]["refused"] > 0


def test_the_demonstration_says_what_it_is(run, place):
    """It names the built-in model, the scaled time, and where the book is kept."""
    kept = place / "log.md"
    ended = run("demo", "--pages", 60, "--book", kept)
    assert ended.status == 0, ended.err
    for words in ("built-in extractive", "Time is scaled", "Plan", "Sources", "100 %", str(kept)):
        assert words in ended.out
    assert "0 violations" in ended.out
    assert kept.read_text("utf-8") == ships_log(pages=60).text


def test_own_keys_read_a_short_book_and_none_is_made_to_die(run, provider, write):
    """With keys configured, they are used as they are, on 20 pages."""
    ended = run("demo", "--config", write(provider))
    assert ended.status == 0, ended.err
    assert "your own (fake)" in ended.out
    assert "log of 20 pages" in ended.out
    assert "dead" not in ended.out.replace("made to die", "")
    assert provider.served > 0
    assert provider.violations == ()


@pytest.mark.parametrize("file", ["missing/log.md", "."])
def test_a_book_that_cannot_be_written_is_told(run, file):
    """`--book` names a file that can be made, or one sentence says that it does not."""
    ended = run("demo", "--pages", 1, "--book", file)
    assert ended.status == 1
    assert "Traceback" not in ended.err
    assert "hydra-llm" in ended.err


def test_json_alone_is_on_stdout(run):
    """With --json everything that is said goes to stderr."""
    ended = run("demo", "--pages", 6, "--json")
    json.loads(ended.out)
    assert "Hydra's demonstration" in ended.err


def test_the_demonstration_overwrites_no_file_of_yours(run, place):
    """A book of an earlier run is written anew; anything else is left as it is."""
    own = place / "thesis.md"
    own.write_text("# Ten years of work")
    ended = run("demo", "--pages", 1, "--book", own)
    assert ended.status == 1
    assert "did not write; name another" in ended.err
    assert own.read_text() == "# Ten years of work"
    book = place / "log.md"
    book.write_text(ships_log(pages=2).text)
    assert run("demo", "--pages", 1, "--book", book).status == 0
    assert book.read_text("utf-8") == ships_log(pages=1).text
