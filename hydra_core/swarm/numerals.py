"""Read the numbers that headings bear: 12, XII, twelve, the second, primero."""

from __future__ import annotations

import re
from typing import Final

_UNITS: Final = (
    ("one", "first", "uno", "primero", "primera", "primer"),
    ("two", "second", "dos", "segundo", "segunda"),
    ("three", "third", "tres", "tercero", "tercera", "tercer"),
    ("four", "fourth", "cuatro", "cuarto", "cuarta"),
    ("five", "fifth", "cinco", "quinto", "quinta"),
    ("six", "sixth", "seis", "sexto", "sexta"),
    ("seven", "seventh", "siete", "séptimo", "séptima"),
    ("eight", "eighth", "ocho", "octavo", "octava"),
    ("nine", "ninth", "nueve", "noveno", "novena"),
    ("ten", "tenth", "diez", "décimo", "décima"),
    ("eleven", "eleventh", "once"),
    ("twelve", "twelfth", "doce"),
    ("thirteen", "thirteenth", "trece"),
    ("fourteen", "fourteenth", "catorce"),
    ("fifteen", "fifteenth", "quince"),
    ("sixteen", "sixteenth"),
    ("seventeen", "seventeenth"),
    ("eighteen", "eighteenth"),
    ("nineteen", "nineteenth"),
)
_TENS: Final = (
    ("twenty", "twentieth", "veinte"),
    ("thirty", "thirtieth", "treinta"),
    ("forty", "fortieth"),
    ("fifty", "fiftieth"),
    ("sixty", "sixtieth"),
)
_VALUES: Final = {
    **{word: value for value, words in enumerate(_UNITS, start=1) for word in words},
    **{word: 10 * value for value, words in enumerate(_TENS, start=2) for word in words},
}
_WORDS: Final = "|".join(sorted(_VALUES, key=len, reverse=True))
_ROMAN: Final = re.compile(r"M{0,3}(?:CM|CD|D?C{0,3})(?:XC|XL|L?X{0,3})(?:IX|IV|V?I{0,3})")
_ROMAN_VALUES: Final = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100, "D": 500, "M": 1000}

NUMBER: Final = rf"(?:\d{{1,4}}|[IVXLCDM]+|[ivxlcdm]+|(?i:{_WORDS})(?:[- ](?i:{_WORDS}))?)(?!\w)"
"""Pattern of what may be a number; `numeral` decides."""


def numeral(words: str) -> int | None:
    """The value of an Arabic, Roman or spelled number, or None when it is none.

    A Roman numeral has to be well formed and in one case: "Did" is a word.
    """
    if words.isdecimal():
        return int(words)
    parts = re.split(r"[- ]", words.casefold())
    if all(part in _VALUES for part in parts):
        return sum(_VALUES[part] for part in parts)
    roman = words.upper()
    if words not in (roman, words.lower()) or not roman or not _ROMAN.fullmatch(roman):
        return None
    values = [_ROMAN_VALUES[letter] for letter in roman]
    following = [*values[1:], 0]
    return sum(
        -value if value < after else value for value, after in zip(values, following, strict=True)
    )
