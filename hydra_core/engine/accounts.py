"""Who shares a quota: keys that prove to belong to one account are counted as one.

Law 1: the provider's words (an organization, a team, a user) decide. They win over the
       configuration, and the user is told.
Law 2: a false merger halves what the pool can do. What keys do (engine.clues) joins them
       only where neither the configuration nor the provider names them apart.
Law 3: two names of one account are never compared with each other: a key may be called by
       a slug in one reply and by an id in the next.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from hydra_core.engine.clues import Clues
from hydra_core.engine.merging import merge
from hydra_core.engine.notices import Notice, listed

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from hydra_core.engine.deployment import Deployment, Lease
    from hydra_core.engine.merging import Ledger
    from hydra_core.engine.model_facts import ModelFacts
    from hydra_core.wire import Verdict

# Nobody has more names than an organization, a project and a user. A header that changes
# with every reply names no account.
_HINTS: Final = 8


@dataclass(frozen=True, slots=True)
class Shared:
    """Keys of one provider that share a quota; `hint` is how it names them, None: it did not."""

    provider: str
    hint: str | None
    keys: tuple[str, ...]


@dataclass(slots=True, eq=False)
class Account:
    """One owner of quotas, as far as is known; `named`: the configuration names it.

    `places` is one deployment of each model, `hints` what the provider calls it.
    """

    provider: str
    name: str
    named: bool
    deployments: list[Deployment] = field(default_factory=list)
    places: dict[ModelFacts, Deployment] = field(default_factory=dict)
    keys: dict[str, int] = field(default_factory=dict)  # each with its place in the pool
    hints: set[str] = field(default_factory=set)
    merged: bool = False

    def add(self, deployment: Deployment) -> None:
        """One more deployment is this account's."""
        self.deployments.append(deployment)
        self.places.setdefault(deployment.model, deployment)
        self.keys.setdefault(deployment.key, deployment.order)


class Accounts:
    """Every account of a pool, and what was found out about them.

    `notices` is what people should be told; whoever tells them empties it.
    """

    def __init__(
        self,
        deployments: Sequence[Deployment],
        ledger: Ledger,
        *,
        scale: float = 1.0,
        named: Collection[tuple[str, str]] = (),
        credible: Callable[[str], bool] | None = None,
    ) -> None:
        """`named` are the accounts, as (provider, account), that the configuration names.

        `scale` shortens the providers' windows.
        `credible` is False for a name that no account can have, such as one that holds a
        part of a key; it is asked once for each name.
        """
        self._credible = credible
        self.notices: list[Notice] = []
        self._clues = Clues(deployments, scale)
        self._ledger = ledger
        self._by_hint: dict[tuple[str, str], Account] = {}
        self._of: dict[Deployment, Account] = {}
        found: dict[tuple[str, str], Account] = {}
        for deployment in deployments:
            place = deployment.provider, deployment.account
            account = found.get(place)
            if account is None:
                account = found[place] = Account(*place, named=place in named)
            account.add(deployment)
            self._of[deployment] = account

    def heard(self, lease: Lease, verdict: Verdict, now: float) -> None:
        """Learn who shares a quota from what came back, before anything else is made of it."""
        deployment, hint = lease.deployment, verdict.scope_hint
        if hint is not None and hint not in self._of[deployment].hints:
            self._called(self._of[deployment], hint, now)
        for other in self._clues.heard(lease, verdict, now):
            self._proved(self._of[deployment], self._of[other], now)

    def _called(self, account: Account, hint: str, now: float) -> None:
        """The provider calls this account by a name that is new for it."""
        if len(account.hints) >= _HINTS or not (self._credible is None or self._credible(hint)):
            return
        other = self._by_hint.setdefault((account.provider, hint), account)
        account.hints.add(hint)
        if other is not account:
            self._unite(other, account, f"{account.provider} calls their account {hint}", now)

    def _proved(self, one: Account, other: Account, now: float) -> None:
        """They behave as one; whoever has names for both knows better."""
        if one is other or (one.named and other.named) or (one.hints and other.hints):
            return
        self._unite(one, other, "what is asked of one of them is gone from the others", now)

    def _unite(self, one: Account, other: Account, reason: str, now: float) -> None:
        kept, gone = one, other
        if (other.named, len(other.keys)) > (one.named, len(one.keys)):
            kept, gone = other, one
        apart = gone.name if kept.named and gone.named else None
        merge(kept.places, gone.deployments, self._ledger, now)
        self._clues.joined(kept.places, gone.deployments)
        self._of |= dict.fromkeys(gone.deployments, kept)
        self._by_hint |= {(kept.provider, hint): kept for hint in gone.hints}
        kept.deployments += gone.deployments
        kept.places = {**gone.places, **kept.places}
        kept.keys |= gone.keys
        kept.hints |= gone.hints
        kept.merged = True
        self._tell(kept, reason, apart=apart)

    def _tell(self, account: Account, reason: str, *, apart: str | None) -> None:
        shown = listed(sorted(account.keys, key=account.keys.__getitem__))
        contrary = (
            f', although the configuration puts them in "{apart}" and "{account.name}"'
            if apart
            else ""
        )
        text = (
            f"The keys {shown} of {account.provider} share one quota: {reason}{contrary}. Their "
            "limits are counted once from now on, and a refusal of one rests all. More keys of "
            "one account add nothing. To have it so from the start, give them the same "
            f'account = "{account.name}" in the configuration.'
        )
        self.notices.append(Notice("shared_account", f"{account.provider}/{account.name}", text))

    def shared(self) -> list[Shared]:
        """What was found out, as plain data: to be remembered, and told to `recall`."""
        told: list[Shared] = []
        for account in dict.fromkeys(self._of.values()):
            names: list[str | None] = [*sorted(account.hints)]
            if account.merged and not names:
                names = [None]
            told += [Shared(account.provider, name, tuple(account.keys)) for name in names]
        return told

    def recall(self, remembered: Iterable[Shared], now: float) -> None:
        """Believe what an earlier process found out, as far as its keys are still there."""
        places = {(d.provider, d.key): d for d in self._of}
        for shared in remembered:
            present = [places[p] for k in shared.keys if (p := (shared.provider, k)) in places]
            for deployment in present:
                account, first = self._of[deployment], self._of[present[0]]
                if shared.hint is not None:
                    self._called(account, shared.hint, now)
                elif account is not first and not (account.named and first.named):
                    self._unite(first, account, "so it was found earlier", now)
