"""The public face: what it takes, what it explains, what it learns and what it shows."""

from __future__ import annotations

import os

import orjson
import pytest

import hydra_core
from hydra_core import Hydra, HydraConfig
from hydra_core.errors import ConfigError, RequestRejected
from hydra_core.testing import FakeKey, FakeLimits, FakeProvider


@pytest.fixture
def fake():
    """A provider with two keys of 5 requests a minute each."""
    limits = FakeLimits(rpm=5)
    with FakeProvider([FakeKey(f"key-canary-{n}", limits=limits) for n in (1, 2)]) as served:
        yield served
        assert served.violations == ()


@pytest.fixture
def hydra(fake):
    """A Hydra that asks the first key first, and does not wait."""
    with Hydra(fake.config(strategy="priority", cache=False, max_wait=0.0)) as built:
        yield built


def test_a_configuration_comes_in_four_forms(fake, tmp_path):
    """A dict, an object, a path as text and a path; each Hydra answers."""
    config = fake.config(cache=False)
    file = tmp_path / "hydra.json"
    file.write_bytes(orjson.dumps(config))
    for form in (config, HydraConfig.model_validate(config), str(file), file):
        with Hydra(form) as hydra:
            assert hydra.chat("hello").text == "You said: hello"
            assert hydra.config.providers[0].name == "fake"
    with Hydra.from_file(file) as hydra:
        assert hydra.chat("hello").kind == "full"
    assert fake.served == 5


def test_a_wrong_configuration_is_a_config_error():
    """The error names what is wrong."""
    with pytest.raises(ConfigError, match="providers"):
        Hydra({"providers": 5})
    with pytest.raises(ConfigError, match="not a number"):
        Hydra(5)


def test_a_reply_tells_what_it_is(hydra, fake):
    """The message in OpenAI's form, usage as the provider counted it, the way it took."""
    reply = hydra.chat([{"role": "user", "content": "hello"}], temperature=0.5, max_tokens=50)
    (call,) = fake.log
    assert reply.message == {"role": "assistant", "content": "You said: hello"}
    assert (reply.finish_reason, reply.kind, reply.tool_calls) == ("stop", "full", ())
    counted = (reply.usage.prompt_tokens, reply.usage.completion_tokens)
    assert counted == (call.prompt_tokens, call.completion_tokens)
    assert reply.usage.total_tokens == sum(counted)
    assert (reply.coverage, reply.eta, reply.age) == (None, None, None)
    assert reply.raw["choices"][0]["finish_reason"] == "stop"
    (attempt,) = reply.attempts
    assert (attempt.outcome, attempt.status, attempt.waited) == ("ok", 200, 0.0)
    assert 0 < attempt.latency <= reply.latency


def test_other_parameters_reach_the_provider():
    """What Hydra does not know is passed on as it is, and messages are not changed."""
    seen = []

    def latency(call):
        seen.append(call.body)
        return 0.0

    messages = [{"role": "system", "content": "short"}, {"role": "user", "content": "hello"}]
    keys = ["key-canary-1"]
    with FakeProvider(keys, latency=latency) as other, Hydra(other.config(cache=False)) as hydra:
        hydra.chat(messages, temperature=0.0, seed=7, stop=["."], top_p=0.5)
    (body,) = seen
    assert body["messages"] == messages
    assert {n: body[n] for n in ("temperature", "seed", "stop", "top_p")} == {
        "temperature": 0.0, "seed": 7, "stop": ["."], "top_p": 0.5,
    }  # fmt: skip
    assert "max_tokens" not in body


def test_explain_says_who_would_serve_and_why_others_wait(hydra, fake):
    """Ready ones first; each other one with its reason and its wait. Nothing is sent."""
    fake.fail("rate_limit", key=0, times=1, retry_after=50)
    hydra.chat("hello")
    first, second = hydra.explain("hello")
    assert (first["key"], first["starts_in"], first["why"]) == ("fake-2", 0.0, "ready")
    assert (second["key"], second["tier"]) == ("fake-1", 0)
    assert 40 < second["starts_in"] <= 50
    assert "rate_limit_minute: the provider's word" in second["why"]
    fake.kill(1)
    hydra.chat("hello")
    assert [(row["key"], row["starts_in"]) for row in hydra.explain("hello")][1] == ("fake-2", None)
    sent = len(fake.log)
    assert len(hydra.explain("hello")) == 2
    assert len(fake.log) == sent


def test_explain_agrees_with_what_happens(hydra, fake):
    """Whoever is first in the explanation serves the call, until nobody can."""
    kinds = []
    for number in range(11):
        first = hydra.explain("hello")[0]
        reply = hydra.chat(f"question {number}")
        kinds.append(reply.kind)
        assert (first["starts_in"] == 0.0) == (reply.kind == "full")
        assert (first["chosen"], first["key"]) == (reply.key is not None, reply.key or first["key"])
    assert kinds == ["full"] * 10 + ["wait"]
    assert "quota" in hydra.explain("hello")[0]["why"]
    assert fake.refused == 0


@pytest.mark.parametrize(
    ("patience", "model"),
    [({}, "small"), ({"max_wait": 9.0}, "big"), ({"max_wait": 9.0, "deadline": 0.1}, "small")],
)
def test_explain_knows_how_long_the_call_would_wait(patience, model):
    """A smaller model is chosen where the wished one comes too late for this very call."""
    key = FakeKey("key-canary-1", limits=FakeLimits(rpm=1))
    fake = FakeProvider([key], models=("big", "small"), time_scale=0.02)
    with fake, Hydra(fake.config(cache=False, max_wait=0.0)) as hydra:
        hydra.chat("hello")
        assert hydra.explain("hello", **patience)[0]["model"] == model
        assert hydra.chat("hello", **patience).model == model


def test_explain_rejects_what_a_call_would(hydra):
    """An unknown model is the same error as for a call."""
    with pytest.raises(RequestRejected, match="no key serves model 'nobody'"):
        hydra.explain("hello", model="nobody")


def test_feedback_teaches_the_choice(fake):
    """A key whose replies are judged bad is asked less."""
    weights = {"reliability": 0, "speed": 0, "quality": 1, "recency": 0}
    with Hydra(fake.config(strategy="score", score_weights=weights, cache=False)) as hydra:
        first = hydra.chat("hello")
        hydra.feedback(first, 0.0)
        later = {hydra.chat("hello").key for _ in range(4)}
        assert later == {"fake-1", "fake-2"} - {first.key}
        for quality in (-0.1, 1.1, float("nan")):
            with pytest.raises(ValueError, match="from 0"):
                hydra.feedback(first, quality)


def test_feedback_on_an_answer_of_nobody_is_harmless(hydra, fake):
    """A wait has no key to be judged."""
    fake.saturate(seconds=100)
    reply = hydra.chat("hello")
    hydra.feedback(reply, 0.0)
    assert reply.kind == "wait"


def test_the_repr_shows_states_and_no_secret(hydra, fake):
    """One line: how many keys are in which state, and how many calls are in flight."""
    assert repr(hydra) == "<Hydra [keys: 2 active | in flight: 0]>"
    fake.kill(0)
    hydra.chat("hello")
    with hydra.lease():
        assert repr(hydra) == "<Hydra [keys: 1 active, 1 dead | in flight: 1]>"
    hydra.close()
    assert repr(hydra) == "<Hydra [closed]>"


def test_capacity_is_what_the_provider_still_takes(hydra, fake):
    """As many calls as it says are served, and no more are."""
    groups = hydra.capacity()
    assert [(g.provider, g.model, len(g.keys)) for g in groups] == [("fake", "fake-model", 1)] * 2
    room = int(sum(w.limit - w.used for g in groups for w in g.windows if w.kind == "requests"))
    kinds = [hydra.chat(f"question {number}").kind for number in range(room + 1)]
    assert kinds == ["full"] * room + ["wait"]
    assert (fake.served, fake.refused) == (room, 0)


def test_without_any_key_the_built_in_model_answers(monkeypatch, tmp_path, caplog):
    """Nothing configured: it says plainly who answers, and everything works."""
    for name in list(os.environ):
        if name.endswith(("_API_KEY", "_BASE_URL")) or name.startswith("HYDRA_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HYDRA_STATE_DIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with Hydra() as hydra:
        assert hydra.embedded
        assert "built-in extractive model answers" in caplog.text
        reply = hydra.chat("The lamp is in the cellar. Question: where is the lamp?")
        assert (reply.kind, reply.provider) == ("full", "embedded")


async def test_the_context_managers_close(fake):
    """Leaving the block closes, by either door."""
    with Hydra(fake.config(cache=False)) as one:
        assert not one.closed
    async with Hydra(fake.config(cache=False)) as two:
        assert (await two.achat("hello")).kind == "full"
    assert (one.closed, two.closed) == (True, True)


def test_the_door_is_open():
    """The names of the contract are importable from the package."""
    assert {"Hydra", "HydraConfig"} <= set(dir(hydra_core))
