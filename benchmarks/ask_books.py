"""Ask a book questions whose answers are known, and say how many are answered right.

    python benchmarks/ask_books.py treasure_island.txt

The book is given as a file, for none is shipped; its name says which questions of
`ask_books.toml` belong to it, or `--questions` does. The built-in model answers them
through a real swarm over loopback HTTP. Every answer is printed: whether it reads
well is for a reader to say, the words it must hold are the least that it must do.
"""

from __future__ import annotations

import argparse
import re
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from hydra_core.hydra import Hydra
from hydra_core.swarm.loaders import load
from hydra_core.testing.extractive import ExtractiveModel
from hydra_core.testing.keys import FakeKey
from hydra_core.testing.provider import FakeProvider

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hydra_core.swarm.document import Document
    from hydra_core.swarm.values import SwarmResult

QUESTIONS: Final = Path(__file__).with_suffix(".toml")
KEYS: Final = 3

_NO_ANSWER: Final = re.compile(r"nothing found|no passage", re.IGNORECASE)
_MARK: Final = re.compile(r"\[\d+\]")


@dataclass(frozen=True, slots=True)
class Question:
    """A question and what a right answer holds.

    `expected` are patterns that all must be found, `wrong` one that must not;
    `absent`: the book does not say, and the answer must admit it.
    """

    text: str
    expected: tuple[str, ...] = ()
    wrong: str | None = None
    absent: bool = False

    def right(self, answer: str) -> bool:
        """Whether an answer, or the first passage of one, is right."""
        if self.absent:
            return _NO_ANSWER.search(answer) is not None
        held = all(re.search(form, answer, re.IGNORECASE) for form in self.expected)
        return held and not (self.wrong and re.search(self.wrong, answer))


def questions_of(name: str) -> tuple[Question, ...]:
    """The questions on one book; raises SystemExit for one that has none."""
    tables = tomllib.loads(QUESTIONS.read_text(encoding="utf-8"))
    if name not in tables:
        known = ", ".join(tables)
        raise SystemExit(f"there are no questions on {name!r}; --questions takes one of: {known}")
    return tuple(
        Question(**{**row, "expected": tuple(row.get("expected", ()))}) for row in tables[name]
    )


def first_passage(answer: str) -> str:
    """An answer up to its first citation mark."""
    return _MARK.split(answer, maxsplit=1)[0]


def ask(documents: Sequence[Document], questions: Sequence[Question]) -> list[SwarmResult]:
    """Ask every question of the whole book."""
    keys = [FakeKey(f"key-{number}", account=f"account-{number}") for number in range(KEYS)]
    with (
        FakeProvider(keys, answer=ExtractiveModel()) as provider,
        Hydra({**provider.config(), "store": "memory", "cache": False}) as hydra,
    ):
        return [hydra.swarm(question.text, documents) for question in questions]


def show(questions: Sequence[Question], results: Sequence[SwarmResult]) -> None:
    """Print every answer and the totals."""
    right = first = 0
    for question, result in zip(questions, results, strict=True):
        held = question.right(result.text)
        leads = held and question.right(first_passage(result.text))
        right, first = right + held, first + leads
        print(f"\n{'first' if leads else 'later' if held else 'NO'}\t{question.text}")
        print(f"\t{result.text}")
        for number, citation in enumerate(result.citations, 1):
            place = " > ".join(citation.heading)
            print(f"\t[{number}] page {citation.page}, {place} ({citation.state})")
    print(f"\n{right} of {len(questions)} answers hold what they must,", end=" ")
    print(f"{first} of them in the first passage.")


def main(arguments: Sequence[str]) -> int:
    """Read the command line and ask; the exit status is 0 when it ran to its end."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("book", type=Path, help="a text file")
    parser.add_argument("--questions", help="whose questions to ask; default: the file's name")
    given = parser.parse_args(arguments)
    questions = questions_of(given.questions or given.book.stem)
    show(questions, ask(load(given.book), questions))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
