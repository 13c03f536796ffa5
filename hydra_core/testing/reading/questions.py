"""Read a question: what it asks about, and what kind of answer it wants."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from hydra_core.testing.reading.english import (
    PEOPLE,
    QUESTION_STOPWORDS,
    TITLES,
    WEAK,
    is_form,
    stem,
    synonyms,
)
from hydra_core.testing.reading.words import TITLE, joined_initials, names, stems

_KINDS: Final = (
    ("age", r"\bhow old\b|\bwhat age\b"),
    ("duration", r"\bhow long\b|\bcu[aá]nto tiempo\b"),
    ("money", r"\bhow much (?:is|was|were|did|does|do|had|has|would)\b"),
    ("count", r"\bhow (?:many|much)\b|\bnumber of\b|\bcu[aá]nt[oa]s?\b"),
    ("who", r"\bwho(?:m|se)?\b|\bqui[eé]n(?:es)?\b"),
    ("when", r"\bwhen\b|\bwhat (?:day|date|year|time|month|hour)\b|\bcu[aá]ndo\b"),
    ("where", r"\bwhere\b|\b(?:in|at) (?:what|which) (?:place|town|city|room)\b|\bd[oó]nde\b"),
    ("why", r"\bwhy\b|\bfor what reason\b|\bpor qu[eé]\b"),
    ("name", r"\bnames? of\b|\bcalled\b|\bnamed\b|'s names?\b"),
    ("words", r"\b(?:say|said|song|sings?|sang|words|written|motto|verse)\b"),
    ("how", r"\bhow\b|\bc[oó]mo\b"),
    ("which", r"\bwhich\b|\bwhat (?!(?:is|was|were|are|did|do|does|had|has|have|happened)\b)\w+"),
)
_KIND_PATTERNS: Final = tuple((kind, re.compile(form, re.IGNORECASE)) for kind, form in _KINDS)

_BE: Final = r"(?:is|was|are|were|es|era|fue|son)"
_WORD: Final = r"(?!(?:of|de|from|in|on|at|to|with|by|for|about)\b)[^\s?]+"
_DEFINITION: Final = re.compile(
    rf"^\W*(?:who|what|where|qui[eé]n|qu[eé]|d[oó]nde)\s+{_BE}\s+(?:the |a |an |el |la )?"
    rf"({_WORD}(?:\s+{_WORD}){{0,3}})[\s?.!]*$",
    re.IGNORECASE,
)
_DEFINABLE: Final = frozenset(("who", "what", "which", "where"))
_MEANING: Final = re.compile(
    r"^\W*what (?:does|do|did) (.{1,40}?) (?:mean|stand for)\b", re.IGNORECASE
)
_QUALITY: Final = re.compile(
    r"^\s*who\s+(?:is|was|are|were)\s+(?!the |a |an )((?-i:[a-z]+))", re.IGNORECASE
)
_DEED: Final = re.compile(r"^\s*who\s+(?!is |was |are |were |did |does )(\w+)", re.IGNORECASE)
_POSSESSED: Final = re.compile(r"['\u2019]s\s+(\w+)\s*\?")
_FOCUS: Final = re.compile(
    r"\b(?:how (?:many|much)|which|what)\s+(?:of the |(?:kind|sort|type) of )?"
    r"((?:[\w'-]+\s*){1,3})",
    re.IGNORECASE,
)
_MEASURE: Final = re.compile(r"\bhow (?:long|old|far|often|much|many|tall|big)\b", re.IGNORECASE)
_NO_FOCUS: Final = re.compile(
    r"\b(?:is|was|were|are|be|did|do|does|had|has|have|of|in|on|at|to|for|from|with|will|would"
    r"|can|could|may|might|shall|should|happened)\b",
    re.IGNORECASE,
)
_ROLE: Final = re.compile(r"^\s*who\s+(?:is|was|are|were)\s+(?:the|a|an)\s+([^?]*)", re.IGNORECASE)
_MANY: Final = re.compile(r"^\s*(?:list|name|enumerate)\b|\bwhat are\b|\bnames of\b", re.IGNORECASE)
_APOSTROPHE: Final = re.compile(r"['\u2019]s\b")

_PUNCTUATION: Final = "?!.,;:\"'()\u00bf\u00a1\u201c\u201d"
_SPOKEN: Final = {"dr": "doctor", "prof": "professor"}
"""Titles that are written otherwise when they stand alone."""

_AUXILIARY: Final = re.compile(
    r"\b(?:did|does|do|had|has|have|was|were|is|are)\b(.*)", re.IGNORECASE
)
_BEFORE_NOUNS: Final = frozenset(("the", "a", "an", "of", "his", "her", "their", "its", "my"))

_OWNER: Final = 0.8
"""Factor for the words before a possessive: "the blue carbuncle's goose" asks of the goose."""

_NAME: Final = 1.6
"""Weight of a whole name, shared by its words."""

_TITLE: Final = 0.4
_WEAK: Final = 0.3
_ASKED: Final = 1.6
"""Weight of the word that a question is about: blind in "Who was blind and came in?"."""

_VERB: Final = 1.2
"""Weight of what is done: hidden in "Where had Bell hidden the box?"."""


@dataclass(frozen=True, slots=True)
class Named:
    """A name in a question: its words, the stems of these, and that of its title, if any."""

    words: tuple[str, ...]
    bases: frozenset[str]
    title: str | None = None

    def borne(self, text: str) -> frozenset[str]:
        """Which of its stems a text has as a name: with a capital, and not as another's surname."""
        form, others = _borne(self.words)
        text = others.sub("", text)
        return frozenset(stem(found[0]) for found in form.finditer(text))


@dataclass(frozen=True, slots=True)
class Query:
    """A question, read: what it asks about and what kind of answer it wants.

    `terms` maps each stem to its prior weight. `kind` is the form of the answer:
    `who`, `when`, `where`, `count`, `money`, `duration`, `age`, `why`, `how`, `name`,
    `words`, `which` or `what`. `names` are the names in it; `subject` the words of
    what a definition is asked of ("Who is Irene Adler?"), else empty; `quality` and
    `deed` what is said of the one asked for ("Who was blind", "Who stole"); `focus`
    the thing that is counted or chosen ("Which leg ..."); `role` the office whose
    holder is asked for; `asked` all that it says beside names; `things` those of
    these that must be spoken of anywhere if the question is to have an answer;
    `many` whether a list is wanted.
    """

    text: str
    terms: dict[str, float]
    kind: str
    names: tuple[Named, ...]
    subject: tuple[str, ...] = ()
    quality: str | None = None
    deed: str | None = None
    focus: str | None = None
    role: str | None = None
    things: frozenset[str] = frozenset()
    asked: frozenset[str] = frozenset()
    many: bool = False

    @property
    def related(self) -> frozenset[str]:
        """The question's stems and those of nearly the same meaning."""
        return _related(frozenset(self.terms))

    @classmethod
    def of(cls, text: str) -> Query:
        """Read a question."""
        text = joined_initials(" ".join(text.split()))
        measured = _MEASURE.sub("how", text)
        kind = next((name for name, form in _KIND_PATTERNS if form.search(text)), "what")
        terms, named = _weighed(measured)
        subject = _subject(text, kind, terms)
        if subject and kind == "which":
            kind = "what"
        focus = _focus(text, kind, terms)
        role = None if subject else _role(text)
        verb = _verb(text, terms)
        quality, deed = _emphasised(text, terms, focus, verb)
        told = {base for base, weight in terms.items() if weight > _TITLE}
        asked = told.difference(WEAK, *(name.bases for name in named))
        return cls(
            text,
            terms,
            kind,
            named,
            subject=subject,
            quality=quality,
            deed=deed,
            focus=focus,
            role=role,
            things=frozenset(asked - {verb, quality, deed}),
            asked=frozenset(asked),
            many=_MANY.search(text) is not None,
        )


@lru_cache(maxsize=64)
def _borne(words: tuple[str, ...]) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """The pattern of a name's words, and that of someone else with the same last word."""
    forms = "|".join(f"{re.escape(word)}|{re.escape(word.upper())}" for word in words)
    own = "|".join((*map(re.escape, words), TITLE))
    first, last = re.escape(words[0]), re.escape(words[-1])
    strange = rf"(?!(?:{own})\b)[A-Z][a-z]+"
    other = rf"(?<![.!?] )\b{strange} {last}\b|\b(?i:{first}) (?:{strange}|[A-Z]{{3,}})"
    return re.compile(rf"\b(?:{forms})\b"), re.compile(other if len(words) > 1 else r"(?!)")


@lru_cache(maxsize=64)
def _related(terms: frozenset[str]) -> frozenset[str]:
    return terms.union(*map(synonyms, terms))


def _weighed(text: str) -> tuple[dict[str, float], tuple[Named, ...]]:
    """The question's stems with their weights, and its names."""
    found = []
    proper: dict[str, float] = {}
    for name in names(f"x {text}"):
        bases = [base for base in stems(name) if base not in QUESTION_STOPWORDS]
        own = [base for base in bases if base not in TITLES] or bases
        words = tuple(word for word in name.split() if not own or set(stems(word)) & set(own))
        titles = [base for base in bases if base not in own]
        proper |= dict.fromkeys(titles, _TITLE) | dict.fromkeys(own, _NAME / max(1, len(own)))
        title = _SPOKEN.get(titles[0], titles[0]) if titles else None
        found.append(Named(words, frozenset(own), title))
    terms = {
        base: proper.get(base, _WEAK if base in WEAK else 1.0)
        for word in text.split()
        if word.strip(_PUNCTUATION).lower() not in QUESTION_STOPWORDS
        for base in stems(word)
        if base not in QUESTION_STOPWORDS
    }
    return terms, tuple(name for name in found if not name.bases.isdisjoint(terms))


def _subject(text: str, kind: str, terms: dict[str, float]) -> tuple[str, ...]:
    """The words of what a definition, a meaning or the place is asked of, titles aside."""
    asked = _MEANING.match(text) or _DEFINITION.match(text)
    if asked is None or kind not in _DEFINABLE or _APOSTROPHE.search(asked[1]):
        return ()
    if kind in ("who", "where") and not asked[1][0].isupper():
        return ()
    words = [word.strip(_PUNCTUATION) for word in asked[1].split()]
    words = [word for word in words if word.lower() not in TITLES] or words
    if kind == "where" and any(word.islower() and is_form(word) for word in words):
        return ()
    own = [word for word in words if word[:1].isupper()] or words
    return tuple(word for word in own if set(stems(word)) & terms.keys())


def _focus(text: str, kind: str, terms: dict[str, float]) -> str | None:
    """The stem of what is counted or chosen: pip in "How many orange pips were there?"."""
    found = _FOCUS.search(text) if kind in ("count", "which", "words") else None
    if found is None:
        return None
    words = found[1].split()
    end = _NO_FOCUS.search(found[1])
    chunk = found[1][: end.start()].split() if end else words[:1]
    if len(chunk) > 1 and is_form(chunk[-1]):
        chunk.pop()  # "men sailed" in "How many men sailed in her?"
    base = stem(chunk[-1]) if chunk else ""
    return base if base in terms and base != "time" else None


def _role(text: str) -> str | None:
    """The office in "Who was the captain of the ship?"."""
    asked = _ROLE.match(text)
    bases = stems(asked[1]) if asked else []
    return next((base for base in bases if base in PEOPLE or base in TITLES), None)


def _emphasised(
    text: str, terms: dict[str, float], focus: str | None, verb: str
) -> tuple[str | None, str | None]:
    """Raise the weight of what is said or asked of the subject; return its quality and deed."""
    owner = _POSSESSED.search(text)
    for base in stems(text[: owner.start()]) if owner else ():
        if base in terms:
            terms[base] *= _OWNER
    if verb in terms and verb not in WEAK:
        terms[verb] = _VERB
    found = (_QUALITY.match(text), _DEED.match(text), owner)
    quality, deed, possessed = (stem(match[1]) if match else "" for match in found)
    for base in (quality, deed, possessed, focus or ""):
        if base in terms and base not in WEAK:
            terms[base] = _ASKED
    return quality if quality in terms else None, deed if deed in terms else None


def _verb(text: str, terms: dict[str, float]) -> str:
    """The stem of the verb in "Where had Bell hidden it?": no name, and behind no article."""
    after = _AUXILIARY.search(text)
    before = ""
    for word in after[1].split() if after else ():
        base = next(iter(stems(word)), "")
        if base in terms and word[0].islower() and before not in _BEFORE_NOUNS:
            return base
        before = word.lower()
    return ""
