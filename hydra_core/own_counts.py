"""What this process has counted, apart from others that share its store: how sums are kept.

Several processes write the same rows. What we sent since we stored last is added to what is
stored by then, so our own row is remembered, and what the store made of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson

from hydra_core.engine import snapshot

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

    def told(self, sections: Sections) -> None:
        """This is what the store held at the start; nothing of it is our own."""
        self.note({}, sections)

    def note(self, ours: Sections, kept: Sections) -> None:
        """These are our own counts, and what the store has kept of them."""
        for section in _SUMMED:
            own = ours.get(section, {})
            for scope, row in kept.get(section, {}).items():
                _, last, _ = self._of(section, scope)
                rows = [own.get(scope), row, row if last is None and not ours else last]
                self._rows[section, scope] = orjson.dumps(rows)

    def forget(self) -> None:
        """The store was replaced: the new one holds nothing of ours."""
        self._rows.clear()

    def merged(self, now: float, section: str, scope: str, stored: Any, ours: Any) -> Any:
        """What to keep of our row where one is stored already; `now` is seconds since 1970."""
        if section not in _SUMMED:
            return ours
        before, kept, earlier = self._of(section, scope)
        if section == "budgets":
            return snapshot.merged_spent(stored, ours, before=before or {})
        return snapshot.merged(stored, ours, now, before=before, kept=kept, earlier=earlier)

    def _of(self, section: str, scope: str) -> list[Any]:
        rows: list[Any] = orjson.loads(self._rows.get((section, scope), b"[null,null,null]"))
        return rows


def own(sections: Sections) -> Sections:
    """The rows of which sums are kept, before others' counts are added to them."""
    return {section: dict(sections.get(section, {})) for section in _SUMMED}
