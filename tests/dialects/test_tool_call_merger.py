"""Fragments of tool calls become whole calls, whatever a provider's habits are."""

from __future__ import annotations

from typing import Any

import pytest

from hydra_core.dialects.tool_calls import ToolCallMerger
from hydra_core.messages import ToolCall


def piece(
    arguments: Any = "", *, index: Any = 0, call: Any = None, name: Any = None
) -> dict[str, Any]:
    """One raw fragment; what is None is left out."""
    fields = {"index": index, "id": call}
    function = {"name": name, "arguments": arguments}
    raw = {key: value for key, value in fields.items() if value is not None}
    return raw | {"function": {key: value for key, value in function.items() if value is not None}}


def whole(*calls: tuple[str, str, str]) -> tuple[ToolCall, ...]:
    """Calls by id, name and arguments."""
    return tuple(ToolCall(*call, index) for index, call in enumerate(calls))


ONE = [("a", "f", '{"x":1}')]
TWO = [("a", "f", '{"x":1}'), ("b", "g", '{"y":2}')]
HABITS = {
    "OpenAI's own": (
        [
            piece(call="a", name="f"),
            piece('{"x":'),
            piece("1}"),
            piece(index=1, call="b", name="g"),
            piece('{"y":2}', index=1),
        ],
        TWO,
    ),
    "interleaved": (
        [
            piece('{"x"', call="a", name="f"),
            piece('{"y"', index=1, call="b", name="g"),
            piece(":1}"),
            piece(":2}", index=1),
        ],
        TWO,
    ),
    "id and name repeated": (
        [piece('{"x":', call="a", name="f"), piece("1}", call="a", name="f")],
        ONE,
    ),
    "name repeated without ids": (
        [piece("{", name="f"), piece('"x":', name="f"), piece("1}", name="f")],
        [("", "f", '{"x":1}')],
    ),
    "the same index with a new id": (
        [piece('{"x":1}', call="a", name="f"), piece('{"y":2}', call="b", name="g")],
        TWO,
    ),
    "index 0 throughout, interleaved by id": (
        [
            piece('{"x":', call="a", name="f"),
            piece('{"y":', call="b", name="g"),
            piece("1}", call="a"),
            piece("2}", call="b"),
        ],
        TWO,
    ),
    "index 0 throughout, no ids": (
        [piece('{"x":1}', name="f"), piece('{"x":2}', name="f"), piece('{"y":3}', name="g")],
        [("", "f", '{"x":1}'), ("", "f", '{"x":2}'), ("", "g", '{"y":3}')],
    ),
    "one id for all, apart by index": (
        [piece("{}", call="a", name="f"), piece("{}", index=1, call="a", name="g")],
        [("a", "f", "{}"), ("a", "g", "{}")],
    ),
    "no index": (
        [
            piece('{"x":', index=None, call="a", name="f"),
            piece("1}", index=None),
            piece('{"y":2}', index=None, call="b", name="g"),
        ],
        TWO,
    ),
    "index only at first": (
        [piece('{"x":', call="a", name="f"), piece("1}", index=None, call="a")],
        ONE,
    ),
    "the id comes late": ([piece(name="f"), piece('{"x":1}', call="a")], ONE),
    "arguments as an object": ([piece({"x": 1}, call="a", name="f")], ONE),
    "absurd indices": ([piece('{"x":1}', index=-3, call="a", name="f")], ONE),
}


@pytest.mark.parametrize(("fragments", "calls"), HABITS.values(), ids=HABITS)
def test_each_habit_gives_whole_calls(fragments, calls):
    """Whole calls come out in the order in which they began."""
    merger = ToolCallMerger()
    for fragment in fragments:
        merger.add(fragment)
    assert merger.calls() == whole(*calls)


@pytest.mark.parametrize(("fragments", "calls"), HABITS.values(), ids=HABITS)
def test_deltas_are_normalised(fragments, calls):
    """Joining the deltas by index gives the calls: ids and names are told once."""
    merger = ToolCallMerger()
    joined = [["", "", ""] for _ in calls]
    for fragment in fragments:
        delta = merger.add(fragment)
        assert delta is not None
        for at, text in enumerate((delta.id, delta.name, delta.arguments)):
            joined[delta.index][at] += text
    assert [tuple(parts) for parts in joined] == calls


@pytest.mark.parametrize(("fragments", "calls"), HABITS.values(), ids=HABITS)
def test_normalised_deltas_merge_again(fragments, calls):
    """A consumer may put the normalised deltas through a merger of its own."""
    first, second = ToolCallMerger(), ToolCallMerger()
    for fragment in fragments:
        delta = first.add(fragment)
        assert delta is not None
        second.add(delta)
    assert second.calls() == whole(*calls)


def test_broken_arguments_are_passed_on():
    """Cut JSON stays cut: repairing it would invent a call."""
    merger = ToolCallMerger()
    merger.add(piece('{"n": 12', call="a", name="f"))
    assert merger.calls() == whole(("a", "f", '{"n": 12'))


@pytest.mark.parametrize("fragment", [{}, {"function": 3}, {"id": 7, "function": {"name": []}}])
def test_what_is_no_fragment(fragment):
    """A fragment without any usable field begins no call."""
    merger = ToolCallMerger()
    assert merger.add(fragment) is None
    assert merger.calls() == ()
