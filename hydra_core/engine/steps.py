"""What a journey asks of its driver, one step at a time, and how patient it may be.

Send(lease, timeout)   put it on the wire and report how it ended
Park(ticket, seconds)  no capacity: wait for the ticket's bell, at most this long
Reply                  the answer itself; the journey is over
GiveUp(error)          no answer in time, or none possible: degrade or raise
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from hydra_core.messages import Reply

if TYPE_CHECKING:
    from hydra_core.engine.deployment import Lease
    from hydra_core.engine.queue import Ticket
    from hydra_core.errors import HydraError


class Send(NamedTuple):
    """Put the request on the wire with this lease, for at most `timeout` seconds.

    A stream is given `timeout` until it begins and `deadline` (monotonic) until it ends.
    """

    lease: Lease
    timeout: float
    deadline: float


@dataclass(frozen=True, slots=True)
class Park:
    """Wait until the ticket's bell rings, at most `seconds`."""

    ticket: Ticket
    seconds: float


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The journey ends without an answer."""

    error: HydraError


Step = Send | Park | Reply | GiveUp


@dataclass(frozen=True, slots=True)
class Patience:
    """How long one call may take, in seconds: waiting for capacity, one try, everything."""

    max_wait: float = 30.0
    attempt_timeout: float = 60.0
    timeout: float = 120.0
