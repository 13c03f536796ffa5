"""From a configuration to a pool."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from hydra_core.assemble import assemble
from hydra_core.config import HydraConfig


@pytest.mark.parametrize(("day", "hours"), [("2026-03-08", 23.0), ("2026-11-01", 25.0)])
def test_a_day_limit_follows_its_providers_calendar(day, hours):
    """Gemini's requests of a day return at midnight in Los Angeles, on short and long days too."""
    key = {"name": "g", "value": "CANARY-0123456789", "limits": {"rpd": 5}}
    config = HydraConfig.model_validate(
        {"store": "memory", "providers": [{"name": "gemini", "models": ["m"], "keys": [key]}]}
    )
    zone = ZoneInfo("America/Los_Angeles")
    noon_before = datetime.fromisoformat(f"{day}T00:00").replace(tzinfo=zone).timestamp() - 43_200
    pool = assemble(config, now=1000.0, wall=noon_before)
    (window,) = pool.manager.deployments[0].group.windows
    assert window.resets_at == 1000.0 + 43_200
    window.used(window.resets_at + 1.0)
    assert window.resets_at == 1000.0 + 43_200 + hours * 3600.0


@pytest.mark.parametrize(("key", "careful"), [(None, False), ("CANARY-0123456789", True)])
def test_a_server_that_asks_for_no_key_is_not_tried_slowly(key, careful):
    """Who knows nobody limits nobody; a key of unknown limits may have some."""
    row = {"name": "office", "base_url": "http://llm.internal:8000/v1", "models": ["m"]}
    keys = [] if key is None else [{"value": key}]
    config = HydraConfig.model_validate({"store": "memory", "providers": [{**row, "keys": keys}]})
    (deployment,) = assemble(config, now=0.0).manager.deployments
    assert (deployment.group.slow_start is not None) is careful
