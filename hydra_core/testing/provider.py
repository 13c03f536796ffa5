"""`FakeProvider`: a provider to test a pipeline against, real on the wire, strict in judgement."""

from __future__ import annotations

import time
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Self

from hydra_core.errors import ConfigError
from hydra_core.testing.configured import provider_config
from hydra_core.testing.desk import Desk, House
from hydra_core.testing.echo import EchoModel
from hydra_core.testing.faults import FaultRule
from hydra_core.testing.judge import CallRecord, Tally, Violation, passed_limits, tallies, tally
from hydra_core.testing.keys import Keyring
from hydra_core.testing.recount import Charge, Recount, recount
from hydra_core.testing.server import Server
from hydra_core.testing.summary import summary
from hydra_core.testing.vendors import VENDORS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from hydra_core.testing.answer import Answerer
    from hydra_core.testing.faults import FaultName
    from hydra_core.testing.keys import FakeCall, FakeKey, FakeLimits, KnownKey
    from hydra_core.testing.vendors import VendorName

# These are no provider of the catalogue, so a configuration cannot call them by their name.
_NAMELESS = ("openai", "plain", "silent")


class FakeProvider:
    """Serves chat completions on loopback under real limits, and judges its callers.

    `answer` says what the model says (default: `EchoModel`); `latency` is the
    seconds before each answer, or a function of the call; `chunk_delay` the
    seconds between two pieces of a stream. `time_scale` shortens the minute and
    the day of every limit. `vendor` chooses in whose words and headers it refuses.
    `model_limits` override the accounts' limits model by model. `strict` rejects
    malformed requests as OpenAI does. `name` is the provider's name in `config()`
    and the stem of its keys' names; by default `fake`, or the vendor's own name
    where a client must know it to read its headers rightly. `tolerance` is how
    many seconds after a refusal a call still counts as already on its way.
    `clock` replaces the monotonic clock of its limits and its log.

    Use it as a context manager, or call `start()` and `stop()`. All methods may be
    called from any thread. No key's value is in its log, its repr or its summary.
    """

    def __init__(
        self,
        keys: Sequence[FakeKey | str],
        *,
        models: Sequence[str] = ("fake-model",),
        answer: Answerer | None = None,
        latency: float | Callable[[FakeCall], float] = 0.0,
        chunk_delay: float = 0.0,
        time_scale: float = 1.0,
        vendor: VendorName = "openai",
        model_limits: Mapping[str, FakeLimits] | None = None,
        seed: int = 0,
        strict: bool = False,
        host: str = "127.0.0.1",
        port: int = 0,
        name: str | None = None,
        tolerance: float = 0.25,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Raises ValueError for repeated keys, an unknown vendor or two limits for one account."""
        if vendor not in VENDORS:
            raise ValueError(f"there is no vendor {vendor!r}; there are {', '.join(VENDORS)}")
        self.name = name or ("fake" if vendor in _NAMELESS else vendor)
        self._house = House(
            models=tuple(models),
            keyring=Keyring(keys, provider=self.name),
            model_limits=dict(model_limits or {}),
            vendor=VENDORS[vendor],
            answerer=answer or EchoModel(),
            latency=latency,
            chunk_delay=chunk_delay,
            scale=time_scale,
            strict=strict,
            clock=clock,
        )
        self._desk = Desk(self._house, seed=seed, tolerance=tolerance)
        self._server = Server(self._desk.handle, host=host, port=port)

    def start(self) -> Self:
        """Begin to serve; raises OSError when the port is taken. Started again, the port stays."""
        if not self._server.running:
            self._desk.begin()
            self._server.start()
        return self

    def stop(self) -> None:
        """Drop every caller and cease to serve; the log stays."""
        self._server.stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_exc: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """The server's root, without a path. Raises ConfigError before the first start."""
        if not self._server.port:
            raise ConfigError("the fake provider has no address yet; call start() first")
        return f"http://{self._server.address}"

    @property
    def base_url(self) -> str:
        """What an OpenAI client takes as `base_url`."""
        return f"{self.url}/v1"

    @property
    def key_names(self) -> tuple[str, ...]:
        """What its keys are called, in order: never their values."""
        return tuple(key.name for key in self._keys())

    def config(
        self, *, tell_limits: bool = True, tell_accounts: bool = True, **overrides: Any
    ) -> dict[str, Any]:
        """A configuration for `Hydra` with this provider in it; `overrides` are its settings.

        Without `tell_limits` or `tell_accounts` they are left out, so that the
        client has to learn them from what the provider says.
        """
        provider = provider_config(
            self._house,
            name=self.name,
            base_url=self.base_url,
            limits=tell_limits,
            accounts=tell_accounts,
        )
        scale = self._house.scale
        return {"time_scale": scale, "store": "memory", "providers": [provider], **overrides}

    def fail(
        self,
        fault: FaultName,
        *,
        key: str | int | FakeKey | None = None,
        model: str | None = None,
        times: int | None = None,
        after: int = 0,
        probability: float = 1.0,
        retry_after: float | None = None,
        factor: float = 10.0,
        after_chunks: int | None = None,
        status: int | None = None,
    ) -> None:
        """Script a fault for the calls of `key` and `model` (None: of all).

        It strikes `times` calls (None: for ever) after `after` have passed, each
        with `probability`. `retry_after` is the wait that a refusal states, in real
        seconds; `factor` how much slower `slow` is; `after_chunks` how many pieces
        of content a broken stream shows (default: half); `status` replaces the
        status of a refusal or of an `html` page. Of several faults the first
        scripted one that strikes wins. Raises ValueError for an unknown fault,
        LookupError for an unknown key.
        """
        rule = FaultRule(
            fault,
            key=None if key is None else self._house.keyring.find(key).name,
            model=model,
            times=times,
            after=after,
            probability=probability,
            retry_after=retry_after,
            factor=factor,
            after_chunks=after_chunks,
            status=status,
        )
        with self._desk.changed:
            self._desk.plan.add(rule)

    def clear_faults(self) -> None:
        """Forget every scripted fault; dead keys stay dead and saturated ones saturated."""
        with self._desk.changed:
            self._desk.plan.clear()

    def kill(self, key: str | int | FakeKey) -> None:
        """From now on refuse `key` (its name, value or position from 0) as invalid."""
        with self._desk.changed:
            self._desk.dead.add(self._house.keyring.find(key).name)

    def revive(self, key: str | int | FakeKey) -> None:
        """Accept `key` again, and forget that it was refused."""
        name = self._house.keyring.find(key).name
        with self._desk.changed:
            self._desk.dead.discard(name)
            self._desk.journal.pardon(name)

    def saturate(self, key: str | int | FakeKey | None = None, seconds: float = 1.0) -> None:
        """Refuse the account of `key` (None: every account) for so many real seconds."""
        keys = self._keys() if key is None else [self._house.keyring.find(key)]
        with self._desk.changed:
            until = self._desk.now() + seconds
            self._desk.saturated.update({key.account: until for key in keys})

    @property
    def log(self) -> tuple[CallRecord, ...]:
        """Every chat request so far, in order of arrival, those in flight included."""
        with self._desk.changed:
            now = self._desk.now()
            return tuple(call.record(now) for call in self._desk.journal.calls)

    @property
    def recounts(self) -> tuple[Recount, ...]:
        """The most that was served against every limit, recounted from the log."""
        with self._desk.changed:
            charges: defaultdict[tuple[str, str], list[Charge]] = defaultdict(list)
            for call in self._desk.journal.calls:
                if call.admitted:
                    quota = self._house.vendor.quota_of(call.model)
                    charges[call.account, quota].append(call.charge())
        scale = self._house.scale
        return tuple(
            found
            for (account, model), owed in charges.items()
            for found in recount(
                account, model, self._desk.limits_of(account, model), owed, scale=scale
            )
        )

    @property
    def violations(self) -> tuple[Violation, ...]:
        """What callers should not have done, in order, and limits that were passed."""
        passed = passed_limits(self.recounts, at=self._desk.now())
        with self._desk.changed:
            return (*self._desk.journal.blames, *passed)

    @property
    def total(self) -> Tally:
        """All calls, by how they ended."""
        with self._desk.changed:
            return tally(self._desk.journal.calls)

    @property
    def by_key(self) -> dict[str, Tally]:
        """Calls of each key, by its name; every key is there, used or not."""
        with self._desk.changed:
            found = tallies(self._desk.journal.calls, lambda call: call.key)
        return {key.name: Tally() for key in self._keys()} | found

    @property
    def by_account(self) -> dict[str, Tally]:
        """Calls of each account, by its name."""
        with self._desk.changed:
            found = tallies(self._desk.journal.calls, lambda call: call.account)
        return {key.account: Tally() for key in self._keys()} | found

    @property
    def served(self) -> int:
        """Calls that got a whole, faultless answer."""
        return self.total.served

    @property
    def refused(self) -> int:
        """Calls that got an error status instead of an answer."""
        return self.total.refused

    @property
    def in_flight(self) -> int:
        """Calls that have arrived and not ended."""
        return self._desk.in_flight

    def reset(self) -> None:
        """Begin anew: log, usage and stated waits are forgotten, faults and dead keys stay."""
        self._desk.reset()

    def wait_idle(self, timeout: float = 10.0) -> None:
        """Wait until no call is in flight; raises TimeoutError after `timeout` seconds."""
        with self._desk.changed:
            if not self._desk.changed.wait_for(lambda: self._desk.in_flight == 0, timeout):
                raise TimeoutError(f"{self.in_flight} calls are still in flight")

    def summary(self) -> str:
        """A small table of what each key did."""
        with self._desk.changed:
            dead = frozenset(self._desk.dead)
        return summary(self._keys(), self.by_key, dead=dead, violations=len(self.violations))

    def _keys(self) -> tuple[KnownKey, ...]:
        return tuple(self._house.keyring)

    def __repr__(self) -> str:
        where = self._server.address if self._server.running else "stopped"
        total, dead = self.total, len(self._desk.dead)
        return (
            f"<FakeProvider {self.name} at {where} [keys: {len(self._house.keyring)}, {dead} dead "
            f"| served: {total.served}, refused: {total.refused}, broken: {total.broken} "
            f"| in flight: {total.in_flight}]>"
        )
