"""The OpenAI chat dialect, which almost every provider speaks with its own accent."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from hydra_core.dialects import verdicts
from hydra_core.dialects.base import USER_AGENT, StreamReader
from hydra_core.dialects.completion import completion_of, usage_of
from hydra_core.dialects.json_body import dumps, loads
from hydra_core.dialects.openai_stream import ChatSteps
from hydra_core.dialects.streams import EventReader
from hydra_core.drafts import drafted
from hydra_core.wire import Answer, Target, Verdict, WireRequest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hydra_core.dialects.vendors import Vendor
    from hydra_core.messages import ChatRequest

_COMMON: Final = (
    ("content-type", "application/json"),
    ("accept-encoding", "identity"),  # a compressed reply could unpack to any size
    ("user-agent", USER_AGENT),
)
_WHOLE: Final = (*_COMMON, ("accept", "application/json"))
_STREAM: Final = (*_COMMON, ("accept", "text/event-stream"))
_verdict = drafted(Verdict)
_wire_request = drafted(WireRequest)


class OpenAIDialect:
    """Chat completions over `POST {base}/chat/completions`, for one vendor."""

    __slots__ = ("vendor",)

    def __init__(self, vendor: Vendor) -> None:
        self.vendor: Final = vendor

    def encode(self, target: Target, request: ChatRequest, *, stream: bool) -> WireRequest:
        """Write the request; see `Dialect.encode`."""
        return _wire_request(
            "POST",
            self.url(target),
            request_headers(target, stream=stream),
            dumps(self.body(target.model, request, stream=stream)),
        )

    def url(self, target: Target) -> str:
        """Where this target's completions are; the query of its base URL is kept."""
        return _completions_at(target.base_url)

    def body(self, model: str, request: ChatRequest, *, stream: bool) -> dict[str, Any]:
        """The request's JSON, fitted to what the vendor accepts."""
        parameters = self.vendor.parameters
        body: dict[str, Any] = {
            "model": model,
            "messages": parameters.fit_messages(request.messages, model),
        }
        if request.params:
            body.update(parameters.fit(request.params, model))
        options = body.pop("stream_options", None)
        if stream:
            body["stream"] = True
            if parameters.stream_usage:
                body["stream_options"] = {"include_usage": True}
                if isinstance(options, dict):
                    body["stream_options"] |= {**options, "include_usage": True}
        return body

    def read(self, status: int, headers: Mapping[str, str], body: bytes, *, now: float) -> Answer:
        """Read one whole response; see `Dialect.read`."""
        if not 200 <= status < 300:
            return Answer(verdicts.judge(self.vendor, status, headers, body, now=now))
        try:
            value = loads(body)
        except ValueError:
            return Answer(verdicts.judge(self.vendor, status, headers, body, now=now))
        choice = _first_choice(value)
        if choice is None:
            return self._no_answer(status, headers, value, now)
        if choice.get("error"):
            return self._no_answer(status, headers, {**value, "error": choice["error"]}, now)
        good = _verdict(
            status=status,
            scope_hint=verdicts.hint_of(self.vendor, headers),
            readings=verdicts.readings_of(self.vendor, headers, now),
        )
        return completion_of(value, choice, good)

    def stream(self, status: int, headers: Mapping[str, str], *, now: float) -> StreamReader:
        """Begin to read a streamed response; see `Dialect.stream`."""
        return EventReader(
            ChatSteps(verdicts.ReplyContext(self.vendor, status, headers, now)),
            read=lambda body: self.read(status, headers, body, now=now),
            readings=verdicts.readings_of(self.vendor, headers, now),
            scope_hint=verdicts.hint_of(self.vendor, headers),
        )

    def verdict_of(
        self, status: int | None, headers: Mapping[str, str], body: bytes, *, now: float
    ) -> Verdict:
        """Classify a failure that another client met; see `Dialect.verdict_of`."""
        return verdicts.judge(self.vendor, status, headers, body, now=now)

    def _no_answer(self, status: int, headers: Mapping[str, str], value: Any, now: float) -> Answer:
        verdict = verdicts.judge_value(self.vendor, status, headers, value, now=now)
        if not isinstance(value, dict):
            return Answer(verdict)
        return Answer(verdict, usage=usage_of(value.get("usage")), raw=value)


@lru_cache(maxsize=1024)
def _completions_at(base_url: str) -> str:
    base, question, query = base_url.partition("?")
    return f"{base.rstrip('/')}/chat/completions{question}{query}"


def _first_choice(value: Any) -> dict[str, Any] | None:
    """The first choice of a completion; None when it is an error or something else."""
    if not isinstance(value, dict) or value.get("error"):
        return None
    choices = value.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    return first if isinstance(first, dict) else None


def request_headers(target: Target, *, stream: bool) -> tuple[tuple[str, str], ...]:
    """The headers of a request, without a credential; the target's own win."""
    headers = _STREAM if stream else _WHOLE
    if not target.headers:
        return headers
    own = {name.lower(): value for name, value in target.headers}
    return (*(pair for pair in headers if pair[0] not in own), *own.items())
