"""JSON from strangers: every bad form is a ValueError, and no text can hold a surrogate."""

from __future__ import annotations

import json
from typing import Any, Final, NoReturn

import orjson

from hydra_core.errors import RequestRejected

_BOM: Final = b"\xef\xbb\xbf"  # some proxies write one before a body


def loads(body: bytes) -> Any:
    """The JSON value of a body. Raises ValueError.

    Depth, NaN, infinities, endless integers and invalid UTF-8 are errors. A
    lone surrogate becomes U+FFFD: models cut emoji between two chunks.
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        if body.startswith(_BOM) and not body.startswith(_BOM * 2):
            return loads(body.removeprefix(_BOM))
        if b"\\u" not in body:
            raise
    try:
        value = json.loads(body.decode(), parse_constant=_no_constant)
        return orjson.loads(orjson.dumps(scrub(value)))
    except (RecursionError, TypeError) as error:
        raise ValueError("the JSON cannot be read") from error


def loads_leniently(body: bytes) -> Any:
    """The JSON value of an error body, whatever its bytes; invalid UTF-8 is replaced.

    Raises ValueError when it is no JSON.
    """
    try:
        return loads(body)
    except ValueError:
        return loads(body.decode(errors="replace").encode())


def dumps(value: dict[str, Any]) -> bytes:
    """A request's JSON. Lone surrogates become U+FFFD, other keys become strings.

    Raises RequestRejected when it holds something that is not JSON.
    """
    try:
        return orjson.dumps(value)
    except TypeError:
        pass
    try:
        return orjson.dumps(scrub(value), option=orjson.OPT_NON_STR_KEYS)
    except (TypeError, RecursionError) as error:
        raise RequestRejected(
            f"the request cannot be written as JSON ({error}); "
            "use only text, numbers, booleans, lists and dicts in messages and parameters"
        ) from None


def scrub(value: Any) -> Any:
    """The same JSON value with every lone surrogate replaced by U+FFFD.

    Raises RecursionError for a value that nests too deep.
    """
    if isinstance(value, str):
        return _without_surrogates(value)
    if isinstance(value, dict):
        return {scrub(key): scrub(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [scrub(item) for item in value]
    return value


def _without_surrogates(text: str) -> str:
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")
