"""What a caller may pass by mistake: told at once, by the argument's name, and never sent."""

from __future__ import annotations

import traceback

import pytest

from hydra_core import Hydra
from hydra_core.errors import ConfigError, InvalidArgument, RequestRejected
from hydra_core.testing import FakeKey, FakeProvider

NAN = float("nan")
HUGE = 10**400  # no float holds it, nor the JSON of a request


@pytest.fixture
def fake():
    """A provider with one key."""
    with FakeProvider([FakeKey("key-canary-1")]) as served:
        yield served


@pytest.fixture
def hydra(fake):
    """A Hydra over it."""
    with Hydra(fake.config(cache=False)) as built:
        yield built


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("messages", 3),
        ("messages", ({"role": "user", "content": "x"} for _ in "x")),
        ("model", 3),
        ("provider", ["fake"]),
        ("lane", 1),
        ("deadline", "5"),
        ("deadline", NAN),
        ("max_wait", "soon"),
        ("max_tokens", "many"),
        ("max_tokens", NAN),
        ("max_tokens", -1),
        ("max_completion_tokens", "many"),
        ("temperature", NAN),
        ("tools", "abc"),
        ("tool_choice", 1),
        ("response_format", "json"),
        ("priority", "high"),
        ("priority", NAN),
        ("priority", 0.5),
        ("deadline", HUGE),
        ("max_tokens", HUGE),
        ("temperature", HUGE),
        ("extra_body", HUGE),
        ("max_tokens", True),
        ("deadline", True),
        ("on_exhausted", "bogus"),
        ("stream", True),
        ("timeout", 30),
        ("api_key", "sk-canary"),
        ("base_url", "https://elsewhere.example"),
        ("extra_headers", {"authorization": "x"}),
    ],
)
def test_a_strange_argument_is_named_and_not_sent(hydra, fake, name, value):
    """It is RequestRejected in all doors alike, and no provider hears of it."""
    arguments = {"messages": "hello", name: value}
    for door in (hydra.chat, lambda **given: next(hydra.stream(**given)), hydra.explain):
        with pytest.raises(
            RequestRejected, match=rf"^{name} (must be|is no argument here|is seconds)"
        ):
            door(**arguments)
    assert not fake.log


def test_what_says_nothing_is_left_out():
    """An empty list of tools, `stream=False` and None are what a provider takes for granted."""
    seen = []

    def latency(call):
        seen.append(call.body)
        return 0.0

    with FakeProvider(["key-canary-1"], latency=latency) as fake, Hydra(fake.config()) as hydra:
        hydra.chat("hello", tools=[], stream=False, seed=None, priority=None)
        hydra.chat("hello again", tools=())
    assert [set(body) for body in seen] == [{"model", "messages"}] * 2


def test_a_lease_takes_only_a_size_that_can_be(hydra):
    """Negative or endless sizes would give a quota back, or never fit."""
    for tokens in (-1, NAN, float("inf"), "x"):
        with pytest.raises(RequestRejected, match=r"^tokens must be"):
            hydra.lease(tokens=tokens)
        with pytest.raises(RequestRejected, match=r"^tokens must be"):
            hydra.rotate(tokens=tokens)
    with hydra.lease(tokens=10) as lease:
        for used in (
            {"tokens": -5},
            {"tokens": 5, "completion_tokens": 6},
            {"tokens": "5"},
            {"tokens": NAN},
            {"tokens": HUGE},
        ):
            with pytest.raises(ValueError, match="tokens"):
                lease.used(**used)


def test_feedback_takes_a_number(hydra):
    """Anything else is the same ValueError as a number outside of 0..1."""
    for quality in ("good", None, NAN, HUGE):
        with pytest.raises(ValueError, match="from 0"):
            hydra.feedback(hydra.chat("hello"), quality)


@pytest.mark.parametrize("reply", [None, "hello", {"text": "hello"}, 3, [None]])
def test_feedback_is_on_a_reply(hydra, reply):
    """What is no reply is told so, by an error of ours that is Python's own too."""
    for kind in (InvalidArgument, ValueError, TypeError):
        with pytest.raises(kind, match=r"^reply must be the Reply that chat"):
            hydra.feedback(reply, 0.5)


@pytest.mark.parametrize(
    ("door", "given"),
    [
        ("plan", {"source": "text", "model": 3}),
        ("plan", {"source": "text", "lane": ["a"]}),
        ("plan", {"source": "text", "deadline": HUGE}),
        ("swarm", {"question": "Who?", "source": "text", "model": b"m"}),
        ("swarm", {"question": "Who?", "source": "text", "on_progress": "loud"}),
        ("capacity", {"model": {}}),
        ("capacity", {"lane": 1}),
        ("lease", {"tokens": HUGE}),
        ("rotate", {"deadline": HUGE}),
    ],
)
def test_every_door_looks_at_its_arguments(hydra, door, given):
    """Books, plans, capacities and leases name a strange argument as chat() does."""
    name = list(given)[-1]
    with pytest.raises(InvalidArgument, match=rf"^{name} (must be|is seconds)"):
        getattr(hydra, door)(**given)


@pytest.mark.parametrize("function", [None, "f", 3])
def test_rotate_decorates_functions(hydra, function):
    """Anything else is told so where it is decorated."""
    with pytest.raises(InvalidArgument, match="decorates a function"):
        hydra.rotate()(function)


@pytest.mark.parametrize("path", [None, 3, b"hydra.toml", [], "\ud800.toml"])
def test_what_can_be_no_path_is_told_so(path):
    """For a configuration file and an environment file alike."""
    with pytest.raises(ConfigError, match="no path"):
        Hydra.from_file(path)
    if path is not None:
        with pytest.raises(ConfigError, match="no path"):
            Hydra.from_env(path)


def test_a_parameter_that_was_not_sent_costs_no_answer(fake):
    """What a provider is not sent need not be JSON: the answer comes, and is not remembered."""
    (row,) = fake.config()["providers"]
    config = {**fake.config(), "providers": [{**row, "name": "groq"}]}
    with Hydra(config) as hydra:
        assert hydra.chat("hello", logit_bias={"a": HUGE}).text == "You said: hello"
        fake.saturate(seconds=50)
        assert hydra.chat("hello", logit_bias={"a": HUGE}, max_wait=0.0).kind == "wait"


def test_what_was_not_built_can_be_shown():
    """A debugger, or a report with local variables, may show a Hydra whose building failed."""
    try:
        Hydra({"strategy": "bogus"})
    except ConfigError as error:
        shown = traceback.TracebackException.from_exception(error, capture_locals=True)
        assert "<Hydra [closed]>" in "".join(shown.format())


@pytest.mark.parametrize("name", ["model", "provider", "lane"])
@pytest.mark.parametrize("key", ["key-canary-1", "sk-or-v1-0123456789abcdef0123456789"])
def test_a_key_in_the_wrong_place_is_not_repeated(hydra, name, key):
    """Neither one of the pool's keys nor what looks like one is shown as the name it is not."""
    for ask in (hydra.chat, hydra.explain):
        with pytest.raises(RequestRejected, match=f"no key serves {name}") as caught:
            ask("hello", **{name: key})
        assert key not in str(caught.value)


@pytest.mark.parametrize("name", ["tools", "response_format"])
def test_what_nests_too_deep_is_rejected(hydra, name):
    """A form that no JSON writer can write is the request's fault, told as such."""
    deep = {}
    for _ in range(5000):
        deep = {"properties": deep}
    form = {"type": "object", "function": {"name": "f", "parameters": deep}}
    with pytest.raises(RequestRejected, match="written as JSON"):
        hydra.chat("hello", **{name: [form] if name == "tools" else form})


TOO_MUCH = ({"limits": {"tpm": HUGE}}, {"budget": {"tokens_per_day": HUGE}})


@pytest.mark.parametrize("setting", TOO_MUCH)
def test_a_limit_that_nothing_counts_is_refused(fake, setting):
    """It would be found out in the midst of a call, or when the process ends."""
    (row,) = fake.config()["providers"]
    row["keys"][0].update(setting)
    with pytest.raises(ConfigError, match="less than or equal to"):
        Hydra({"providers": [row]})
