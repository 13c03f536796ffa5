"""Two accounts that prove to be one: their quota groups, rests and open leases made one.

Law 1: what is booked in either counts in the result, and every open lease is settled
       there, exactly once.
Law 2: where both know a limit the smaller holds, and of two rests the later: nothing
       that the provider said of either is forgotten.

A merger costs as much as there are keys in the account that is given up and open leases.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from hydra_core.engine.deployment import Deployment, Lease
    from hydra_core.engine.health import Rest
    from hydra_core.engine.model_facts import ModelFacts
    from hydra_core.engine.quota import QuotaGroup
    from hydra_core.engine.windows import Charge, Window


@dataclass(frozen=True, slots=True)
class Ledger:
    """What must stay right: who stands in a rest, who shares a group, which leases are open.

    `stir` has the deployments that changed looked at again.
    """

    members: dict[Rest, list[Deployment]]
    sharers: dict[QuotaGroup, list[Deployment]]
    leases: Collection[Lease]
    stir: Callable[[Iterable[Deployment]], None]


def merge(
    places: Mapping[ModelFacts, Deployment],
    gone: Sequence[Deployment],
    ledger: Ledger,
    now: float,
) -> None:
    """Make the account of `gone` part of another one of the same provider.

    `places` is one deployment of the other for each of its models, `gone` all of this. A
    model that only one of them has keeps its own group.
    """
    one = next(iter(places.values()))
    name, rest = one.account, one.scopes.account
    groups: dict[QuotaGroup, QuotaGroup] = {}
    rests = {gone[0].scopes.account: rest}
    for deployment in gone:
        place = places.get(deployment.model, deployment)
        if place is not deployment:
            groups[deployment.group] = place.group
            rests[deployment.scopes.group] = place.scopes.group
        _rename(deployment, name)
    for group, heir in groups.items():
        _join(heir, group, ledger, now)
    for old, new in rests.items():
        if new.absorb(old):
            for deployment in ledger.members[new]:
                deployment.refresh()
        ledger.members[new] += ledger.members.pop(old)
    for deployment in gone:
        scopes = deployment.scopes
        deployment.group = groups.get(deployment.group, deployment.group)
        deployment.stand_in(
            replace(scopes, account=rest, group=rests.get(scopes.group, scopes.group))
        )
        deployment.refresh()
    ledger.stir(gone)


def _rename(deployment: Deployment, name: str) -> None:
    refused_by = deployment.model.refused_by
    if deployment.account in refused_by:
        refused_by.discard(deployment.account)
        refused_by.add(name)
    deployment.account = name


def _join(kept: QuotaGroup, gone: QuotaGroup, ledger: Ledger, now: float) -> None:
    """Charge and settle in `kept` what was, or would have been, charged in `gone`.

    What was guessed of either's limits was guessed from a share of the calls: it is dropped.
    """
    for group in (kept, gone):
        group.windows = [window for window in group.windows if not window.tentative]
        if group.study is not None:
            group.study.guesses.clear()
            group.study.case = None
    leases = [lease for lease in ledger.leases if lease.group in (kept, gone)]
    booked: list[dict[Window, Charge]] = [dict(lease.charges) for lease in leases]
    for window in gone.windows:
        _take_in(kept, window, booked, now)
    for lease, found in zip(leases, booked, strict=True):
        lease.group = kept
        lease.charges = tuple(
            (window, found.get(window) or _book(lease, window, now)) for window in kept.windows
        )
    kept.join(gone)
    ledger.sharers[kept] += ledger.sharers.pop(gone)


def _book(lease: Lease, window: Window, now: float) -> Charge:
    """Book an open lease in a limit that its own group did not know."""
    return window.charge(lease.tokens if window.kind == "tokens" else 1.0, now)


def _take_in(
    kept: QuotaGroup, window: Window, booked: Iterable[dict[Window, Charge]], now: float
) -> None:
    same = kept.window(window.kind, window.length)
    if same is None or type(same) is not type(window):
        kept.windows.append(window)
        return
    holders = [found for found in booked if window in found]
    same.absorb(window, [found[window] for found in holders], now)
    for found in holders:
        found[same] = found.pop(window)
