"""Results as JSON: the fields of the public values, under their own names."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any

import orjson

from hydra_core.messages import Usage


def text(value: object) -> str:
    """One JSON document, indented."""
    return orjson.dumps(plain(value), option=orjson.OPT_INDENT_2, default=str).decode()


def plain(value: Any) -> Any:
    """Dataclasses as dicts, all the way down; `usage` with its total."""
    if isinstance(value, Usage):
        return {
            "prompt_tokens": value.prompt_tokens,
            "completion_tokens": value.completion_tokens,
            "total_tokens": value.total_tokens,
            "cost_usd": value.cost_usd,
        }
    if is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, dict):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def of_error(error: Exception, message: str) -> dict[str, Any]:
    """What went wrong: its class, words for it, and when to ask again if that is known."""
    told: dict[str, Any] = {"type": type(error).__name__, "message": message}
    eta = getattr(error, "eta", None)
    if eta is not None:
        told["eta"] = eta
    attempts = getattr(error, "attempts", ())
    if attempts:
        told["attempts"] = plain(attempts)
    return {"error": told}
