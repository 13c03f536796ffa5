"""Replies in the form that was asked for, over real sockets."""

from __future__ import annotations

import json

import pytest

from hydra_core.testing import FakeAnswer

JSON = {"type": "json_object"}


class Script:
    """A model that says these texts in turn, the last for ever."""

    def __init__(self, *texts):
        self.texts = list(texts)

    def answer(self, _):
        return FakeAnswer(self.texts.pop(0) if len(self.texts) > 1 else self.texts[0])


def test_prose_in_place_of_json_is_asked_for_once_more(caller, pool, serve):
    """Another key is asked at once, and the trail says why."""
    fake = serve(answer=Script("Certainly!", "{}"))
    reply = caller.chat(pool(fake), "hello", response_format=JSON)
    assert json.loads(reply.text) == {}
    assert [attempt.outcome for attempt in reply.attempts] == ["invalid_response", "ok"]
    assert len({attempt.key for attempt in reply.attempts}) == 2


def test_a_model_that_knows_no_json_is_not_asked_for_ever(caller, pool, serve):
    """Two replies in prose: the first is given as it is, for its reader to judge."""
    fake = serve(answer=Script("Certainly!", "Of course!"))
    hydra = pool(fake)
    reply = caller.chat(hydra, "hello", response_format=JSON)
    assert (reply.text, reply.kind, len(fake.log)) == ("Certainly!", "full", 2)
    states = [key["state"] for p in hydra.health()["providers"].values() for key in p["keys"]]
    assert set(states) == {"active"}


@pytest.mark.parametrize("params", [{}, {"response_format": JSON}])
def test_a_stream_is_shown_once_whatever_its_form(caller, pool, serve, params):
    """What a reader has seen is not replayed; without a form asked for, nobody looks."""
    fake = serve(answer=Script("Certainly!"))
    chunks = caller.stream(pool(fake), "hello", **params)
    assert "".join(chunk.text for chunk in chunks) == "Certainly!"
    assert len(fake.log) == 1
