"""Choose the shard size and say what a swarm will take, before its first call.

The size is found by search: each candidate is timed against the exact bound over
the groups that can serve it, and the fastest among those within a tenth of the
cheapest in tokens wins. The tightest key sets no size: a group that a shard does
not fit simply gets none.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from statistics import mean, quantiles
from typing import TYPE_CHECKING, Final

from hydra_core.swarm.binding import bound_by
from hydra_core.swarm.bound import least_makespan
from hydra_core.swarm.pace import PREPARING, outstanding
from hydra_core.swarm.shortage import allowance_of
from hydra_core.swarm.simulate import Game, simulated_runs
from hydra_core.swarm.split import split
from hydra_core.swarm.values import GroupPlan, SwarmPlan
from hydra_core.swarm.virtual import PlannedCall, schedule

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hydra_core.engine.capacity import GroupCapacity
    from hydra_core.swarm.document import Document

CHARS_PER_TOKEN: Final = 4.0
"""Where nobody knows a ratio of the model and the script."""

SIZES: Final = (1_000, 1_500, 2_000, 3_000, 4_000, 6_000, 8_000, 12_000, 16_000)
"""Candidate shard sizes in tokens; beyond the last, models read less well than they claim."""

_FALLBACK_SIZE: Final = 4_000
_TOKEN_SLACK: Final = 1.10
_SPLIT_LOSS: Final = 1.014
# Latency before any call was seen: first byte (s), prefill and decode (tokens/s).
_FIRST_BYTE, _PREFILL, _DECODE = 1.0, 8_000.0, 60.0
_HEDGE_SHARE: Final = 0.05


@dataclass(frozen=True, slots=True)
class CallShape:
    """What each map call adds to its shard's core: `prompt` and `output` tokens."""

    prompt: int
    output: int

    def charged(self, core: int) -> int:
        """Tokens a call with a core of this many tokens reserves."""
        return core + self.prompt + self.output

    def latency(self, group: GroupCapacity, charged: int) -> float:
        """Seconds of one call: learned, else by its size; half the output is usual."""
        if group.latency is not None:
            return group.latency
        return _FIRST_BYTE + (charged - self.output) / _PREFILL + self.output / 2 / _DECODE


def plan(
    documents: Sequence[Document],
    groups: Sequence[GroupCapacity],
    *,
    question: str | None = None,
    deadline: float | None = None,
    prompt_tokens: int = 700,
    output_tokens: int = 400,
    chars_per_token: float = CHARS_PER_TOKEN,
    rng_seed: int = 0,
) -> SwarmPlan:
    """Size the shards and estimate time, tokens, cost and what binds.

    `prompt_tokens` is what instructions and context add to each call, without the
    question; `output_tokens` what each reply may take; `deadline` seconds. Split
    the documents with `budget=plan.shard_chars` to get the planned shards.

    Raises:
        ValueError: there is no text to plan for.
    """
    if not any(map(len, documents)):
        raise ValueError("there is no text to plan for; load() refuses such sources")
    asked = math.ceil(len(question or "") / chars_per_token)
    shape = CallShape(prompt_tokens + asked, output_tokens)
    sizing = _Sizing(documents, groups, shape, chars_per_token)
    size = sizing.best()
    budget = max(1, int(size * chars_per_token))
    cores = [
        math.ceil(len(shard) / chars_per_token)
        for document in documents
        for shard in split(document, budget=budget)
    ]
    able = [group for group in groups if _takes(group, size, shape)]
    charged = [shape.charged(core) for core in cores]
    calls = schedule(charged, able, shape.latency)
    reduce_tokens = shape.prompt + shape.output + len(cores) * shape.output // 2
    tokens = sum(charged) + reduce_tokens
    if len(calls) < len(cores):
        return SwarmPlan(
            shards=len(cores), rounds=0, seconds_p50=None, seconds_p90=None, tokens=tokens,
            cost_usd=None, bound_by="no capacity", coverage_at_deadline=0.0, shard_chars=budget,
            deadline=deadline,
        )  # fmt: skip
    average = round(mean(charged))
    game = _game(len(cores), average, groups, able, shape, deadline, sum(map(len, documents)))
    runs = simulated_runs(game, random.Random(rng_seed))
    cuts = quantiles([run.seconds for run in runs], n=10, method="inclusive")
    low, usual, high = _cost(calls, cores, able, shape, reduce_tokens)
    return SwarmPlan(
        shards=len(cores),
        rounds=_rounds(calls, average, able),
        seconds_p50=cuts[4],
        seconds_p90=cuts[8],
        tokens=tokens,
        cost_usd=usual,
        bound_by=bound_by(len(cores), average, able, shape.latency),
        coverage_at_deadline=mean(run.coverage for run in runs),
        shard_chars=budget,
        groups=_rows(calls, charged, able),
        cost_range=None if low is None or high is None else (low, high),
        deadline=deadline,
    )


def _game(
    calls: int,
    tokens: int,
    groups: Sequence[GroupCapacity],
    able: Sequence[GroupCapacity],
    shape: CallShape,
    deadline: float | None,
    characters: int,
) -> Game:
    """What is played to say how long it takes: as a swarm over `groups` runs it."""
    allowance = deadline and allowance_of(groups, calls=calls, tokens=tokens, horizon=deadline)
    return Game(
        calls,
        tokens,
        able,
        shape.latency,
        begin=PREPARING * characters,
        width=outstanding(groups),
        allowed=allowance.calls if allowance else math.inf,
        deadline=deadline,
    )


@dataclass(frozen=True, slots=True)
class _Sizing:
    """The search for the shard size, in tokens."""

    documents: Sequence[Document]
    groups: Sequence[GroupCapacity]
    shape: CallShape
    chars_per_token: float

    def best(self) -> int:
        """The fastest candidate within a tenth of the cheapest in tokens."""
        timed = [(self._seconds(size), self._tokens(size), size) for size in self._candidates()]
        possible = [each for each in timed if each[0] < math.inf]
        if not possible:
            return _FALLBACK_SIZE
        cheapest = min(tokens for _, tokens, _ in possible)
        return min(each for each in possible if each[1] <= _TOKEN_SLACK * cheapest)[2]

    def _candidates(self) -> list[int]:
        """The usual sizes; below the first, halves of it, for pools that take no more."""
        if any(_takes(group, SIZES[0], self.shape) for group in self.groups):
            return list(SIZES)
        return [SIZES[0] // 2, SIZES[0] // 4, SIZES[0] // 8]

    def _calls(self, size: int) -> int:
        """About how many shards a size gives: the splitter stays 1.4 % above the least."""
        chars = size * self.chars_per_token
        return sum(math.ceil(_SPLIT_LOSS * len(document) / chars) for document in self.documents)

    def _tokens(self, size: int) -> int:
        text = sum(map(len, self.documents)) / self.chars_per_token
        return round(text) + self._calls(size) * (self.shape.prompt + self.shape.output)

    def _seconds(self, size: int) -> float:
        able = [group for group in self.groups if _takes(group, size, self.shape)]
        calls = self._calls(size)
        charged = self._tokens(size) // max(1, calls)
        return least_makespan(
            calls, charged, able, lambda group: self.shape.latency(group, charged)
        )


def _takes(group: GroupCapacity, core: int, shape: CallShape) -> bool:
    """True when a call with a full core fits the group's context and token windows."""
    charged = shape.charged(core)
    if group.context_window is not None and charged > group.context_window:
        return False
    if group.max_output is not None and shape.output > group.max_output:
        return False
    return all(window.limit >= charged for window in group.windows if window.kind == "tokens")


def _rounds(calls: Sequence[PlannedCall], charged: int, groups: Sequence[GroupCapacity]) -> int:
    """Windows of quota that the busiest group needs for its calls."""
    most = 0
    for index, group in enumerate(groups):
        own = sum(call.group == index for call in calls)
        at_once = min(
            (
                max(1, int(window.limit // (1 if window.kind == "requests" else charged)))
                for window in group.windows
                if window.kind != "concurrency"
            ),
            default=max(1, own),
        )
        most = max(most, math.ceil(own / at_once))
    return most


def _rows(
    calls: Sequence[PlannedCall], charged: Sequence[int], groups: Sequence[GroupCapacity]
) -> tuple[GroupPlan, ...]:
    rows = []
    for index, group in enumerate(groups):
        own = [call for call in calls if call.group == index]
        rows.append(
            GroupPlan(
                name=group.name,
                provider=group.provider,
                model=group.model,
                keys=group.keys,
                calls=len(own),
                tokens=sum(charged[call.shard] for call in own),
                seconds=max((call.end for call in own), default=0.0),
            )
        )
    return tuple(rows)


def _cost(
    calls: Sequence[PlannedCall],
    cores: Sequence[int],
    groups: Sequence[GroupCapacity],
    shape: CallShape,
    reduce_tokens: int,
) -> tuple[float | None, float | None, float | None]:
    """The least, usual and greatest cost in US dollars; None when a price is unknown.

    Outputs run from a quarter of what is reserved to all of it, half being usual;
    the greatest also pays for hedges. The final call is priced as the last group's.
    """
    used = [groups[call.group] for call in calls]
    if not used or any(group.input_usd is None or group.output_usd is None for group in used):
        return None, None, None
    read = written = 0.0
    for call, group in zip(calls, used, strict=True):
        read += (cores[call.shard] + shape.prompt) * (group.input_usd or 0.0)
        written += shape.output * (group.output_usd or 0.0)
    read += (reduce_tokens - shape.output) * (used[-1].input_usd or 0.0)
    written += shape.output * (used[-1].output_usd or 0.0)
    low, usual, high = ((read + share * written) / 1e6 for share in (0.25, 0.5, 1.0))
    return low, usual, high * (1 + _HEDGE_SHARE)
