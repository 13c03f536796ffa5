"""Secrets: a type that never shows its value, and where keys come from."""

from __future__ import annotations

import hashlib
import hmac
from typing import NoReturn

MASK = "****"
_TAIL_FROM = 20  # a tail is shown only of secrets this long: 4 of fewer is too many


class Secret:
    """One credential. Printing, formatting, pickling and copying never show it.

    It is no `str` subclass: joining, concatenating or JSON-encoding one fails
    instead of leaking. `get_secret_value()` gives the text; within Hydra only
    the transport and the stores call it.
    """

    __slots__ = ("__weakref__", "_value")

    def __init__(self, value: str) -> None:
        """Raises ValueError, without the value, unless it is printable ASCII in one line."""
        text = value.strip(" \t")
        if not text:
            raise ValueError("the key is empty")
        if text != text.strip():
            raise ValueError("the key begins or ends with a line break; remove it")
        if not all("\x21" <= char <= "\x7e" for char in text):
            raise ValueError(
                "the key holds a space, a control character or a non-ASCII character; "
                "copy it again from the provider's page"
            )
        self._value = text

    def get_secret_value(self) -> str:
        """The secret itself."""
        return self._value

    @property
    def tail(self) -> str:
        """A masked form: the last four characters of long secrets, else only the mask."""
        if len(self._value) < _TAIL_FROM:
            return MASK
        return MASK + self._value[-4:]

    def __repr__(self) -> str:
        return f"Secret('{MASK}')"

    def __str__(self) -> str:
        return MASK

    def __format__(self, spec: str) -> str:
        return format(MASK, spec)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(_digest(self._value), _digest(other._value))

    def __hash__(self) -> int:
        return hash(_digest(self._value))

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret cannot be pickled or copied; pass its key's name instead")

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: object) -> Secret:
        return self


def _digest(value: str) -> bytes:
    return hashlib.sha256(value.encode()).digest()
