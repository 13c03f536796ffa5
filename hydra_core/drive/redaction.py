"""Cutting secrets out of text by their exact values, in the forms in which they travel."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from hydra_core.vault import MASK

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from hydra_core.messages import ToolCall
    from hydra_core.vault import Secret
    from hydra_core.wire import Verdict

# Shorter values would mask half of every text; they can only be test keys.
_SHORTEST: Final = 8


class Forms:
    """Every form of one secret, ready to be looked for. None: there is nothing to hide."""

    __slots__ = ("_in_text", "value")

    def __init__(self, secret: Secret | None) -> None:
        value = secret.get_secret_value() if secret is not None else ""
        self.value = value if len(value) >= _SHORTEST else ""
        # Longer ones first: an escaped form may contain the plain one.
        forms = sorted(set(_forms(self.value)), key=len, reverse=True) if self.value else []
        self._in_text = tuple(forms)

    def mask(self, text: str) -> str:
        """The text without the secret."""
        for form in self._in_text:
            if form in text:
                text = text.replace(form, MASK)
        return text

    def mask_bytes(self, body: bytes) -> bytes:
        """The body without the secret; a JSON body stays one."""
        # One character for each byte. CPython looks through a text in half the time: asked for
        # bytes in bytes, it first tries whether they are a number, and catches its own error.
        text = body.decode("latin-1")
        masked = self.mask(text)
        return body if masked is text else masked.encode("latin-1")

    def mask_parts(self, text: str) -> str:
        """The text without any eight characters in a row of the secret.

        Errors repeat keys cut short, or with a middle of stars.
        """
        shown: list[str] = []
        at, last = 0, len(text) - _SHORTEST
        while at <= last:
            end = at + _SHORTEST
            if text[at:end] not in self.value:
                shown.append(text[at])
                at += 1
                continue
            while end < len(text) and text[end - _SHORTEST + 1 : end + 1] in self.value:
                end += 1
            shown.append(MASK)
            at = end
        return "".join(shown) + text[at:]


def _forms(value: str) -> Iterator[str]:
    escaped = json.dumps(value)[1:-1]
    yield from (value, escaped, escaped.replace("/", "\\/"))
    yield from (quote(value), quote(value, safe=""))
    yield value[::-1]
    yield from (value.encode().hex(), value.encode().hex().upper())
    for offset in range(3):
        # Base64 of a longer text shows the value at three offsets. Six bits a letter: those
        # that also hold bits of a neighbour vary with it, so they are not looked for.
        first, end = -(-offset * 8 // 6), (offset + len(value)) * 8 // 6
        yield base64.b64encode(b"\0" * offset + value.encode()).decode()[first:end]


@lru_cache(maxsize=4096)
def _forms_of(secret: Secret) -> Forms:
    return Forms(secret)


def redacted(text: str, secrets: Iterable[Secret]) -> str:
    """The text with every form of every secret masked."""
    for secret in secrets:
        text = _forms_of(secret).mask(text)
    return text


def tells_secret(text: str, secrets: Iterable[Secret]) -> bool:
    """True when a text holds one of the secrets or a part of one, or did before it was masked."""
    known = (_forms_of(secret) for secret in secrets)
    return MASK in text or any(forms.mask_parts(forms.mask(text)) != text for forms in known)


def redact_bytes(body: bytes, secret: Secret | None) -> bytes:
    """A reply's body without the key that was sent with the request."""
    return body if secret is None else _forms_of(secret).mask_bytes(body)


class Sieve:
    """Masks one secret in a text that comes in pieces, also where a piece ends inside of it.

    Shown at once is all but an end with which the secret may begin.
    """

    __slots__ = ("_forms", "_held")

    def __init__(self, forms: Forms) -> None:
        self._forms = forms
        self._held = ""

    def feed(self, text: str) -> str:
        """The next piece; what of the text may be shown now."""
        value = self._forms.value
        if not value:
            return text
        text = self._forms.mask(self._held + text)
        start = text.find(value[0], max(0, len(text) - len(value) + 1))
        while start >= 0 and not value.startswith(text[start:]):
            start = text.find(value[0], start + 1)
        if start < 0:
            self._held = ""
            return text
        self._held = text[start:]
        return text[:start]

    def rest(self) -> str:
        """The text has ended: what was held back, unless it is most of a secret."""
        held, self._held = self._held, ""
        return held if len(held) < _SHORTEST else MASK


class Veil:
    """Keeps the text, the tool calls and the errors of one stream free of our keys.

    `forms` are those of the key that was sent, `secrets` all keys of the pool.
    """

    __slots__ = ("_forms", "_secrets", "_sieve", "_thoughts")

    def __init__(self, forms: Forms, secrets: Sequence[Secret] = ()) -> None:
        self._forms = forms
        self._secrets = secrets
        self._sieve = Sieve(forms)
        self._thoughts = Sieve(forms)

    def text(self, piece: str) -> str:
        """The next piece of the text, as far as it may be shown now."""
        return self._sieve.feed(piece) if piece else ""

    def thought(self, piece: str) -> str:
        """The next piece of the reasoning, as far as it may be shown now."""
        return self._thoughts.feed(piece)

    def thoughts_rest(self) -> str:
        """What of the reasoning was held back, where it ends."""
        return self._thoughts.rest()

    def rest(self) -> str:
        """What of the text was held back, at its end."""
        return self._sieve.rest()

    def calls(self, calls: tuple[ToolCall, ...]) -> tuple[ToolCall, ...]:
        """Pieces of tool calls. A key that is cut into several of them is not seen."""
        mask = self._forms.mask
        return tuple(
            replace(call, id=mask(call.id), name=mask(call.name), arguments=mask(call.arguments))
            for call in calls
        )

    def word(self, word: str | None) -> str | None:
        """One of the provider's own words, such as the reason of the end."""
        return word if word is None else self._forms.mask(word)

    def verdict(self, verdict: Verdict) -> Verdict:
        """A failure in the provider's words."""
        return clean_verdict(verdict, self._forms, self._secrets)


def clean_verdict(verdict: Verdict, forms: Forms, secrets: Sequence[Secret]) -> Verdict:
    """A verdict without any of the secrets, nor a part of the one that was sent (`forms`)."""

    def clean(words: str) -> str:
        return forms.mask_parts(redacted(words, secrets))

    return replace(
        verdict,
        message=clean(verdict.message),
        code=clean(verdict.code) if verdict.code else verdict.code,
        scope_hint=clean(verdict.scope_hint) if verdict.scope_hint else verdict.scope_hint,
    )
