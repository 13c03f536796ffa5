"""From a configuration to a pool."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from hydra_core.assemble import assemble
from hydra_core.config import HydraConfig
from hydra_core.engine.size import Size
from hydra_core.engine.snapshot import restore, take
from hydra_core.messages import Fault
from hydra_core.wire import DAY, Verdict


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


def gemini(wall, **limits):
    """A pool of one key of Gemini's, at 1000 on the monotonic clock."""
    key = {"name": "g", "value": "CANARY-0123456789", "limits": limits}
    row = {"name": "gemini", "models": ["m"], "keys": [key]}
    config = HydraConfig.model_validate({"store": "memory", "providers": [row]})
    return assemble(config, now=1000.0, wall=wall).manager


@pytest.mark.parametrize(
    ("ahead", "used", "resets_in"),
    [(8.0, 0, 20.0), (2.0, 3, 2.0), (-3.0, 3, 7.0), (-30.0, 3, 34.0), (-60.0, 3, 40.0)],
)
def test_a_providers_day_follows_the_wall_clock(ahead, used, resets_in):
    """Frozen over midnight it is another day; a clock set back brings no day twice."""
    zone = ZoneInfo("America/Los_Angeles")
    evening = datetime(2026, 6, 10, 20, tzinfo=zone).timestamp()
    manager = gemini(evening, rpd=5)
    (window,) = manager.deployments[0].group.windows
    for _ in range(3):
        window.settle(window.charge(1.0, 1000.0), 1.0, 1001.0)
    manager.reanchor(evening - 1000.0 + ahead * 3600.0, 1010.0)
    assert window.used(1010.0) == used
    assert window.resets_at == pytest.approx(1000.0 + resets_in * 3600.0, abs=60)


def test_a_learned_day_keeps_its_calendar_over_a_restart():
    """Told on the eve of summer time: the limit that is remembered has a day of 23 hours."""
    zone = ZoneInfo("America/Los_Angeles")
    noon = datetime(2026, 3, 7, 12, tzinfo=zone).timestamp()
    first, second = gemini(noon), gemini(noon + 60.0)
    lease = first.lease(first.routes.find(), Size(9, 1, None), (), 1000.0)
    verdict = Verdict(Fault.RATE_LIMIT_DAY, kind="requests", window=DAY, limit=20)
    first.failed(lease, verdict, 1000.0)
    restore(second, take(first, 1000.0, noon), 1000.0, noon + 60.0)
    window = second.deployments[0].group.window("requests", DAY)
    assert (window.limit, window.used(1000.0)) == (20, 20)
    midnight = 1000.0 + 12 * 3600.0 - 60.0
    assert window.resets_at == pytest.approx(midnight)
    assert window.used(midnight + 1.0) == 0
    assert window.resets_at == pytest.approx(midnight + 23 * 3600.0)


@pytest.mark.parametrize(
    ("name", "key", "careful"),
    [("office", None, False), ("office", "CANARY-0123456789", True),
     ("vllm", "CANARY-0123456789", False)],
)  # fmt: skip
def test_a_server_of_ones_own_is_not_tried_slowly(name, key, careful):
    """Who knows nobody limits nobody, nor does a known kind of server at home; others may."""
    row = {"name": name, "base_url": "http://llm.internal:8000/v1", "models": ["m"]}
    keys = [] if key is None else [{"value": key}]
    config = HydraConfig.model_validate({"store": "memory", "providers": [{**row, "keys": keys}]})
    (deployment,) = assemble(config, now=0.0).manager.deployments
    assert (deployment.group.slow_start is not None) is careful


def test_the_time_scale_reaches_the_score():
    """What is shortened shortens how long a fault lowers a score, too."""
    key = {"name": "g", "value": "CANARY-0123456789"}
    raw = {"store": "memory", "providers": [{"name": "groq", "models": ["m"], "keys": [key]}]}
    usual, hurried = (
        assemble(HydraConfig.model_validate({**raw, "time_scale": scale}), now=0.0)
        .manager.deployments[0]
        .score
        for scale in (1.0, 0.05)
    )
    usual.failed(0.0)
    hurried.failed(0.0)
    assert hurried.value(15.0) == pytest.approx(usual.value(300.0))
