"""The passages that a prompt is to be answered from, told from the prompt's own words.

Retrieval brings the same passages in changing order. They are compared as a set only where
each of them is whole by itself: a paragraph torn from its heading is another source.
"""

from __future__ import annotations

import re
from typing import Final

# How prompts fence their context: a line of dashes before and after it, or a pair of tags.
_OPENING: Final = re.compile(
    r"^(?:-{5,}$|<(context|contexts|documents|sources|passages|chunks)>)", re.MULTILINE
)
_RULE: Final = re.compile(r"^-{5,}$", re.MULTILINE)
_SIGNS: Final = ("-----", "</")  # without either there is no fence: a look, not a search
# Dashes are also drawn around poems and tables; around passages the prompt says so.
_ANNOUNCED: Final = re.compile(
    r"\b(?:context|passages|documents|sources|excerpts|contexto|pasajes|documentos|fuentes)\b",
    re.IGNORECASE,
)
_ORDERED: Final = re.compile(
    r"\b(?:first|second|third|last|next|previous|former|latter|above|order\w*|sequence|top|bottom|"
    r"numbers?|cit(?:e|es|ed|ing|ation\w*)|primer\w*|segund\w*|tercer\w*|[uú]ltim\w*|siguiente|"
    r"anterior\w*|arriba|orden\w*|n[uú]mero\w*|cita\w*)\b|[\[#]\d|"
    r"\b(?:passage|document|source|excerpt|chunk|text|paragraph|pasaje|documento|fuente|texto|"
    r"p[aá]rrafo)s? \d",
    re.IGNORECASE,
)
_ELEMENT: Final = re.compile(
    r"\s*(<(?P<tag>document|doc|source|passage|chunk|item)\b[^>]*>.*?</(?P=tag)>)\s*", re.DOTALL
)
_BLANK: Final = re.compile(r"\n(?:[^\S\n]*\n)+")
# What retrievers put before a passage: lines of `name: value` and nothing else.
_LABELS: Final = re.compile(r"(?:[\w .-]{1,40}: \S[^\n]*\n?)+")
# A paragraph that stands by itself: a capital or a digit, a few words, a full stop.
_STANDING: Final = re.compile(r"(?=.{24})[^\W_a-z].*[.!?\u2026]", re.DOTALL)
# ... and that does not lean on the one before it.
_LEANING: Final = re.compile(
    r"(?:he|she|it|they|his|her|its|their|this|that|these|those|such|there|here|then|but|and|so|"
    r"however|also|both|[eé]l|ella|ell[oa]s|su|sus|est[aeo]s?|es[aeo]s?|pero|y|as[ií]|tambi[eé]n)\b",
    re.IGNORECASE,
)


def told_apart(text: str) -> tuple[str, list[str]]:
    """The prompt's own words, with a mark where each fenced context stood; the contexts."""
    if not any(sign in text for sign in _SIGNS) or not _ANNOUNCED.search(text):
        return text, []
    words: list[str] = []
    contexts: list[str] = []
    at, open_ended = 0, set()
    for opening in _OPENING.finditer(text):
        if opening.start() < at or opening[1] in open_ended:
            continue
        closing = _closing(text, opening)
        if closing is None:
            open_ended.add(opening[1])  # nor does any later one of the kind end
            continue
        words += (text[at : opening.start()], "\0")
        contexts.append(text[opening.end() : closing[0]])
        at = closing[1]
    return "".join((*words, text[at:])), contexts


def _closing(text: str, opening: re.Match[str]) -> tuple[int, int] | None:
    """Where the fence that was opened is closed: from, to."""
    if opening[1] is None:
        rule = _RULE.search(text, opening.end())
        return None if rule is None else rule.span()
    closing = f"</{opening[1]}>"
    start = text.find(closing, opening.end())
    return None if start < 0 else (start, start + len(closing))


def in_any_order(words: str) -> bool:
    """Whether a prompt with these words is answered alike whatever comes first."""
    return not _ORDERED.search(words)


def passages(context: str) -> list[str]:
    """The passages of a context, sorted; the whole context where they cannot be told apart."""
    if elements := _elements(context):
        return sorted(elements)
    paragraphs = [part.strip() for part in _BLANK.split(context.strip())]
    if any(part.startswith("#") for part in paragraphs):
        return [context]  # headings govern what follows them, some more of it than others
    if _LABELS.fullmatch(paragraphs[0]):
        return sorted(_labelled(paragraphs))
    if all(_STANDING.fullmatch(part) and not _LEANING.match(part) for part in paragraphs):
        return sorted(paragraphs)
    return [context]


def _elements(context: str) -> list[str]:
    """The elements that the context consists of; none where anything stands beside them."""
    elements, at = [], 0
    while at < len(context):
        found = _ELEMENT.match(context, at)
        if found is None:
            return []
        elements.append(found[1])
        at = found.end()
    return elements


def _labelled(paragraphs: list[str]) -> list[str]:
    """Each label with all that follows it up to the next one."""
    whole: list[list[str]] = []
    for part in paragraphs:
        if _LABELS.fullmatch(part):
            whole.append([])
        whole[-1].append(part)
    return ["\n\n".join(parts) for parts in whole]
