"""Secrets are cut out of text by value, in every form in which they travel, however it is cut."""

from __future__ import annotations

import base64
import json
import random
from urllib.parse import quote

import pytest

from hydra_core.drive.redaction import Forms, Sieve, redact_bytes, redacted
from hydra_core.vault import MASK, Secret

VALUE = 'sk-CANARY/0a1B+2c3D"4e5F=6g7H\\8i9J'
SECRET = Secret(VALUE)
FORMS = {
    "raw": VALUE,
    "quoted": quote(VALUE, safe=""),
    "path": quote(VALUE),
    "json": json.dumps(VALUE)[1:-1],
    "escaped slash": json.dumps(VALUE)[1:-1].replace("/", "\\/"),
    "reversed": VALUE[::-1],
    "hex": VALUE.encode().hex(),
    "HEX": VALUE.encode().hex().upper(),
    **{
        f"base64 +{n}": base64.b64encode(b"x" * n + VALUE.encode() + b"yz").decode()
        for n in range(4)
    },
}


def windows(text):
    """Every run of 8 characters."""
    return {text[n : n + 8] for n in range(len(text) - 7)}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_secret_is_masked(form):
    """No eight characters in a row of any form are left, in texts nor in bodies."""
    text = f"it said <{FORMS[form]}> and so on"
    allowed = windows(f"it said <{MASK}> and so on")
    for clean in (redacted(text, [SECRET]), redact_bytes(text.encode(), SECRET).decode()):
        assert MASK in clean
        assert not windows(FORMS[form]) & windows(clean) - allowed
        assert clean.startswith("it said <")
        assert clean.endswith("> and so on")


def test_text_without_secrets_is_the_same():
    """What holds no secret is handed on untouched; without a secret so is everything."""
    text = f"sk-CANAR {VALUE[:-1]}"
    assert redacted(text, [SECRET]) == text
    assert redact_bytes(text.encode(), SECRET) == text.encode()
    assert redact_bytes(VALUE.encode(), None) == VALUE.encode()
    assert redacted(VALUE, []) == VALUE


@pytest.mark.parametrize("cut", [slice(None, 20), slice(5, None), slice(3, 14), slice(0, 8)])
def test_a_part_of_a_secret_is_masked_in_errors(cut):
    """Errors repeat keys cut short: eight characters in a row are enough to hide them."""
    clean = Forms(SECRET).mask_parts(f"bad key <{VALUE[cut]}>, {VALUE[:7]} and {VALUE[-7:]}")
    assert clean == f"bad key <{MASK}>, {VALUE[:7]} and {VALUE[-7:]}"
    assert Forms(None).mask_parts(VALUE) == VALUE


def test_very_short_secrets_are_left():
    """Masking a key of a few letters would mask half of every text."""
    assert redacted("no one is nobody", [Secret("no")]) == "no one is nobody"


@pytest.mark.parametrize("seed", range(20))
def test_a_sieve_masks_what_comes_in_pieces(seed):
    """However the text is cut, what comes out is the masked text, and never late at its end."""
    rng = random.Random(seed)
    words = (VALUE, "s", "sk", "sk-CANARY", " and ", VALUE[:12])
    text = "".join(rng.choice(words) for _ in range(9)) + "."
    sieve, shown, at = Sieve(Forms(SECRET)), [], 0
    while at < len(text):
        step = rng.randint(1, 9)
        shown.append(sieve.feed(text[at : at + step]))
        at += step
    assert "".join(shown) + sieve.rest() == text.replace(VALUE, MASK)


def test_a_sieve_holds_back_only_what_may_become_a_secret():
    """Text is shown at once, but for an end that a secret may begin with."""
    sieve = Sieve(Forms(SECRET))
    shown = [sieve.feed(text) for text in ("Hello ", "sk", "in", " s")]
    assert shown == ["Hello ", "", "skin", " "]
    assert sieve.rest() == "s"
    assert (sieve.feed(VALUE[:-1]), sieve.rest()) == ("", MASK)
    assert Sieve(Forms(None)).feed(VALUE) == VALUE
    assert Sieve(Forms(Secret("short"))).feed("short") == "short"
