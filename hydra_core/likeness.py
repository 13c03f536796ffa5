"""When two requests are the same question on the same sources.

The exact fingerprint of a request takes every character for material. Here is a coarser
one, for the hour of need; what it forgives does not change what is asked:

    how to sample      temperature, max_tokens, seed and their like; model, provider, lane
    how it was typed   the Unicode form, line ends and outer blanks; in a plain question
                       also runs of spaces and the capitals of ordinary words
    in which order     the passages of a fenced context came, unless order may matter

All else counts: another word, sign, role, earlier message, image, stop sequence or user
makes another request. In doubt a text is taken as it is.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from typing import TYPE_CHECKING, Any, Final

import orjson

from hydra_core.passages import in_any_order, passages, told_apart

if TYPE_CHECKING:
    from hydra_core.messages import Message

# Body fields that change how an answer is drawn or how long it may be, not what is asked.
_SAMPLING: Final = frozenset(
    (
        "temperature", "top_p", "top_k", "min_p", "seed", "max_tokens", "max_completion_tokens",
        "frequency_penalty", "presence_penalty", "stream_options",
    )
)  # fmt: skip

# Signs of a sentence. No bracket, operator, slash or quotation mark: where those stand, the
# text may be code, a formula or words about words.
_SIGNS: Final = str.maketrans("", "", ".,;:?!-\u00bf\u00a1\u2013\u2014%\u20ac$ \n\0'\u2019")
# An apostrophe within a word is one; any other may open a quotation.
_QUOTING: Final = re.compile(r"(?<!\w)['\u2019]|['\u2019](?!\w)")
_LONGEST: Final = 2_000  # characters; what people retype is shorter
# What a question about its own letters and blanks speaks of.
_ABOUT_FORM: Final = (
    "uppercase", "lowercase", "upper case", "lower case", "capitali", "capital l", "case-sens",
    "case sens", " letter", "spell", "whitespace", " spaces", "may\u00fasc", "min\u00fasc",
    "mayusc", "minusc", "deletre", " letra", " espacios",
)  # fmt: skip


def likeness(asked: list[Message], params: dict[str, Any]) -> str:
    """What requests share that ask the same of the same sources; a short text.

    `asked` are a request's messages, `params` its other body fields, both as JSON has them.
    """
    texts = [_text(message) for message in asked]
    split = [(None, []) if text is None else told_apart(text) for text in texts]
    free = any(contexts for _, contexts in split) and all(
        in_any_order(words) for words, _ in split if words is not None
    )
    messages: list[Any] = []
    for place, (message, (words, contexts)) in enumerate(zip(asked, split, strict=True)):
        if words is None:
            messages.append(message)
            continue
        said = typed_alike(words) if place == len(split) - 1 else words
        read = [passages(context) if free else [context] for context in contexts]
        messages.append([{**message, "content": said}, read])
    material = {name: value for name, value in params.items() if name not in _SAMPLING}
    data = orjson.dumps([messages, material], default=str, option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(data).hexdigest()


def _text(message: Message) -> str | None:
    """A message's text in one Unicode form, with one kind of line end; None if it is no text."""
    content = message.get("content")
    return _one_form(content) if isinstance(content, str) else None


def _one_form(text: str) -> str:
    return unicodedata.normalize("NFC", text).replace("\r\n", "\n").strip()


def typed_alike(text: str) -> str:
    """A plain question without what differs from one typist to the next; others as they are."""
    text = _one_form(text)
    if len(text) > _LONGEST or not _plain(text):
        return text
    lines = [" ".join([_small(word) for word in line.split()]) for line in text.split("\n")]
    return "\n".join([line for line in lines if line]).replace("\u2019", "'")


def _plain(text: str) -> bool:
    if not text.translate(_SIGNS).isalnum() or "\n " in text:
        return False  # some other sign, or lines that are indented
    if ("'" in text or "\u2019" in text) and _QUOTING.search(text):
        return False
    lowered = text.lower()
    return not any(word in lowered for word in _ABOUT_FORM)


def _small(word: str) -> str:
    """The word without its capital in front; acronyms, single letters, camelCase stay."""
    if word[0] in "\u00bf\u00a1":
        return word[0] + _small(word[1:]) if word[1:] else word
    return word.lower() if word[1:].islower() else word
