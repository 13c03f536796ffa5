"""What the packages offer is there, and nothing else is promised."""

from importlib import import_module

import pytest

PACKAGES = [
    "hydra_core",
    "hydra_core.cli",
    "hydra_core.config",
    "hydra_core.swarm",
    "hydra_core.testing",
    "hydra_langchain",
    "hydra_llamaindex",
]


@pytest.mark.parametrize("name", PACKAGES)
def test_everything_exported_is_there(name):
    """Each name in `__all__` resolves, once, in sorted order."""
    package = import_module(name)
    assert list(package.__all__) == sorted(set(package.__all__))
    for exported in package.__all__:
        assert getattr(package, exported) is not None


@pytest.mark.parametrize("name", PACKAGES)
def test_unknown_names_are_attribute_errors(name):
    """A name that is not there raises AttributeError, also where imports are lazy."""
    with pytest.raises(AttributeError):
        getattr(import_module(name), "NoSuchName")  # noqa: B009 - a type checker would object


def test_the_contract_is_at_the_front_door():
    """The names of the public contract are importable from the package itself."""
    import hydra_core

    promised = {
        "Hydra", "HydraConfig", "Reply", "Chunk", "Attempt", "Usage", "SwarmResult", "SwarmPlan",
        "HydraError", "ConfigError", "RequestRejected", "ContextTooLong", "ContentRefused",
        "PoolExhausted", "DeadlineExceeded", "StreamBroken", "HydraClosed",
    }  # fmt: skip
    assert promised <= set(hydra_core.__all__)
