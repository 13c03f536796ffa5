"""What each key of a fake provider did, as a table for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hydra_core.testing.judge import Tally
    from hydra_core.testing.keys import KnownKey

_COLUMNS = ("key", "account", "calls", "served", "refused", "broken", "in flight", "tokens", "")


def summary(
    keys: Iterable[KnownKey], by_key: Mapping[str, Tally], *, dead: frozenset[str], violations: int
) -> str:
    """One line a key, then the number of violations; names only, never a key's value."""
    accounts = {key.name: key.account for key in keys}
    rows = [_COLUMNS, *(_row(name, accounts, count, dead) for name, count in by_key.items())]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(map(_aligned, row, widths)).rstrip() for row in rows]
    return "\n".join([*lines, f"violations: {violations}"])


def _row(
    name: str, accounts: Mapping[str, str], count: Tally, dead: frozenset[str]
) -> tuple[str, ...]:
    tokens = count.prompt_tokens + count.completion_tokens
    counts = (count.calls, count.served, count.refused, count.broken, count.in_flight, tokens)
    return (name, accounts.get(name, "-"), *map(str, counts), "dead" if name in dead else "")


def _aligned(cell: str, width: int) -> str:
    return cell.rjust(width) if cell.isdigit() else cell.ljust(width)
