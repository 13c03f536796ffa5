"""What a ChatHydra says of itself: profile, traces, cache keys, versions."""

import subprocess
import sys

from langchain_core.caches import InMemoryCache
from langchain_core.messages import HumanMessage, trim_messages

from hydra_core.testing import FakeProvider
from hydra_langchain import ChatHydra
from hydra_langchain.from_wire import PROVIDER

NO_SERVER = "http://127.0.0.1:9/v1"


def pool(*models, key="sk-one"):
    """One provider for each model, none of which is there."""
    providers = [
        {
            "name": f"p{number}",
            "base_url": NO_SERVER,
            "models": [model],
            "keys": [{"name": f"k{number}", "value": key}],
        }
        for number, model in enumerate(models)
    ]
    return {"store": "memory", "providers": providers}


def test_the_profile_promises_what_every_model_keeps():
    """The window is the smallest of the models that may serve, and widens with the choice."""
    small = {"name": "small", "context_window": 8000, "max_output": 1000}
    large = {"name": "large", "context_window": 32000, "max_output": 4000}
    config = pool(large, small)
    assert ChatHydra(config).profile == {"max_input_tokens": 8000, "max_output_tokens": 1000}
    assert ChatHydra(config, "large").profile["max_input_tokens"] == 32000


def test_an_unknown_window_promises_nothing():
    """Without any known window there is no profile, rather than an invented number."""
    assert ChatHydra(pool("m")).profile is None


def test_traces_and_messages_name_the_same_provider(chat):
    """`ls_provider` equals `model_provider`, and a call's own model is what a trace shows."""
    params = chat._get_ls_params(model="other", stop=["x"], temperature=0.5)
    assert params["ls_provider"] == PROVIDER
    assert chat.invoke("hi").response_metadata["model_provider"] == PROVIDER
    assert (params["ls_model_name"], params["ls_stop"]) == ("other", ["x"])
    assert params["ls_temperature"] == 0.5


def test_the_cache_key_is_the_models_not_the_keys():
    """Pools with the same routes share cached answers whatever their keys; others do not."""
    same = [ChatHydra(pool("m", key=key))._get_llm_string() for key in ("sk-one", "sk-two")]
    assert same[0] == same[1]
    assert ChatHydra(pool("n"))._get_llm_string() != same[0]
    assert ChatHydra(pool("m"), temperature=1)._get_llm_string() != same[0]


def test_a_wait_is_not_cached_for_good(fake):
    """A wait notice is not stored: the same prompt gets its answer once a key is free."""
    cache = InMemoryCache()
    fake.saturate(seconds=60)
    exhausted = ChatHydra(fake.config(max_wait=0.05, cache=False), cache=cache)
    assert exhausted.invoke("hi").response_metadata["hydra"]["kind"] == "wait"
    with FakeProvider(["other"]) as free:
        chat = ChatHydra(free.config(cache=False), cache=cache)
        assert chat._get_llm_string() == exhausted._get_llm_string()
        assert [chat.invoke("hi").content for _ in "ab"] == ["You said: hi"] * 2
        assert free.served == 1


def test_tokens_are_estimated():
    """LangChain's trimming works with the model as its counter, without any tokenizer."""
    chat = ChatHydra(pool("m"))
    long, short = HumanMessage("a" * 400), HumanMessage("b" * 40)
    assert trim_messages([long, short], max_tokens=30, token_counter=chat) == [short]
    assert chat.get_num_tokens("12345") == 2


def test_versions_are_in_the_metadata():
    """A trace says which versions of LangChain and Hydra made it."""
    versions = ChatHydra(pool("m")).metadata["lc_versions"]
    assert {"langchain-core", "hydra-llm"} <= versions.keys()


def test_a_missing_framework_is_named():
    """Without LangChain the import says which extra to install."""
    code = "import sys; sys.modules['langchain_core'] = None; import hydra_langchain"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)  # noqa: S603
    assert 'pip install "hydra-llm[langchain]"' in run.stderr
