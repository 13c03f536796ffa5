"""What this process has counted, apart from others that share its store: how sums are kept.

Several processes write the same rows. Whatever a stored row has beyond what we had counted
when we wrote it, or were told it, was added by others: so what is kept is our count and that.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import orjson

from hydra_core.engine import snapshot

if TYPE_CHECKING:
    from hydra_core.engine.deployment import Deployment
    from hydra_core.engine.key_manager import KeyManager
    from hydra_core.store.state_store import Sections

_SUMMED: Final = ("deployments", "budgets")


class OwnCounts:
    """Our own rows as they were last stored or told, as JSON: a pool may have many."""

    __slots__ = ("_rows",)

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str], bytes] = {}

    def note(self, sections: Sections) -> None:
        """These are our own counts; what the store has beyond them later is others'."""
        for section in _SUMMED:
            for scope, row in sections.get(section, {}).items():
                self._rows[section, scope] = orjson.dumps(row)

    def note_shared(self, sections: Sections) -> None:
        """As `note`, of keys whose count was told by another one's row; their rests were not."""
        for scope, row in sections["deployments"].items():
            told = orjson.loads(self._rows.get(("deployments", scope), b"null"))
            rests = told.get("rests") if isinstance(told, dict) else None
            known = row if rests is None else {**row, "rests": rests}
            self._rows["deployments", scope] = orjson.dumps(known)

    def forget(self) -> None:
        """The store was replaced: the new one holds nothing of ours."""
        self._rows.clear()

    def merged(self, now: float, section: str, scope: str, stored: Any, ours: Any) -> Any:
        """What to keep of our row where one is stored already; `now` is seconds since 1970."""
        if section not in _SUMMED:
            return ours
        before = orjson.loads(self._rows.get((section, scope), b"{}"))
        if section == "budgets":
            return snapshot.merged_spent(stored, ours, before=before)
        return snapshot.merged(stored, ours, now, before=before)


def own(sections: Sections) -> Sections:
    """The rows of which sums are kept, before others' counts are added to them."""
    return {section: dict(sections.get(section, {})) for section in _SUMMED}


def sharing(manager: KeyManager) -> list[Deployment]:
    """The keys that share a quota: of its count one key's row may tell more than another's."""
    keys = Counter(deployment.group for deployment in manager.deployments)
    return [deployment for deployment in manager.deployments if keys[deployment.group] > 1]
