"""Scripted faults: which call each one strikes, and what it does to the reply.

A fault either refuses a call, in the vendor's words (`REFUSALS`: not charged), or
spoils the reply to an admitted one (`SPOILS`: charged, as a provider would).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal

import orjson

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Mapping

    from hydra_core.testing.script import Script

FaultName = Literal[
    "rate_limit",
    "day_limit",
    "billing",
    "auth",
    "model_gone",
    "overloaded",
    "server_error",
    "context_too_long",
    "too_large",
    "content_filter",
    "timeout",
    "hang",
    "reset",
    "cut",
    "role_then_cut",
    "stall",
    "error_event",
    "empty",
    "html",
    "bad_json",
    "slow",
]

# A latency of nothing stays nothing however slow: this is what "slow" takes it for, in seconds.
_SLOW_FROM = 0.05


@dataclass(frozen=True, slots=True)
class FaultRule:
    """One scripted fault. `key` and `model` None match any; `times` None is for ever.

    The first `after` matching calls pass. `retry_after` is the wait it states, in
    seconds; `factor` is how much slower `slow` is; `after_chunks` is how many
    pieces of content a broken stream shows (default: half); `status` replaces the
    fault's own.
    """

    fault: FaultName
    key: str | None = None
    model: str | None = None
    times: int | None = None
    after: int = 0
    probability: float = 1.0
    retry_after: float | None = None
    factor: float = 10.0
    after_chunks: int | None = None
    status: int | None = None

    def __post_init__(self) -> None:
        """Raises ValueError for a fault that does not exist."""
        if self.fault not in REFUSALS and self.fault not in SPOILS:
            known = ", ".join(sorted(REFUSALS | set(SPOILS)))
            raise ValueError(f"there is no fault {self.fault!r}; there are {known}")


class FaultPlan:
    """The scripted faults, in the order of scripting; the first that strikes wins."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._rules: list[tuple[FaultRule, list[int]]] = []  # with [calls matched, calls struck]

    def add(self, rule: FaultRule) -> None:
        self._rules.append((rule, [0, 0]))

    def clear(self) -> None:
        self._rules.clear()

    def strike(self, key: str, model: str) -> FaultRule | None:
        """The fault of this call, if any; counts the call for every rule it matches."""
        for rule, count in self._rules:
            if rule.key not in (None, key) or rule.model not in (None, model):
                continue
            count[0] += 1
            spent = rule.times is not None and count[1] >= rule.times
            if count[0] <= rule.after or spent:
                continue
            if rule.probability >= 1.0 or self._rng.random() < rule.probability:
                count[1] += 1
                return rule
        return None


def _shown(script: Script, rule: FaultRule) -> tuple[bytes, ...]:
    """What gets through of a broken reply: the role and some content, or half of a body."""
    if script.length is not None:
        body = script.pieces[0]
        return (body[: len(body) // 2],)
    if rule.after_chunks is not None:
        return script.pieces[: 1 + rule.after_chunks]
    return script.pieces[: max(2, len(script.pieces) // 2)]


def _cut(script: Script, rule: FaultRule) -> Script:
    return replace(script, pieces=_shown(script, rule), ending="cut")


def _role_then_cut(script: Script, rule: FaultRule) -> Script:
    return _cut(script, replace(rule, after_chunks=0))


def _stall(script: Script, rule: FaultRule) -> Script:
    return replace(script, pieces=_shown(script, rule), ending="stall")


def _hang(script: Script, _rule: FaultRule) -> Script:
    return replace(script, pieces=(), ending="hang")


def _reset(script: Script, _rule: FaultRule) -> Script:
    return replace(script, pieces=(), ending="reset")


def _error_event(script: Script, rule: FaultRule) -> Script:
    error = {"message": "The server had an error while answering.", "type": "server_error"}
    body = orjson.dumps({"error": {**error, "code": 500}})
    if script.length is not None:
        return replace(script, pieces=(body,), length=len(body))
    return replace(script, pieces=(*_shown(script, rule), b"data: " + body + b"\n\n"))


def _html(script: Script, rule: FaultRule) -> Script:
    page = b"<!DOCTYPE html><html><head><title>Just a moment...</title></head><body></body></html>"
    headers = tuple(item for item in script.headers if item[0] != "content-type")
    return replace(
        script,
        status=rule.status or 200,
        headers=(*headers, ("content-type", "text/html; charset=UTF-8")),
        pieces=(page,),
        length=len(page),
    )


def _bad_json(script: Script, rule: FaultRule) -> Script:
    shown = _shown(script, rule)
    if script.length is not None:
        return replace(script, pieces=shown, length=len(shown[0]))
    return replace(script, pieces=(*shown, b'data: {"id": "chatcmpl-1", "choices": [{"ind\n\n'))


def _slow(script: Script, rule: FaultRule) -> Script:
    delay = (script.delay or _SLOW_FROM) * rule.factor
    return replace(script, delay=delay, gap=script.gap * rule.factor)


def _as_it_is(script: Script, _rule: FaultRule) -> Script:
    """For the faults that change the answer before it is written: see `EMPTIED`."""
    return script


SPOILS: Final[Mapping[str, Callable[[Script, FaultRule], Script]]] = {
    "timeout": _hang,
    "hang": _hang,
    "reset": _reset,
    "cut": _cut,
    "role_then_cut": _role_then_cut,
    "stall": _stall,
    "error_event": _error_event,
    "empty": _as_it_is,
    "html": _html,
    "bad_json": _bad_json,
    "slow": _slow,
}

LIMIT_FAULTS: Final = frozenset({"rate_limit", "day_limit"})
REFUSALS: Final = LIMIT_FAULTS | {
    "billing",
    "auth",
    "model_gone",
    "overloaded",
    "server_error",
    "context_too_long",
    "too_large",
    "content_filter",
}
