"""The error envelopes of all providers, read into one shape.

Law 1: a body is read by what it holds; its content type is not believed.
Law 2: nothing is judged here. This file finds codes and words, `rules` reads them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from hydra_core.dialects.json_body import loads_leniently

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# Longest text that is searched for phrases; what explains an error comes early in it.
_WORDS_CAP: Final = 16_384
_CODES_CAP: Final = 64
_CODE_KEYS: Final = ("code", "type", "status", "error_type", "reason", "error_code", "limit_source")
_WORD_KEYS: Final = ("message", "msg", "title", "detail", "error")
_PAGE_MARKS: Final = ("<!doctype", "<html", "<head", "<body", "<center")


@dataclass(frozen=True, slots=True)
class ProviderError:
    """What one error body says.

    `message` is the provider's text; `words` the same in lower case, with what
    an upstream said appended; `codes` every code, type, status and reason in
    lower case, and `metadata.<key>` for the keys of OpenRouter's metadata.
    `status` is a HTTP status that the body names. `quotas` are Google's (quota
    id, value) pairs; `waits` waits that the body states in fields of their own;
    `headers` limit headers that the body repeats.
    """

    message: str = ""
    words: str = ""
    codes: frozenset[str] = frozenset()
    code: str | None = None
    status: int | None = None
    quotas: tuple[tuple[str, str], ...] = ()
    waits: tuple[str, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    user_id: str | None = None
    is_json: bool = False
    is_page: bool = False


def read_error(body: bytes) -> ProviderError:
    """Read an error body; text that is no JSON, and a CDN's page, are told apart."""
    try:
        value = loads_leniently(body)
    except ValueError:
        return _text_error(body[:_WORDS_CAP].decode(errors="replace").strip())
    return error_of(value)


def error_of(value: Any) -> ProviderError:
    """Read an error that is JSON already."""
    if isinstance(value, list):  # Gemini's compatible endpoint wraps its object
        value = next((item for item in value if isinstance(item, dict)), {})
    if not isinstance(value, dict):
        text = value[:_WORDS_CAP] if isinstance(value, str) else ""
        return ProviderError(message=text, words=_searchable(text, ""), is_json=True)
    inner = value["error"] if isinstance(value.get("error"), dict) else value
    metadata = _dict(inner.get("metadata"))
    details = inner.get("details")
    availability = inner.get("availability")
    message = _message(inner) or _message(value)
    upstream = metadata.get("raw")
    return ProviderError(
        message=message,
        words=_searchable(message, upstream if isinstance(upstream, str) else ""),
        codes=frozenset(_codes(value, inner, metadata)),
        code=_named_code(metadata, inner, value),
        status=_embedded_status(inner, value),
        quotas=tuple(_quotas(details)),
        waits=tuple(_waits(details, availability)),
        headers=_repeated_headers(metadata),
        user_id=_text(value.get("user_id")),
        is_json=True,
    )


def _text_error(text: str) -> ProviderError:
    head = text[:1_024].lower()
    page = any(mark in head for mark in _PAGE_MARKS) or head.startswith(("<", "error code: 1"))
    return ProviderError(message=text, words=_searchable(text, ""), is_page=page)


def _searchable(message: str, upstream: str) -> str:
    words = f"{message} {upstream}" if upstream else message
    return words[:_WORDS_CAP].lower().replace("\u2019", "'")


def _message(source: dict[str, Any]) -> str:
    parts: list[str] = []
    for key in _WORD_KEYS:
        for text in _texts(source.get(key)):
            if text and text not in parts:
                parts.append(text)
    return " ".join(parts)[:_WORDS_CAP]


def _texts(value: Any) -> Iterator[str]:
    """The text in a field: itself, or the messages of FastAPI's list of problems."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):  # Mistral's `message` may hold FastAPI's list of problems
        yield from _flat_texts(value.get("message"))
        yield from _flat_texts(value.get("detail"))
    else:
        yield from _flat_texts(value)


def _flat_texts(value: Any) -> Iterator[str]:
    """Text, or the texts in a list; no deeper, because depth is the sender's to choose."""
    for item in value[:8] if isinstance(value, list) else (value,):
        text = item.get("msg") if isinstance(item, dict) else item
        if isinstance(text, str):
            yield text


def _codes(value: dict[str, Any], inner: dict[str, Any], metadata: dict[str, Any]) -> Iterator[str]:
    details, availability = inner.get("details"), inner.get("availability")
    sources = [inner, value, metadata, inner.get("innererror"), details, availability]
    for problems in _problem_lists(value, inner, details):
        sources.extend(problems)
    for source in sources:
        if isinstance(source, dict):
            for key in _CODE_KEYS:
                code = _text(source.get(key))
                if code is not None:
                    yield code.lower()
    for key in list(metadata)[:_CODES_CAP]:
        if metadata[key]:
            yield f"metadata.{key}".lower()
    if isinstance(availability, dict):
        yield "availability.retryable" if availability.get("retryable") else "availability.final"


def _problem_lists(*sources: Any) -> Iterator[list[Any]]:
    """Lists of detail objects: Google's `details`, FastAPI's `detail`, Mistral's nested one."""
    for source in sources:
        if isinstance(source, list):
            yield source[:_CODES_CAP]
        elif isinstance(source, dict):
            for key in ("detail", "message"):
                nested = source.get(key)
                nested = nested.get("detail") if isinstance(nested, dict) else nested
                if isinstance(nested, list):
                    yield nested[:_CODES_CAP]


def _named_code(
    metadata: dict[str, Any], inner: dict[str, Any], value: dict[str, Any]
) -> str | None:
    candidates = (
        metadata.get("limit_source"),
        metadata.get("error_type"),
        inner.get("code") if isinstance(inner.get("code"), str) else None,
        inner.get("status"),
        inner.get("type"),
        value.get("code"),
        value.get("error_type"),
    )
    for candidate in candidates:
        code = _text(candidate)
        if code:
            return code
    return None


def _embedded_status(*sources: dict[str, Any]) -> int | None:
    for source in sources:
        for key in ("code", "status", "status_code"):
            text = _text(source.get(key)) or ""
            if len(text) == 3 and text.isascii() and text.isdigit() and "400" <= text <= "599":
                return int(text)
    return None


def _quotas(details: Any) -> Iterator[tuple[str, str]]:
    for detail in details if isinstance(details, list) else ():
        violations = detail.get("violations") if isinstance(detail, dict) else None
        for violation in violations if isinstance(violations, list) else ():
            if isinstance(violation, dict):
                quota = _text(violation.get("quotaId"))
                if quota:
                    yield quota, _text(violation.get("quotaValue")) or ""


def _waits(details: Any, availability: Any) -> Iterator[str]:
    for detail in details if isinstance(details, list) else ():
        wait = _text(detail.get("retryDelay")) if isinstance(detail, dict) else None
        if wait:
            yield wait
    if isinstance(availability, dict):
        wait = _text(availability.get("retry_after"))
        if wait:
            yield wait


def _repeated_headers(metadata: dict[str, Any]) -> dict[str, str]:
    headers = metadata.get("headers")
    if not isinstance(headers, dict):
        return {}
    pairs = ((name.lower(), _text(value)) for name, value in list(headers.items())[:_CODES_CAP])
    return {name: text for name, text in pairs if text is not None}


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str | None:
    """A short scalar as text; booleans, null and containers are none."""
    if isinstance(value, str):
        return value[:200]
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)[:200]
    return None
