"""Every vendor that is known, as data: its limit headers, words, parameters and days.

Sources are the vendors' documentation and replies quoted in public threads, as
of October 2026. A vendor that speaks OpenAI and is not here gets `GENERIC`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from hydra_core.dialects import times
from hydra_core.dialects.limits import (
    Layout,
    LimitRow,
    Reset,
    go_clock,
    millis_clock,
    paired,
)
from hydra_core.dialects.parameters import PLAIN, Parameters
from hydra_core.dialects.rules import COMMON, Rule
from hydra_core.dialects.thoughts import BLOCKS
from hydra_core.dialects.vendor_rules import VENDOR_RULES
from hydra_core.dialects.words import MONTH
from hydra_core.wire import DAY, HOUR, MINUTE


@dataclass(frozen=True, slots=True)
class Vendor:
    """One vendor's ways.

    `wait_headers` state a wait, beside `retry-after`, in refusals. The account
    is named by `hint_header` (and `hint_part`, which may have limits of its own), else
    by the group of the pattern `hint_words` in an error's message, else by its
    `user_id`. Days end at midnight in
    `day_zone`; `day_certain` when that beats the vendor's own hints.
    `account_wide`: its limits hold for all models of the account together.
    """

    name: str
    layout: Layout
    parameters: Parameters = PLAIN
    wait_headers: tuple[tuple[str, Reset], ...] = ()
    hint_header: str = ""
    hint_part: str = ""
    hint_words: str = ""
    day_zone: str | None = None
    day_certain: bool = False
    account_wide: bool = False

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The vendor's own rows, then the common ones."""
        return (*VENDOR_RULES.get(self.name, ()), *COMMON)


NO_HEADERS: Final = Layout()
_OPENAI_LAYOUT: Final = Layout(
    paired("requests", MINUTE, "-requests", go_clock),
    paired("tokens", MINUTE, "-tokens", go_clock),
)
_GROQ_LAYOUT: Final = Layout(
    # The same names as OpenAI's, but its requests are counted per day.
    paired("requests", DAY, "-requests", go_clock),
    paired("tokens", MINUTE, "-tokens", go_clock),
)
_AZURE_LAYOUT: Final = Layout(
    paired("requests", MINUTE, "-requests", millis_clock),
    paired("tokens", MINUTE, "-tokens", millis_clock),
)


def _anthropic_row(name: str, *, wait_only: bool = False) -> LimitRow:
    prefix = f"anthropic-ratelimit-{name}"
    return LimitRow(
        "requests" if name == "requests" else "tokens",
        MINUTE,
        f"{prefix}-limit",
        f"{prefix}-remaining",
        f"{prefix}-reset",
        times.until_rfc3339,
        wait_only,
    )


_ANTHROPIC_LAYOUT: Final = Layout(
    _anthropic_row("requests"),
    _anthropic_row("tokens"),
    _anthropic_row("input-tokens", wait_only=True),
    _anthropic_row("output-tokens", wait_only=True),
    dated=True,
)
_ANTHROPIC_COMPAT_LAYOUT: Final = Layout(
    LimitRow(
        "requests",
        MINUTE,
        "x-ratelimit-requests",
        "x-ratelimit-remaining-requests",
        "x-ratelimit-reset-requests",
        go_clock,
    ),
    LimitRow(
        "tokens",
        MINUTE,
        "x-ratelimit-tokens",
        "x-ratelimit-remaining-tokens",
        "x-ratelimit-reset-tokens",
        go_clock,
    ),
)
_CEREBRAS_LAYOUT: Final = Layout(
    paired("requests", DAY, "-requests-day", go_clock),
    paired("tokens", MINUTE, "-tokens-minute", go_clock),
    paired("requests", MINUTE, "-requests-minute", go_clock),
    paired("requests", HOUR, "-requests-hour", go_clock),
    paired("tokens", DAY, "-tokens-day", go_clock),
)
_REASONING_PARAMETERS: Final = Parameters(
    drop=frozenset({"thinking"}),
    reasoning_models=r"(?:^|/)(?:o[1-9]|gpt-(?:[5-9]|\d\d)(?!.*chat))",
    reasoning_rename=(("max_tokens", "max_completion_tokens"),),
    # 1 is the only temperature that they accept, and their default.
    reasoning_drop=frozenset({"temperature", "stop", "logprobs", "top_logprobs"}),
)

# Any server, a gateway to Claude too: that wants its own thoughts back.
GENERIC: Final = Vendor("", _OPENAI_LAYOUT, parameters=Parameters(message_drop=frozenset()))

_ALL: Final = (
    Vendor(
        "groq",
        _GROQ_LAYOUT,
        parameters=Parameters(
            drop=frozenset({"logprobs", "top_logprobs", "logit_bias", "n", "thinking"}),
            message_drop=frozenset({"name", "reasoning_content", BLOCKS}),
        ),
        hint_words=r"in organization `?(org_\w+)",
    ),
    Vendor(
        "gemini",
        NO_HEADERS,
        parameters=Parameters(
            drop=frozenset({"frequency_penalty", "seed", "top_k", "reasoning", "thinking"}),
            nests_extra_body=True,
            signed_calls=True,
        ),
        day_zone="America/Los_Angeles",
        day_certain=True,
    ),
    Vendor("deepseek", NO_HEADERS),
    Vendor(
        "openrouter",
        # The window is in the words: free models have one per minute and one per day.
        Layout(paired("requests", None, "", times.until), dated=True),
        wait_headers=(("x-ratelimit-reset", times.until),),
        day_zone="UTC",
    ),
    Vendor(
        "openai",
        _OPENAI_LAYOUT,
        parameters=_REASONING_PARAMETERS,
        hint_header="openai-organization",
        hint_part="openai-project",
        hint_words=r"in organization (org-\w+)",
    ),
    Vendor("azure", _AZURE_LAYOUT, parameters=_REASONING_PARAMETERS),
    Vendor(
        "anthropic",
        _ANTHROPIC_LAYOUT,
        hint_header="anthropic-organization-id",
        hint_words=r"\(org: ([\w-]+)",
    ),
    Vendor(
        "anthropic_compat",
        _ANTHROPIC_COMPAT_LAYOUT,
        parameters=Parameters(
            drop=frozenset({"n"}), ceilings=(("temperature", 1.0),), json_by_tool=True
        ),
        hint_header="anthropic-organization-id",
        hint_words=r"\(org: ([\w-]+)",
    ),
    Vendor(
        "mistral",
        Layout(
            paired("requests", MINUTE, "-req-minute"),
            paired("tokens", MINUTE, "-tokens-minute"),
        ),
        parameters=Parameters(
            drop=frozenset(
                {
                    "logit_bias",
                    "logprobs",
                    "top_logprobs",
                    "user",
                    "store",
                    "service_tier",
                    "thinking",
                }
            ),
            rename=(("seed", "random_seed"), ("max_completion_tokens", "max_tokens")),
            stream_usage=False,
            message_drop=frozenset({"reasoning_content", "reasoning", BLOCKS}),
            call_ids_of_nine=True,
        ),
    ),
    Vendor(
        "cerebras",
        _CEREBRAS_LAYOUT,
        parameters=Parameters(
            drop=frozenset({"thinking"}),
            message_drop=frozenset({"reasoning_content", BLOCKS}),
        ),
    ),
    Vendor(
        "together",
        # Stated per second; `remaining` may exceed `limit`, because limits move with use.
        # The dynamic limits are those that refuse, so they come last and win.
        Layout(
            paired("requests", 1.0, "", times.until),
            paired("tokens", 1.0, "-tokens"),
            LimitRow("tokens", 1.0, "x-tokenlimit-limit", "x-tokenlimit-remaining"),
            LimitRow(
                "requests",
                1.0,
                "x-ratelimit-limit-dynamic",
                "x-ratelimit-remaining-dynamic",
                "x-ratelimit-reset",
                times.until,
            ),
            LimitRow("tokens", 1.0, "x-tokenlimit-limit-dynamic", "x-tokenlimit-remaining-dynamic"),
            dated=True,
        ),
        wait_headers=(("x-ratelimit-reset", times.until),),
    ),
    Vendor(
        "fireworks",
        # Prompt and generated tokens have limits of their own; prompts make the larger part.
        Layout(LimitRow("tokens", MINUTE, "x-ratelimit-limit-tokens-prompt")),
        hint_words=r"[Aa]ccount (\S+) is",
        account_wide=True,
    ),
    Vendor(
        "xai",
        Layout(
            paired("requests", MINUTE, "-requests"),
            paired("tokens", MINUTE, "-tokens"),
        ),
        parameters=Parameters(
            reasoning_models=r"grok-(?!.*non-reasoning)(?:[4-9]|3-mini|build|code)",
            reasoning_drop=frozenset({"presence_penalty", "frequency_penalty", "stop"}),
        ),
        hint_words=r"team ([0-9a-fA-F]{8}-[0-9a-fA-F-]{27})",
    ),
    Vendor(
        "sambanova",
        Layout(
            paired("requests", MINUTE, "-requests", times.until),
            paired("requests", DAY, "-requests-day", times.until),
            dated=True,
        ),
        account_wide=True,
    ),
    Vendor("nvidia", NO_HEADERS, hint_words=r"account '([^']+)'", account_wide=True),
    Vendor(
        "huggingface",
        NO_HEADERS,
        wait_headers=(("ratelimit", times.until_structured),),
    ),
    Vendor(
        "cohere",
        Layout(
            LimitRow(
                "requests",
                MINUTE,
                "x-trial-endpoint-call-limit",
                "x-trial-endpoint-call-remaining",
            ),
            LimitRow("requests", MONTH, "x-endpoint-monthly-call-limit"),
        ),
        parameters=Parameters(
            drop=frozenset(
                {
                    "store",
                    "metadata",
                    "logit_bias",
                    "top_logprobs",
                    "n",
                    "service_tier",
                    "parallel_tool_calls",
                }
            )
        ),
    ),
    Vendor(
        "ollama",
        NO_HEADERS,
        parameters=Parameters(
            drop=frozenset({"tool_choice", "logprobs", "logit_bias", "user", "n"})
        ),
    ),
    Vendor(
        "ollama_cloud",
        NO_HEADERS,
        parameters=Parameters(
            drop=frozenset({"tool_choice", "logprobs", "logit_bias", "user", "n"})
        ),
        hint_words=r"you \(([^)]+)\) have",
        account_wide=True,
    ),
    Vendor("vllm", NO_HEADERS),
    Vendor("llamacpp", NO_HEADERS),
    Vendor("lmstudio", NO_HEADERS),
)

VENDORS: Final = {vendor.name: vendor for vendor in _ALL}
