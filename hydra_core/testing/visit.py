"""One chat request at the desk of a fake provider.

The order is a provider's own: who are you, is this a request, is anything
wrong today (scripted faults), have you got the right to it (limits), and only
then the answer. Refused requests are not charged.
"""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from hydra_core.testing.checks import complaint
from hydra_core.testing.completions import Completion, settle
from hydra_core.testing.faults import LIMIT_FAULTS, REFUSALS, SPOILS
from hydra_core.testing.keys import FakeCall
from hydra_core.testing.limits import WINDOW_SECONDS, Quota, Refusal
from hydra_core.testing.sayings import Saying, Scene
from hydra_core.testing.script import STREAM_TYPE, Script, whole
from hydra_core.wire import DAY, MINUTE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hydra_core.testing.answer import FakeAnswer
    from hydra_core.testing.desk import Desk
    from hydra_core.testing.faults import FaultRule
    from hydra_core.testing.judge import Call
    from hydra_core.testing.keys import KnownKey, LimitName
    from hydra_core.testing.sayings import Headers

logger = logging.getLogger(__name__)

# A scripted limit on an account without one speaks of a limit too large to teach
# a caller anything wrong, and states these waits in provider seconds.
_SCRIPTED: Final[Mapping[str, tuple[LimitName, int, float]]] = {
    "rate_limit": ("tpm", 1_000_000, MINUTE / 30),
    "day_limit": ("tpd", 100_000_000, DAY / 24),
}
_REASONS: Final[Mapping[LimitName, str]] = {
    "rpm": "rate_limit",
    "tpm": "rate_limit",
    "rpd": "day_limit",
    "tpd": "day_limit",
    "concurrency": "concurrency",
}


class Visit:
    """One chat request at the desk."""

    def __init__(self, desk: Desk, call: Call, body: Any) -> None:
        self._desk = desk
        self._house = desk.house
        self._call = call
        self._body = body
        self._quota: Quota | None = None
        self._status: int | None = None

    def script(self, holder: KnownKey | None) -> Script:
        """What to send; the call's entry says the same."""
        with self._desk.changed:
            if holder is None or holder.name in self._desk.dead:
                return self._refused("auth")
            wrong = complaint(self._body, strict=self._house.strict)
            if wrong is not None:
                return self._refused("bad_request", reason=wrong)
            if self._call.model not in self._house.models:
                return self._refused("model_gone")
            rule = self._desk.plan.strike(self._call.key, self._call.model)
            if rule is not None and self._refuses(rule):
                return self._scripted(rule)
            until = self._desk.saturated.get(self._call.account, 0.0)
            if until > self._call.at:
                return self._over_limit(self._invented("rate_limit", until - self._call.at))
        try:
            return self._served(rule)
        except Exception as error:  # the user's own code: his test must see what went wrong in it
            logger.exception("the answerer of a fake provider failed")
            saying = Saying(500, f"the answerer failed with {type(error).__name__}", "server_error")
            return self._spoken("answerer_failed", saying)

    def sent(self) -> None:
        """The head of the reply has left."""
        with self._desk.changed:
            self._call.status = self._status
            self._desk.journal.sent(self._call, self._desk.now())

    def ended(self, finished: bool) -> None:
        """The call is over; `finished` says whether the whole reply was sent."""
        with self._desk.changed:
            if self._call.ended_at is not None:
                return
            self._call.finished = finished
            self._call.ended_at = self._desk.now()
            if self._quota is not None:
                self._quota.leave()
            self._desk.in_flight -= 1
            self._desk.changed.notify_all()

    def _refuses(self, rule: FaultRule) -> bool:
        """Some vendors say `content_filter` in a reply of status 200: that is no refusal."""
        if rule.fault in LIMIT_FAULTS:
            return True
        return rule.fault in REFUSALS and self._house.vendor.refuses(rule.fault)

    def _scripted(self, rule: FaultRule) -> Script:
        """A wait that the script states is sent as it is, even by a vendor who rounds or is mum."""
        vendor, wait = self._house.vendor, rule.retry_after
        if rule.fault in LIMIT_FAULTS:
            shown = _SCRIPTED[rule.fault][2] * self._house.scale if wait is None else wait
            saying = vendor.refuse(self._invented(rule.fault, shown), self._scene())
        else:
            saying = vendor.saying(rule.fault)
        if wait is not None:
            others = tuple(header for header in saying.headers if header[0] != "retry-after")
            headers = (*others, ("retry-after", f"{wait:.10g}"))
            saying = replace(saying, headers=headers, told=wait)
        if rule.status is not None:
            saying = replace(saying, status=rule.status)
        return self._spoken(rule.fault, saying)

    def _invented(self, fault: str, wait: float) -> Refusal:
        """A limit with numbers that fit `wait` seconds by the arithmetic of a bucket."""
        name, limit, _ = _SCRIPTED[fault]
        limit = self._desk.limits_of(self._call.account, self._call.model).stated().get(name, limit)
        requested = min(limit, 100)
        owed = wait * limit / (WINDOW_SECONDS[name] * self._house.scale)
        return Refusal(name, limit, round(limit - requested + owed), requested, wait)

    def _over_limit(self, refusal: Refusal) -> Script:
        reason = "too_large" if refusal.never else _REASONS[refusal.name]
        return self._spoken(reason, self._house.vendor.refuse(refusal, self._scene()))

    def _refused(self, fault: str, **fields: str) -> Script:
        return self._spoken(fault, self._house.vendor.saying(fault), **fields)

    def _spoken(self, fault: str, saying: Saying, **fields: str) -> Script:
        call, scene = self._call, self._scene()
        self._status, call.fault, call.told = saying.status, fault, saying.told
        body = self._house.vendor.speak(saying, scene, **fields)
        return whole(saying.status, body, self._headers(scene) + saying.headers)

    def _served(self, rule: FaultRule | None) -> Script:
        answer = self._emptied(self._house.answerer.answer(self._body), rule)
        answer, prompt, tokens = settle(answer, self._body)
        call = self._call
        call.prompt_tokens, call.completion_tokens = prompt, tokens
        with self._desk.changed:
            quota = self._quota_of(call)
            refusal = quota.refusal(prompt + tokens, call.at)
            if refusal is not None:
                return self._over_limit(refusal)
            quota.enter(prompt + tokens, call.at)
            self._quota = quota
            call.admitted, call.fault = True, rule.fault if rule else None
            headers = self._headers(self._scene())
        completion = Completion(
            f"chatcmpl-{call.number}", call.model, int(time.time()), answer, prompt, tokens
        )
        return self._spoiled(self._written(completion, headers), rule)

    def _emptied(self, answer: FakeAnswer, rule: FaultRule | None) -> FakeAnswer:
        """The answer without its content, where the fault is that there is none."""
        reasons = {"empty": "stop", "content_filter": self._house.vendor.filter_finish}
        if rule is None or rule.fault not in reasons:
            return answer
        return replace(
            answer,
            text="",
            tool_calls=(),
            finish_reason=reasons[rule.fault],
            completion_tokens=0,
        )

    def _written(self, completion: Completion, headers: Headers) -> Script:
        if not self._call.stream:
            script = whole(200, completion.body(), headers)
        else:
            asked = (self._body.get("stream_options") or {}).get("include_usage")
            events = completion.events(include_usage=bool(asked))
            gap = self._house.chunk_delay
            script = Script(200, STREAM_TYPE + headers, events, gap=gap)
        return replace(script, delay=self._latency())

    def _spoiled(self, script: Script, rule: FaultRule | None) -> Script:
        if rule is not None and rule.fault in SPOILS:
            script = SPOILS[rule.fault](script, rule)
        self._status = script.status
        return script

    def _latency(self) -> float:
        latency, call = self._house.latency, self._call
        if not callable(latency):
            return latency
        seen = FakeCall(
            at=call.at,
            key=call.key,
            account=call.account,
            model=call.model,
            stream=call.stream,
            prompt_tokens=call.prompt_tokens,
            completion_tokens=call.completion_tokens,
            body=self._body,
        )
        return latency(seen)

    def _quota_of(self, call: Call) -> Quota:
        place = call.account, self._house.vendor.quota_of(call.model)
        quota = self._desk.quotas.get(place)
        if quota is None:
            quota = Quota(self._desk.limits_of(*place), scale=self._house.scale)
            self._desk.quotas[place] = quota
        return quota

    def _scene(self) -> Scene:
        call = self._call
        place = call.account, self._house.vendor.quota_of(call.model)
        quota = self._desk.quotas.get(place)
        return Scene(call.model, call.account, self._house.scale, time.time(), quota)

    def _headers(self, scene: Scene) -> Headers:
        request_id = (("x-request-id", self._call.request_id),)
        return request_id + self._house.vendor.reply_headers(scene, self._call.at)
