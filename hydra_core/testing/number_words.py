"""English numbers between zero and ninety-nine, in words and back."""

from __future__ import annotations

from typing import Final

_ONES: Final = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
    *("ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen"),
    *("eighteen", "nineteen"),
)
_TENS: Final = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")


def in_words(number: int) -> str:
    """A number from 0 to 99 in English words: 21 is `twenty-one`."""
    if number < len(_ONES):
        return _ONES[number]
    tens, ones = divmod(number, 10)
    return _TENS[tens - 2] + (f"-{_ONES[ones]}" if ones else "")


NUMBER_WORDS: Final = {in_words(number): number for number in range(100)}
"""Every such number's words, and the number."""


def number_of(word: str) -> int | None:
    """The number that a word or a run of digits names, or None."""
    plain = word.replace(",", "")
    return int(plain) if plain.isdecimal() else NUMBER_WORDS.get(word.lower())
