"""Hydra's errors in LangChain's terms: each is both.

LangChain's middleware and graphs decide by `ModelError.is_retryable`, and retry
whatever is no `ModelError` at all. Hydra has already tried every usable route
when it gives up, so most answers here are no.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from langchain_core.exceptions import (
    ContextOverflowError,
    ModelConnectionError,
    ModelError,
    ModelInvalidRequestError,
    ModelNotFoundError,
    ModelTimeoutError,
)

from hydra_core.errors import (
    ConfigError,
    ContentRefused,
    ContextTooLong,
    DeadlineExceeded,
    HydraClosed,
    HydraError,
    PoolExhausted,
    RequestRejected,
    SourceError,
    StreamBroken,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

_NOT_FOUND: Final = 404


class UnknownArgument(ConfigError, TypeError):
    """A model or a call was given an argument that it does not know."""


class ModelHydraError(HydraError, ModelError):
    """Any other error of Hydra; trying again would not help."""


class ModelConfigError(ConfigError, ModelError):
    """The configuration cannot be used."""


class ModelRequestRejected(RequestRejected, ModelInvalidRequestError):
    """No deployment will accept this request."""


class ModelNotServed(RequestRejected, ModelNotFoundError):
    """No deployment knows the model that was asked for."""


class ModelContextTooLong(ContextTooLong, ContextOverflowError):
    """The request is longer than the context window of every eligible model."""


class ModelContentRefused(ContentRefused, ModelInvalidRequestError):
    """A provider refused the content."""


class ModelSourceError(SourceError, ModelInvalidRequestError):
    """A document cannot be read."""


class ModelPoolExhausted(PoolExhausted, ModelError):
    """No capacity came in time; not before `.eta` seconds can a retry succeed."""


class ModelDeadlineExceeded(DeadlineExceeded, ModelTimeoutError):
    """The time given for the whole call is over; a retry would exceed it further."""

    is_retryable = False


class ModelStreamBroken(StreamBroken, ModelConnectionError):
    """A stream ended early; `.partial` is its text. A fresh call may well succeed."""


class ModelClosed(HydraClosed, ModelError):
    """The Hydra behind this model was closed."""


_TWINS: Final[dict[type[HydraError], type[HydraError]]] = {
    HydraError: ModelHydraError,
    ConfigError: ModelConfigError,
    RequestRejected: ModelRequestRejected,
    ContextTooLong: ModelContextTooLong,
    ContentRefused: ModelContentRefused,
    SourceError: ModelSourceError,
    PoolExhausted: ModelPoolExhausted,
    DeadlineExceeded: ModelDeadlineExceeded,
    StreamBroken: ModelStreamBroken,
    HydraClosed: ModelClosed,
}


def as_model_error(error: HydraError) -> HydraError:
    """The same error as a `ModelError`: message, `.attempts`, `.eta` and the rest are kept."""
    if isinstance(error, ModelError):
        return error
    twin = next(_TWINS[base] for base in type(error).__mro__ if base in _TWINS)
    if twin is ModelRequestRejected and getattr(error, "status", None) == _NOT_FOUND:
        twin = ModelNotServed
    translated = twin.__new__(twin, *error.args)
    translated.__dict__.update(error.__dict__)
    return translated


@contextmanager
def model_errors() -> Iterator[None]:
    """Raise Hydra's errors from the body as errors that LangChain understands, too."""
    try:
        yield
    except HydraError as error:
        raise as_model_error(error) from error


def is_worth_retrying(error: BaseException) -> bool:
    """True when the same request, sent again at once, may succeed."""
    return isinstance(error, ModelError) and error.is_retryable
