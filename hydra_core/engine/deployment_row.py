"""One deployment's row of a snapshot: written, read back with distrust, told, and merged.

Stored moments are seconds since 1970.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from hydra_core.engine.counts import (
    GroupCount,
    group_of,
    group_row,
    joined,
    plain_number,
)
from hydra_core.engine.health import LONGEST_WAIT
from hydra_core.engine.windows import NEVER
from hydra_core.messages import Fault

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hydra_core.engine.deployment import Deployment
    from hydra_core.engine.health import Rest

KEEP_SECONDS: Final = 30 * 86_400.0
"""What was learned longer ago is not believed: plans, prices and servers have changed."""

NONSENSE: Final = (ValueError, TypeError, KeyError, AttributeError, ArithmeticError)
"""What reading a damaged row may raise."""

_SLOWEST: Final = 3_600.0  # seconds of latency


def row_of(deployment: Deployment, scale: float, now: float, wall: float) -> dict[str, Any]:
    """What is known of a deployment, as JSON data; `scale` is that of its windows."""
    return {
        "at": wall,
        "scale": scale,
        "score": _score(deployment, now, wall),
        "rests": _rests(deployment, now, wall),
        **_proofs(deployment.scopes.key, now, wall),
        **group_row(deployment.group, now, wall),
    }


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


def _proofs(key: Rest, now: float, wall: float) -> dict[str, float | None]:
    """When the key was last refused for good, and last proved well; None: that never was."""
    return {
        name: None if at == -NEVER else wall + at - now
        for name, at in (("died_at", key.died_at), ("alive_at", key.alive_at))
    }


def _score(deployment: Deployment, now: float, wall: float) -> dict[str, float | None]:
    score = deployment.score
    troubled = score.troubled_at
    return {
        "reliability": score.reliability,
        "latency": score.latency,
        "quality": score.sense,
        "form": score.form,
        "troubled_at": None if troubled is None else wall + troubled - now,
    }


@dataclass(frozen=True, slots=True)
class Known:
    """A stored row, read and found plausible; times are seconds from or before now."""

    reliability: float
    latency: float | None
    sense: float
    form: float
    troubled_ago: float | None
    rests: tuple[tuple[str, float, Fault], ...]
    group: GroupCount
    died_ago: float
    alive_ago: float

    @property
    def dead(self) -> bool:
        """True when its key was refused for good."""
        return any(scope == "key" and left == NEVER for scope, left, _ in self.rests)

    def outlived(self, alive_ago: float) -> bool:
        """True when it says dead of a key that proved well later than that: so long ago."""
        return self.dead and alive_ago < self.died_ago

    def living(self) -> Known:
        """The same without its key's death."""
        return replace(self, rests=tuple(rest for rest in self.rests if rest[0] != "key"))


def known_of(row: Mapping[str, Any], wall: float, scale: float) -> Known | None:
    """The row, or None if it makes no sense, is too old, or counts time at another scale."""
    try:
        taken = plain_number(row["at"], 0.0, NEVER)
        if wall - taken > KEEP_SECONDS or row["scale"] != scale:
            return None
        present = max(taken, wall)  # a clock that went back must lengthen no rest
        score, troubled = row["score"], row["score"]["troubled_at"]
        latency = score["latency"]
        return Known(
            reliability=plain_number(score["reliability"], 0.0, 1.0),
            latency=None if latency is None else plain_number(latency, 0.0, _SLOWEST),
            sense=plain_number(score["quality"], 0.0, 1.0),
            form=plain_number(score.get("form", 1.0), 0.0, 1.0),  # older rows have none
            troubled_ago=None if troubled is None else max(0.0, present - troubled),
            rests=tuple(
                (scope, NEVER if until is None else float(until) - present, Fault(fault))
                for scope, (until, fault) in row["rests"].items()
            ),
            group=group_of(row, taken, wall),
            died_ago=_ago(row.get("died_at"), present),
            alive_ago=_ago(row.get("alive_at"), present),
        )
    except NONSENSE:
        return None


def _ago(at: object, present: float) -> float:
    """Seconds since then; `NEVER` where nobody knows when, or whether, it was."""
    return NEVER if at is None else max(0.0, present - plain_number(at, 0.0, NEVER))


def tell(deployment: Deployment, known: Known, now: float, *, hopeful: bool) -> None:
    """Tell a deployment, but for its counts, which belong to its quota group.

    `hopeful`: refusals for good are not believed, since no key of the provider has none.
    """
    ago = known.troubled_ago
    deployment.score.recall(
        reliability=known.reliability,
        latency=known.latency,
        sense=known.sense,
        form=known.form,
        troubled_at=None if ago is None else now - ago,
    )
    scopes = _scopes(deployment)
    for scope, left, fault in known.rests:
        rest = scopes.get(scope)
        if rest is None or left <= 0.0 or (hopeful and left == NEVER):
            continue
        if left == NEVER:
            if now - known.died_ago >= rest.alive_at:
                rest.die(fault, now - known.died_ago)
        else:
            rest.cool(now + min(left, LONGEST_WAIT), fault)


def merged(
    theirs: Mapping[str, Any],
    ours: dict[str, Any],
    wall: float,
    *,
    before: Mapping[str, Any] | None,
    kept: Mapping[str, Any] | None,
    earlier: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """One deployment's row of processes that share its key, none of which saw all.

    Of each limit what is stored and what we have sent since, the longer rest of each scope,
    and our opinions. `theirs` is what is stored, `before` our own row when we stored last
    (None: never), `kept` what was stored then, or was told us at the start (None: nothing), and
    `earlier` what was stored the time before.
    A rest of ours, or that we were told, and that we have no more, is over.
    """
    scale = ours["scale"]
    known, mine = known_of(theirs, wall, scale), known_of(ours, wall, scale)
    if known is None or mine is None:
        return ours
    past, last, first = (row and known_of(row, wall, scale) for row in (before, kept, earlier))
    sent, held = (known.group.by_limit if known else {} for known in (past, first))
    stored = known.group.by_limit
    rows = {(row["kind"], row["length"]): row for row in theirs["windows"]}
    for row in ours["windows"]:
        limit = (row["kind"], row["length"])
        rows[limit] = row
        if limit in stored:
            count = mine.group.by_limit[limit]
            rows[limit] = joined(row, count, stored[limit], sent.get(limit), held.get(limit), wall)
    had = before if past else last and kept
    rests = _longer(known, theirs["rests"], ours["rests"], had["rests"] if had else {}, wall)
    died, alive = (
        min(getattr(known, ago), getattr(mine, ago)) for ago in ("died_ago", "alive_ago")
    )
    if alive < died and rests.get("key", [wall])[0] is None:
        del rests["key"]  # whoever wrote of the death has not heard of the answer
    return {
        **ours,
        "windows": list(rows.values()),
        "rests": rests,
        "died_at": None if died == NEVER else wall - died,
        "alive_at": None if alive == NEVER else wall - alive,
    }


def _longer(
    known: Known,
    theirs: Mapping[str, list[Any]],
    ours: Mapping[str, list[Any]],
    had: Mapping[str, list[Any]],
    wall: float,
) -> dict[str, list[Any]]:
    """Of each scope the longer rest; one that we `had` and have no more, we took back."""
    rests = dict(ours)
    for scope, left, _ in known.rests:
        if had.get(scope) == theirs[scope]:
            continue
        until = rests.get(scope, [wall])[0]
        if left > 0.0 and until is not None and (left == NEVER or until < wall + left):
            # By our clock: one that was ahead when this was written must not stretch it.
            rests[scope] = [None if left == NEVER else wall + left, theirs[scope][1]]
    return rests
