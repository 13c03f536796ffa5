"""What an SDK is told: a provider's own response, or Hydra's words in OpenAI's error shape."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Self

from hydra_core.dialects.json_body import dumps
from hydra_core.drive.redaction import redacted
from hydra_core.errors import (
    ContentRefused,
    ContextTooLong,
    HydraError,
    PoolExhausted,
    RequestRejected,
)
from hydra_core.messages import Fault

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from hydra_core.engine.deployment import Deployment
    from hydra_core.messages import Attempt
    from hydra_core.vault import Secret

RawHeaders = tuple[tuple[bytes, bytes], ...]

# Of the provider's connection or of its own session, which the SDK has no part in. The
# body is handed on unchunked and uncompressed.
_NOT_PASSED_ON: Final = frozenset(
    {"content-length", "transfer-encoding", "content-encoding", "connection", "keep-alive",
     "set-cookie", "alt-svc", "strict-transport-security", "x-should-retry"}
)  # fmt: skip

# Every key has been tried already: an SDK that repeats the request multiplies what failed.
NO_RETRY: Final = (b"x-should-retry", b"false")


@dataclass(frozen=True, slots=True)
class SdkReply:
    """One whole response for an SDK. Header names are lower case."""

    status: int
    headers: RawHeaders
    body: bytes = field(repr=False)

    @classmethod
    def json(cls, status: int, value: dict[str, Any], *headers: tuple[bytes, bytes]) -> Self:
        """A reply of our own."""
        return cls(status, ((b"content-type", b"application/json"), *headers), dumps(value))

    def final(self) -> SdkReply:
        """The same reply, which the SDK must not answer with another try."""
        return SdkReply(self.status, (*self.headers, NO_RETRY), self.body)


def response_headers(headers: Mapping[str, str], secret: Secret | None) -> RawHeaders:
    """A provider's headers, as far as they concern the SDK."""
    known = () if secret is None else (secret,)
    return tuple(
        _raw(name, redacted(value, known))
        for name, value in headers.items()
        if name not in _NOT_PASSED_ON
    )


def route_headers(deployment: Deployment, attempts: int) -> RawHeaders:
    """Who answered, and at which attempt."""
    route = {
        "provider": deployment.provider,
        "model": deployment.model.name,
        "key": deployment.key,
        "attempts": str(attempts),
    }
    return tuple(_raw(f"x-hydra-{name}", value) for name, value in route.items())


def refused(
    status: int, code: str, message: str, *, eta: float | None = None, attempts: int = 0
) -> SdkReply:
    """An error in OpenAI's shape; `eta` is the seconds after which asking again makes sense."""
    error = {"message": message, "type": "hydra_error", "param": None, "code": code, "eta": eta}
    headers: Iterable[tuple[bytes, bytes]] = ()
    if eta is not None:
        headers = (_raw("retry-after", str(max(1, math.ceil(eta)))),)
    told = _raw("x-hydra-attempts", str(attempts))
    return SdkReply.json(status, {"error": error}, *headers, told).final()


def refused_for(error: HydraError) -> SdkReply:
    """Why a journey ended without any response of a provider that could be handed on.

    Status and code: 429 `pool_exhausted` when nothing could be sent; 504 or 502 and
    the fault's name when it was sent and no server answered usably; 400 or 413 for
    what no configured model can take.
    """
    attempts: tuple[Attempt, ...] = getattr(error, "attempts", ())
    status, code = _status_and_code(error, attempts)
    eta = error.eta if isinstance(error, PoolExhausted) else None
    return refused(status, code, str(error), eta=eta, attempts=len(attempts))


def _status_and_code(error: HydraError, attempts: Sequence[Attempt]) -> tuple[int, str]:
    match error:
        case ContextTooLong():
            return 400, "context_length_exceeded"
        case ContentRefused():
            return 400, "content_filter"
        case RequestRejected() if attempts:
            return _told(attempts[-1], 400), attempts[-1].outcome
        case RequestRejected():
            return 413, "request_too_large"
        case PoolExhausted() if attempts:
            last = attempts[-1]
            return _told(last, 504 if last.outcome == Fault.TIMEOUT else 502), last.outcome
        case PoolExhausted():
            return 429, "pool_exhausted"
    return 503, "closed"


def _told(attempt: Attempt, otherwise: int) -> int:
    """The status of the error, which a provider may send within a response of status 200."""
    return attempt.status if attempt.status and attempt.status >= 400 else otherwise


def _raw(name: str, value: str) -> tuple[bytes, bytes]:
    return name.encode("latin-1", "replace"), value.encode("latin-1", "replace")
