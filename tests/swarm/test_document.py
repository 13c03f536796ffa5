"""Documents: pages, headings and what is no part of the work."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from hydra_core.swarm.document import PAGE_CHARS, Document

PROSE = "He walked along the shore for an hour and saw nobody at all. " * 12 + "\n"


def titles(text, **how):
    return [(heading.level, heading.title) for heading in Document.of(text, **how).headings]


@given(st.text(alphabet="ab \n\f", max_size=300), st.integers(0, 310))
def test_pages_tile_every_text(text, offset):
    """Pages follow each other without gap, and every offset has a page."""
    document = Document.of(text)
    assert document.pages[0].start == 0
    assert document.pages[-1].end == len(text)
    assert all(page.end == after.start for page, after in pairwise(document.pages))
    page = document.pages[document.page_at(offset) - 1]
    assert page.start <= min(offset, len(text)) <= page.end


def test_form_feeds_end_pages():
    """A form feed belongs to the page that it ends."""
    document = Document.of("one\ftwo\fthree")
    assert [document.text[page.start : page.end] for page in document.pages] == [
        "one\f", "two\f", "three",
    ]  # fmt: skip
    assert document.page_at(4) == 2


def test_without_form_feeds_pages_end_at_line_ends():
    """No page is longer than stated, and lines are kept whole."""
    document = Document.of("a line of text\n" * 1_000)
    assert all(page.end - page.start <= PAGE_CHARS for page in document.pages)
    assert all(document.text[page.end - 1] == "\n" for page in document.pages)


def test_markdown_headings_nest_and_fenced_code_has_none():
    """A comment in a code block is no heading; levels give the path."""
    text = "# Top\n\ntext\n\n```sh\n# not one\n```\n\n## Inner\n\nmore\n\nOther\n=====\n\nend\n"
    document = Document.of(text, name="a.md")
    assert [heading.title for heading in document.headings] == ["Top", "Inner", "Other"]
    assert document.heading_path(text.index("more")) == ("Top", "Inner")
    assert document.heading_path(text.index("end")) == ("Other",)


def test_two_line_titles_and_parts_nest():
    """A numeral with its title below is one heading, under the part it stands in."""
    first = f"1\n\nThe Sea-dog at the Inn\n\n{PROSE}"
    text = f"PART ONE--The Old Buccaneer\n\n\n{first}\n\n2\n\nBlack Dog\n\n{PROSE}"
    assert titles(text) == [
        (1, "PART ONE--The Old Buccaneer"),
        (2, "1. The Sea-dog at the Inn"),
        (2, "2. Black Dog"),
    ]


def test_numbered_capitals_continue_the_chapters():
    """`VII. THE BLUE STONE` after ADVENTURE VI is the next adventure."""
    text = f"ADVENTURE VI. THE LIP\n\n{PROSE}\n\nVII. THE BLUE STONE\n\n{PROSE}"
    assert titles(text) == [(1, "ADVENTURE VI. THE LIP"), (1, "VII. THE BLUE STONE")]


def test_prose_is_no_heading():
    """Sentences that begin like headings, and a numeral on its own, stay text."""
    text = (
        f"{PROSE}\nChapter 3 tells of the storm.\n\n{PROSE}\nPart of it was lost.\n\n12\n\n{PROSE}"
    )
    assert titles(text) == []


def test_page_numbers_between_blank_lines_are_no_chapters():
    """Numerals that come at even distances are page numbers."""
    text = "".join(f"{PROSE * 3}\n{number}\n\n" for number in range(1, 15))
    assert titles(text) == []


def test_a_table_of_contents_does_not_double_the_headings():
    """Lines of the contents whose titles recur later are dropped."""
    names = ["Loomings", "The Bag", "The Inn", "The Quilt", "Breakfast"]
    lines = [f"CHAPTER {n}. {name}." for n, name in enumerate(names, start=1)]
    text = "\n".join(lines) + "\n\n\n" + "".join(f"{line}\n\n{PROSE}\n\n" for line in lines)
    document = Document.of(text)
    assert [heading.title for heading in document.headings] == lines
    assert document.headings[0].start > len("\n".join(lines))


def test_spanish_headings_are_seen():
    """CAPÍTULO and PARTE count like their English fellows."""
    text = f"CAPÍTULO I. El hidalgo\n\n{PROSE}\n\nCapítulo segundo. La salida\n\n{PROSE}"
    assert [title for _, title in titles(text)] == [
        "CAPÍTULO I. El hidalgo", "Capítulo segundo. La salida",
    ]  # fmt: skip


def test_running_heads_are_excluded_but_not_removed():
    """What repeats at the edges of pages is listed as furniture; the text stays whole."""
    pages = [f"THE BOOK {n}\n\nWords on {'ab' * n}.\nMore {'x' * n}.\n\n{n}\n" for n in range(1, 9)]
    document = Document.of("\f".join(pages))
    excluded = {document.text[span.start : span.end] for span in document.excluded}
    assert excluded == {f"THE BOOK {n}" for n in range(1, 9)} | {str(n) for n in range(1, 9)}
    assert document.text == "\f".join(pages)


def test_a_heading_may_open_a_page():
    """A form feed before a Markdown heading ends a page and hides no heading."""
    document = Document.of("# Book\n\nSome words.\n\n\f## Second\n\nMore words.\n")
    assert [heading.title for heading in document.headings] == ["Book", "Second"]


def test_the_documents_own_title_is_no_part_of_a_place() -> None:
    """A title above all chapters is left out of their paths, so that all paths begin alike."""
    text = "# The Log\n\nOpening.\n\n## One\n\n### Monday\n\nRain.\n\n## Two\n\nSun.\n"
    log = Document.of(text)
    assert log.heading_path(text.index("Opening")) == ("The Log",)
    assert log.heading_path(text.index("Rain")) == ("One", "Monday")
    assert log.heading_path(text.index("Sun")) == ("Two",)
    two = Document.of("# A\n\nText.\n\n## One\n\nText.\n\n# B\n\n## Two\n\nEnd.\n")
    assert two.heading_path(len(two) - 2) == ("B", "Two")
