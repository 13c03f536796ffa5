"""The fake provider's own record of every call, and what it holds against the callers.

Law 1: the log is written here, from what arrived at the socket; a client's own
counters are never evidence.
Law 2: limits are recounted from the log, by other code than the code that
enforces them (`recount.py`).
Law 3: nobody is blamed for what he could not know: a call that may have arrived
before the refusal left, or within `tolerance` seconds of it, was on its way.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from hydra_core.testing.recount import Charge

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from hydra_core.testing.recount import Recount

ViolationKind = Literal["key_waiting", "account_waiting", "dead_key", "limit_passed"]

_EARLY = 1e-3  # a wait is told in milliseconds: the last one is the rounding's, not the caller's


@dataclass(frozen=True, slots=True)
class CallRecord:
    """One chat request as the provider saw it, by arrival.

    `at` is seconds since the start, `key` the key's name (`unknown` for one that
    is not ours), `status` None while or when no status line was sent. `fault` is
    why it went wrong: a scripted fault, a refusal's reason (`rate_limit`,
    `day_limit`, `concurrency`, `auth`, ...) or None. `admitted` says whether it was charged,
    `finished` whether the whole reply was sent, `latency` how long it lasted.
    """

    at: float
    key: str
    account: str
    model: str
    status: int | None
    fault: str | None
    prompt_tokens: int
    completion_tokens: int
    stream: bool
    admitted: bool
    finished: bool
    latency: float
    request_id: str
    body_hash: str
    used_while_told_to_wait: bool


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing a caller should not have done, or the provider should not have let through.

    `key_waiting`: the key was used before the wait it had stated was over;
    `account_waiting`: another key of the same account was; `dead_key`: a key was
    used after it had been refused as invalid; `limit_passed`: more was served
    than the limit allows.
    """

    kind: ViolationKind
    at: float
    key: str
    account: str
    model: str
    detail: str


@dataclass(frozen=True, slots=True)
class Tally:
    """Counts of one key, one account, or all. A broken call had neither answer nor refusal."""

    calls: int = 0
    served: int = 0
    refused: int = 0
    broken: int = 0
    in_flight: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0


@dataclass(slots=True)
class Call:
    """A call's entry while it may still change; `record()` is what others see."""

    number: int
    at: float
    key: str
    account: str
    model: str
    stream: bool
    body_hash: str
    status: int | None = None
    fault: str | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    admitted: bool = False
    finished: bool = False
    ended_at: float | None = None
    blamed: ViolationKind | None = None
    told: float | None = None

    @property
    def request_id(self) -> str:
        """The reply's `x-request-id`."""
        return f"req_{self.number:06d}"

    def record(self, now: float) -> CallRecord:
        """A frozen copy; the latency of a call in flight counts to `now`."""
        ended = now if self.ended_at is None else self.ended_at
        return CallRecord(
            at=self.at,
            key=self.key,
            account=self.account,
            model=self.model,
            status=self.status,
            fault=self.fault,
            prompt_tokens=self.prompt_tokens,
            completion_tokens=self.completion_tokens,
            stream=self.stream,
            admitted=self.admitted,
            finished=self.finished,
            latency=ended - self.at,
            request_id=self.request_id,
            body_hash=self.body_hash,
            used_while_told_to_wait=self.blamed in ("key_waiting", "account_waiting"),
        )

    def charge(self) -> Charge:
        """What the recount needs to know."""
        return Charge(self.at, self.prompt_tokens + self.completion_tokens, self.ended_at)


@dataclass(slots=True)
class _Told:
    """The waits that one key, or one account, has stated for one model."""

    until: float = 0.0
    fresh: list[tuple[float, float]] = field(default_factory=list)  # (sent, until)

    def binding(self, known_by: float) -> float:
        """The end of the latest wait that was stated before `known_by`."""
        known = [wait for wait in self.fresh if wait[0] < known_by]
        if known:
            self.fresh = [wait for wait in self.fresh if wait[0] >= known_by]
            self.until = max(self.until, *(until for _, until in known))
        return self.until


class Journal:
    """The log and the grievances. Not thread-safe: its owner holds the lock."""

    def __init__(self, *, tolerance: float) -> None:
        self.calls: list[Call] = []
        self.blames: list[Violation] = []
        self._tolerance = tolerance
        self._opened = 0
        self._key_told: defaultdict[tuple[str, str], _Told] = defaultdict(_Told)
        self._account_told: defaultdict[tuple[str, str], _Told] = defaultdict(_Told)
        self._said_dead: dict[str, float] = {}

    def arrive(
        self,
        at: float,
        *,
        since: float,
        key: str,
        account: str,
        model: str,
        stream: bool,
        body_hash: str,
    ) -> Call:
        """Enter a call, and blame it if it should not have come.

        `at` is when it was read; it may have arrived at any time from `since` on.
        """
        self._opened += 1
        call = Call(self._opened, at, key, account, model, stream, body_hash)
        self.calls.append(call)
        self._blame(call, since)
        return call

    def sent(self, call: Call, now: float) -> None:
        """The reply's head has left: from here on the caller may know what it says."""
        if call.told is not None:
            wait = (now, now + call.told)
            self._key_told[call.key, call.model].fresh.append(wait)
            self._account_told[call.account, call.model].fresh.append(wait)
        if call.fault == "auth":
            self._said_dead.setdefault(call.key, now)

    def pardon(self, key: str) -> None:
        """Forget that `key` was said to be dead: it has been revived."""
        self._said_dead.pop(key, None)

    def _blame(self, call: Call, since: float) -> None:
        known_by = since - self._tolerance
        account_until = self._account_told[call.account, call.model].binding(known_by)
        key_until = self._key_told[call.key, call.model].binding(known_by)
        dead_since = self._said_dead.get(call.key)
        if dead_since is not None and dead_since < known_by:
            self._note(call, "dead_key", f"was refused as invalid at {dead_since:.3f} s")
        elif key_until - _EARLY > call.at:
            self._note(call, "key_waiting", f"had said wait until {key_until:.3f} s")
        elif account_until - _EARLY > call.at:
            self._note(call, "account_waiting", f"had said wait until {account_until:.3f} s")

    def _note(self, call: Call, kind: ViolationKind, detail: str) -> None:
        call.blamed = kind
        self.blames.append(Violation(kind, call.at, call.key, call.account, call.model, detail))


def passed_limits(recounts: Iterable[Recount], *, at: float) -> list[Violation]:
    """What the recount found against the provider itself."""
    return [
        Violation(
            "limit_passed",
            at,
            "",
            found.account,
            found.model,
            f"{found.name}: {found.counted:g} served, {found.limit} allowed",
        )
        for found in recounts
        if found.passed
    ]


def tally(calls: Iterable[Call]) -> Tally:
    """Count calls by how they ended."""
    counts: defaultdict[str, int] = defaultdict(int)
    for call in calls:
        counts["calls"] += 1
        counts[_ending(call)] += 1
        if call.admitted:
            counts["prompt_tokens"] += call.prompt_tokens
            counts["completion_tokens"] += call.completion_tokens
    return Tally(**counts)


def tallies(calls: Iterable[Call], of: Callable[[Call], str]) -> dict[str, Tally]:
    """Tallies by key or by account."""
    groups: defaultdict[str, list[Call]] = defaultdict(list)
    for call in calls:
        groups[of(call)].append(call)
    return {name: tally(group) for name, group in groups.items()}


def _ending(call: Call) -> Literal["in_flight", "refused", "served", "broken"]:
    if call.ended_at is None:
        return "in_flight"
    if call.status is not None and call.status >= 400 and not call.admitted:
        return "refused"
    return "served" if call.finished and call.fault in (None, "slow") else "broken"
