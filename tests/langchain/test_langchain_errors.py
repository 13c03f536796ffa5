"""Hydra's errors in LangChain's terms."""

import pickle

import pytest
from langchain_core.exceptions import ContextOverflowError, ModelError, ModelNotFoundError

from hydra_core import errors
from hydra_core.messages import Attempt
from hydra_langchain.errors import as_model_error, is_worth_retrying, model_errors

ALL = [
    errors.HydraError,
    errors.ConfigError,
    errors.RequestRejected,
    errors.ContextTooLong,
    errors.ContentRefused,
    errors.SourceError,
    errors.PoolExhausted,
    errors.DeadlineExceeded,
    errors.StreamBroken,
    errors.HydraClosed,
]


@pytest.mark.parametrize("kind", ALL)
def test_every_error_is_both(kind):
    """Each of Hydra's errors is still itself and a `ModelError`, and no RuntimeError."""
    with pytest.raises(kind, match="what happened") as caught, model_errors():
        raise kind("what happened")
    assert isinstance(caught.value, ModelError)
    assert not isinstance(caught.value, RuntimeError)
    assert not hasattr(caught.value, "response")


def test_only_a_broken_stream_is_worth_another_try():
    """Hydra has tried every route when it gives up, so sending again at once is no use."""
    worth = {kind for kind in ALL if is_worth_retrying(as_model_error(kind("x")))}
    assert worth == {errors.StreamBroken}
    assert not is_worth_retrying(TypeError("x"))


def test_an_exhausted_pool_keeps_its_facts():
    """The translated error carries the ETA and the attempts, pickled too."""
    tries = (Attempt("groq", "m", "groq-1", "auth", 401),)
    error = as_model_error(errors.PoolExhausted("none left", eta=12.5, attempts=tries))
    again = pickle.loads(pickle.dumps(error))  # noqa: S301
    assert (again.eta, again.attempts, str(again)) == (12.5, tries, "none left")


def test_langchain_finds_its_own_kinds():
    """A too long context and an unknown model are what LangChain's middleware looks for."""
    assert isinstance(as_model_error(errors.ContextTooLong("x")), ContextOverflowError)
    unknown = as_model_error(errors.RequestRejected("x", status=404))
    assert isinstance(unknown, ModelNotFoundError)


def test_a_translated_error_passes_unchanged():
    """An error that is a `ModelError` already is not wrapped again."""
    error = as_model_error(errors.HydraClosed("x"))
    assert as_model_error(error) is error
