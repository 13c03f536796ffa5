"""No key's text leaves a ChatHydra: canaries in every place LangChain looks."""

import pickle

import pytest
from langchain_core.load import dumps
from langchain_core.tracers import BaseTracer

from hydra_core.errors import HydraError
from hydra_langchain import ChatHydra


class Recorder(BaseTracer):
    """Keeps every run as LangChain would persist it."""

    def __init__(self):
        super().__init__()
        self.runs = []

    def _persist_run(self, run):
        self.runs.append(run)


def test_no_key_is_shown_by_the_model(chat, fake, canary):
    """Neither repr, dumps, dict, dump nor pickle of a model holds a key."""
    own = ChatHydra(base_url=fake.base_url, api_key=f"{canary}-1", model="fake-model")
    for model in (chat, own):
        model.invoke("hi")
        shown = [repr(model), str(model), dumps(model), str(model.asdict()), repr(model.hydra)]
        shown += [str(model.model_dump()), model.model_dump_json(), str(model._identifying_params)]
        shown += [str(model._get_ls_params()), str(pickle.dumps(model))]
        assert [text for text in shown if canary in text] == []


def test_no_key_is_in_a_trace(chat, fake, canary):
    """Neither a finished nor a failed run, streamed or not, traces a key."""
    tracer = Recorder()
    config = {"callbacks": [tracer]}
    chat.invoke("hi", config=config)
    list(chat.stream("hi", config=config))
    fake.kill(0)
    fake.kill(1)
    with pytest.raises(HydraError) as caught:
        chat.invoke("hi", config=config)
    traced = "".join(run.model_dump_json() for run in tracer.runs)
    assert len(tracer.runs) == 3
    assert tracer.runs[-1].error
    assert canary not in traced
    assert canary not in repr(caught.value)
