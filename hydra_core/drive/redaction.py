"""Cutting secrets out of text by their exact values, in the forms in which they travel."""

from __future__ import annotations

import base64
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import quote

from hydra_core.vault import MASK

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hydra_core.vault import Secret

# Shorter values would mask half of every text; they can only be test keys.
_SHORTEST = 8


@lru_cache(maxsize=4096)
def _forms(secret: Secret) -> tuple[str, ...]:
    value = secret.get_secret_value()
    if len(value) < _SHORTEST:
        return ()
    # Base64 of a longer text shows the value at three offsets; the ends vary with
    # the neighbours, so the stable middle is what is looked for.
    encoded = (
        base64.b64encode(b"\0" * offset + value.encode())[offset + 1 : -4].decode()
        for offset in range(3)
    )
    forms = (value, quote(value, safe=""), value[::-1], value.encode().hex(), *encoded)
    return tuple(form for form in dict.fromkeys(forms) if len(form) >= _SHORTEST)


def redacted(text: str, secrets: Iterable[Secret]) -> str:
    """The text with every form of every secret masked."""
    for secret in secrets:
        for form in _forms(secret):
            if form in text:
                text = text.replace(form, MASK)
    return text


def redact_bytes(body: bytes, secret: Secret | None) -> bytes:
    """A reply's body without the key that was sent with the request."""
    if secret is None:
        return body
    value = secret.get_secret_value().encode()
    if len(value) < _SHORTEST or value not in body:
        return body
    return body.replace(value, MASK.encode())
