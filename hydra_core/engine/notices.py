"""What the engine has found out and a person should know."""

from __future__ import annotations

from dataclasses import dataclass


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
