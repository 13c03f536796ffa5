"""What the native dialects share: they are translated to OpenAI's form and read there."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from hydra_core.dialects import verdicts
from hydra_core.dialects.completion import completion_of
from hydra_core.dialects.json_body import loads
from hydra_core.dialects.streams import EventReader, Steps
from hydra_core.dialects.verdicts import ReplyContext
from hydra_core.wire import Answer, Target, Verdict, WireRequest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hydra_core.dialects.base import StreamReader
    from hydra_core.dialects.vendors import Vendor
    from hydra_core.messages import ChatRequest


class NativeDialect(ABC):
    """A dialect whose replies are not OpenAI's. Subclasses translate; this class judges."""

    __slots__ = ("vendor",)

    def __init__(self, vendor: Vendor) -> None:
        self.vendor: Final = vendor

    @abstractmethod
    def encode(self, target: Target, request: ChatRequest, *, stream: bool) -> WireRequest:
        """Write the request; see `Dialect.encode`."""

    @abstractmethod
    def completion(self, value: dict[str, Any]) -> dict[str, Any] | None:
        """A good reply as OpenAI's completion; None when it is none."""

    @abstractmethod
    def steps(self, context: ReplyContext) -> Steps:
        """The reader of a stream's events."""

    def read(self, status: int, headers: Mapping[str, str], body: bytes, *, now: float) -> Answer:
        """Read one whole response; see `Dialect.read`."""
        context = ReplyContext(self.vendor, status, headers, now)
        if not 200 <= status < 300:
            return Answer(context.judge(body))
        try:
            value = loads(body)
        except ValueError:
            return Answer(context.judge(body))
        good = isinstance(value, dict) and not value.get("error")
        completion = self.completion(value) if good else None
        if completion is None:
            raw = value if isinstance(value, dict) else {}
            return Answer(context.judge_value(value), raw=raw)
        verdict = Verdict(
            status=status,
            scope_hint=verdicts.hint_of(self.vendor, headers),
            readings=verdicts.readings_of(self.vendor, headers, now),
        )
        answer = completion_of(completion, completion["choices"][0], verdict)
        return replace(answer, raw=value)

    def stream(self, status: int, headers: Mapping[str, str], *, now: float) -> StreamReader:
        """Begin to read a streamed response; see `Dialect.stream`."""
        return EventReader(
            self.steps(ReplyContext(self.vendor, status, headers, now)),
            read=lambda body: self.read(status, headers, body, now=now),
            readings=verdicts.readings_of(self.vendor, headers, now),
            scope_hint=verdicts.hint_of(self.vendor, headers),
        )

    def verdict_of(
        self, status: int | None, headers: Mapping[str, str], body: bytes, *, now: float
    ) -> Verdict:
        """Classify a failure that another client met; see `Dialect.verdict_of`."""
        return verdicts.judge(self.vendor, status, headers, body, now=now)
