"""Protections against outages, switched off one by one: a law of the same world breaks."""

from __future__ import annotations

import pytest

from hydra_core.engine import choice, outage
from hydra_core.engine.dispatch import Dispatch
from hydra_core.engine.fixed_window import FixedWindow
from hydra_core.engine.health import Breaker
from hydra_core.engine.key_manager import KeyManager
from hydra_core.engine.outage import Outages
from hydra_core.engine.site import Site
from hydra_core.messages import Fault, Usage
from hydra_core.wire import DAY, Answer, Verdict

ROWS = [{"name": f"k{n}", "models": ["m", "n"]} for n in range(1, 7)]


def good(**said):
    return Answer(Verdict(status=200), text="ok", usage=Usage(1, 0), **said)


def bad(fault, status=None):
    return Answer(Verdict(fault=fault, status=status))


def struck(make_pool, make_world, fault, status, rows=ROWS):
    """A provider that serves each key, then fails from 10 to 100 s: the world, and who rests then.

    It is asked every second. The world's `crowd` is how many probes were under way at once.
    """
    pool = make_pool(rows, strategy="round_robin")
    flying = []

    def judge(lease, now):
        flying[:] = [end for end in flying if end > now]
        if 10.0 <= now < 100.0:
            flying.append(now + 0.5)
            if now > 12.0:
                world.crowd = max(world.crowd, len(flying))
            return 0.5, bad(fault, status)
        return 0.5, good()

    world = make_world(pool, judge)
    world.crowd = 0
    for tick in range(400):
        world.ask(tick / 2, model="n" if tick % 3 == 2 else "m", max_wait=0.0)
    world.run(99.0)
    suffered = {d.score.opinion() != (1.0, None) for d in pool.deployments}
    world.run(180.0)
    resting = [d for d in pool.deployments if d.rests_at(180.0)]
    return world, suffered, resting


def ailing(make_pool, make_world):
    """Servers that fail all keys alike for ninety seconds."""
    broken = set()
    world, suffered, resting = struck(make_pool, make_world, Fault.TIMEOUT, None)
    if suffered != {False}:
        broken.add("an outage lowers no key's score")
    if resting:
        broken.add("an outage ends for all keys together")
    if world.crowd > 1:
        broken.add("one request at a time probes an outage")
    return broken


def refusing(make_pool, make_world):
    """A provider whose sign-in fails for ninety seconds."""
    _, _, resting = struck(make_pool, make_world, Fault.AUTH, 401)
    return {"keys that are refused together live"} if resting else set()


def unplugged(make_pool, make_world):
    """A machine without a network for ninety seconds."""
    broken = set()
    rows = [{**row, "provider": f"p{place % 3}"} for place, row in enumerate(ROWS)]
    world, suffered, resting = struck(make_pool, make_world, Fault.UNREACHABLE, None, rows)
    if suffered != {False} or resting:
        broken.add("a machine that is offline blames nobody")
    if world.crowd > 1:
        broken.add("one request at a time probes the network")
    if not any(error.offline for _, error in world.errors):
        broken.add("a machine that is offline says so")
    return broken


def sick(make_pool, make_world):
    """Of two keys one fails for ever and holds the first place."""
    pool = make_pool([{}, {}], strategy="priority")
    ill = {"k1", "k2"}
    world = make_world(
        pool,
        lambda lease, _: (
            0.1, bad(Fault.OVERLOADED, 503) if lease.deployment.key in ill else good()
        ),
    )  # fmt: skip
    world.ask(1.0, max_wait=300.0, deadline=300.0)
    world.at(2.0, lambda: ill.discard("k2"))
    world.run()
    quick = any(at < 20.0 for at, _ in world.replies)
    return set() if quick else {"a probe goes to another key than the last"}


def returning(make_pool, make_world):
    """A key that is slow for a while, then the quicker of two."""
    pool = make_pool([{}, {}], strategy="score")
    pace = {"k1": 0.5, "k2": 9.0}
    world = make_world(pool, lambda lease, _: (pace[lease.deployment.key], good()))
    for tick in range(100):
        world.ask(tick * 10.0)
    world.at(1000.0, lambda: pace.update(k2=0.1))
    for tick in range(400):
        world.ask(1001.0 + tick * 10.0)
    world.run()
    late = [lease.deployment.key for at, lease in world.sent if at > 4000.0]
    return set() if "k2" in late else {"a key that was poor for a while returns"}


def shown(make_pool, make_world):
    """A stream that is not the JSON that was asked for, and was shown as it came."""
    pool = make_pool([{}, {}])
    world = make_world(pool, lambda *_: (0.1, good(quality=0.0, shown=True)))
    world.ask(1.0, params={"response_format": {"type": "json_object"}})
    world.run()
    return {"what was shown is not replayed"} if len(world.sent) > 1 else set()


def longest_day():
    """A day of 25 hours, of which the provider lets ten requests through."""
    resets = [0.0, 25 * 3600.0, 25 * 3600.0 + DAY]
    window = FixedWindow(
        "requests",
        10.0,
        DAY,
        resets_at=0.0,
        next_reset=lambda instant: next(at for at in resets if at > instant),
    )
    window.charge(10.0, 10.0)
    early = window.earliest(10.0, 10.0) < 25 * 3600.0
    return {"a day ends at its own midnight"} if early else set()


def calendar(make_pool, make_world):
    return longest_day()


def _every_key_for_itself(patch):
    patch.setattr(Outages, "_agreed", lambda *_: False)
    patch.setattr(Breaker, "failed", lambda *_: False)


def _nobody_absolved(patch):
    patch.setattr(Outages, "_absolve", lambda *_: None)


def _probes_uncounted(patch):
    grant = KeyManager._grant

    def uncounted(self, *args):
        lease = grant(self, *args)
        lease.deployment.breaker.probing = False
        return lease

    patch.setattr(KeyManager, "_grant", uncounted)


def _every_refusal_kills(patch):
    patch.setattr(outage, "had_worked", lambda *_: False)


def _never_offline(patch):
    patch.setattr(outage, "in_question", lambda *_: True)
    patch.setattr(Site, "unreached", property(lambda _: False, lambda *_: None), raising=False)


def _same_key_probes(patch):
    patch.setattr(Breaker, "outlast", lambda *_: None)


def _no_exploring(patch):
    patch.setattr(choice, "EXPLORERS", frozenset())


def _streams_replayed(patch):
    misshapen = Dispatch._misshapen
    patch.setattr(
        Dispatch,
        "_misshapen",
        lambda self, deployment, quality, _: misshapen(self, deployment, quality, False),
    )


def _days_all_alike(patch):
    patch.setattr(FixedWindow, "_following", lambda self: self.resets_at + self.length)


SABOTAGE = [
    (_every_key_for_itself, ailing, "an outage lowers no key's score"),
    (_nobody_absolved, ailing, "an outage lowers no key's score"),
    (_probes_uncounted, ailing, "one request at a time probes an outage"),
    (_probes_uncounted, unplugged, "one request at a time probes the network"),
    (_every_refusal_kills, refusing, "keys that are refused together live"),
    (_never_offline, unplugged, "a machine that is offline says so"),
    (_same_key_probes, sick, "a probe goes to another key than the last"),
    (_no_exploring, returning, "a key that was poor for a while returns"),
    (_streams_replayed, shown, "what was shown is not replayed"),
    (_days_all_alike, calendar, "a day ends at its own midnight"),
]
WORLDS = [ailing, refusing, unplugged, sick, returning, shown, calendar]


@pytest.mark.parametrize("world", WORLDS)
def test_no_law_of_outages_breaks_while_every_protection_is_on(make_pool, make_world, world):
    """The worlds in which sabotage is tried are sound without it."""
    assert world(make_pool, make_world) == set()


@pytest.mark.parametrize(
    ("sabotage", "world", "law"),
    SABOTAGE,
    ids=[f"{entry[0].__name__[1:]}-{entry[1].__name__}" for entry in SABOTAGE],
)
def test_without_a_protection_against_outages_its_law_breaks(
    monkeypatch, make_pool, make_world, sabotage, world, law
):
    """A check that could not fail would prove nothing."""
    sabotage(monkeypatch)
    assert law in world(make_pool, make_world)
