"""What of a pool is not stored yet, and its rows: looked at and taken in slices at the gate."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from hydra_core.engine import snapshot, spending

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from hydra_core.drive.gate import Gate
    from hydra_core.engine.deployment import Deployment
    from hydra_core.engine.key_manager import KeyManager
    from hydra_core.store.state_store import Sections

# How many deployments are looked at, and how many written down, in one turn at the gate.
_LOOK: Final = 256
_TAKE: Final = 8

Marks = dict["Deployment", tuple[float, ...]]
"""By deployment, what changes whenever there is something new to store of it."""


class Changes:
    """Knows of each deployment of a pool by which mark it was stored last."""

    def __init__(self, gate: Gate, wall: Callable[[], float]) -> None:
        """`wall` gives seconds since 1970."""
        self._gate = gate
        self._wall = wall
        self._stored: Marks = {}

    def found(self) -> Marks:
        """Those who are not as they were stored, as they are now."""
        deployments = self._gate.ask(lambda manager, _: manager.deployments)
        changed: Marks = {}
        for slice_ in _slices(deployments, _LOOK):
            marks = self._gate.ask(partial(_marks, slice_))
            changed |= {d: mark for d, mark in marks.items() if self._stored.get(d) != mark}
        return changed

    def stored(self, marks: Marks) -> None:
        """They are stored as they were when these marks were found."""
        self._stored.update(marks)

    def forget(self, deployments: Iterable[Deployment] | None = None) -> None:
        """The store knows nothing true of these; None: of nobody."""
        for deployment in list(self._stored) if deployments is None else deployments:
            self._stored.pop(deployment, None)

    def rows(
        self, deployments: Sequence[Deployment], identities: Mapping[tuple[str, str], str]
    ) -> Sections:
        """The rows of these deployments, and those that are no single deployment's."""
        sections: Sections = {
            "accounts": self._gate.ask(
                lambda manager, _: snapshot.shared_accounts(manager, self._wall(), identities)
            ),
            "budgets": self._gate.ask(
                lambda manager, now: spending.rows(manager, now, self._wall())
            ),
        }
        for slice_ in _slices(deployments, _TAKE):
            taken = self._gate.ask(partial(self._taken, slice_, identities))
            for section, rows in taken.items():
                if isinstance(rows, dict):
                    sections.setdefault(section, {}).update(rows)
        return sections

    def _taken(
        self,
        deployments: Sequence[Deployment],
        identities: Mapping[tuple[str, str], str],
        manager: KeyManager,
        now: float,
    ) -> dict[str, Any]:
        return snapshot.take(
            manager, now, self._wall(), identities=identities, deployments=deployments
        )


def _marks(deployments: Sequence[Deployment], _manager: KeyManager, _now: float) -> Marks:
    return {deployment: snapshot.mark(deployment) for deployment in deployments}


def _slices(deployments: Sequence[Deployment], size: int) -> Iterator[Sequence[Deployment]]:
    for start in range(0, len(deployments), size):
        yield deployments[start : start + size]
