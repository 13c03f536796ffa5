"""What both drivers do between a step and the wire: write the request, read what came back.

No I/O happens here; the two drivers differ only in how they wait.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from hydra_core.drive.redaction import Forms, Veil, clean_verdict, redacted
from hydra_core.drive.stream_record import StreamRecord
from hydra_core.errors import HydraError
from hydra_core.messages import Fault
from hydra_core.vault import fingerprint
from hydra_core.wire import Answer, Failed, Replied, Target, Verdict, WireRequest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hydra_core.dialects.base import Dialect
    from hydra_core.drive.stream_record import StreamPatience
    from hydra_core.engine.deployment import Deployment
    from hydra_core.engine.steps import Send
    from hydra_core.messages import ChatRequest
    from hydra_core.vault import Secret


logger = logging.getLogger(__name__)

DRAIN: Final = 0.05
"""Seconds to wait for the end of a body whose stream has given its end mark."""


@dataclass(frozen=True, slots=True)
class Line:
    """How to reach one provider with one key."""

    dialect: Dialect
    base_url: str
    secret: Secret | None
    auth_header: str = "authorization"
    auth_prefix: str = "Bearer "
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class _Way:
    """What each call to one deployment needs, found at once."""

    line: Line
    target: Target
    forms: Forms


class Exchange:
    """Writes requests for, and reads replies of, the deployments of one pool."""

    def __init__(self, lines: Mapping[tuple[str, str], Line]) -> None:
        """`lines` maps (provider, key name) to the way there."""
        self._lines = lines
        self._forms: dict[tuple[str, str], Forms] = {}
        self._ways: dict[Deployment, _Way] = {}
        self.secrets = [line.secret for line in lines.values() if line.secret is not None]

    def line(self, deployment: Deployment) -> Line:
        """The way to a deployment."""
        return self._lines[deployment.provider, deployment.key]

    def identities(self, salt: str) -> dict[tuple[str, str], str]:
        """What stands for each key in stored data, by (provider, key name)."""
        return {
            # A server that wants no key is known by its name here.
            (provider, key): fingerprint(
                line.secret, salt, line.base_url, provider, "" if line.secret else key
            )
            for (provider, key), line in self._lines.items()
        }

    def write(
        self, request: ChatRequest, deployment: Deployment, *, stream: bool = False
    ) -> tuple[WireRequest, Secret | None]:
        """The request in the provider's words, and the key that the transport attaches."""
        way = self._way(deployment)
        line = way.line
        wire = line.dialect.encode(way.target, request, stream=stream)
        if line.auth_header != wire.auth_header or line.auth_prefix != wire.auth_prefix:
            wire = replace(wire, auth_header=line.auth_header, auth_prefix=line.auth_prefix)
        return wire, line.secret

    def read(self, outcome: Replied | Failed, deployment: Deployment) -> Answer:
        """What came back, whatever it was; the key is cut out of it first."""
        if isinstance(outcome, Failed):
            return self.failed(outcome)
        way = self._way(deployment)
        body = way.forms.mask_bytes(outcome.body)
        answer = way.line.dialect.read(outcome.status, outcome.headers, body, now=time.time())
        if answer.verdict.fault is not None:
            verdict = clean_verdict(answer.verdict, way.forms, self.secrets)
            answer = replace(answer, verdict=verdict)
        return answer

    def record(
        self,
        status: int,
        headers: Mapping[str, str],
        send: Send,
        patience: StreamPatience,
        begun: float,
    ) -> StreamRecord:
        """The record of a stream that began well at `begun` (monotonic seconds)."""
        deployment = send.lease.deployment
        way = self._way(deployment)
        reader = way.line.dialect.stream(status, headers, now=time.time())
        return StreamRecord(
            deployment,
            reader,
            patience,
            begun=begun,
            deadline=send.deadline,
            prompt_tokens=int(deployment.model.prompt_tokens(send.lease.size)),
            veil=Veil(way.forms, self.secrets),
        )

    def failed(self, outcome: Failed) -> Answer:
        """An exchange without a usable response."""
        verdict = Verdict(fault=outcome.fault, message=redacted(outcome.detail, self.secrets))
        return Answer(verdict, sent=outcome.written)

    def raised(self, error: Exception) -> Failed:
        """What a transport raised, against its promise, fails this attempt and no more.

        Its words are not repeated: they may hold the key. HydraErrors are raised again.
        """
        if isinstance(error, HydraError):
            raise error
        kind = type(error).__name__
        logger.warning("the transport raised %s; the attempt counts as failed", kind)
        return Failed(Fault.UNKNOWN, f"the transport failed with {kind}")

    def _way(self, deployment: Deployment) -> _Way:
        way = self._ways.get(deployment)
        if way is None:
            line, place = self.line(deployment), (deployment.provider, deployment.key)
            target = Target(line.base_url, deployment.model.name, line.headers)
            forms = self._forms.setdefault(place, Forms(line.secret))  # one for all its models
            way = self._ways[deployment] = _Way(line, target, forms)
        return way
