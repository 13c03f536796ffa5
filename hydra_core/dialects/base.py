"""What every dialect can do, as Protocols.

A dialect is pure: bytes in, values out. It holds no clock, no credential and no
state between calls, so one instance serves all threads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hydra_core.messages import ChatRequest
    from hydra_core.wire import Answer, LimitReading, StreamEvent, Target, Verdict, WireRequest

# A real name, because CDNs in front of some providers refuse clients without one.
# A constant, because reading package metadata is I/O; a test compares the two.
USER_AGENT: Final = "hydra-llm/0.1.0"


class StreamReader(Protocol):
    """One streamed reply, fed as its bytes arrive.

    `readings` are the limits that the response headers state; `scope_hint` is
    the account as the provider names it there, if it does. `in_one_piece` turns True when
    the body was no stream but one plain reply; `finish` gives it as a single event.
    """

    readings: tuple[LimitReading, ...]
    scope_hint: str | None
    in_one_piece: bool

    def feed(self, data: bytes) -> list[StreamEvent]:
        """The events that these bytes complete; any split of the stream gives the same events.

        Nothing follows an event that is `done` or carries a verdict.
        """
        ...

    def finish(self) -> StreamEvent | None:
        """Say how the stream ended, once its body has ended.

        None: the end mark had come. An event without a verdict is the last one
        of a body that ends without a blank line. An event with a verdict is a
        failure; without an end mark that is `INVALID_RESPONSE`.
        """
        ...


class Dialect(Protocol):
    """How one family of providers is asked, and how it answers.

    Header names are lower case. `now` is wall clock time in epoch seconds; it
    counts only for absolute times in replies that have no `date` header. No
    reading method raises, whatever the bytes are.
    """

    def encode(self, target: Target, request: ChatRequest, *, stream: bool) -> WireRequest:
        """Write the HTTP request, without a credential.

        Parameters that the vendor would refuse are dropped or renamed. Raises
        RequestRejected when the request cannot be written as JSON.
        """
        ...

    def read(self, status: int, headers: Mapping[str, str], body: bytes, *, now: float) -> Answer:
        """Read one whole response, good or bad."""
        ...

    def stream(self, status: int, headers: Mapping[str, str], *, now: float) -> StreamReader:
        """Begin to read a streamed 2xx response."""
        ...

    def verdict_of(
        self, status: int | None, headers: Mapping[str, str], body: bytes, *, now: float
    ) -> Verdict:
        """Classify a failure that another client met; `status` None: it named none."""
        ...
