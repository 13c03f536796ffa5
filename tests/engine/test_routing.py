"""Which deployments a request may use, tier by tier, by what it names."""

from __future__ import annotations

import pytest

from hydra_core.errors import RequestRejected

ROWS = [
    {"name": "g1", "provider": "groq", "models": ["llama", "llama-mini"]},
    {"name": "g2", "provider": "groq", "models": ["llama", "llama-mini"], "lanes": ["bc3"]},
    {"name": "o1", "provider": "open", "models": ["meta/llama:free", "llama"], "priority": 1},
    {"name": "d1", "provider": "deep", "models": ["chat", "chat-8b", "chat-1b"], "priority": 2},
]
ALIASES = {"smart": ["deep/chat", "llama"], "lost": ["nobody/x"]}


@pytest.fixture
def pool(make_pool):
    """Three providers, one reserved key, aliases."""
    return make_pool(ROWS, aliases=ALIASES)


def tiers(route):
    """The tiers of a route as `key:model`."""
    return [[f"{d.key}:{d.model.name}" for d in tier.deployments] for tier in route.tiers]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, [["g1:llama"], ["o1:meta/llama:free"], ["d1:chat"]]),
        ({"model": "llama"}, [["g1:llama"], ["o1:llama"]]),
        ({"model": "groq/llama"}, [["g1:llama"]]),
        ({"model": "meta/llama:free"}, [["o1:meta/llama:free"]]),
        ({"model": "open/meta/llama:free"}, [["o1:meta/llama:free"]]),
        ({"provider": "groq"}, [["g1:llama"]]),
        ({"provider": "open", "model": "llama"}, [["o1:llama"]]),
        ({"model": "smart"}, [["d1:chat"], ["g1:llama"], ["o1:llama"]]),
        ({"lane": "bc3"}, [["g2:llama"]]),
        ({"lane": "bc3", "model": "llama-mini"}, [["g2:llama-mini"]]),
    ],
)
def test_a_route_has_what_the_request_names(pool, asked, expected):
    """Nothing, a bare model, provider/model, an id with slashes, an alias, a provider, a lane."""
    assert tiers(pool.route(**asked)) == expected


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, [["g1:llama-mini"], ["o1:llama"], ["d1:chat-8b"], ["d1:chat-1b"]]),
        ({"model": "deep/chat"}, [["d1:chat-8b"], ["d1:chat-1b"]]),
        ({"model": "chat-8b"}, [["d1:chat-1b"]]),
        ({"model": "llama"}, [["g1:llama-mini"]]),
        ({"model": "chat-1b"}, []),
        ({"model": "smart"}, []),
    ],
)
def test_smaller_models_are_those_named_later_nearest_first(pool, asked, expected):
    """A smaller route holds its providers' later models; an alias names its own order."""
    assert tiers(pool.route(**asked, smaller=True)) == expected


@pytest.mark.parametrize(
    "asked", [{"model": "gpt"}, {"lane": "other"}, {"provider": "x"}, {"model": "lost"}]
)
def test_what_nothing_matches_is_refused_with_what_there_is(pool, asked):
    """The message names what was asked for, what is configured, the aliases and the lanes."""
    with pytest.raises(RequestRejected) as caught:
        pool.route(**asked)
    for word in (*asked, *asked.values(), "groq/llama", "smart", "bc3"):
        assert word in str(caught.value)


def test_a_pool_of_reserved_keys_alone_says_so(make_pool):
    """A request without a lane does not use a reserved key, and is told why."""
    with pytest.raises(RequestRejected, match=r"requests without a lane.*lanes: bc3"):
        make_pool([{"lanes": ["bc3"]}]).route()
    with pytest.raises(RequestRejected, match="no key is reserved"):
        make_pool([{}]).route(lane="bc3")


def test_equal_priorities_share_a_tier(make_pool):
    """Tiers go by priority, not by provider."""
    pool = make_pool([{"provider": "a"}, {"provider": "b"}, {"provider": "c", "priority": -1}])
    assert tiers(pool.route()) == [["k3:m"], ["k1:m", "k2:m"]]


def test_a_route_is_found_once(pool):
    """The same words lead to the same route: its line and its rosters are one."""
    assert pool.route(model="llama") is pool.route(model="llama")
    assert pool.route(model="llama") is not pool.route(model="groq/llama")
    assert repr(pool.route(model="llama")) == "<Route llama: 2 deployments, 0 waiting>"


def test_a_route_knows_its_windows(make_pool):
    """The models whose context window is known, and no others."""
    pool = make_pool(
        [{"account": "a"}, {"account": "a"}, {"account": "b", "models": ["n"]}],
        facts={"n": {"context_window": 8000}},
    )
    assert pool.route().windowed == {pool.by("k3", "n").model}
