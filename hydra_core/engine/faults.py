"""The fault table: what each failure means, who is blamed, and what happens next.

From this table a reader learns Hydra. Its order of judging a reply (quota before
rate, code before words before status) lives in the dialects; here the verdict is
already known and only its consequences are stated.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from hydra_core.messages import Fault
from hydra_core.wire import DAY, HOUR


class Blame(Enum):
    """Whose state changes when an attempt fails."""

    NOBODY = "nobody"
    REQUEST = "request"
    KEY = "key"
    ACCOUNT = "account"
    GROUP = "quota group"
    DEPLOYMENT = "deployment"
    PROVIDER = "provider"


class Next(Enum):
    """What the request does after the fault."""

    MOVE = "try another deployment"
    MOVE_LARGER = "try only deployments that can hold it"
    STOP = "return the provider's answer: no key would help"


@dataclass(frozen=True, slots=True)
class Rule:
    """The consequences of one fault.

    `hard`: the rest is the provider's word and is never bypassed; otherwise it is
    our inference and may be probed by one request. `rest` and `cap` are seconds
    where the provider gave no wait: the first rest, and what doubling ends at
    (equal: no doubling; 0: no rest of our own). `forever`: no timer revives.
    `charged`: the provider may have spent the tokens, so they stay booked.
    """

    blame: Blame
    next: Next
    hard: bool = False
    rest: float = 0.0
    cap: float = 0.0
    forever: bool = False
    charged: bool = False


FAULTS: Final[dict[Fault, Rule]] = {
    Fault.RATE_LIMIT_MINUTE: Rule(Blame.GROUP, Next.MOVE, hard=True, rest=60.0, cap=60.0),
    Fault.RATE_LIMIT_DAY: Rule(Blame.GROUP, Next.MOVE, hard=True, rest=HOUR, cap=DAY),
    Fault.QUOTA_EXHAUSTED_BILLING: Rule(
        Blame.ACCOUNT, Next.MOVE, hard=True, rest=HOUR, cap=DAY
    ),
    Fault.AUTH: Rule(Blame.KEY, Next.MOVE, hard=True, forever=True),
    # The pair account x model rests; two accounts that agree rest it for the provider.
    Fault.MODEL_UNAVAILABLE: Rule(Blame.GROUP, Next.MOVE, hard=True, rest=HOUR, cap=DAY),
    Fault.REQUEST_TOO_LARGE: Rule(Blame.NOBODY, Next.MOVE_LARGER),
    Fault.CONTEXT_TOO_LONG: Rule(Blame.REQUEST, Next.MOVE_LARGER),
    Fault.CONTENT_FILTER: Rule(Blame.REQUEST, Next.STOP, charged=True),
    Fault.BAD_REQUEST: Rule(Blame.REQUEST, Next.STOP),
    # One bad minute of one server says little: the deployment rests for a moment. What
    # befalls a model again and again, or with several keys, rests that model, and what
    # befalls two of its models, the provider (engine.outage).
    Fault.OVERLOADED: Rule(Blame.DEPLOYMENT, Next.MOVE, rest=1.0, cap=30.0),
    Fault.INVALID_RESPONSE: Rule(Blame.DEPLOYMENT, Next.MOVE, rest=1.0, cap=30.0, charged=True),
    Fault.STREAM_BROKEN: Rule(Blame.DEPLOYMENT, Next.MOVE, rest=1.0, cap=30.0, charged=True),
    Fault.TIMEOUT: Rule(Blame.DEPLOYMENT, Next.MOVE, rest=30.0, cap=30.0, charged=True),
    Fault.UNREACHABLE: Rule(Blame.PROVIDER, Next.MOVE, rest=1.0, cap=30.0),
    Fault.UNKNOWN: Rule(Blame.DEPLOYMENT, Next.MOVE, rest=5.0, cap=80.0, charged=True),
    Fault.CANCELLED: Rule(Blame.NOBODY, Next.STOP, charged=True),
}

PLAIN_WORDS: Final[dict[Fault, str]] = {
    Fault.RATE_LIMIT_MINUTE: "rate_limit",
    Fault.RATE_LIMIT_DAY: "rate_limit",
    Fault.QUOTA_EXHAUSTED_BILLING: "rate_limit",
    Fault.AUTH: "auth",
    Fault.MODEL_UNAVAILABLE: "unavailable",
    Fault.REQUEST_TOO_LARGE: "unknown",
    Fault.CONTEXT_TOO_LONG: "unknown",
    Fault.CONTENT_FILTER: "invalid_response",
    Fault.OVERLOADED: "unavailable",
    Fault.BAD_REQUEST: "unknown",
    Fault.INVALID_RESPONSE: "invalid_response",
    Fault.TIMEOUT: "timeout",
    Fault.UNREACHABLE: "unavailable",
    Fault.STREAM_BROKEN: "invalid_response",
    Fault.CANCELLED: "unknown",
    Fault.UNKNOWN: "unknown",
}
"""The six words in which reports to people name a fault (`last_error_type`)."""
