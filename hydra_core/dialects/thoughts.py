"""Thoughts of Claude: signed blocks, which its API wants back while it works with tools.

A reply's message keeps them under `thinking_blocks`. What came over another way (as a stream,
from another provider, or through a client that keeps no fields it does not know) has none:
then the model goes on without thinking, as the documentation advises.
https://docs.claude.com/en/docs/build-with-claude/extended-thinking
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

BLOCKS: Final = "thinking_blocks"
"""The field of a message that holds its signed thoughts, as gateways call it too."""

_PROOF: Final = {"thinking": "signature", "redacted_thinking": "data"}
_FORCED: Final = frozenset({"any", "tool"})
_LEAST_TOP_P: Final = 0.95


def thoughts_of(blocks: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The fields of a message for the thoughts among a reply's blocks: as text, and signed."""
    signed = [dict(block) for block in blocks if _is_signed(block)]
    told = (block.get("thinking") for block in blocks if block.get("type") == "thinking")
    text = "".join(part for part in told if isinstance(part, str))
    found: dict[str, Any] = {"reasoning_content": text} if text else {}
    return {**found, BLOCKS: signed} if signed else found


def signed_blocks(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The signed thoughts that a message brings along."""
    blocks = message.get(BLOCKS)
    return [dict(b) for b in blocks if _is_signed(b)] if isinstance(blocks, list) else []


def named_thinking(params: dict[str, Any]) -> dict[str, Any]:
    """The parameters with `thinking` among them, where `extra_body` names it."""
    extra = params.get("extra_body")
    if isinstance(extra, dict) and "thinking" in extra:
        return {**params, "thinking": extra["thinking"]}
    return params


def fit_thinking(body: dict[str, Any], *, unlimited: bool) -> None:
    """Make a Messages request one that is accepted with `thinking`, or take that out of it.

    A forced tool, or a turn at work with tools that began without a thought, excludes it; a
    temperature and narrow samples are excluded by it. `unlimited`: the caller named no
    `max_tokens`, so the budget for thoughts comes on top of those for the answer.
    """
    thinking = body.get("thinking")
    kind = thinking.get("type") if isinstance(thinking, dict) else None
    # Models that decide for themselves when to think may begin a turn without a thought.
    unsigned = kind == "enabled" and _began_without(body["messages"])
    if kind in (None, "disabled") or unsigned or _is_forced(body):
        if kind != "disabled":
            body.pop("thinking", None)
        _without_thoughts(body["messages"])
        return
    if body.get("temperature") != 1:
        body.pop("temperature", None)
    body.pop("top_k", None)
    if isinstance(body.get("top_p"), int | float) and body["top_p"] < _LEAST_TOP_P:
        del body["top_p"]
    budget = thinking.get("budget_tokens") if isinstance(thinking, dict) else None
    if unlimited and isinstance(budget, int):
        body["max_tokens"] += budget


def _is_forced(body: dict[str, Any]) -> bool:
    choice = body.get("tool_choice")
    return isinstance(choice, dict) and choice.get("type") in _FORCED


def _began_without(turns: list[dict[str, Any]]) -> bool:
    """True when the model's present turn, all its steps with tools, does not begin with a thought.

    A turn of the user's that holds a tool's result goes on with the model's turn before it.
    """
    first: dict[str, Any] | None = None
    for turn in reversed(turns):
        if turn["role"] == "assistant":
            first = turn
        elif all(block.get("type") != "tool_result" for block in turn["content"]):
            break
    return first is not None and first["content"][0].get("type") not in _PROOF


def _without_thoughts(turns: list[dict[str, Any]]) -> None:
    for turn in turns:
        turn["content"] = [block for block in turn["content"] if block.get("type") not in _PROOF]
    turns[:] = [turn for turn in turns if turn["content"]]


def _is_signed(block: object) -> bool:
    if not isinstance(block, dict):
        return False
    proof = block.get(_PROOF.get(str(block.get("type")), ""))
    return isinstance(proof, str) and bool(proof)
