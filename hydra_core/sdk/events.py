"""What an SDK's streams say, where no dialect's own reader knows or shows enough."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from hydra_core.dialects.completion import thinks_aloud, usage_of
from hydra_core.dialects.json_body import loads
from hydra_core.dialects.verdicts import invalid
from hydra_core.wire import StreamEvent

if TYPE_CHECKING:
    from collections.abc import Callable

    from hydra_core.dialects.base import StreamReader
    from hydra_core.dialects.sse import ServerEvent
    from hydra_core.messages import Usage
    from hydra_core.wire import Verdict

_PLAIN: Final = "it answered with one plain body where a stream was asked for"
_DONE: Final = b"[DONE]"
_LAST_EVENTS: Final = frozenset({"response.completed", "response.incomplete"})
_FAILED_EVENTS: Final = frozenset({"error", "response.failed"})


def any_usage(value: dict[str, Any]) -> Usage | None:
    """The tokens that a reply or an event reports, in the words of either of OpenAI's APIs."""
    inner = value.get("response")
    usage = value.get("usage") or (inner.get("usage") if isinstance(inner, dict) else None)
    if not isinstance(usage, dict):
        return None
    return usage_of(
        {
            "prompt_tokens": usage.get("prompt_tokens", usage.get("input_tokens", 0)),
            "completion_tokens": usage.get("completion_tokens", usage.get("output_tokens", 0)),
        }
    )


class EventSteps:
    """The events of an endpoint that no dialect reads; `dialects.streams.Steps`.

    Every event that is no error counts as shown: what matters in it is not known here.
    """

    __slots__ = ("_judge", "_some")

    def __init__(self, judge: Callable[[bytes], Verdict]) -> None:
        """`judge` classifies an error by its JSON."""
        self._judge = judge
        self._some = False

    def step(self, event: ServerEvent) -> StreamEvent | None:
        """Read one event."""
        data = event.data.strip()
        if data == _DONE:
            return StreamEvent(done=True)
        try:
            value = loads(data)
        except ValueError:
            return StreamEvent(verdict=invalid("an event of the stream is no JSON"))
        kind = value.get("type") if isinstance(value, dict) else "error"
        if kind in _FAILED_EVENTS or value.get("error"):
            return StreamEvent(verdict=self._judge(data))
        self._some = True
        done = kind in _LAST_EVENTS
        return StreamEvent(_text(value), usage=any_usage(value), done=done, content=True)

    def end(self) -> StreamEvent | None:
        """Without a known end mark, the end of the body is one; a cut body is told apart."""
        return None if self._some else StreamEvent(verdict=invalid("the stream was empty"))


class ReasoningShown:
    """A dialect's `StreamReader` for a caller who is shown a model's reasoning, too."""

    def __init__(self, reader: StreamReader) -> None:
        self._reader = reader
        self.readings = reader.readings
        self.scope_hint = reader.scope_hint
        self.in_one_piece = False

    def feed(self, data: bytes) -> list[StreamEvent]:
        """See `StreamReader.feed`."""
        return [
            replace(event, content=True) if not event.content and thinks_aloud(event.raw) else event
            for event in self._reader.feed(data)
        ]

    def finish(self) -> StreamEvent | None:
        """See `StreamReader.finish`. A plain body is no stream to an SDK: it would see nothing."""
        last = self._reader.finish()
        self.in_one_piece = self._reader.in_one_piece
        return StreamEvent(verdict=invalid(_PLAIN)) if self.in_one_piece else last


def _text(value: dict[str, Any]) -> str:
    choices = value.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else value
    found = first.get("text", value.get("delta")) if isinstance(first, dict) else None
    return found if isinstance(found, str) else ""
