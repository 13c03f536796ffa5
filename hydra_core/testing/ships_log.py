"""A book that nobody has read: a generated ship's log with facts spread over it.

It is the project's own text, so it may be shipped, sized at will, and asked
questions whose answers are known to the letter. The grammar and the planted
facts are data (`ships_log.toml`); this module only draws from them.
"""

from __future__ import annotations

import datetime as dt
import random
import re
import tomllib
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any

from hydra_core.testing.number_words import in_words

PAGE_CHARS = 2_000
"""Length aimed at for one page, in characters."""

PAGE_BREAK = "\n\f"

_PARAGRAPHS_A_DAY = 3
_ASIDE_SHARE = 0.2

_SLOT = re.compile(r"\{(\w+)\}|\(([^()]*\|[^()]*)\)")
_PLANTED = re.compile(r"\{(\w+)(?::(\w+))?\}")


@dataclass(frozen=True, slots=True)
class Question:
    """A question about the log, where its answer stands, and what it must contain.

    `quotes` are copied from the text, one for each fact that the answer rests on,
    and `pages` are theirs, counted from 1. `expected` are words of a right answer.
    """

    text: str
    quotes: tuple[str, ...]
    pages: tuple[int, ...]
    expected: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ShipsLog:
    """A generated book in Markdown, its pages parted by form feeds, and its questions."""

    text: str
    questions: tuple[Question, ...]


@dataclass(frozen=True, slots=True)
class _Fact:
    key: str
    page: int
    text: str


def ships_log(*, pages: int = 300, seed: int = 1823) -> ShipsLog:
    """Write a ship's log of about `pages` * 2,000 characters.

    The same arguments give the same book. Facts stand in the same order and at
    the same share of the book whatever its length.
    """
    grammar = _grammar()
    rng = random.Random(seed)
    facts, casks = _plan_facts(grammar, pages, rng)
    book = _Book(grammar, rng, facts, pages)
    text = book.write()
    planted = {fact.key: (quote, fact.page) for fact, quote in book.planted}
    questions = tuple(_question(row, planted, casks) for row in grammar["questions"])
    return ShipsLog(text, questions)


@cache
def _grammar() -> dict[str, Any]:
    source = resources.files("hydra_core.testing").joinpath("ships_log.toml")
    return tomllib.loads(source.read_text(encoding="utf-8"))


def _plan_facts(grammar: dict[str, Any], pages: int, rng: random.Random) -> tuple[list[_Fact], int]:
    """Every fact with its page, in book order, and the number of casks in all."""
    rows = [(row["at"], row["id"], row["text"]) for row in grammar["facts"]]
    water = grammar["water"]
    casks = 0
    for index, stop in enumerate(water["stops"]):
        number = rng.randint(water["least"], water["most"])
        casks += number
        sentence = stop["text"].format(island=stop["island"], number=in_words(number))
        rows.append((stop["at"], f"water-{index}", sentence))
    rows.sort()
    return [_Fact(key, 1 + int(at * pages), text) for at, key, text in rows], casks


def _question(row: dict[str, Any], planted: dict[str, tuple[str, int]], casks: int) -> Question:
    wanted = row["facts"]
    found = [place for key, place in planted.items() if key.split("-")[0] in wanted]
    return Question(
        text=row["text"],
        quotes=tuple(quote for quote, _ in found),
        pages=tuple(page for _, page in found),
        expected=tuple(word.format(water=casks) for word in row["expected"]),
    )


@dataclass(slots=True)
class _Book:
    """The book being written: a page at a time, a day at a time."""

    grammar: dict[str, Any]
    rng: random.Random
    facts: list[_Fact]
    pages: int
    planted: list[tuple[_Fact, str]] = field(default_factory=list)
    dates: dict[str, str] = field(default_factory=dict)
    chapter: int = -1
    written: int = 0
    today: dt.date = dt.date.min

    def write(self) -> str:
        self.today = self.grammar["start"]
        return PAGE_BREAK.join(self._page(number) for number in range(1, self.pages + 1)) + "\n"

    def _page(self, number: int) -> str:
        due = [fact for fact in self.facts if fact.page == number]
        blocks = self._openings(number)
        size = sum(map(len, blocks))
        while size < PAGE_CHARS - 200 or due:
            if self.written % _PARAGRAPHS_A_DAY == 0:
                blocks += self._new_day()
            blocks.append(self._paragraph(due.pop(0) if due else None))
            self.written += 1
            size += len(blocks[-1])
        return "\n\n".join(blocks) + "\n"

    def _openings(self, number: int) -> list[str]:
        """The titles that stand before a page's first words."""
        titles = self.grammar["chapters"]
        chapter = (number - 1) * len(titles) // self.pages
        blocks = [f"# {self.grammar['title']}"] if number == 1 else []
        if chapter != self.chapter:
            self.chapter = chapter
            blocks.append(f"## Chapter {chapter + 1}. {titles[chapter]}")
        return blocks

    def _new_day(self) -> list[str]:
        """The heading of the next entry and its line of figures."""
        self.today += dt.timedelta(days=self.rng.randint(1, 2))
        wind = self.rng.choice(self.grammar["winds"])
        glass, miles = self.rng.randint(2900, 3060) / 100, self.rng.randint(4, 210)
        return [
            f"### {self.today:%A}, {_day(self.today)} {self.today:%Y}",
            f"Wind {wind}; glass {glass:.2f}; run since noon {miles} miles.",
        ]

    def _paragraph(self, fact: _Fact | None) -> str:
        topic = self.rng.choice(list(self.grammar["topics"].values()))
        count = min(len(topic), self.rng.randint(3, 6))
        sentences = [self._draw(line) for line in self.rng.sample(topic, count)]
        if fact is not None:
            quote = _PLANTED.sub(lambda match: self.dates[match[2]], fact.text)
            self.dates[fact.key] = _day(self.today)
            self.planted.append((fact, quote))
            sentences.insert(self.rng.randint(1, count), quote)
        if self.rng.random() < _ASIDE_SHARE:
            sentences.append(self._draw(self.rng.choice(self.grammar["asides"])))
        return " ".join(sentences)

    def _draw(self, template: str) -> str:
        """Replace slots and alternatives until none is left, and begin with a capital."""
        slot = _SLOT.search(template)
        while slot:
            options = self.grammar["slots"][slot[1]] if slot[1] else slot[2].split("|")
            # Nobody quarrels with himself: what the sentence has already is not drawn again.
            fresh = [option for option in options if option not in template] or options
            template = template[: slot.start()] + self.rng.choice(fresh) + template[slot.end() :]
            slot = _SLOT.search(template)
        return template[0].upper() + template[1:]


def _day(date: dt.date) -> str:
    return f"{date.day} {date:%B}"
