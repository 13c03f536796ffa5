"""How each provider is asked, and what it means: bytes in, values out."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Final

from hydra_core.dialects.anthropic import AnthropicDialect
from hydra_core.dialects.azure import AzureDialect
from hydra_core.dialects.base import Dialect, StreamReader
from hydra_core.dialects.gemini import GeminiDialect
from hydra_core.dialects.openai import OpenAIDialect
from hydra_core.dialects.vendors import GENERIC, VENDORS, Vendor
from hydra_core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Dialect", "StreamReader", "get_dialect"]

_DIALECTS: Final[dict[str, Callable[[Vendor], Dialect]]] = {
    "anthropic": AnthropicDialect,
    "azure": AzureDialect,
    "gemini": GeminiDialect,
    "openai": OpenAIDialect,
}
# A vendor's compatible endpoint has other headers than its native one.
_COMPATIBLE: Final = {"anthropic": "anthropic_compat"}


@cache
def get_dialect(dialect: str, vendor: str) -> Dialect:
    """The reader and writer for a dialect as one vendor speaks it.

    `vendor` is a known provider's id (`groq`, `gemini`, ...), whose limit
    headers, words and parameters are then understood; any other name gets what
    all have in common. Raises ConfigError for an unknown dialect.
    """
    build = _DIALECTS.get(dialect)
    if build is None:
        known = ", ".join(sorted(_DIALECTS))
        raise ConfigError(f"dialect: {dialect[:40]!r} is not supported; use one of: {known}")
    return build(_vendor(dialect, vendor))


def _vendor(dialect: str, name: str) -> Vendor:
    known = name.lower().replace("-", "_")
    if dialect == "openai":
        known = _COMPATIBLE.get(known, known)
    elif known not in VENDORS:
        known = dialect  # a resource under another name is still that vendor's
    return VENDORS.get(known) or replace(GENERIC, name=name)
