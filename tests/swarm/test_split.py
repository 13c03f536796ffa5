"""Splitting loses nothing, keeps to the budget, and cuts where it hurts least."""

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hydra_core.swarm.document import Document
from hydra_core.swarm.split import CONTEXT_TAIL, split

TEXTS = st.one_of(
    st.text(max_size=400),
    st.text(alphabet="ab .!\r\n\f", max_size=400),
    st.text(alphabet="e\u0301\u200d\U0001f469\U0001f3fd", max_size=200),
    st.text(alphabet="x", max_size=400),
    st.text(alphabet="漢字。\uff01", max_size=200),
)


@given(TEXTS, st.integers(1, 90))
@example("", 5)
@example("\r\n" * 200, 7)
def test_cores_partition_the_text(text, budget):
    """Joined, the cores are the text; each is within the budget and none is empty."""
    shards = split(Document.of(text), budget=budget)
    assert "".join(text[shard.start : shard.end] for shard in shards) == text
    assert all(0 < shard.end - shard.start <= budget for shard in shards)
    assert [shard.index for shard in shards] == list(range(len(shards)))
    assert all(0 <= shard.start - shard.context_tail_start <= CONTEXT_TAIL for shard in shards)


@given(st.text(alphabet="ae\u0301 \r\n", max_size=200), st.integers(12, 40))
def test_no_cluster_is_cut(text, budget):
    """Marks stay with their letter, and a line break is not halved."""
    runs = max((len(run) for run in text.replace("a", "e").split("e")), default=0)
    if runs >= budget:
        return
    for shard in split(Document.of(text), budget=budget)[1:]:
        before, after = text[shard.start - 1], text[shard.start]
        assert before + after != "\r\n"
        assert not unicodedata.combining(after) or before in "\r\n"


def test_flags_and_jamo_stay_whole():
    """Pairs of regional indicators and decomposed Korean syllables are not parted."""
    flags = "\U0001f1ea\U0001f1f8" * 30
    assert all(shard.start % 2 == 0 for shard in split(Document.of(flags), budget=7))
    korean = unicodedata.normalize("NFD", "한글" * 30)
    starts = [korean[shard.start] for shard in split(Document.of(korean), budget=8)]
    assert not any("\u1160" <= first <= "\u11ff" for first in starts)


def test_headings_are_cut_before_paragraphs_and_paragraphs_before_sentences():
    """With room to choose, a shard begins at a chapter and ends at a blank line."""
    paragraph = "The sea was calm. The crew slept below.\nNobody saw the light.\n\n"
    text = "".join(f"CHAPTER {n}\n\n{paragraph * 10}" for n in range(1, 9))
    document = Document.of(text)
    shards = split(document, budget=len(text) // 7)
    assert len(shards) == 8
    assert [shard.start for shard in shards] == [heading.start for heading in document.headings]
    for shard in split(document, budget=200):
        assert text[: shard.end].endswith("\n\n")


def test_a_title_is_not_left_behind():
    """No cut separates a heading from the text below it while another place will do."""
    text = "".join(f"CHAPTER {n}\n\n" + "Words and words. " * 30 + "\n\n" for n in range(1, 20))
    document = Document.of(text)
    below = {heading.end + 2 for heading in document.headings}
    assert not below & {shard.start for shard in split(document, budget=900)}


def test_tail_and_heading_are_context():
    """A shard knows the heading it stands under and the text just before it."""
    text = "# One\n\n" + "alpha beta gamma. " * 60
    shard = split(Document.of(text), budget=500)[1]
    assert shard.heading_path == ("One",)
    assert text[shard.context_tail_start : shard.start].startswith(("alpha", "beta", "gamma"))


def test_a_budget_below_one_is_refused():
    """There is no way to cut into nothing."""
    with pytest.raises(ValueError, match="budget"):
        split(Document.of("text"), budget=0)
