"""Answers of earlier swarms: given again, with their age, when nothing can be read now."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final, Protocol

from hydra_core.errors import PoolExhausted
from hydra_core.likeness import typed_alike
from hydra_core.swarm.prompts import PROMPT_VERSION
from hydra_core.swarm.values import Citation, LedgerSpan, SwarmResult

if TYPE_CHECKING:
    from hydra_core.swarm.job import SwarmJob

# Seconds for a disk: a swarm may end that much after its deadline, and no more.
_LEAST_READING: Final = 0.1
_MOST_READING: Final = 1.0


class Kept(Protocol):
    """An answer as it was kept; `at` is seconds since 1970."""

    @property
    def reply_json(self) -> dict[str, Any]:
        """What was put."""

    @property
    def at(self) -> float:
        """When it was put."""


class Shelf(Protocol):
    """Where answers are kept."""

    def put(
        self, fingerprint: str, question: str, reply_json: dict[str, Any], at: float
    ) -> None:
        """Keep an answer; never waits, never raises."""

    def recall(self, fingerprint: str, *, within: float) -> Kept | None:
        """The last answer that was put under this name, if it is found in so many seconds."""


def delivered(job: SwarmJob, shelf: Shelf | None, now: float) -> SwarmResult:
    """What came of the swarm; where nothing was read, the last whole answer if there is one.

    Raises as `SwarmJob.result`.
    """
    try:
        result = job.result(now)
    except PoolExhausted as error:
        earlier = shelf and _earlier(job, shelf, error.eta, now)
        if not earlier:
            raise
        return earlier
    if shelf is not None and result.kind == "wait":
        return _earlier(job, shelf, result.eta, now) or result
    if shelf is not None and result.kind == "full":
        shelf.put(_name(job), job.question, _as_json(result), time.time())
    return result


def _as_json(result: SwarmResult) -> dict[str, Any]:
    return {
        "text": result.text,
        "coverage": result.coverage,
        "citations": [asdict(citation) for citation in result.citations],
        "ledger": [asdict(span) for span in result.ledger],
    }


def _earlier(job: SwarmJob, shelf: Shelf, eta: float | None, now: float) -> SwarmResult | None:
    """The last whole answer to this question from these very texts; no call was made for it."""
    left = job.time_left(now)
    within = _MOST_READING if left is None else min(max(left, _LEAST_READING), _MOST_READING)
    kept = shelf.recall(_name(job), within=within)
    if kept is None:
        return None
    said = kept.reply_json
    return SwarmResult(
        text=said["text"],
        kind="cached",
        coverage=said["coverage"],
        citations=tuple(
            Citation(**{**row, "heading": tuple(row["heading"])}) for row in said["citations"]
        ),
        ledger=tuple(LedgerSpan(**row) for row in said["ledger"]),
        plan=job.plan,
        eta=eta,
        age=max(0.0, time.time() - kept.at),
    )


def _name(job: SwarmJob) -> str:
    """The same for the same question, however typed, on the same texts, to the letter."""
    material = [
        PROMPT_VERSION,
        typed_alike(job.question),
        job.language,
        [[document.id, document.sha256] for document in job.documents.values()],
    ]
    return "swarm:" + hashlib.sha256(json.dumps(material).encode()).hexdigest()
