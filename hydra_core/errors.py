"""What can go wrong, sorted by whose fault it is and what to do now.

    HydraError(Exception)        never a RuntimeError: LlamaIndex rewrites those
    +- ConfigError               you: the pool cannot be built as configured
    +- RequestRejected           you: no deployment will accept this request
    |  +- InvalidArgument          ... an argument is nothing that can be meant
    |  +- ContextTooLong           ... it is longer than every model's window
    |  +- ContentRefused           ... a provider refused the content
    +- SourceError               you: the document cannot be read
    +- PoolExhausted             us: no capacity came in time (.eta, .attempts)
    |  +- DeadlineExceeded         ... the deadline passed while an attempt was under way
    +- StreamBroken              they: a stream died after its first token (.partial)
    +- HydraClosed               you: the object was closed

One attempt's failure is a value (`messages.Attempt`), not an exception; a
swarm's lost shard is an entry in its ledger. Every message says what happened,
at which deployment, and what to do; none holds a secret.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hydra_core.messages import Attempt


class HydraError(Exception):
    """Base of every error that Hydra raises on purpose."""


class ConfigError(HydraError):
    """The configuration cannot be used; the message names the setting and the remedy."""


class RequestRejected(HydraError):
    """No deployment will accept this request, so trying again cannot help.

    `attempts` holds what was tried, in order; `status` is the provider's, if any.
    """

    def __init__(
        self, message: str, *, attempts: Sequence[Attempt] = (), status: int | None = None
    ) -> None:
        super().__init__(message)
        self.attempts: tuple[Attempt, ...] = tuple(attempts)
        self.status = status


class InvalidArgument(RequestRejected, ValueError, TypeError):
    """An argument is of another kind, or out of its range; the message names it.

    Python's own errors for that, too, so that whoever catches those catches this.
    """


class ContextTooLong(RequestRejected):
    """The request is longer than the context window of every eligible model."""


class ContentRefused(RequestRejected):
    """A provider refused the content; other keys of it would refuse it as well."""


class SourceError(HydraError):
    """A document cannot be read: missing, empty, binary, or of an unknown format."""


class PoolExhausted(HydraError):
    """No capacity came in time.

    `eta` is the number of seconds until this very request could start, or None
    when nothing that is known would make it possible; `attempts` lists every
    try, in order; `offline` is True when no provider at all could be reached; `causes`
    names the faults that are no mere limits, with what the providers said of them, that
    of the key which the `eta` is of before others;
    `limit_eta` is the seconds until a key can start it that is well and held back by
    limits alone, None where there is no such key: an `eta` is then a guess of ours. It is
    the `eta` itself where that is a wait for a limit: then the causes lie elsewhere.
    """

    def __init__(
        self,
        message: str,
        *,
        eta: float | None = None,
        attempts: Sequence[Attempt] = (),
        offline: bool = False,
        causes: Sequence[str] = (),
        limit_eta: float | None = None,
    ) -> None:
        super().__init__(message)
        self.eta = eta
        self.limit_eta = limit_eta
        self.causes: tuple[str, ...] = tuple(causes)
        self.offline = offline
        self.attempts: tuple[Attempt, ...] = tuple(attempts)


class DeadlineExceeded(PoolExhausted):
    """The deadline of the call passed while an attempt was under way."""


class StreamBroken(HydraError):
    """A stream ended early after text had been shown; `partial` is that text."""

    def __init__(
        self, message: str, *, partial: str = "", attempts: Sequence[Attempt] = ()
    ) -> None:
        super().__init__(message)
        self.partial = partial
        self.attempts: tuple[Attempt, ...] = tuple(attempts)


class HydraClosed(HydraError):
    """The object was closed; build a new one."""
