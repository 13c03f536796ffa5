"""Server-sent events come out the same however the bytes were cut."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hydra_core.dialects.sse import LINE_CAP, ServerEvent, SseSplitter


def split(*pieces: bytes) -> list[ServerEvent]:
    """All events of a body that arrives in these pieces."""
    splitter = SseSplitter()
    events = [event for piece in pieces for event in splitter.feed(piece)]
    last = splitter.finish()
    return events if last is None else [*events, last]


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_every_line_end(end):
    """CR, LF and CRLF end a line."""
    body = end.join([b": comment", b"data: a", b"", b"event: error", b"data:b", b"", b""])
    assert split(body) == [ServerEvent(b"a"), ServerEvent(b"b", b"error")]


def test_data_of_several_lines():
    """Data lines of one event are joined by LF; one leading space is no data."""
    assert split(b"data: a\ndata:  b\ndata\n\n") == [ServerEvent(b"a\n b\n")]


def test_what_is_skipped():
    """A byte order mark, comments, ids, retries, and events without data say nothing."""
    body = b"\xef\xbb\xbfdata: a\n\n: ping\n\nid: 7\nretry: 5\nevent: x\n\ndata: b\n\n"
    assert split(body) == [ServerEvent(b"a"), ServerEvent(b"b")]


def test_other_separators_are_data():
    """U+2028, U+0085 and form feeds are legal inside JSON and end no line."""
    data = '{"a":"\u2028\u0085\x0c\x1e"}'.encode()
    assert split(b"data: " + data + b"\n\n") == [ServerEvent(data)]


def test_the_last_event_may_lack_its_blank_line():
    """A body that ends without a line end still gives its last event."""
    assert split(b"data: a\n\ndata: b") == [ServerEvent(b"a"), ServerEvent(b"b")]


LINES = st.sampled_from(
    [b"data: {}", b"data:", b"data", b": c", b"", b"event: e", b"id", b"\xef\xbb\xbfdata: x", b"x"]
)
BODIES = st.lists(st.tuples(LINES, st.sampled_from([b"\n", b"\r", b"\r\n"])), max_size=12).map(
    lambda parts: b"".join(line + end for line, end in parts)
)


@given(body=BODIES | st.binary(max_size=60), cuts=st.lists(st.integers(0, 80)))
def test_any_cut_gives_the_same_events(body, cuts):
    """The events do not depend on how the bytes arrive, down to single ones."""
    whole = split(body)
    edges = sorted({0, len(body), *(cut for cut in cuts if cut < len(body))})
    assert split(*(body[start:stop] for start, stop in pairwise(edges))) == whole
    assert split(*(body[at : at + 1] for at in range(len(body)))) == whole


@pytest.mark.parametrize("piece", [LINE_CAP // 2, LINE_CAP * 2])
def test_a_line_without_end_is_refused(piece):
    """A line above the cap stops the reading, whether it comes at once or in pieces."""
    splitter = SseSplitter()
    events = splitter.feed(b"data: a\n\n")
    line = b"data: " + b"x" * (LINE_CAP + 1) + b"\n\ndata: b\n\n"
    for start in range(0, len(line), piece):
        events += splitter.feed(line[start : start + piece])
    assert events == [ServerEvent(b"a")]
    assert splitter.overflow
    assert splitter.finish() is None


def test_an_event_without_end_is_refused():
    """Many data lines of one event count together."""
    splitter = SseSplitter()
    for _ in range(5):
        splitter.feed(b"data: " + b"x" * (LINE_CAP // 4) + b"\n")
    assert splitter.overflow
