"""A JSON value that fits a JSON schema, made from the words of a text.

Integers are the text's first number, strings its first single-quoted name:
enough for a test to see its own question in the arguments of a tool call. Pure
and deterministic.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_NUMBER: Final = re.compile(r"-?\d+")
_QUOTED: Final = re.compile(r"(?<!\w)'([^'\n]+)'(?!\w)")

# A schema may contain itself; below this depth only what is required is written.
_DEPTH: Final = 8

_FORMATS: Final[Mapping[str, str]] = {
    "date": "2026-01-02",
    "date-time": "2026-01-02T03:04:05Z",
    "time": "03:04:05",
    "duration": "PT1M",
    "email": "captain@example.org",
    "uri": "https://example.org/",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "ipv4": "192.0.2.1",
}


@dataclass(frozen=True, slots=True)
class Words:
    """What a text offers to fill a schema with."""

    number: int
    name: str
    text: str

    @classmethod
    def of(cls, text: str) -> Words:
        """The first number (else 1) and the first single-quoted name (else `text`)."""
        number, name = _NUMBER.search(text), _QUOTED.search(text)
        return cls(int(number[0]) if number else 1, name[1] if name else "text", text)


def instance(schema: Any, text: str) -> Any:
    """A value that fits `schema`, using the words of `text`."""
    return _Builder(schema, Words.of(text)).build(schema, 0)


class _Builder:
    """Builds one value; a method per JSON type, chosen by `_of_type`."""

    def __init__(self, root: Any, words: Words) -> None:
        self._root = root
        self._words = words

    def build(self, schema: Any, depth: int) -> Any:
        if not isinstance(schema, dict):
            return self._words.name  # `true`: anything fits
        schema = self._resolve(schema)
        if "const" in schema:
            return schema["const"]
        if schema.get("enum"):
            return self._pick(schema["enum"])
        return self._of_type(_kind(schema), schema, depth)

    def _of_type(self, kind: str, schema: dict[str, Any], depth: int) -> Any:
        by_type: Mapping[str, Callable[[], Any]] = {
            "object": lambda: self._object(schema, depth),
            "array": lambda: self._array(schema, depth),
            "string": lambda: self._string(schema),
            "integer": lambda: int(_clamped(self._words.number, schema, step=1)),
            "number": lambda: float(_clamped(self._words.number, schema, step=0.5)),
            "boolean": lambda: True,
            "null": lambda: None,
        }
        return by_type[kind]()

    def _resolve(self, schema: dict[str, Any]) -> dict[str, Any]:
        """Follow `$ref`, choose a branch of `anyOf`/`oneOf`, merge `allOf`, until none is left."""
        for _ in range(_DEPTH):
            if "$ref" in schema:
                rest = {name: value for name, value in schema.items() if name != "$ref"}
                schema = self._pointed(schema["$ref"]) | rest
            elif branches := schema.get("anyOf") or schema.get("oneOf"):
                rest = {k: v for k, v in schema.items() if k not in ("anyOf", "oneOf")}
                schema = rest | self._branch(branches)
            elif "allOf" in schema:
                schema = self._merged(schema)
            else:
                break
        return schema

    def _pointed(self, pointer: str) -> dict[str, Any]:
        node = self._root
        for step in pointer.removeprefix("#").strip("/").split("/") if pointer != "#" else ():
            node = node[step.replace("~1", "/").replace("~0", "~")]
        return dict(node)

    def _branch(self, branches: list[dict[str, Any]]) -> dict[str, Any]:
        """The first branch that is not null: an optional field is filled."""
        return next((b for b in branches if b.get("type") != "null"), branches[0])

    def _merged(self, schema: dict[str, Any]) -> dict[str, Any]:
        merged = {name: value for name, value in schema.items() if name != "allOf"}
        for part in schema["allOf"]:
            part = self._resolve(part)
            for name in ("properties", "required"):
                if name in part and name in merged:
                    both = (merged[name], part[name])
                    part = part | {name: _joined(*both)}
            merged |= part
        return merged

    def _pick(self, values: list[Any]) -> Any:
        """The first allowed value that the text names, else the first."""
        spoken = self._words.text.lower()
        return next((v for v in values if isinstance(v, str) and v.lower() in spoken), values[0])

    def _object(self, schema: dict[str, Any], depth: int) -> dict[str, Any]:
        properties = schema.get("properties", {})
        names = schema.get("required", []) if depth >= _DEPTH else list(properties)
        return {name: self.build(properties.get(name, True), depth + 1) for name in names}

    def _array(self, schema: dict[str, Any], depth: int) -> list[Any]:
        count = schema.get("minItems", 0 if depth >= _DEPTH else 1)
        items = schema.get("prefixItems") or [schema.get("items", True)] * count
        return [self.build(item, depth + 1) for item in items]

    def _string(self, schema: dict[str, Any]) -> str:
        if schema.get("format") in _FORMATS:
            return _FORMATS[schema["format"]]
        text = self._words.name.ljust(schema.get("minLength", 0), ".")
        return text[: schema.get("maxLength", len(text))]


def _kind(schema: dict[str, Any]) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        return next((name for name in kind if name != "null"), "null")
    if kind is None:
        return "object" if "properties" in schema else "array" if "items" in schema else "string"
    return str(kind)


def _clamped(value: int, schema: dict[str, Any], *, step: float) -> float:
    """The number nearest to `value` within the schema's bounds; `step` off those it excludes."""
    nearest: float = value
    if "maximum" in schema:
        nearest = min(nearest, schema["maximum"])
    if "exclusiveMaximum" in schema:
        nearest = min(nearest, schema["exclusiveMaximum"] - step)
    if "minimum" in schema:
        nearest = max(nearest, schema["minimum"])
    if "exclusiveMinimum" in schema:
        nearest = max(nearest, schema["exclusiveMinimum"] + step)
    return nearest


def _joined(first: Any, second: Any) -> Any:
    return first | second if isinstance(first, dict) else [*first, *second]
