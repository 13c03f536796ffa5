"""Secrets: a type that never shows its value, and where keys come from."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NoReturn

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


def fingerprint(secret: Secret | None, salt: str, *context: str) -> str:
    """A name for a secret in stored data, from which nobody gets the secret back.

    16 hex digits of an HMAC under the store's `salt`; `context` is what the secret is used
    for, so that the same one elsewhere has another name.
    """
    value = "" if secret is None else secret.get_secret_value()
    parts = "".join(f"{len(part)}:{part}" for part in (*context, value))
    return hmac.new(salt.encode(), parts.encode(), hashlib.sha256).hexdigest()[:16]


# What the known providers' keys begin with.
_KEY_PREFIXES: Final = (
    "AIza", "AQ.", "csk-", "fw_", "gsk_", "hf_", "nvapi-", "pplx-", "r8_", "sk-", "xai-",
)  # fmt: skip
_KEY_LENGTH: Final = 20  # no known provider's key is shorter
_RANDOM_RUN: Final = 16  # letters and digits mixed for this long are no name
_WORD: Final = re.compile(r"[A-Za-z0-9]+")
_NAME_LENGTH: Final = 80  # longer than any variable or model name worth repeating


def looks_like_key(text: str) -> bool:
    """True when a text that should be a name is rather a credential in the wrong place."""
    if text.startswith(_KEY_PREFIXES) and len(text) >= _KEY_LENGTH:
        return True
    return any(
        len(word) >= _RANDOM_RUN and not word.isalpha() and not word.isdigit()
        for word in _WORD.findall(text)
    )


def shown(name: str) -> str:
    """The name, quoted, if a message may repeat it; else only its shape."""
    risky = looks_like_key(name) or name.startswith(_KEY_PREFIXES) or not name.isprintable()
    return shape(name) if risky or len(name) > _NAME_LENGTH else f"'{name}'"


def shape(value: object) -> str:
    """What kind of value it is and how large, never its content."""
    match value:
        case None:
            return "nothing"
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case "":
            return "an empty text"
        case str():
            return f"a text of {len(value)} characters"
        case Mapping():
            return f"a table of {len(value)}"
        case list() | tuple():
            return f"a list of {len(value)}"
        case _:
            return f"a {type(value).__name__}"


@dataclass(frozen=True, slots=True)
class FoundKey:
    """A key and the environment variable that held it."""

    variable: str
    secret: Secret


def find_keys(names: Sequence[str], environ: Mapping[str, str]) -> tuple[FoundKey, ...]:
    """The keys under these variable names and their numbered siblings, without duplicates.

    `X`, then `X_1`, `X_2`, ... in numeric order (gaps are fine), then the lists
    `XS` and `X_KEYS` (separated by commas or line breaks). Empty variables are
    ignored. Raises ValueError, naming the variable, for a value that is no key.
    """
    found: dict[Secret, FoundKey] = {}
    for name in names:
        for variable in _siblings(name, environ):
            for secret in _secrets(variable, environ[variable], listed=_is_list(name, variable)):
                found.setdefault(secret, FoundKey(variable, secret))
    return tuple(found.values())


def _siblings(name: str, environ: Mapping[str, str]) -> list[str]:
    numbered = re.compile(re.escape(name) + r"_?(\d+)")
    matches = filter(None, map(numbered.fullmatch, environ))
    ordered = sorted(matches, key=lambda match: (int(match[1]), match[0]))
    candidates = [name, *(match[0] for match in ordered), f"{name}S", f"{name}_KEYS"]
    return [variable for variable in candidates if environ.get(variable, "").strip()]


def _is_list(name: str, variable: str) -> bool:
    return variable in (f"{name}S", f"{name}_KEYS")


def _secrets(variable: str, text: str, *, listed: bool) -> list[Secret]:
    parts = [part for part in re.split(r"[,\s]+", text) if part] if listed else [text]
    try:
        # Some tools keep the quotes when they load .env files; no key holds any.
        return [Secret(part.strip(" \t").strip("\"'")) for part in parts]
    except ValueError as error:
        problem = str(error)
    raise ValueError(f"the variable {variable}: {problem}")
