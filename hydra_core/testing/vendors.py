"""The vendors whose manners a fake provider can take on.

A vendor is its limit headers, its words and the JSON around them. `plain` tells
nothing but `Retry-After`, `silent` not even that.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal

import orjson

from hydra_core.testing import limit_words, sayings
from hydra_core.testing.limit_words import go_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hydra_core.testing.keys import LimitName
    from hydra_core.testing.limits import Gauge, Refusal
    from hydra_core.testing.sayings import Headers, Saying, Sayings, Scene

VendorName = Literal["openai", "groq", "gemini", "openrouter", "deepseek", "plain", "silent"]


@dataclass(frozen=True, slots=True)
class Vendor:
    """One vendor's manners.

    `gauges` maps the dimension in `x-ratelimit-*-{dimension}` to the limit it
    states; `account_header` names the account on every reply. Models whose names end in
    `pooled`, where it is not empty, share the limits of an account.
    """

    name: VendorName
    sayings: Sayings
    refuse: Callable[[Refusal, Scene], Saying]
    envelope: Callable[[Saying, Scene], Any]
    gauges: tuple[tuple[str, LimitName], ...] = ()
    account_header: tuple[str, str] | None = None
    filter_finish: str = "content_filter"
    pooled: str = ""

    def quota_of(self, model: str) -> str:
        """What the limits are counted for: the model, or the pool that it belongs to."""
        return self.pooled if self.pooled and model.endswith(self.pooled) else model

    def refuses(self, fault: str) -> bool:
        """False for what this vendor answers with status 200: some say a filtered reply so."""
        return fault in self.sayings or fault in sayings.OPENAI

    def saying(self, fault: str) -> Saying:
        """The words for a fault that this vendor refuses."""
        return self.sayings.get(fault) or sayings.OPENAI[fault]

    def reply_headers(self, scene: Scene, now: float) -> Headers:
        """What every reply states of the account and its limits, at `now`."""
        found: list[tuple[str, str]] = []
        if self.account_header:
            name, prefix = self.account_header
            found.append((name, scene.account_id(prefix)))
        for dimension, limit in self.gauges:
            gauge = scene.quota.gauge(limit, now) if scene.quota else None
            if gauge is not None:
                found += _gauge_headers(dimension, gauge)
        return tuple(found)

    def speak(self, saying: Saying, scene: Scene, **fields: str) -> bytes:
        """The body of a refusal."""
        names = {"model": scene.model, "account": scene.account_id("org_"), **fields}
        filled = replace(saying, message=_fill(saying.message, names))
        return orjson.dumps(self.envelope(filled, scene))


def _fill(template: str, names: Mapping[str, str]) -> str:
    for name, value in names.items():
        template = template.replace("{" + name + "}", value)
    return template


def _gauge_headers(dimension: str, gauge: Gauge) -> Headers:
    return (
        (f"x-ratelimit-limit-{dimension}", str(gauge.limit)),
        (f"x-ratelimit-remaining-{dimension}", str(gauge.remaining)),
        (f"x-ratelimit-reset-{dimension}", go_duration(gauge.reset)),
    )


def _openai_shape(saying: Saying, _scene: Scene) -> dict[str, Any]:
    error = {"message": saying.message, "type": saying.type, "param": None, "code": saying.code}
    return {"error": error | dict(saying.extra)}


def _groq_shape(saying: Saying, _scene: Scene) -> dict[str, Any]:
    error = {"message": saying.message, "type": saying.type, "code": saying.code}
    return {"error": {name: value for name, value in error.items() if value is not None}}


def _gemini_shape(saying: Saying, _scene: Scene) -> list[dict[str, Any]]:
    error = {"code": saying.status, "message": saying.message, "status": saying.type}
    return [{"error": error | dict(saying.extra)}]


def _openrouter_shape(saying: Saying, scene: Scene) -> dict[str, Any]:
    error = {"message": saying.message, "code": saying.status, **saying.extra}
    return {"error": error, "user_id": scene.account_id("user_")}


def _bare_shape(saying: Saying, _scene: Scene) -> dict[str, Any]:
    return {"error": {"message": saying.message}}


VENDORS: Final[Mapping[VendorName, Vendor]] = {
    vendor.name: vendor
    for vendor in (
        Vendor(
            "openai",
            sayings.OPENAI,
            limit_words.openai_limit,
            _openai_shape,
            gauges=(("requests", "rpm"), ("tokens", "tpm")),
            account_header=("openai-organization", "org-"),
        ),
        # Groq's request headers count a day, its token headers a minute.
        Vendor(
            "groq",
            sayings.GROQ,
            limit_words.groq_limit,
            _groq_shape,
            gauges=(("requests", "rpd"), ("tokens", "tpm")),
        ),
        Vendor(
            "gemini",
            sayings.GEMINI,
            limit_words.gemini_limit,
            _gemini_shape,
            filter_finish="content_filter: PROHIBITED_CONTENT",
        ),
        Vendor(
            "openrouter",
            sayings.OPENROUTER,
            limit_words.openrouter_limit,
            _openrouter_shape,
            pooled=":free",
        ),
        Vendor("deepseek", sayings.DEEPSEEK, limit_words.deepseek_limit, _openai_shape),
        Vendor("plain", sayings.OPENAI, limit_words.plain_limit, _bare_shape),
        Vendor("silent", sayings.OPENAI, limit_words.silent_limit, _bare_shape),
    )
}
