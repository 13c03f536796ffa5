"""A request reaches each vendor in a form that it accepts."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import orjson
import pytest

from hydra_core.dialects import get_dialect
from hydra_core.errors import ConfigError, RequestRejected
from hydra_core.messages import ChatRequest
from hydra_core.wire import Target, WireRequest

AZURE = "https://r.openai.azure.com"
DEPLOYMENT = f"{AZURE}/openai/deployments/d"
STABLE = "api-version=2024-10-21"
ASK = [{"role": "user", "content": "Who is Ishmael?"}]


def encode(
    vendor: str, *, model: str = "m", stream: bool = False, messages: Any = ASK, **params: Any
) -> dict[str, Any]:
    """The JSON body that a vendor is sent."""
    target = Target("https://api.example/v1", model)
    request = ChatRequest(messages, params=params)
    body: dict[str, Any] = orjson.loads(
        get_dialect("openai", vendor).encode(target, request, stream=stream).body
    )
    return body


def wire(dialect: str, base_url: str, *headers: tuple[str, str]) -> WireRequest:
    """The HTTP request for the deployment `my dep` at a base URL."""
    target = Target(base_url, "my dep", headers)
    return get_dialect(dialect, "someone").encode(target, ChatRequest(ASK), stream=False)


def test_a_plain_request():
    """Address, headers and body, without any credential."""
    request = wire("openai", "https://api.example/v1/", ("X-HF-Bill-To", "acme"))
    assert (request.method, request.url) == ("POST", "https://api.example/v1/chat/completions")
    assert dict(request.headers) == {
        "content-type": "application/json",
        "accept": "application/json",
        "accept-encoding": "identity",
        "user-agent": f"hydra-llm/{version('hydra-llm')}",
        "x-hf-bill-to": "acme",
    }
    assert (request.auth_header, request.auth_prefix) == ("authorization", "Bearer ")
    assert orjson.loads(request.body) == {"model": "my dep", "messages": ASK}


def test_the_targets_headers_win():
    """A header that the target sets replaces ours."""
    headers = wire("openai", "https://api.example/v1", ("User-Agent", "mine")).headers
    assert [value for name, value in headers if name == "user-agent"] == ["mine"]


def test_streams_ask_for_usage():
    """Usage is asked for wherever the vendor accepts the question, and nowhere else."""
    body = encode("groq", stream=True, stream_options={"include_usage": False, "x": 1})
    assert (body["stream"], body["stream_options"]) == (True, {"include_usage": True, "x": 1})
    assert "stream_options" not in encode("mistral", stream=True)
    assert "stream_options" not in encode("groq", stream_options={"include_usage": True})


@pytest.mark.parametrize(
    ("vendor", "model", "given", "sent"),
    [
        ("groq", "m", {"logprobs": True, "top_logprobs": 2, "logit_bias": {}, "n": 2}, {}),
        ("gemini", "m", {"frequency_penalty": 1, "seed": 4, "top_k": 3, "top_p": 1}, {"top_p": 1}),
        ("openai", "gpt-4.1", {"max_tokens": 9, "stop": "x"}, {"max_tokens": 9, "stop": "x"}),
        (
            "openai",
            "gpt-5.4-mini",
            {"max_tokens": 9, "temperature": 0, "stop": "x", "logprobs": True},
            {"max_completion_tokens": 9},
        ),
        ("azure", "o3", {"max_tokens": 9}, {"max_completion_tokens": 9}),
        ("openai", "gpt-5-chat-latest", {"temperature": 0}, {"temperature": 0}),
        ("anthropic", "m", {"n": 1, "temperature": 1.4}, {"temperature": 1.0}),
        ("anthropic", "m", {"temperature": 0.2}, {"temperature": 0.2}),
        (
            "mistral",
            "m",
            {"seed": 4, "max_completion_tokens": 9, "user": "u"},
            {"random_seed": 4, "max_tokens": 9},
        ),
        ("xai", "grok-4.5", {"stop": "x", "presence_penalty": 1, "top_p": 1}, {"top_p": 1}),
        ("xai", "grok-4-fast-non-reasoning", {"stop": "x"}, {"stop": "x"}),
        (
            "cohere",
            "m",
            {"store": True, "n": 1, "parallel_tool_calls": True, "seed": 1},
            {"seed": 1},
        ),
        ("ollama", "m", {"tool_choice": "auto", "user": "u", "n": 1}, {}),
        ("someone", "m", {"n": 2, "seed": 1}, {"n": 2, "seed": 1}),
    ],
)
def test_parameters_that_a_vendor_refuses(vendor, model, given, sent):
    """What a vendor would answer with 400 is dropped, renamed or capped; the rest is kept."""
    body = encode(vendor, model=model, **given)
    assert {name: body[name] for name in body if name not in ("model", "messages")} == sent


def test_the_callers_parameters_are_not_changed():
    """Fitting works on a copy: the next deployment sees what the caller wrote."""
    params = {"seed": 1, "extra_body": {"x": 1}}
    request = ChatRequest(ASK, params=params)
    get_dialect("openai", "mistral").encode(Target("https://a.example", "m"), request, stream=True)
    assert params == {"seed": 1, "extra_body": {"x": 1}}


def test_extra_body_is_spread():
    """`extra_body` means the fields in it, except for Google's own options."""
    assert encode("groq", extra_body={"reasoning_effort": "low"})["reasoning_effort"] == "low"
    google = {"google": {"thinking_config": {}}}
    assert encode("gemini", extra_body=google)["extra_body"] == google


def test_names_in_messages():
    """Groq refuses `name` in a message; others get it."""
    named = [{"role": "user", "name": "ann", "content": "Hi"}]
    assert "name" not in encode("groq", messages=named)["messages"][0]
    assert encode("openai", messages=named)["messages"] == named


@pytest.mark.parametrize(
    ("vendor", "kept"),
    [
        ("groq", {"reasoning"}),
        ("cerebras", {"reasoning"}),
        ("mistral", set()),
        ("deepseek", {"reasoning", "reasoning_content"}),
    ],
)
def test_a_conversation_that_began_elsewhere(vendor, kept):
    """The thoughts of another provider's answer are not sent where they would be refused."""
    answer = {"role": "assistant", "content": "Hi", "reasoning": "Hm", "reasoning_content": "Hm"}
    messages = [{"role": "user", "content": "Ahoy"}, answer, {"role": "user", "content": "Why?"}]
    sent = encode(vendor, messages=messages)["messages"]
    assert set(sent[1]) == {"role", "content"} | kept
    assert [sent[0], sent[2]] == [messages[0], messages[2]]


def test_mistrals_call_ids():
    """Call ids become nine letters and digits, alike in the call and in its result."""
    messages = [
        {"role": "assistant", "tool_calls": [{"id": "call_0123456789", "type": "function"}]},
        {"role": "tool", "tool_call_id": "call_0123456789", "content": "1"},
        {"role": "tool", "tool_call_id": "abc123XYZ", "content": "2"},
    ]
    sent = encode("mistral", messages=messages)["messages"]
    short = sent[0]["tool_calls"][0]["id"]
    assert len(short) == 9
    assert short.isalnum()
    assert (sent[1]["tool_call_id"], sent[2]["tool_call_id"]) == (short, "abc123XYZ")


def test_geminis_signed_calls():
    """A call without a signature says so to newer models; one that has its own keeps it."""

    def extra(model: str, vendor: str = "gemini", **fields: Any) -> Any:
        messages = [
            {"role": "assistant", "tool_calls": [{"id": "c", "type": "function", **fields}]}
        ]
        sent = encode(vendor, model=model, messages=messages)["messages"]
        return sent[0]["tool_calls"][0].get("extra_content")

    own = {"google": {"thought_signature": "sig"}}
    unsigned = {"google": {"thought_signature": "skip_thought_signature_validator"}}
    assert extra("gemini-3.5-flash") == unsigned
    assert extra("gemini-3.5-flash", extra_content=own) == own
    assert extra("gemini-2.5-flash") is None
    assert extra("gemini-3.5-flash", vendor="openrouter") is None


@pytest.mark.parametrize(
    ("base", "url"),
    [
        (f"{AZURE}/", f"{AZURE}/openai/deployments/my%20dep/chat/completions?{STABLE}"),
        (f"{DEPLOYMENT}?api-version=2025", f"{DEPLOYMENT}/chat/completions?api-version=2025"),
        (f"{DEPLOYMENT}?x=1", f"{DEPLOYMENT}/chat/completions?x=1&{STABLE}"),
        (f"{AZURE}/openai/v1/", f"{AZURE}/openai/v1/chat/completions"),
    ],
)
def test_azures_addresses(base, url):
    """A resource, a deployment and the undated API are all completed, for the key in `api-key`."""
    request = wire("azure", base)
    assert request.url == url
    assert (request.auth_header, request.auth_prefix) == ("api-key", "")


def test_what_is_no_json_is_rejected():
    """A request with an object in it is the caller's fault, and says what may be sent."""
    with pytest.raises(RequestRejected, match="only text, numbers"):
        encode("groq", extra=object())
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(RequestRejected):
        encode("groq", extra=deep)


def test_lone_surrogates_are_replaced():
    """Half an emoji in a message does not stop the request."""
    body = encode("groq", messages=[{"role": "user", "content": "a\ud800b\U0001f600"}])
    assert body["messages"][0]["content"] == "a\ufffdb\U0001f600"


def test_one_dialect_for_all_calls():
    """Dialects are built once per vendor; an unknown dialect names the known ones."""
    assert get_dialect("openai", "groq") is get_dialect("openai", "groq")
    with pytest.raises(ConfigError, match=r"use one of: .*openai"):
        get_dialect("smalltalk", "groq")
