"""How large a request is, before anyone counted its tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from hydra_core.drafts import drafted

if TYPE_CHECKING:
    from hydra_core.messages import ChatRequest

# Until a model has been seen: English prose has about 4 characters a token in every
# common tokenizer.
TOKENS_PER_CHAR: Final = 0.25
USUAL_OUTPUT: Final = 256.0
_PART_CHARS: Final = 4000  # of an image or file part: its size says nothing of its tokens


@dataclass(frozen=True, slots=True)
class Size:
    """How large a request is before anyone counted its tokens."""

    chars: int
    messages: int
    max_tokens: int | None
    known_tokens: float | None = None

    @property
    def size_class(self) -> int:
        """Requests within a factor of four of each other share a class (engine.roster)."""
        return self.rough_tokens.bit_length() >> 1

    @property
    def rough_tokens(self) -> int:
        """Tokens, answer included, before any model taught us better."""
        rough = self.known_tokens
        if rough is None:
            rough = self.chars * TOKENS_PER_CHAR + (self.max_tokens or USUAL_OUTPUT)
        return int(rough)


def tokens_of(chars: int) -> int:
    """About as many tokens as a text of so many characters has, in whole ones."""
    return int(chars * TOKENS_PER_CHAR)


_size = drafted(Size)


def size_of(request: ChatRequest) -> Size:
    """The size of a request by its characters: texts, tool calls, declared tools and forms."""
    chars = 0
    for message in request.messages:
        content = message.get("content")
        if isinstance(content, str):
            chars += len(content)
        elif isinstance(content, list):
            for part in content:
                text = part.get("text") if isinstance(part, dict) else None
                chars += len(text) if isinstance(text, str) else _PART_CHARS
        if calls := message.get("tool_calls"):
            chars += _written(calls)
    if request.params:
        for name in ("tools", "response_format"):
            if extra := request.params.get(name):
                chars += _written(extra)
    return _size(chars, len(request.messages), request.max_tokens)


def _written(value: object) -> int:
    """About how many characters it takes; 0 for what nests too deep to be written at all."""
    try:
        return len(str(value))
    except RecursionError:
        return 0
