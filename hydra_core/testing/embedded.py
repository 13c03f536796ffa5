"""The embedded default: what answers when no key is configured at all.

A FakeProvider serves real HTTP on loopback, with three keys under real limits,
answered by the extractive model, which reads only the prompt.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from hydra_core.testing.extractive import ExtractiveModel
from hydra_core.testing.keys import FakeKey, FakeLimits
from hydra_core.testing.provider import FakeProvider

if TYPE_CHECKING:
    from hydra_core.config import HydraConfig

logger = logging.getLogger(__name__)

PROVIDER: Final = "embedded"
MODEL: Final = "extractive"

# What a free key of a small provider gives; a minute lasts three seconds, so that
# nobody who only tries Hydra waits for a real one.
LIMITS: Final = FakeLimits(rpm=15, tpm=250_000)
TIME_SCALE: Final = 0.05
KEYS: Final = 3

STATEMENT: Final = (
    "No API key was found, so the built-in extractive model answers: it finds and quotes "
    "sentences of the prompt and invents nothing. It is served over real HTTP on loopback by "
    f"{KEYS} keys of {LIMITS.rpm} requests a minute, a minute lasting {60 * TIME_SCALE:g} s. "
    "Set a provider's key (GROQ_API_KEY, GEMINI_API_KEY, ...) or write hydra.toml to use a "
    "real model."
)


def embedded_provider(*, latency: float = 0.0) -> FakeProvider:
    """A provider of the embedded model, not yet started; `latency` seconds before each answer."""
    keys = [
        FakeKey(f"embedded-demo-key-{number}", account=f"demo-{number}", limits=LIMITS)
        for number in range(1, KEYS + 1)
    ]
    return FakeProvider(
        keys,
        models=(MODEL,),
        answer=ExtractiveModel(),
        latency=latency,
        time_scale=TIME_SCALE,
        vendor="groq",
        name=PROVIDER,
    )


def embedded(settings: HydraConfig) -> tuple[FakeProvider, HydraConfig]:
    """Start the embedded provider; the settings with it as their only one."""
    provider = embedded_provider()
    provider.start()
    logger.warning(STATEMENT)
    config = type(settings).model_validate(provider.config())
    # Its keys last as long as the process, and what it quotes must answer for no real model.
    changes = {
        "providers": config.providers,
        "time_scale": config.time_scale,
        "store": "memory",
    }
    return provider, settings.model_copy(update=changes)
