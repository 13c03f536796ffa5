"""Tool calls out of their streamed fragments: one merger for every provider's habits.

Habits met: a second call in one chunk, the id or name repeated with every
fragment, index 0 for all calls, the same index with a new id, no index, no id.

Law 1: a call is known by its index and id together; one of them may be missing.
Law 2: fragments are passed on as they are; broken arguments are not repaired.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import orjson

from hydra_core.messages import ToolCall

_INDEX_CAP: Final = 1 << 16  # no reply holds as many calls: a larger index is a broken one


@dataclass(slots=True)
class _Slot:
    position: int
    id: str
    name: str
    arguments: list[str]


class ToolCallMerger:
    """Collects the fragments of one reply's tool calls.

    Takes a provider's raw fragments (dicts of OpenAI's form) or deltas that
    another merger has normalised (`ToolCall`).
    """

    __slots__ = ("_by_key", "_latest", "_open", "_slots")

    def __init__(self) -> None:
        self._slots: list[_Slot] = []
        self._by_key: dict[tuple[int | None, str], _Slot] = {}
        self._open: dict[int | None, _Slot] = {}  # the last call seen at an index
        self._latest: _Slot | None = None

    def add(self, delta: ToolCall | dict[str, Any]) -> ToolCall | None:
        """Take one fragment and give it back normalised; None when it is no fragment.

        In what comes back `index` counts the calls of this reply from 0, `id`
        and `name` stand on the first fragment that has them and are empty
        afterwards, and `arguments` is this fragment's text alone.
        """
        index, call_id, name, arguments = _parts(delta)
        if index is None and not (call_id or name or arguments):
            return None
        slot = self._slot(index, call_id, name, arguments)
        fresh_id = call_id if not slot.id else ""
        fresh_name = name if not slot.name else ""
        slot.id = slot.id or call_id
        slot.name = slot.name or name
        if arguments:
            slot.arguments.append(arguments)
        if slot.id:
            self._by_key[index, slot.id] = slot
        self._open[index] = self._latest = slot
        return ToolCall(fresh_id, fresh_name, arguments, slot.position)

    def calls(self) -> tuple[ToolCall, ...]:
        """Every call so far, whole, in the order in which they began."""
        return tuple(
            ToolCall(slot.id, slot.name, "".join(slot.arguments), slot.position)
            for slot in self._slots
        )

    def _slot(self, index: int | None, call_id: str, name: str, arguments: str) -> _Slot:
        known = self._by_key.get((index, call_id)) if call_id else None
        if known is None and call_id and index is None:
            known = next((slot for slot in self._slots if slot.id == call_id), None)
        if known is not None:
            return known
        current = self._latest if index is None else self._open.get(index)
        if current is not None and not _begins_anew(current, call_id, name, arguments):
            return current
        slot = _Slot(len(self._slots), "", "", [])
        self._slots.append(slot)
        return slot


def _begins_anew(current: _Slot, call_id: str, name: str, arguments: str) -> bool:
    """True when a fragment belongs to a new call and not to the one under way."""
    if call_id and current.id:
        return call_id != current.id
    if not name or not current.name:
        return False
    # A name again, without ids to compare: repeated by habit, or a second call of a tool?
    return name != current.name or (arguments.lstrip()[:1] == "{" and _is_whole(current))


def _is_whole(slot: _Slot) -> bool:
    try:
        orjson.loads("".join(slot.arguments))
    except ValueError:
        return False
    return True


def _parts(delta: ToolCall | dict[str, Any]) -> tuple[int | None, str, str, str]:
    if isinstance(delta, ToolCall):
        return delta.index, delta.id, delta.name, delta.arguments
    function = delta.get("function")
    function = function if isinstance(function, dict) else {}
    index = delta.get("index")
    if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < _INDEX_CAP:
        index = None
    return (
        index,
        _name(delta.get("id")),
        _name(function.get("name")),
        arguments_text(function.get("arguments")),
    )


def _name(value: object) -> str:
    return value if isinstance(value, str) else ""


def arguments_text(value: object) -> str:
    """Arguments as JSON text; some servers send the object itself.

    An object too deep to be written is no arguments.
    """
    if isinstance(value, str):
        return value
    try:
        return "" if value is None else orjson.dumps(value).decode()
    except TypeError:
        return ""
