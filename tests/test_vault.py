"""Secrets and where they come from."""

from __future__ import annotations

import copy
import json
import pickle

import pytest

from hydra_core.vault import MASK, Secret, find_keys, looks_like_key, shape, shown

CANARY = "gsk_CANARY0123456789abcdefghij"


def windows(secret: str) -> list[str]:
    return [secret[start : start + 8] for start in range(len(secret) - 7)]


def test_a_secret_shows_itself_nowhere():
    """Printing, formatting, repr and the masked tail hold no 8 characters of it."""
    secret = Secret(CANARY)
    told = f"{secret} {secret!r} {secret:>10} {secret.tail} {[secret]} {{secret}}"
    assert not [window for window in windows(CANARY) if window in told]
    assert secret.get_secret_value() == CANARY


@pytest.mark.parametrize("leak", [pickle.dumps, json.dumps, "".join, lambda s: "" + s])
def test_a_secret_refuses_to_become_text(leak):
    """Pickling, JSON, joining and concatenating fail, and say nothing of the value."""
    with pytest.raises(TypeError) as caught:
        leak([Secret(CANARY)] if leak == "".join else Secret(CANARY))
    assert not [window for window in windows(CANARY) if window in str(caught.value)]


def test_a_copy_of_a_secret_is_the_secret():
    """Copying a configuration neither fails nor doubles its keys."""
    secret = Secret(CANARY)
    assert copy.deepcopy({"key": secret})["key"] is secret
    assert Secret(CANARY) == secret
    assert len({Secret(CANARY), secret}) == 1


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\x00", "é", " x"])
def test_a_broken_key_is_refused_without_its_value(ending):
    """A line break, a space or a foreign character in a key is an error that hides the key."""
    with pytest.raises(ValueError) as caught:
        Secret(CANARY + ending)
    assert not [window for window in windows(CANARY) if window in str(caught.value)]


def test_numbered_siblings_come_in_natural_order():
    """X, X_1, X_2, X_10 with any gaps, then the list; empty ones and strangers are left out."""
    environ = {
        "K_10": "ten-ten-ten", "K_2": "two-two-two", "K": "the-first",
        "KS": "a-list,b-list\nc-list",
        "K_3": "  ", "K_X": "stranger", "AK": "stranger", "K7": "seven-seven",
    }  # fmt: skip
    found = [(key.variable, key.secret.get_secret_value()) for key in find_keys(["K"], environ)]
    assert found == [
        ("K", "the-first"), ("K_2", "two-two-two"), ("K7", "seven-seven"), ("K_10", "ten-ten-ten"),
        ("KS", "a-list"), ("KS", "b-list"), ("KS", "c-list"),
    ]  # fmt: skip


def test_the_same_key_under_two_names_counts_once():
    """A key that several variables hold is found once, under the first."""
    environ = {"A": "same-key", "B": "same-key", "A_1": "same-key", "B_KEYS": "other,same-key"}
    assert [key.variable for key in find_keys(["A", "B"], environ)] == ["A", "B_KEYS"]


@pytest.mark.parametrize("quote", ['"', "'"])
def test_quotes_around_a_variable_are_no_part_of_the_key(quote):
    """Docker's and other loaders of .env files keep them, around one key, a list, or each of it."""
    environ = {"K": f" {quote}one-key{quote}", "KS": f"{quote}two,three{quote}",
               "K_KEYS": f"{quote}four{quote},{quote}five{quote}"}  # fmt: skip
    found = [key.secret.get_secret_value() for key in find_keys(["K"], environ)]
    assert found == ["one-key", "two", "three", "four", "five"]


@pytest.mark.parametrize("name", ["GROQ_API_KEY_3", "GROQ_API_KEYS"])
def test_a_broken_variable_is_named_and_not_quoted(name):
    """The error names the variable and shows nothing of what it holds."""
    with pytest.raises(ValueError, match=name) as caught:
        find_keys(["GROQ_API_KEY"], {name: CANARY + "é"})
    assert not [window for window in windows(CANARY) if window in str(caught.value)]


@pytest.mark.parametrize(
    "text",
    [CANARY, "sk-or-v1-aaaaaaaaaaaaaaaaaaaa", "AIzaSyAAAAAAAAAAAAAAAA", "0f1e2d3c4b5a6978"],
)
def test_a_key_in_the_place_of_a_name_is_recognized(text):
    """What looks like a key is not repeated as a name."""
    assert looks_like_key(text)
    assert shown(text) == f"a text of {len(text)} characters"


@pytest.mark.parametrize(
    "text", ["GROQ API KEY 2", "groq-1", "accounts/fireworks/models/deepseek-v4-flash", "sk-1"]
)
def test_names_are_no_keys(text):
    """Variables, with spaces too, models and key names pass."""
    assert not looks_like_key(text)


def test_a_shape_says_nothing_of_the_content():
    """A shape gives the kind and the size only."""
    values = [None, True, 1.5, "", CANARY, {CANARY: 1}, [CANARY], Secret(CANARY)]
    assert [shape(value) for value in values] == [
        "nothing", "true or false", "a number", "an empty text", "a text of 30 characters",
        "a table of 1", "a list of 1", "a Secret",
    ]  # fmt: skip
    assert str(Secret(CANARY)) == MASK
