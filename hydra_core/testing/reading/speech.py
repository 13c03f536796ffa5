"""Names that a sentence merely speaks to, or says to speak: it tells nothing of them."""

from __future__ import annotations

import re
from typing import Final

from hydra_core.testing.reading.english import PEOPLE, SPEECH, stem
from hydra_core.testing.reading.words import TITLE, stems

_SAID: Final = "|".join(sorted(SPEECH))
_CALLED: Final = rf"(?:{TITLE}\s+)?[A-Z][\w'-]+(?:\s+[A-Z][\w'-]+){{0,2}}"
_SPEAKER: Final = re.compile(
    rf"[\"'\u201d\u2019,]\s+(?:(?:{_SAID})\s+({_CALLED})|({_CALLED})\s+(?:{_SAID}))\b"
)
_PAUSED: Final = re.compile(rf"\b({_CALLED})\s*(?=[,!?.])")
_CALLING: Final = re.compile(r"(?:[\"\u201c\u2018]|\b[\w.]+[,:]|\b[Oo]h|\b[Dd]ear|\bmy)\s*$")
_REACH: Final = 40
"""Characters before a name that may show that it is called."""

_LAST_WORD: Final = re.compile(r"([\w.]+)[,:]\s*$")
_IN_SPEECH: Final = re.compile(r"\b(?:you|your|I|I'm|we|my|me|us)\b", re.IGNORECASE)


def bystanders(text: str) -> frozenset[str]:
    """The stems of names that a sentence tells nothing of: spoken to, or said to speak."""
    return speakers(text) | addressed(text)


def speakers(text: str) -> frozenset[str]:
    """The stems of names that a sentence hands the word to: "said Bell"."""
    found = _SPEAKER.finditer(" ".join(text.split()))
    return frozenset(base for match in found for base in stems(match[1] or match[2]))


def addressed(text: str) -> frozenset[str]:
    """The stems of names that a sentence speaks to: "Yes, Mr. Bell,"."""
    flat = " ".join(text.split())
    if not _IN_SPEECH.search(flat):
        return frozenset()
    found = (match for match in _PAUSED.finditer(flat) if _called(flat, match.start()))
    return frozenset(base for match in found for base in stems(match[1]))


def _called(flat: str, place: int) -> bool:
    """Whether the name there is called, and does not explain a noun: "the mate, Bell"."""
    before = flat[max(0, place - _REACH) : place]
    last = _LAST_WORD.search(before)
    return bool(_CALLING.search(before)) and not (last and stem(last[1]) in PEOPLE)
