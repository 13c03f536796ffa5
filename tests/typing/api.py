"""The public interface as a type checker sees it: checked by `make check`, never run."""

from collections.abc import AsyncIterator, Iterator
from typing import assert_type

from hydra_core import (
    Attempt,
    Chunk,
    Hydra,
    HydraConfig,
    PoolExhausted,
    Reply,
    Secret,
    SwarmPlan,
    SwarmResult,
    Usage,
)
from hydra_langchain import ChatHydra
from hydra_llamaindex import HydraLLM


def blocking(hydra: Hydra) -> None:
    reply = hydra.chat("Who?", model="m", deadline=5.0, on_exhausted="raise")
    assert_type(reply, Reply)
    assert_type(reply.usage, Usage)
    assert_type(reply.attempts, tuple[Attempt, ...])
    assert_type(reply.eta, float | None)
    assert_type(hydra.stream([{"role": "user", "content": "Who?"}]), Iterator[Chunk])
    assert_type(hydra.swarm("Who?", "book.txt", deadline=60.0), SwarmResult)
    assert_type(hydra.plan("book.txt"), SwarmPlan)


def compared(hydra: Hydra) -> None:
    trial = hydra.experiment("style", {"short": {"system": "Be brief."}, "long": {}})
    reply = trial.chat("Who?", unit="user-17")
    assert_type(reply.variant, str)
    trial.feedback(reply, 0.9)
    assert_type(trial.report().differences[0].shown, bool | None)


async def on_a_loop() -> None:
    async with Hydra({"providers": []}) as hydra:
        assert_type(await hydra.achat("Who?"), Reply)
        assert_type(hydra.astream("Who?"), AsyncIterator[Chunk])
        assert_type(await hydra.aswarm("Who?", ["one text", "another"]), SwarmResult)


def leased(hydra: Hydra) -> None:
    with hydra.lease(provider="groq", tokens=500) as lease:
        assert_type(lease.api_key, Secret | None)  # None: a server that wants no key
        if lease.api_key is not None:
            assert_type(lease.api_key.get_secret_value(), str)


def configured() -> None:
    assert_type(HydraConfig.from_file("hydra.toml"), HydraConfig)
    assert_type(HydraConfig.from_env(), HydraConfig)
    assert_type(Hydra.from_env(), Hydra)


def exhausted(error: PoolExhausted) -> None:
    assert_type(error.eta, float | None)
    assert_type(error.attempts, tuple[Attempt, ...])


def adapters() -> None:
    assert_type(HydraLLM(), HydraLLM)
    assert_type(ChatHydra(model="smart"), ChatHydra)
