"""A value built by way of a draft cannot be told from one that its own class built."""

import copy
import pickle
from dataclasses import FrozenInstanceError, fields, replace

import pytest

from hydra_core.drafts import drafted
from hydra_core.engine.size import Size
from hydra_core.messages import Attempt, ChatRequest, Reply, Usage
from hydra_core.wire import Answer, LimitReading, StreamEvent, Verdict, WireRequest

VALUES = {
    Attempt: {"provider": "p", "model": "m", "key": "k", "outcome": "ok", "status": 200},
    ChatRequest: {"messages": [{"role": "user", "content": "hi"}], "deadline": 2.0},
    Reply: {"text": "hi", "message": {"content": "hi"}, "usage": Usage(3, 4), "kind": "cached"},
    Size: {"chars": 10, "messages": 1, "max_tokens": None},
    WireRequest: {"method": "POST", "url": "https://u", "headers": (("a", "b"),), "body": b"{}"},
    LimitReading: {"kind": "tokens", "window": 60.0, "remaining": 5.0},
    Verdict: {"status": 200, "readings": (LimitReading("requests", 60.0),)},
    Answer: {"verdict": Verdict(status=200), "text": "hi"},
    StreamEvent: {"text": "hi", "content": True},
}


@pytest.fixture(params=VALUES, ids=lambda cls: cls.__name__)
def cls(request):
    """Each class whose values are built so on the path of a call."""
    return request.param


@pytest.fixture
def drafts(cls):
    """A value built by way of a draft."""
    return drafted(cls)(**VALUES[cls])


def test_it_is_what_the_class_builds(cls, drafts):
    """Class, fields, defaults, equality and repr are those of the frozen class."""
    built = cls(**VALUES[cls])
    assert type(drafts) is cls
    assert drafts == built
    assert repr(drafts) == repr(built)
    assert [getattr(drafts, f.name) for f in fields(drafts)] == [
        getattr(built, f.name) for f in fields(built)
    ]


def test_it_is_frozen(cls, drafts):
    """No field can be set or deleted once it is built, and none can be added."""
    name = fields(cls)[0].name
    with pytest.raises(FrozenInstanceError):
        setattr(drafts, name, None)
    with pytest.raises(FrozenInstanceError):
        delattr(drafts, name)
    with pytest.raises((FrozenInstanceError, TypeError)):
        drafts.another = 1  # TypeError: CPython 3.11's own guard of a frozen class with slots


def test_it_is_copied_pickled_and_replaced(cls, drafts):
    """Copies, pickles and changed copies are values of the frozen class."""
    name = fields(cls)[0].name
    for other in (copy.deepcopy(drafts), pickle.loads(pickle.dumps(drafts))):  # noqa: S301
        assert type(other) is cls
        assert other == drafts
    changed = replace(drafts, **{name: "new"})
    assert type(changed) is cls
    assert getattr(changed, name) == "new"


def test_factories_make_a_default_for_each_value():
    """Two replies do not share the dict that neither was given."""
    build = drafted(Reply)
    assert build("a", {}).raw is not build("b", {}).raw


def test_wrong_arguments_are_told_as_by_the_class():
    """A missing or unknown argument is the TypeError that names class and argument."""
    build = drafted(Size)
    with pytest.raises(TypeError, match=r"Size\.__init__\(\) missing .* 'max_tokens'"):
        build(1, 2)
    with pytest.raises(TypeError, match="unexpected keyword argument 'size'"):
        build(size=1)
