from __future__ import annotations

import re
from collections import Counter

import pytest

from hydra_core.testing.number_words import number_of
from hydra_core.testing.ships_log import PAGE_CHARS, ships_log


def test_the_same_seed_writes_the_same_book() -> None:
    """The book is a function of its arguments alone."""
    assert ships_log(pages=20, seed=5) == ships_log(pages=20, seed=5)
    assert ships_log(pages=20, seed=5).text != ships_log(pages=20, seed=6).text


def test_pages_are_marked_and_of_even_length() -> None:
    """A book of n pages has n - 1 form feeds and about 2,000 characters a page."""
    pages = ships_log(pages=60).text.split("\f")
    assert len(pages) == 60
    assert all(0.8 * PAGE_CHARS < len(page) < 1.7 * PAGE_CHARS for page in pages)


@pytest.mark.parametrize("pages", [15, 300])
def test_every_gold_quote_stands_once_on_its_page(pages: int) -> None:
    """A gold quote is a copy of the text, occurs once, and is on the page that is stated."""
    log = ships_log(pages=pages)
    for question in log.questions:
        assert question.quotes
        for quote, page in zip(question.quotes, question.pages, strict=True):
            assert log.text.count(quote) == 1
            assert log.text[: log.text.index(quote)].count("\f") + 1 == page


def test_facts_are_spread_over_the_whole_book() -> None:
    """Every tenth of the book holds a fact, and the count question needs nearly all of it."""
    log = ships_log(pages=300)
    tenths = Counter((page - 1) // 30 for question in log.questions for page in question.pages)
    assert set(range(10)) <= set(tenths)
    counted = log.questions[0].pages
    assert max(counted) - min(counted) > 200


def test_the_total_is_the_sum_of_the_entries_and_stands_nowhere() -> None:
    """Only adding up all entries gives the number of casks."""
    log = ships_log(pages=300)
    total = log.questions[0].expected[0]
    found = [
        number_of(match[1]) or 0
        for quote in log.questions[0].quotes
        if (match := re.search(r"([a-z-]+) casks of water", quote))
    ]
    assert sum(found) == int(total)
    assert f"{total} casks" not in log.text


def test_prose_is_varied() -> None:
    """No sentence makes up more than half a per cent of the book's sentences."""
    sentences = re.findall(r"[A-Z][^.?!\f]{20,}[.?!]", ships_log(pages=300).text)
    counts = Counter(sentences)
    assert len(sentences) > 5_000
    assert counts.most_common(1)[0][1] < len(sentences) / 200
    assert len(counts) > len(sentences) / 2


def test_corrections_name_the_entry_they_correct() -> None:
    """A correcting entry cites the date under which the first version was entered."""
    log = ships_log(pages=300)
    wrong, right = next(q for q in log.questions if "latitude" in q.text).quotes
    cited = re.search(r"entry of (\d+ \w+)", right)
    assert cited is not None
    headings = re.findall(r"### \w+, (\d+ \w+) \d{4}", log.text[: log.text.index(wrong)])
    assert headings[-1] == cited[1]
