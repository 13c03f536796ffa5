"""What the engine has found out and a person should know."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

_SHOWN: Final = 8


@dataclass(frozen=True, slots=True)
class Notice:
    """One thing to tell, in whole sentences that name the remedy.

    Of the same `kind` and `subject` (an account, a key, a provider) the latest holds;
    `contrary`: it takes back what was told before.
    """

    kind: str
    subject: str
    text: str
    contrary: bool = False


def listed(names: Sequence[str]) -> str:
    """The first eight of the names, and how many more there are."""
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
