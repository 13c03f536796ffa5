"""No bytes that arrive can make a dialect raise."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hydra_core.dialects import get_dialect
from hydra_core.dialects.vendors import VENDORS
from hydra_core.messages import Fault

if TYPE_CHECKING:
    from hydra_core.wire import Verdict

KEYS = st.sampled_from(
    [
        "error",
        "candidates",
        "parts",
        "text",
        "functionCall",
        "args",
        "finishReason",
        "usageMetadata",
        "promptTokenCount",
        "input",
        "stop_reason",
        "input_tokens",
        "content_block",
        "message",
        "code",
        "type",
        "status",
        "param",
        "details",
        "violations",
        "quotaId",
        "retryDelay",
        "metadata",
        "raw",
        "headers",
        "availability",
        "retry_after",
        "choices",
        "delta",
        "content",
        "tool_calls",
        "function",
        "arguments",
        "index",
        "id",
        "finish_reason",
        "usage",
        "prompt_tokens",
        "detail",
        "msg",
        "object",
        "user_id",
        "limit_source",
        "reason",
    ]
)
WORDS = st.sampled_from(
    ["429", "rate_limit_exceeded", "Limit 5, Used 5, Requested 9", "try again in 5s", "PerDay"]
)
LEAVES = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | WORDS
JSON = st.recursive(
    LEAVES | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)
STATUSES = st.sampled_from([200, 204, 302, 400, 401, 402, 403, 404, 413, 429, 500, 503, 999])
HEADERS = st.dictionaries(
    st.sampled_from(
        ["retry-after", "retry-after-ms", "date", "ratelimit", "x-ratelimit-reset"]
        + [f"x-ratelimit-{what}-tokens" for what in ("limit", "remaining", "reset")]
    ),
    st.sampled_from(["5", "-1", "nan", "1e999", "", "9" * 400, "Thu, 01 Oct 2026 12:00:00 GMT"])
    | st.text(max_size=12),
)
VENDOR = st.sampled_from([*VENDORS, "someone"])
DIALECT = st.sampled_from(["openai", "openai", "azure", "anthropic", "gemini"])


def check(verdict: Verdict) -> None:
    """What holds of every verdict."""
    assert len(verdict.message) <= 500
    verdict.message.encode()  # no lone surrogate is left
    assert verdict.retry_after is None or 0.0 <= verdict.retry_after < float("inf")
    for reading in verdict.readings:
        assert reading.reset is None or 0.0 <= reading.reset < float("inf")


@given(name=DIALECT, vendor=VENDOR, status=STATUSES, headers=HEADERS, value=JSON)
def test_any_json_gets_a_verdict(name, vendor, status, headers, value):
    """Whatever JSON comes under whatever headers, it is read."""
    dialect = get_dialect(name, vendor)
    body = orjson.dumps(value)
    answer = dialect.read(status, headers, body, now=1.79e9)
    check(answer.verdict)
    if not 200 <= status < 300:
        assert answer.verdict.fault is not None
    check(dialect.verdict_of(None, headers, body, now=1.79e9))
    reader = dialect.stream(200, headers, now=1.79e9)
    events = reader.feed(b"data: " + body + b"\n\n")
    last = reader.finish()
    for event in events if last is None else [*events, last]:
        if event.verdict is not None:
            check(event.verdict)
            assert event.verdict.fault is not None


@given(name=DIALECT, vendor=VENDOR, status=STATUSES, body=st.binary(max_size=200))
def test_any_bytes_get_a_verdict(name, vendor, status, body):
    """Bytes that are no JSON are read too."""
    dialect = get_dialect(name, vendor)
    check(dialect.read(status, {}, body, now=0.0).verdict)
    reader = dialect.stream(200, {}, now=0.0)
    reader.feed(body)
    reader.finish()


@pytest.mark.parametrize("status", [200, 429])
@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000,
        b'{"error":' * 100_000,
        b"1" * 5_000,
        b'{"error": {"message": ' + b"9" * 5_000 + b"}}",
        b'{"choices": NaN}',
        b'{"choices": Infinity}',
        b'{"choices": 1e999}',
        b'{"error": "\xff\xfe"}',
        b'{"error": "\\ud800"}',
        b'{"error": ' + b'{"\\ud800": ' * 900 + b"1" + b"}" * 901,
        b"\x00" * 50,
        b'{"message": ' * 900 + b"1" + b"}" * 900,
        b'{"error": {"detail": ' + b"[" * 900 + b"]" * 900 + b"}}",
    ],
)
def test_classic_attacks(judge, status, body):
    """Depth, endless numbers, NaN, broken UTF-8 and surrogates end in a typed verdict."""
    verdict = judge("groq", status, body)
    check(verdict)
    assert verdict.fault in (Fault.INVALID_RESPONSE, Fault.RATE_LIMIT_MINUTE)


@pytest.mark.parametrize("now", [float("nan"), float("inf"), -1e18, 1e18])
def test_a_mad_clock(now):
    """A wall clock out of its mind makes no reading fail."""
    body = b'{"error": {"code": 429, "details": [{"violations": [{"quotaId": "PerDay"}]}]}}'
    verdict = get_dialect("openai", "gemini").read(429, {}, body, now=now).verdict
    assert (verdict.fault, verdict.retry_after) == (Fault.RATE_LIMIT_DAY, None)


def test_an_error_in_broken_utf8_is_still_read(judge):
    """One bad byte in the message does not hide what the error says."""
    body = b'{"error": {"message": "caf\xe9", "code": "insufficient_quota"}}'
    assert judge("openai", 429, body).fault is Fault.QUOTA_EXHAUSTED_BILLING


def test_long_words_are_searched_in_linear_time(judge):
    """A megabyte of near misses is judged without backtracking for minutes."""
    text = "try again in 1" + "1 " * 200_000 + "limit " * 50_000 + "wait " * 50_000
    assert judge("groq", 429, {"error": {"message": text}}).fault is Fault.RATE_LIMIT_MINUTE


def test_arguments_too_deep_to_write(read):
    """Tool arguments that nest deeper than can be written do not make reading fail."""
    deep = b'{"x":' * 400 + b"1" + b"}" * 400
    call = b'{"id":"a","function":{"name":"f","arguments":' + deep + b"}}"
    body = b'{"choices":[{"message":{"tool_calls":[' + call + b"]}}]}"
    assert read("someone", 200, body).tool_calls[0].arguments == ""
    use = b'{"type":"tool_use","id":"a","name":"f","input":' + deep + b"}"
    answer = read("x", 200, b'{"content":[' + use + b"]}", dialect="anthropic")
    assert answer.tool_calls[0].name == "f"


def test_a_strangers_words_are_one_printable_line(judge):
    """Escapes, line breaks, bidi marks and NULs in a message, a code or an account do no harm."""
    evil = "red \x1b[31m\r\nFAKE LINE\x00 \u202ebidi\u2028"
    body = {"error": {"message": evil, "code": evil}, "user_id": evil}
    for vendor, header in (("openai", "openai-organization"), ("nobody", "x")):
        verdict = judge(vendor, 429, body, {header: evil})
        for text in (verdict.message, verdict.code, verdict.scope_hint):
            assert text == "red [31m FAKE LINE bidi"
    assert judge("openai", 200, COMPLETION, {"openai-organization": evil}).scope_hint.isprintable()


def test_a_byte_order_mark_before_json_is_passed_over(judge):
    """Some proxies write one; two of them, or thousands, are no JSON."""
    mark = b"\xef\xbb\xbf"
    body = orjson.dumps(COMPLETION)
    assert judge("nobody", 200, mark + body).fault is None
    for count in (2, 100_000):
        assert judge("nobody", 200, mark * count + body).fault is Fault.INVALID_RESPONSE


COMPLETION = {"choices": [{"message": {"content": "x"}, "finish_reason": "stop"}]}
