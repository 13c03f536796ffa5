"""A function that calls a provider, given a key that is free, and another when that one fails."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar, cast

from hydra_core.errors import HydraError, InvalidArgument
from hydra_core.leases import HeldLease, Tell
from hydra_core.messages import OK

if TYPE_CHECKING:
    from hydra_core.drive.exchange import Exchange
    from hydra_core.drive.gate import Gate
    from hydra_core.engine.dispatch import Dispatch

F = TypeVar("F", bound=Callable[..., Any])


class Rotate:
    """The decorator that `Hydra.rotate` returns."""

    def __init__(
        self, gate: Gate, exchange: Exchange, journey: Callable[[], Dispatch], tell: Tell
    ) -> None:
        self._gate = gate
        self._tell = tell
        self._exchange = exchange
        self._journey = journey

    def __call__(self, function: F) -> F:
        """Wrap a sync or async function that takes `api_key`.

        Raises InvalidArgument for a generator, and for what is no function.
        """
        if not callable(function):
            raise InvalidArgument("rotate() decorates a function that takes api_key")
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise InvalidArgument(
                "rotate() cannot wrap a generator: it would run after its key went back. "
                "Use `with hydra.lease()` inside of it"
            )
        accepted = inspect.signature(function).parameters
        takes_all = any(p.kind is p.VAR_KEYWORD for p in accepted.values())

        def given(lease: HeldLease, journey: Dispatch) -> dict[str, Any]:
            secret = lease.api_key
            words = {
                "api_key": secret.get_secret_value() if secret is not None else "",
                "base_url": lease.base_url,
                "model": lease.model,
                "lane": journey.request.lane,
                "lease": lease,
            }
            return {
                name: word
                for name, word in words.items()
                if name in accepted or (takes_all and name == "api_key")
            }

        if inspect.iscoroutinefunction(function):
            return cast("F", self._wrap_async(function, given))
        return cast("F", self._wrap_sync(function, given))

    def _wrap_sync(
        self,
        function: Callable[..., Any],
        given: Callable[[HeldLease, Dispatch], dict[str, Any]],
    ) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            journey = self._journey()
            last: Exception | None = None
            try:
                while True:
                    lease = HeldLease(self._gate, self._exchange, journey)
                    try:
                        lease.__enter__()
                    except HydraError as exhausted:
                        raise last or exhausted from None
                    try:
                        result = function(*args, **{**given(lease, journey), **kwargs})
                    except Exception as error:
                        if not lease.end(error):
                            raise
                        last = error
                    else:
                        lease.end(None)
                        return result
            finally:
                self._gate.abandon(journey)
                if journey.attempts:
                    self._tell(journey.attempts, served=journey.attempts[-1].outcome == OK)

        return wrapper

    def _wrap_async(
        self,
        function: Callable[..., Awaitable[Any]],
        given: Callable[[HeldLease, Dispatch], dict[str, Any]],
    ) -> Callable[..., Awaitable[Any]]:
        @functools.wraps(function)
        async def wrapper(*args: Any, **kwargs: Any) -> Any:
            journey = self._journey()
            last: Exception | None = None
            try:
                while True:
                    lease = HeldLease(self._gate, self._exchange, journey)
                    try:
                        await lease.__aenter__()
                    except HydraError as exhausted:
                        raise last or exhausted from None
                    try:
                        result = await function(*args, **{**given(lease, journey), **kwargs})
                    except Exception as error:
                        if not lease.end(error):
                            raise
                        last = error
                    else:
                        lease.end(None)
                        return result
            finally:
                self._gate.abandon(journey)
                if journey.attempts:
                    self._tell(journey.attempts, served=journey.attempts[-1].outcome == OK)

        return wrapper
