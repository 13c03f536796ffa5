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

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from hydra_core.engine.counts import Count, count_of, plain_number, recount, told
from hydra_core.engine.health import LONGEST_WAIT
from hydra_core.engine.windows import NEVER
from hydra_core.messages import Fault

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hydra_core.engine.deployment import Deployment, ModelFacts
    from hydra_core.engine.health import Rest
    from hydra_core.engine.key_manager import KeyManager
    from hydra_core.engine.quota import QuotaGroup

VERSION: Final = 1

KEEP_SECONDS: Final = 30 * 86_400.0
"""What was learned longer ago is not believed: plans, prices and servers have changed."""

_SLOWEST: Final = 3_600.0  # seconds of latency
_MODEL_BOUNDS: Final[Mapping[str, tuple[float, float]]] = {
    "tokens_per_char": (0.01, 4.0),
    "deviation": (0.0, 4.0),
    "usual_output": (1.0, 1e6),
}
_NONSENSE: Final = (ValueError, TypeError, KeyError, AttributeError, ArithmeticError)


def take(
    manager: KeyManager,
    now: float,
    wall: float,
    *,
    identities: Mapping[tuple[str, str], str] | None = None,
    deployments: Iterable[Deployment] | None = None,
) -> dict[str, Any]:
    """What is known now, as JSON data: {"version", "deployments": {...}, "models": {...}}.

    `now` is monotonic and `wall` seconds since 1970, of the same instant. `identities`
    names the keys, by (provider, key name); without it their own names do. `deployments`
    limits it to some of them, so that a large pool can be taken in slices.
    """
    chosen = manager.deployments if deployments is None else tuple(deployments)
    scale = manager.scale
    return {
        "version": VERSION,
        "deployments": {
            _name(deployment, identities): {
                "at": wall,
                "scale": scale,
                "score": _score(deployment, now, wall),
                "rests": _rests(deployment, now, wall),
                "windows": [told(window, now, wall) for window in deployment.group.windows],
            }
            for deployment in chosen
        },
        "models": {
            f"{model.provider}/{model.name}": {
                "at": wall,
                **{name: getattr(model, name) for name in _MODEL_BOUNDS},
            }
            for model in {deployment.model: None for deployment in chosen}
        },
        "budgets": manager.allowances.taken(chosen, now),
    }


def mark(deployment: Deployment) -> tuple[float, ...]:
    """It differs from an earlier one if the deployment has changed in a way worth storing."""
    return (
        deployment.last_used,
        deployment.in_flight,
        deployment.failures,
        deployment.hard_until,
        deployment.score.quality,
    )


def restore(
    manager: KeyManager,
    data: Mapping[str, Any],
    now: float,
    wall: float,
    *,
    identities: Mapping[tuple[str, str], str] | None = None,
) -> None:
    """Tell a pool what `take` wrote; `now` and `wall` are of the present instant.

    What is not in the pool any more is ignored, and so is data of another version.
    """
    if data.get("version") != VERSION:
        return
    rows, models = data.get("deployments"), data.get("models")
    known: dict[Deployment, _Known] = {}
    for deployment in manager.deployments:
        row = rows.get(_name(deployment, identities)) if isinstance(rows, dict) else None
        read = None if row is None else _known(row, wall, manager.scale)
        if read is not None:
            known[deployment] = read
    living = {d.provider for d in manager.deployments if d not in known or not known[d].dead}
    counts: dict[QuotaGroup, list[Count]] = {}
    for deployment, read in known.items():
        _apply(deployment, read, now, hopeful=deployment.provider not in living)
        counts.setdefault(deployment.group, []).extend(read.counts)
    for group, stored in counts.items():
        recount(group, stored, now)
    for model in {deployment.model: None for deployment in manager.deployments}:
        row = models.get(f"{model.provider}/{model.name}") if isinstance(models, dict) else None
        if row is not None:
            _learn(model, row, wall)
    manager.allowances.resume(data.get("budgets"), now, wall)
    manager.reconsider(now)


def merged(theirs: Mapping[str, Any], ours: dict[str, Any], wall: float) -> dict[str, Any]:
    """One deployment's row of two processes that share its key, neither of which saw all.

    The larger count of each limit, the longer rest of each scope, and our opinions.
    """
    known = _known(theirs, wall, ours["scale"])
    if known is None:
        return ours
    own = {(row["kind"], row["length"]): row for row in ours["windows"]}
    for row, count in zip(theirs["windows"], known.counts, strict=True):
        limit = (row["kind"], row["length"])
        if limit not in own or count_of(own[limit], wall, wall).used < count.used:
            own[limit] = row
    rests = dict(ours["rests"])
    for scope, left, _ in known.rests:
        until = rests.get(scope, [wall])[0]
        if left > 0.0 and until is not None and (left == NEVER or until < wall + left):
            rests[scope] = theirs["rests"][scope]
    return {**ours, "windows": list(own.values()), "rests": rests}


def _name(deployment: Deployment, identities: Mapping[tuple[str, str], str] | None) -> str:
    place = (deployment.provider, deployment.key)
    key = deployment.key if identities is None else identities.get(place, deployment.key)
    return f"{deployment.provider}/{key}/{deployment.model.name}"


def _scopes(deployment: Deployment) -> dict[str, Rest]:
    return {
        "deployment": deployment.own_rest,
        "key": deployment.scopes.key,
        "account": deployment.scopes.account,
        "group": deployment.scopes.group,
        "model": deployment.model.rest,
        "provider": deployment.scopes.provider,
    }


def _rests(deployment: Deployment, now: float, wall: float) -> dict[str, list[Any]]:
    """The cooldowns by scope: [until, fault], until None where no timer ends it."""
    return {
        scope: [None if rest.dead else wall + rest.hard_until - now, rest.fault.value]
        for scope, rest in _scopes(deployment).items()
        if rest.hard_until > now and rest.fault is not None
    }


def _score(deployment: Deployment, now: float, wall: float) -> dict[str, float | None]:
    score = deployment.score
    troubled = score.troubled_at
    return {
        "reliability": score.reliability,
        "latency": score.latency,
        "quality": score.quality,
        "troubled_at": None if troubled is None else wall + troubled - now,
    }


@dataclass(frozen=True, slots=True)
class _Known:
    """A stored row, read and found plausible; times are seconds from or before now."""

    reliability: float
    latency: float | None
    quality: float
    troubled_ago: float | None
    rests: tuple[tuple[str, float, Fault], ...]
    counts: tuple[Count, ...]

    @property
    def dead(self) -> bool:
        """True when its key was refused for good."""
        return any(scope == "key" and left == NEVER for scope, left, _ in self.rests)


def _known(row: Mapping[str, Any], wall: float, scale: float) -> _Known | None:
    """The row, or None if it makes no sense, is too old, or counts time at another scale."""
    try:
        taken = plain_number(row["at"], 0.0, NEVER)
        if wall - taken > KEEP_SECONDS or row["scale"] != scale:
            return None
        present = max(taken, wall)  # a clock that went back must lengthen no rest
        score, troubled = row["score"], row["score"]["troubled_at"]
        latency = score["latency"]
        return _Known(
            reliability=plain_number(score["reliability"], 0.0, 1.0),
            latency=None if latency is None else plain_number(latency, 0.0, _SLOWEST),
            quality=plain_number(score["quality"], 0.0, 1.0),
            troubled_ago=None if troubled is None else max(0.0, present - troubled),
            rests=tuple(
                (scope, NEVER if until is None else float(until) - present, Fault(fault))
                for scope, (until, fault) in row["rests"].items()
            ),
            counts=tuple(count_of(window, taken, wall) for window in row["windows"]),
        )
    except _NONSENSE:
        return None


def _apply(deployment: Deployment, known: _Known, now: float, *, hopeful: bool) -> None:
    """`hopeful`: refusals for good are not believed, since no key of the provider has none."""
    ago = known.troubled_ago
    deployment.score.recall(
        reliability=known.reliability,
        latency=known.latency,
        quality=known.quality,
        troubled_at=None if ago is None else now - ago,
    )
    scopes = _scopes(deployment)
    for scope, left, fault in known.rests:
        rest = scopes.get(scope)
        if rest is not None and left > 0.0 and not (hopeful and left == NEVER):
            rest.cool(NEVER if left == NEVER else now + min(left, LONGEST_WAIT), fault)


def _learn(model: ModelFacts, row: Mapping[str, Any], wall: float) -> None:
    try:
        if wall - plain_number(row["at"], 0.0, NEVER) > KEEP_SECONDS:
            return
        learned = {name: plain_number(row[name], *span) for name, span in _MODEL_BOUNDS.items()}
    except _NONSENSE:
        return
    for name, value in learned.items():
        setattr(model, name, value)
