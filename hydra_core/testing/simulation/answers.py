"""From what a provider does to what its caller reads: a verdict made directly, or real bytes.

Most answers are built as the values that a dialect would give. A sample is spoken as
JSON and headers, in a vendor's words, and read by the real dialect, which must find in
it what was meant.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import orjson

from hydra_core.dialects import get_dialect
from hydra_core.messages import Fault, Usage
from hydra_core.testing.limits import WINDOW_SECONDS
from hydra_core.testing.sayings import Saying, Scene
from hydra_core.testing.simulation.faults import HANG
from hydra_core.testing.vendors import VENDORS
from hydra_core.wire import Answer, LimitKind, Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hydra_core.testing.limits import Refusal
    from hydra_core.testing.simulation.faults import Trouble
    from hydra_core.testing.simulation.provider import Outcome, Sent

_STATUS: Final[Mapping[Trouble, int]] = {
    Fault.RATE_LIMIT_MINUTE: 429,
    Fault.RATE_LIMIT_DAY: 429,
    Fault.QUOTA_EXHAUSTED_BILLING: 402,
    Fault.AUTH: 401,
    Fault.MODEL_UNAVAILABLE: 404,
    Fault.REQUEST_TOO_LARGE: 413,
    Fault.CONTEXT_TOO_LONG: 400,
    Fault.CONTENT_FILTER: 400,
    Fault.OVERLOADED: 503,
    Fault.BAD_REQUEST: 400,
    Fault.INVALID_RESPONSE: 200,
    Fault.STREAM_BROKEN: 200,
    Fault.UNKNOWN: 500,
}
_SPOKEN: Final[Mapping[Trouble, str]] = {
    Fault.QUOTA_EXHAUSTED_BILLING: "billing",
    Fault.AUTH: "auth",
    Fault.MODEL_UNAVAILABLE: "model_gone",
    Fault.CONTEXT_TOO_LONG: "context_too_long",
    Fault.OVERLOADED: "overloaded",
    Fault.BAD_REQUEST: "bad_request",
}
# Without a code these read like any limit.
_CODED: Final = (Fault.QUOTA_EXHAUSTED_BILLING,)
_LIMITS: Final = (Fault.RATE_LIMIT_MINUTE, Fault.RATE_LIMIT_DAY)
_EPOCH: Final = 1_790_000_000.0
"""The time of day at which every answer is read: some moment, always the same."""


def answer_of(sent: Sent, outcome: Outcome) -> Answer:
    """What the caller is told, as values."""
    fault = outcome.fault
    hint = sent.key.account if sent.plan.manners == "openai" else None
    if fault is None:
        verdict = Verdict(status=200, scope_hint=hint, readings=outcome.readings)
        return Answer(verdict, text="ok", finish_reason="stop", usage=sent.usage)
    if fault == HANG or fault is Fault.UNREACHABLE:
        return Answer(Verdict(fault=Fault.TIMEOUT if fault == HANG else Fault.UNREACHABLE))
    verdict = Verdict(
        fault=Fault(fault),
        status=_STATUS[fault],
        message="simulated",
        retry_after=outcome.wait,
        scope_hint=hint,
        whole_account=outcome.whole_account,
    )
    refusal = outcome.refusal
    if refusal is not None and sent.plan.manners == "openai":
        verdict = _with_numbers(verdict, refusal)
    return Answer(verdict)


def _with_numbers(verdict: Verdict, refusal: Refusal) -> Verdict:
    kinds: Mapping[str, LimitKind] = {"r": "requests", "t": "tokens", "c": "concurrency"}
    kind = kinds[refusal.name[0]]
    return replace(
        verdict,
        kind=kind,
        window=WINDOW_SECONDS.get(refusal.name),
        limit=None if kind == "concurrency" else float(refusal.limit),
        used=None if kind == "concurrency" else float(refusal.used),
        requested=None if kind == "concurrency" else float(refusal.requested),
    )


def spoken_answer(sent: Sent, outcome: Outcome) -> Answer | None:
    """What the caller reads from real bytes; None for what is not said in a body."""
    fault = outcome.fault
    dialect = get_dialect("openai", "openai" if sent.plan.manners == "openai" else "simulated")
    if fault is None:
        body = _completion(sent.model.name, sent.usage)
        return dialect.read(200, {}, body, now=_EPOCH)
    vendor = VENDORS[sent.plan.manners]
    scene = Scene(sent.model.name, sent.key.account, 1.0, _EPOCH)
    if fault in _LIMITS and outcome.refusal is not None and not outcome.whole_account:
        saying = vendor.refuse(outcome.refusal, scene)
    elif fault in _SPOKEN and (fault not in _CODED or sent.plan.manners == "openai"):
        saying = vendor.saying(_SPOKEN[fault])
    else:
        return None
    body = vendor.speak(saying, scene, reason="simulated")
    return dialect.read(saying.status, _headers(saying), body, now=_EPOCH)


def misread(outcome: Outcome, answer: Answer) -> bool:
    """True when the dialect found something else than was meant."""
    meant, read = outcome.fault, answer.verdict.fault
    return meant is not read and not (meant in _LIMITS and read in _LIMITS)


def _headers(saying: Saying) -> dict[str, str]:
    return {"content-type": "application/json", **dict(saying.headers)}


def _completion(model: str, usage: Usage) -> bytes:
    return orjson.dumps(
        {
            "id": "simulated",
            "object": "chat.completion",
            "model": model,
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": "ok"},
                    "finish_reason": "stop",
                }
            ],
            "usage": {
                "prompt_tokens": usage.prompt_tokens,
                "completion_tokens": usage.completion_tokens,
                "total_tokens": usage.total_tokens,
            },
        }
    )
