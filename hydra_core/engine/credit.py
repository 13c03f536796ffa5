"""What accounts that are paid in advance can still pay for, as they said when they refused.

OpenRouter holds a request's longest answer against the account's credit, and refuses with
"You requested up to N tokens, but can only afford M". A shorter answer is still served there,
so nobody rests: whoever wants more is kept away for a while, whoever wants less is not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hydra_core.engine.durations import duration

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from hydra_core.engine.deployment import Deployment
    from hydra_core.engine.quota import QuotaGroup
    from hydra_core.engine.size import Size

REMEMBERED: Final = 300.0
"""Seconds for which it is believed: credit that was added shows by nothing but another try."""

# An answer of fewer tokens is not worth asking for.
_WORTH_ASKING: Final = 64


class Credit:
    """The most `max_tokens` that each quota group of a pool said it can pay for.

    `said` has the tokens, and until when that is believed; old words may stand in it.
    """

    __slots__ = ("said",)

    def __init__(self) -> None:
        # Replaced, never changed: a request is begun without the lock under which this is told.
        self.said: Mapping[QuotaGroup, tuple[int, float]] = {}

    def heard(self, group: QuotaGroup, tokens: int, now: float, scale: float) -> None:
        """A refusal said that this group can pay for an answer of so many tokens."""
        self.said = {**self.said, group: (tokens, now + REMEMBERED * scale)}

    def of(self, group: QuotaGroup, now: float) -> int | None:
        """The most tokens that this group can pay for; None: nothing is known against it."""
        tokens, until = self.said.get(group, (0, 0.0))
        return tokens if until > now else None

    def short(self, size: Size, now: float) -> Iterator[QuotaGroup]:
        """The groups that cannot pay for the longest answer that such a request may have.

        Without `max_tokens` that is the model's longest. What a lease is for nobody knows.
        """
        if not size.messages:
            return
        for group, (tokens, until) in self.said.items():
            if until > now and (size.max_tokens is None or size.max_tokens > tokens):
                yield group

    def told(self, group: QuotaGroup, now: float) -> str:
        """Why a group is kept from a request, in a reader's words."""
        tokens, until = self.said[group]
        return (
            f"its provider said that its credit pays for answers of at most {tokens} tokens; it is "
            f"asked for more again in {duration(until - now)}"
        )

    def richest(
        self, deployments: Iterable[Deployment], now: float
    ) -> tuple[QuotaGroup, int] | None:
        """Which of them can pay for the longest answer, and its tokens; None: none worth it."""
        known = ((d.group, self.of(d.group, now) or 0) for d in deployments)
        worth = (pair for pair in known if pair[1] >= _WORTH_ASKING)
        return max(worth, key=lambda pair: pair[1], default=None)
