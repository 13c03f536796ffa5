"""LangChain's own standard suites, over two keys of which the first fails."""

import json
from types import SimpleNamespace

import pytest
from langchain_tests.integration_tests import ChatModelIntegrationTests
from langchain_tests.integration_tests import chat_models as standard
from langchain_tests.unit_tests import ChatModelUnitTests

from hydra_core.testing import EchoModel, FakeAnswer, FakeProvider
from hydra_langchain import ChatHydra

REFUSED = 429
NO_SERVER = "http://127.0.0.1:9/v1"


class Joker(EchoModel):
    """Echoes, and knows the shape of a joke where the prompt alone describes the JSON."""

    def answer(self, body):
        if (body.get("response_format") or {}).get("type") == "json_object":
            return FakeAnswer(json.dumps({"setup": "why", "punchline": "because"}))
        return super().answer(body)


class TestUnit(ChatModelUnitTests):
    """What needs no server."""

    @property
    def chat_model_class(self):
        return ChatHydra

    @property
    def chat_model_params(self):
        return {"model": "fake-model", "base_url": NO_SERVER}

    @property
    def init_from_env_params(self):
        return (
            {"HYDRA_API_KEYS": "key-one,key-two"},
            {"model": "fake-model", "base_url": NO_SERVER},
            {"api_keys": "key-one,key-two"},
        )


@pytest.mark.filterwarnings("ignore:OpenAI may require a filename")  # the suite gives none
class TestIntegration(ChatModelIntegrationTests):
    """Everything else, each test with a fresh pool whose first key answers 429 at the start."""

    @pytest.fixture(autouse=True)
    def _pool(self, request, monkeypatch):
        download = SimpleNamespace(content=b"%PDF-1.4 bytes of some medium")
        stub = SimpleNamespace(get=lambda *_args, **_kwargs: download)
        monkeypatch.setattr(standard, "httpx", stub)
        monkeypatch.setenv("LANGCHAIN_TESTS_USER_AGENT", "nothing is downloaded")
        keys, models = ["sk-standard-one", "sk-standard-two"], ["fake-model", "other-model"]
        with FakeProvider(keys, models=models, answer=Joker(), strict=True) as fake:
            fake.fail("rate_limit", key=0, times=1, retry_after=60)
            request.instance.fake = fake
            yield
            assert fake.violations == ()
            assert not fake.log or fake.log[0].status == REFUSED

    @property
    def chat_model_class(self):
        return ChatHydra

    @property
    def chat_model_params(self):
        config = self.fake.config(strategy="priority", cache=False)
        return {"config": config, "model": "fake-model"}

    @property
    def model_override_value(self):
        return "other-model"

    @property
    def supports_json_mode(self):
        return True

    @property
    def supports_image_inputs(self):
        return True

    @property
    def supports_image_urls(self):
        return True

    @property
    def supports_pdf_inputs(self):
        return True

    @property
    def supports_audio_inputs(self):
        return True

    @property
    def supports_image_tool_message(self):
        return True

    @property
    def supports_pdf_tool_message(self):
        return True

    @property
    def supports_anthropic_inputs(self):
        return True
