"""Quotes: true ones are found, false ones never pass for found."""

import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hydra_core.swarm.citations import MAX_ELISION, ShardQuotes, verify
from hydra_core.swarm.document import Document
from hydra_core.swarm.folding import FoldedText

TEXT = (
    'It was the "Black Swan," a schooner of 90 tons, that lay in the har-\n'
    "bour that night--her well-\nknown lamps unlit. Captain Marlowe did not sign\n"
    "the paper before the witnesses; he _never_ trusted lawyers, and he said so\n"
    "plainly to the widow's eldest son. The treasure of 1,250 guineas was buried\n"
    "beneath the chapel of Saint Anne, where nobody had dared to look since the\n"
    "plague year. She was guilty of nothing worse than silence, the judge held.\n"
)
DOCUMENT = Document.of(TEXT)


def state(quote, *, start=0, end=None):
    return verify(quote, DOCUMENT, start, len(TEXT) if end is None else end).state


def test_an_exact_quote_is_located():
    """The span of an exact quote is where it stands."""
    quote = "he said so\nplainly to the widow's"
    found = verify(quote, DOCUMENT, 0, len(TEXT))
    assert (found.state, TEXT[found.start : found.end]) == ("exact", quote)


@pytest.mark.parametrize(
    "quote",
    [
        "Captain Marlowe did not sign the paper before the witnesses",  # line break
        "CAPTAIN MARLOWE DID NOT SIGN THE PAPER",
        "It was the \u201cBlack Swan,\u201d a schooner of 90 tons",
        "the harbour that night \u2014 her well-known lamps unlit",
        "he never trusted lawyers, and he said so",
        "the widow\u2019s eldest\u00a0son",
        "[p3] The treasure of 1,250 guineas was buried [p4] beneath the chapel",
    ],
)
def test_typography_and_line_breaks_do_not_matter(quote):
    """Folding forgives what copying changes, and the source's own text is returned."""
    found = verify(quote, DOCUMENT, 0, len(TEXT))
    assert found.state == "folded"
    assert TEXT[found.start : found.end] == found.text
    assert found.text[-3:].casefold() == quote[-3:].casefold()


@pytest.mark.parametrize(
    "quote",
    [
        "Captain Marlowe did sign the paper before the witnesses",  # a negation dropped
        "Captain Marlowe did not sign the paper after the witnesses",  # a word replaced
        "The treasure of 1,350 guineas was buried beneath the chapel",  # a digit
        "The treasure of 1,250 guineas was not buried beneath the chapel of Saint Anne",
        "he was guilty of nothing worse",  # inside "She was guilty"
        "250 guineas was buried beneath",  # inside 1,250
        "The chapel of 1,250 guineas was buried beneath the treasure of Saint Anne",  # swapped
        "the shore",  # too short, and not there
        "",
        "   ",
    ],
)
def test_a_false_quote_is_never_found(quote):
    """Neither a changed meaning nor a cut word counts, however similar it looks."""
    assert state(quote) == "unverified"


@pytest.mark.parametrize(
    "quote",
    [
        "The treasure of 1,250 guineas was burried beneath the chapel of Saint Anne",
        "The treasure of 1,250 guineas was buried beneath chapel of Saint Anne",
        "where nobody had dared look since the plague year",
    ],
)
def test_a_slip_is_repaired_from_the_source(quote):
    """A misspelled or dropped function word is corrected, but does not count as found."""
    found = verify(quote, DOCUMENT, 0, len(TEXT))
    assert found.state == "repaired"
    assert not found.found
    assert " ".join(found.text.split()) in " ".join(TEXT.split())


def test_an_elided_quote_shows_what_it_left_out():
    """Pieces in order and close together are found; the text between is shown."""
    quote = "Captain Marlowe did not sign ... he never trusted lawyers"
    found = verify(quote, DOCUMENT, 0, len(TEXT))
    assert (found.state, found.elided) == ("folded", True)
    assert "before the witnesses" in found.text


def test_elision_is_no_loophole():
    """Short pieces, pieces out of order and pieces far apart prove nothing."""
    assert state("Captain ... buried ... plague") == "unverified"
    assert state("beneath the chapel of Saint ... Captain Marlowe did not") == "unverified"
    far = "The first sentence here. " + "x" * (MAX_ELISION + 1) + " The second sentence there."
    pieces = "The first sentence here ... The second sentence there"
    assert verify(pieces, Document.of(far), 0, len(far)).state == "unverified"


def test_only_the_core_is_searched():
    """A quote that stands outside the shard's core is not its quote."""
    quote = "did not sign\nthe paper"
    assert state(quote) == "exact"
    assert state(quote, start=TEXT.index("treasure")) == "unverified"
    assert state("treasure of 1,250 guineas", end=TEXT.index("guineas")) == "unverified"


VOCABULARY = (
    "harbour", "captain", "lantern", "widow", "silver", "letter", "window", "garden",
    "stranger", "promise", "anchor", "doctor", "garret", "pistol", "sailor", "morning",
    "shadow", "village", "fortune", "brother",
)  # fmt: skip


def sentences(seed):
    rng = random.Random(seed)
    words = [rng.choice(["the", "a", "of", "and", *VOCABULARY]) for _ in range(600)]
    return [" ".join(words[n : n + 15]).capitalize() + "." for n in range(0, 600, 15)]


@given(st.integers(0, 10_000), st.data())
def test_an_inserted_not_never_passes(seed, data):
    """Wherever "not" is put into a true quote, it is neither found nor repaired."""
    own = sentences(seed)
    text = " ".join(own)
    words = data.draw(st.sampled_from(own)).split()
    place = data.draw(st.integers(1, len(words) - 1))
    false = " ".join([*words[:place], "not", *words[place:]])
    assert ShardQuotes(Document.of(text), 0, len(text)).verify(false).state == "unverified"


@given(
    st.text(
        alphabet="aB\u00e9e\u0301\ufb01\u00df \n-_*'\u201c\u2019\u2014\u00ad\u200b5.", max_size=80
    )
)
def test_folding_keeps_the_way_back(text):
    """Every folded character has a source span inside the text, in order."""
    folded = FoldedText(text)
    spans = [folded.source_span(n, n + 1) for n in range(len(folded.folded))]
    assert spans == sorted(spans)
    assert all(0 <= start < end <= len(text) for start, end in spans)
    assert not re.search(r"[A-Z_*\u201c\u2019\u2014\u00ad\u200b\n]", folded.folded)
