"""What a session has done: counters, and the last 50 errors."""

from __future__ import annotations

import threading
from collections import Counter, deque
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from hydra_core.engine.faults import PLAIN_WORDS
from hydra_core.messages import OK, Fault

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hydra_core.errors import HydraError
    from hydra_core.messages import Attempt, Reply

Rows = dict[str, list[dict[str, Any]]]
_HISTORY = 50


class Tally:
    """Counts replies and attempts. Its methods may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._started = datetime.now(UTC)
        self._kinds: Counter[str] = Counter()
        self._ok: Counter[str] = Counter()
        self._failed: Counter[str] = Counter()
        self._faults: Counter[str] = Counter()
        self._in_a_row: Counter[str] = Counter()
        self._last: dict[str, str] = {}
        self._tokens = 0
        self._cost = 0.0
        self._unpriced = 0
        self._failovers = 0
        self._errors: deque[dict[str, Any]] = deque(maxlen=_HISTORY)
        self._noted = 0

    def recall(self, errors: Iterable[dict[str, Any]]) -> None:
        """Errors of earlier processes, which came before all of this one."""
        with self._lock:
            self._errors = deque([*errors, *self._errors], maxlen=_HISTORY)

    def errors_since(self, noted: int) -> tuple[int, list[dict[str, Any]]]:
        """How many errors there have been, and the last of those after the first `noted`."""
        with self._lock:
            new = min(self._noted - noted, len(self._errors))
            return self._noted, list(self._errors)[len(self._errors) - new :]

    def replied(self, reply: Reply) -> None:
        """A full answer."""
        with self._lock:
            self._kinds[reply.kind] += 1
            self._tokens += reply.usage.total_tokens
            if reply.usage.cost_usd is None:
                self._unpriced += 1
            else:
                self._cost += reply.usage.cost_usd
            self._tried(reply.attempts)

    def called(self, attempts: Sequence[Attempt], *, served: bool) -> None:
        """A call that somebody else sent with our keys has ended."""
        with self._lock:
            self._tried(tuple(attempts))
            self._kinds["full" if served else "not served"] += 1

    def gave_up(self, error: HydraError) -> None:
        """No answer; what was tried still counts."""
        with self._lock:
            self._tried(getattr(error, "attempts", ()))
            self._kinds["not served"] += 1

    def degraded(self, reply: Reply) -> None:
        """Something else was delivered in place of an answer."""
        with self._lock:
            self._kinds["not served"] -= 1
            self._kinds[reply.kind] += 1

    def _tried(self, attempts: tuple[Attempt, ...]) -> None:
        self._failovers += max(0, len(attempts) - 1)
        for attempt in attempts:
            if attempt.outcome == OK:
                self._ok[attempt.provider] += 1
                self._in_a_row[attempt.provider] = 0
                continue
            self._failed[attempt.provider] += 1
            self._in_a_row[attempt.provider] += 1
            self._faults[attempt.outcome] += 1
            self._last[attempt.provider] = PLAIN_WORDS[Fault(attempt.outcome)]
            self._noted += 1
            self._errors.append(
                {
                    "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds"),
                    "provider": attempt.provider,
                    "model": attempt.model,
                    "key": attempt.key,
                    "error_type": self._last[attempt.provider],
                    "fault": attempt.outcome,
                    "status": attempt.status,
                    "message": attempt.detail,
                }
            )

    def health(self, rows: Rows, waiting: int = 0) -> dict[str, Any]:
        """The health report: providers, their keys, the recent errors.

        `total_requests` are calls and attempts that have ended; those that have not are
        `in_flight` (attempts on the wire) and `waiting` (calls that wait for capacity).
        """
        with self._lock:
            return {
                "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds"),
                "total_requests": self._kinds.total(),
                "in_flight": sum(key["in_flight"] for keys in rows.values() for key in keys),
                "waiting": waiting,
                "congress_escalations": 0,
                "providers": {name: self._provider(name, keys) for name, keys in rows.items()},
                "recent_errors": list(self._errors),
            }

    def _provider(self, name: str, keys: list[dict[str, Any]]) -> dict[str, Any]:
        ok, failed = self._ok[name], self._failed[name]
        total = ok + failed
        used = [key["state"] for key in keys if key["state"] != "disabled"]
        return {
            "is_available": any(key["available_in"] == 0 for key in keys),
            "consecutive_failures": self._in_a_row[name],
            "total_requests": total,
            "in_flight": sum(key["in_flight"] for key in keys),
            "total_failures": failed,
            "success_rate": round(100.0 * ok / total, 2) if total else 100.0,
            "in_cooldown": bool(used) and all(state in ("resting", "dead") for state in used),
            "last_error_type": self._last.get(name),
            "keys": keys,
        }

    def stats(self, rows: Rows) -> dict[str, Any]:
        """All counters."""
        names = Counter(key["name"] for keys in rows.values() for key in keys)
        with self._lock:
            return {
                "replies": dict(+self._kinds),
                "attempts": self._ok.total() + self._failed.total(),
                "attempts_failed": self._failed.total(),
                "failovers": self._failovers,
                "faults": dict(self._faults),
                "tokens": self._tokens,
                "cost_usd": self._known_cost(),
                "keys": {
                    # Two providers may call their keys alike.
                    key["name"] if names[key["name"]] == 1 else f"{name}/{key['name']}": {
                        "provider": name,
                        "calls": key["calls"],
                        "failures": key["failures"],
                        "in_flight": key["in_flight"],
                    }
                    for name, keys in rows.items()
                    for key in keys
                },
            }

    def summary(self, rows: Rows) -> dict[str, Any]:
        """What this session did."""
        with self._lock:
            states = Counter(key["state"] for keys in rows.values() for key in keys)
            return {
                "started": self._started.isoformat(timespec="seconds"),
                "seconds": round((datetime.now(UTC) - self._started).total_seconds(), 3),
                "requests": self._kinds.total(),
                "replies": dict(+self._kinds),
                "failovers": self._failovers,
                "tokens": self._tokens,
                "cost_usd": self._known_cost(),
                "keys": dict(states),
            }

    def _known_cost(self) -> float | None:
        """The sum, or None when the price of any reply is not known (never a false total)."""
        return None if self._unpriced else round(self._cost, 6)
