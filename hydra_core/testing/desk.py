"""The fake provider's desk: all that changes while it serves, and who may come to it."""

from __future__ import annotations

import hashlib
import random
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import orjson

from hydra_core.testing.faults import FaultPlan
from hydra_core.testing.judge import Journal
from hydra_core.testing.keys import FakeLimits
from hydra_core.testing.sayings import Scene
from hydra_core.testing.script import Exchange, whole
from hydra_core.testing.visit import Visit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hydra_core.testing.answer import Answerer
    from hydra_core.testing.keys import FakeCall, Keyring, KnownKey
    from hydra_core.testing.limits import Quota
    from hydra_core.testing.script import Received, Script
    from hydra_core.testing.vendors import Vendor

UNKNOWN_KEY: Final = "unknown"

# Where keys travel: OpenAI's header, then Azure's, Anthropic's and Gemini's own.
_KEY_HEADERS: Final = ("authorization", "api-key", "x-api-key", "x-goog-api-key")


@dataclass(frozen=True, slots=True)
class House:
    """How one fake provider is furnished; nothing here changes while it serves."""

    models: tuple[str, ...]
    keyring: Keyring
    model_limits: Mapping[str, FakeLimits]
    vendor: Vendor
    answerer: Answerer
    latency: float | Callable[[FakeCall], float]
    chunk_delay: float
    scale: float
    strict: bool
    clock: Callable[[], float]


class Desk:
    """Everything that changes while a provider serves, behind one lock.

    `changed` guards all of it and rings when a call ends. The answerer and the
    latency function run outside it: they may look at the provider.
    """

    def __init__(self, house: House, *, seed: int, tolerance: float) -> None:
        self.house = house
        self.changed = threading.Condition(threading.RLock())
        self.plan = FaultPlan(random.Random(seed))
        self.dead: set[str] = set()
        self.saturated: dict[str, float] = {}  # account -> until, seconds since the start
        self.quotas: dict[tuple[str, str], Quota] = {}
        self.journal = Journal(tolerance=tolerance)
        self.in_flight = 0
        self._tolerance = tolerance
        self._zero = house.clock()

    def begin(self) -> None:
        """Time and windows count from here, unless calls have been counted already."""
        if not self.journal.calls:
            self._zero = self.house.clock()

    def now(self) -> float:
        """Seconds since the start."""
        return self.house.clock() - self._zero

    def limits_of(self, account: str, model: str) -> FakeLimits:
        """What `account` may do with `model`."""
        own = next((k.limits for k in self.house.keyring if k.account == account), FakeLimits())
        particular = self.house.model_limits.get(model)
        return particular.over(own) if particular else own

    def reset(self) -> None:
        """Forget log, waits and usage; calls in flight stay in the log."""
        with self.changed:
            journal = Journal(tolerance=self._tolerance)
            journal.calls = [call for call in self.journal.calls if call.ended_at is None]
            self.journal = journal
            self.quotas.clear()
            self.saturated.clear()

    def handle(self, request: Received) -> Exchange:
        """Answer one HTTP request; called on the server's thread."""
        path = request.path.partition("?")[0].rstrip("/")
        if request.method == "POST" and path.endswith("/chat/completions"):
            return self._chat(request)
        scene = Scene("", UNKNOWN_KEY, self.house.scale, time.time())
        if request.method == "GET" and path.endswith("/models"):
            return _unlogged(self._models(request, scene))
        return _unlogged(self._spoken("not_found", scene))

    def _models(self, request: Received, scene: Scene) -> Script:
        holder = self._holder(request)
        if holder is None or holder.name in self.dead:
            return self._spoken("auth", scene)
        rows = [
            {"id": model, "object": "model", "created": 0, "owned_by": "fake"}
            for model in self.house.models
        ]
        return whole(200, orjson.dumps({"object": "list", "data": rows}))

    def _chat(self, request: Received) -> Exchange:
        at = self.now()
        try:
            body = orjson.loads(request.body)
        except orjson.JSONDecodeError:
            body = None
        holder = self._holder(request)
        fields = body if isinstance(body, dict) else {}
        with self.changed:
            self.in_flight += 1
            call = self.journal.arrive(
                at,
                since=at - request.lag,
                key=holder.name if holder else UNKNOWN_KEY,
                account=holder.account if holder else UNKNOWN_KEY,
                model=str(fields.get("model", "")),
                stream=bool(fields.get("stream")),
                body_hash=hashlib.sha256(request.body).hexdigest()[:16],
            )
        visit = Visit(self, call, body)
        return Exchange(visit.script(holder), on_head=visit.sent, on_end=visit.ended)

    def _holder(self, request: Received) -> KnownKey | None:
        given = next((request.headers[n] for n in _KEY_HEADERS if n in request.headers), "")
        return self.house.keyring.holder(given.removeprefix("Bearer ").strip())

    def _spoken(self, fault: str, scene: Scene) -> Script:
        saying = self.house.vendor.saying(fault)
        return whole(saying.status, self.house.vendor.speak(saying, scene), saying.headers)


def _unlogged(script: Script) -> Exchange:
    return Exchange(script, on_head=lambda: None, on_end=lambda _finished: None)
