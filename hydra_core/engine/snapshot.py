"""A pool's memory as plain data: the only meeting of wall and monotonic time.

`take` writes down what is worth knowing after a restart; `restore` tells it to a pool that
was built since, perhaps from another configuration.

Law 1: what was stored may be old, damaged, foreign or of another clock. A row that makes
       no sense is passed over, and none rests a key for longer than it still had to rest
       when the row was written.
Law 2: the configuration beats the memory, and the provider's next word beats both.
Law 3: what we inferred (doubts, breakers) is not remembered: it is soon inferred again.
Law 4: a key is known by what `identities` calls it, so that the rest of a key that was
       replaced under the same name does not fall on the new one.
Law 5: that all keys of a provider are dead is not believed: who starts anew has mended
       something, or the provider has, and one call of each tells.

Stored moments are seconds since 1970.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from hydra_core.engine import spending
from hydra_core.engine.accounts import Shared
from hydra_core.engine.counts import GroupCount, plain_number, recount
from hydra_core.engine.deployment_row import (
    KEEP_SECONDS,
    NONSENSE,
    Known,
    known_of,
    merged,
    row_of,
    tell,
)
from hydra_core.engine.windows import NEVER

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hydra_core.engine.deployment import Deployment
    from hydra_core.engine.health import Rest
    from hydra_core.engine.key_manager import KeyManager
    from hydra_core.engine.model_facts import ModelFacts
    from hydra_core.engine.quota import QuotaGroup

__all__ = [
    "KEEP_SECONDS",
    "VERSION",
    "mark",
    "merged",
    "restore",
    "shared_accounts",
    "take",
]

VERSION: Final = 1

_MODEL_BOUNDS: Final[Mapping[str, tuple[float, float]]] = {
    "tokens_per_char": (0.01, 4.0),
    "deviation": (0.0, 4.0),
    "usual_output": (1.0, 1e6),
}


def take(
    manager: KeyManager,
    now: float,
    wall: float,
    *,
    identities: Mapping[tuple[str, str], str] | None = None,
    deployments: Iterable[Deployment] | None = None,
) -> dict[str, Any]:
    """What is known now, as JSON data: "version", and by name what is known of whom.

    The sections are "deployments", "models", "accounts" and "budgets".

    `now` is monotonic and `wall` seconds since 1970, of the same instant. `identities`
    names the keys, by (provider, key name); without it their own names do. `deployments`
    limits it to some of them, so that a large pool can be taken in slices; what is no single
    deployment's is left out then (see `shared_accounts` and `spending.rows`).
    """
    chosen = manager.deployments if deployments is None else tuple(deployments)
    scale = manager.scale
    whole: dict[str, Any] = {}
    if deployments is None:
        whole["accounts"] = shared_accounts(manager, wall, identities)
        whole["budgets"] = spending.rows(manager, now, wall)
    return {
        "version": VERSION,
        **whole,
        "deployments": {
            _name(deployment, identities): row_of(deployment, scale, now, wall)
            for deployment in chosen
        },
        "models": {
            f"{model.provider}/{model.name}": {
                "at": wall,
                **{name: getattr(model, name) for name in _MODEL_BOUNDS},
            }
            for model in {deployment.model: None for deployment in chosen}
        },
    }


def shared_accounts(
    manager: KeyManager, wall: float, identities: Mapping[tuple[str, str], str] | None = None
) -> dict[str, Any]:
    """Which keys share a quota, as JSON data: the section "accounts" of a snapshot."""
    rows: dict[str, Any] = {}
    for shared in manager.accounts.shared():
        if len(shared.keys) < 2:
            continue
        keys = [_identity((shared.provider, key), identities) for key in shared.keys]
        name = f"{shared.provider}/{keys[0] if shared.hint is None else shared.hint}"
        rows[name] = {"at": wall, "provider": shared.provider, "hint": shared.hint, "keys": keys}
    return rows


def mark(deployment: Deployment) -> tuple[float, ...]:
    """It differs from an earlier one if the deployment has changed in a way worth storing."""
    return (
        deployment.last_used,
        deployment.in_flight,
        deployment.failures,
        deployment.hard_until,
        deployment.score.sense,
    )


def restore(
    manager: KeyManager,
    data: Mapping[str, Any],
    now: float,
    wall: float,
    *,
    identities: Mapping[tuple[str, str], str] | None = None,
) -> set[Deployment]:
    """Tell a pool what `take` wrote; `now` and `wall` are of the present instant.

    What is not in the pool any more is ignored, and so is data of another version. The
    result are those whose death was not believed (law 5, or the key has answered since): what
    is stored of them is wrong.
    """
    if data.get("version") != VERSION:
        return set()
    rows, models = data.get("deployments"), data.get("models")
    _rejoin(manager, data.get("accounts"), now, wall, identities)
    known: dict[Deployment, Known] = {}
    for deployment in manager.deployments:
        row = rows.get(_name(deployment, identities)) if isinstance(rows, dict) else None
        read = None if row is None else known_of(row, wall, manager.scale)
        if read is not None:
            known[deployment] = read
    outlived = _outlived(known)
    for deployment in outlived:
        known[deployment] = known[deployment].living()
    dead = {deployment.scopes.key for deployment, read in known.items() if read.dead}
    living = {d.provider for d in manager.deployments if d.scopes.key not in dead}
    counts: dict[QuotaGroup, list[GroupCount]] = {}
    providers = {deployment.group: deployment.provider for deployment in known}
    for deployment, read in known.items():
        tell(deployment, read, now, hopeful=deployment.provider not in living)
        counts.setdefault(deployment.group, []).append(read.group)
    for group, stored in counts.items():
        day_end = manager.days.get(providers[group])
        recount(group, stored, manager.scale, now, day_end=day_end)
    spending.recall(manager, data.get("budgets"), now, wall)
    for model in {deployment.model: None for deployment in manager.deployments}:
        row = models.get(f"{model.provider}/{model.name}") if isinstance(models, dict) else None
        if row is not None:
            _learn(model, row, wall)
    manager.reconsider(now)
    return outlived | {d for d, read in known.items() if read.dead and d.provider not in living}


def _outlived(known: Mapping[Deployment, Known]) -> set[Deployment]:
    """Whose rows tell of a death after which their key has answered, by whatever model."""
    alive: dict[Rest, float] = {}
    for deployment, read in known.items():
        key = deployment.scopes.key
        alive[key] = min(alive.get(key, NEVER), read.alive_ago)
    return {d for d, read in known.items() if read.outlived(alive[d.scopes.key])}


def _name(deployment: Deployment, identities: Mapping[tuple[str, str], str] | None) -> str:
    key = _identity((deployment.provider, deployment.key), identities)
    return f"{deployment.provider}/{key}/{deployment.model.name}"


def _identity(place: tuple[str, str], identities: Mapping[tuple[str, str], str] | None) -> str:
    return place[1] if identities is None else identities.get(place, place[1])


def _rejoin(
    manager: KeyManager,
    rows: object,
    now: float,
    wall: float,
    identities: Mapping[tuple[str, str], str] | None,
) -> None:
    """Keys that proved to share a quota are one account from the start."""
    names = {
        (d.provider, _identity((d.provider, d.key), identities)): d.key
        for d in manager.deployments
    }
    found: list[Shared] = []
    for row in rows.values() if isinstance(rows, dict) else ():
        try:
            provider, hint = row["provider"], row["hint"]
            present = (names.get((provider, key)) for key in row["keys"])
            keys = tuple(key for key in present if key is not None)
            fresh = wall - plain_number(row["at"], 0.0, NEVER) <= KEEP_SECONDS
        except NONSENSE:
            continue
        if fresh and len(keys) > 1 and (hint is None or isinstance(hint, str)):
            found.append(Shared(provider, hint, keys))
    manager.accounts.recall(found, now)


def _learn(model: ModelFacts, row: Mapping[str, Any], wall: float) -> None:
    try:
        if wall - plain_number(row["at"], 0.0, NEVER) > KEEP_SECONDS:
            return
        learned = {name: plain_number(row[name], *span) for name, span in _MODEL_BOUNDS.items()}
    except NONSENSE:
        return
    for name, value in learned.items():
        setattr(model, name, value)
