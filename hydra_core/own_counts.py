"""What this process has counted, apart from others that share its store: how sums are kept.

Several processes write the same rows. What we sent since we stored last is added to what is
stored by then, so our own row is remembered, and what the store made of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson

from hydra_core.engine import snapshot, spending

if TYPE_CHECKING:
    from hydra_core.store.state_store import Sections

_SUMMED: Final = ("deployments", "budgets")


class OwnCounts:
    """Our rows as they were last stored, and what the store held then and the time before.

    JSON, as there are many.
    """

    __slots__ = ("_rows",)

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str], bytes] = {}

    def told(self, sections: Sections, *, late: bool = False) -> None:
        """This is what the store held when it was first read; nothing of it was sent by us.

        `late`: we had begun to send, so it may hold what others heard of our calls.
        """
        for section in _SUMMED:
            for scope, row in sections.get(section, {}).items():
                self._rows[section, scope] = orjson.dumps([None, row, None if late else row])

    def note(self, ours: Sections, kept: Sections) -> None:
        """These are our own counts, and what the store has kept of them."""
        for section in _SUMMED:
            own = ours.get(section, {})
            for scope, row in kept.get(section, {}).items():
                _, last, _ = self._of(section, scope)
                self._rows[section, scope] = orjson.dumps([own.get(scope), row, last])

    def forget(self) -> None:
        """The store was replaced: the new one holds nothing of ours."""
        self._rows.clear()

    def merged(self, now: float, section: str, scope: str, stored: Any, ours: Any) -> Any:
        """What to keep of our row where one is stored already; `now` is seconds since 1970."""
        if section not in _SUMMED:
            return ours
        before, kept, earlier = self._of(section, scope)
        if section == "budgets":
            return spending.merged(stored, ours, before=before or {})
        return snapshot.merged(stored, ours, now, before=before, kept=kept, earlier=earlier)

    def _of(self, section: str, scope: str) -> list[Any]:
        rows: list[Any] = orjson.loads(self._rows.get((section, scope), b"[null,null,null]"))
        return rows


def own(sections: Sections) -> Sections:
    """The rows of which sums are kept, before others' counts are added to them."""
    return {section: dict(sections.get(section, {})) for section in _SUMMED}
