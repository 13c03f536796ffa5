"""One SQLAlchemy engine, held from its first use until it is closed."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy import Engine


class HeldEngine:
    """A store's connection; the next use after `close` or `abandon` makes another."""

    def __init__(self) -> None:
        self._engine: Engine | None = None

    def close(self) -> None:
        """Let go of it."""
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.dispose()

    def abandon(self) -> None:
        """Forget a connection that belongs to the parent process, without touching it."""
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.dispose(close=False)
