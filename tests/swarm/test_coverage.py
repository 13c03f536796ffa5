"""The ledger: every character has one state, and the words claim no more than it does."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hydra_core.swarm.coverage import CoverageLedger, share_read
from hydra_core.swarm.document import Document, Span
from hydra_core.swarm.split import split
from hydra_core.swarm.values import percent
from hydra_core.swarm.wording import at_least

TEXT = "".join(f"CHAPTER {n}\n\n" + "Words about the sea. " * 95 + "\n\n" for n in range(1, 7))
DOCUMENT = replace(Document.of(TEXT, name="book"), excluded=(Span(0, 5, "furniture"),))
SHARDS = split(DOCUMENT, budget=700)


def ledger_after(marks):
    ledger = CoverageLedger(DOCUMENT)
    for shard, state in marks:
        match state:
            case "read":
                ledger.read(shard)
            case "screened":
                ledger.screened(shard)
            case "failed":
                ledger.failed(shard, "timeout")
            case _:
                ledger.waiting(shard, until=40.0, reason="rate_limit_minute")
    return ledger


MARKS = st.lists(
    st.tuples(st.sampled_from(SHARDS), st.sampled_from(["read", "screened", "failed", "waiting"]))
)


@given(MARKS)
def test_states_always_sum_to_the_text(marks):
    """Spans tile the text, whatever is marked in whatever order."""
    ledger = ledger_after(marks)
    assert sum(ledger.totals().values()) == len(TEXT)
    place = 0
    for span in ledger.spans():
        assert span.start == place
        place = span.end
    assert place == len(TEXT)


@given(MARKS)
def test_read_never_reverts_and_coverage_is_recomputable(marks):
    """What was read stays read, and the spans alone prove the coverage."""
    ledger = ledger_after(marks)
    read = {shard.index for shard, state in marks if state == "read"}
    chars = {n for s in SHARDS if s.index in read for n in range(max(5, s.start), s.end)}
    assert ledger.totals().get("read", 0) == len(chars)
    assert ledger.coverage == share_read(ledger.spans()) == len(chars) / (len(TEXT) - 5)


@given(MARKS)
def test_a_ledger_is_restored_from_its_spans(marks):
    """A resumed run starts with the account of the one before."""
    ledger = ledger_after(marks)
    assert CoverageLedger.restore(DOCUMENT, ledger.spans()).spans() == ledger.spans()


def test_excluded_characters_do_not_count():
    """All that is no furniture read means 100 %."""
    ledger = ledger_after([(shard, "read") for shard in SHARDS])
    assert ledger.coverage == 1.0
    assert ledger.totals() == {"excluded": 5, "read": len(TEXT) - 5}
    assert ledger.unread() == ()


def test_shares_are_rounded_down():
    """99.97 % prints as 99.9 %: a hundred means that nothing is missing."""
    assert percent(0.9997) == "99.9 %"
    assert (percent(1.0), percent(0.31), percent(0.57)) == ("100 %", "31 %", "57 %")


def test_chapters_and_pages_are_whole_partly_or_unread():
    """Each part says how much of it was read."""
    second = TEXT.index("CHAPTER 2")
    ledger = ledger_after([(s, "read") for s in SHARDS if s.end <= second + 700])
    states = [part.state for part in ledger.chapters()]
    assert states[0] == "whole"
    assert states[1] in ("partly", "unread")
    assert set(states[2:]) == {"unread"}
    assert ledger.pages()[0].state == "whole"


def test_the_sentence_of_a_full_reading():
    """A full reading names its pages and its quotes by state."""
    ledger = ledger_after([(shard, "read") for shard in SHARDS])
    quotes = {"exact": 12, "folded": 2, "repaired": 1}
    assert ledger.sentence(quotes=quotes) == (
        f"Read all {len(DOCUMENT.pages)} pages. "
        "14 quotes found in the text, 1 corrected, 0 not found."
    )
    assert ledger.sentence("es", nothing_found=True) == (
        "Leído por completo; no se ha hallado nada."
    )


def test_the_sentence_of_a_partial_reading():
    """A partial one names share, chapters, what is missing, why and until when."""
    half = len(SHARDS) // 2
    marks = [(s, "read") for s in SHARDS[:half]] + [(s, "waiting") for s in SHARDS[half:]]
    ledger = ledger_after(marks)
    words = ledger.sentence(now=10.0, resume_token="t1")
    assert words.startswith(f"Read {percent(ledger.coverage)} of the text (")
    assert "CHAPTER 1 to CHAPTER" in words
    assert "the keys are at their limit; can be read in 30 s" in words
    assert words.endswith("Continue with resume='t1'.")
    assert "Sin leer: páginas" in ledger.sentence("es")


@pytest.mark.parametrize("language", ["en", "es"])
def test_nothing_found_in_a_part_is_not_absence(language):
    """Less than a full reading never says that the text does not hold it."""
    words = ledger_after([(SHARDS[0], "read")]).sentence(language, nothing_found=True)
    assert ("does not show that it is absent" in words) == (language == "en")
    assert ("no demuestra" in words) == (language == "es")


def test_a_count_over_a_part_is_at_least():
    """Seven found in a third are at least seven."""
    assert at_least(7, 0.31) == "At least 7 (31 % read)."
    assert at_least(7, 0.315, "es") == "Al menos 7 (leído el 31,5 %)."
    assert at_least(7, 1.0) == "7."


def test_two_documents_keep_separate_accounts():
    """Spans belong to a document, and two documents of one id are refused."""
    other = Document.of("Another text.", name="other")
    ledger = CoverageLedger([DOCUMENT, other])
    ledger.read(split(other, budget=100)[0])
    assert ledger.totals()["read"] == len(other)
    assert "book: 1-" in ledger.sentence() or "pages 1-" in ledger.sentence()
    with pytest.raises(ValueError, match="same id"):
        CoverageLedger([DOCUMENT, DOCUMENT])
