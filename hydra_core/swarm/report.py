"""The result of a swarm: what it may claim, what it must admit, what a reader is told."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from hydra_core.errors import PoolExhausted, RequestRejected
from hydra_core.swarm.resume import token_of
from hydra_core.swarm.shortage import is_outage
from hydra_core.swarm.values import SwarmResult

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hydra_core.messages import ReplyKind
    from hydra_core.swarm.account import Account
    from hydra_core.swarm.coverage import CoverageLedger
    from hydra_core.swarm.document import Document
    from hydra_core.swarm.synthesize import Answer
    from hydra_core.swarm.values import Fact, NotRead, QuoteState, ShardReport, SwarmPlan
    from hydra_core.swarm.wording import Language

_SAID: Final[Mapping[Language, Mapping[str, str]]] = {
    "en": {
        "wait": "No part of the text has been read yet, so this is no answer: every key that "
        "could read it is at its limit.",
        "eta": "Capacity returns in about {seconds} s; ask again then.",
        "deadline": "No part of the text has been read yet, so this is no answer: the deadline "
        "was too short for a single part. Ask again with a longer one.",
        "listed": "No model could write the answer. These are the surest of the passages found, in "
        "the order of the text:",
        "uncited": "The model named no passages; those it was given include {marks}.",
    },
    "es": {
        "wait": "Aún no se ha leído ninguna parte del texto, así que esto no es una respuesta: "
        "todas las claves que podrían leerlo están en su límite.",
        "eta": "Habrá capacidad dentro de unos {seconds} s; pregunte de nuevo entonces.",
        "deadline": "Aún no se ha leído ninguna parte del texto, así que esto no es una "
        "respuesta: el plazo no bastó ni para una parte. Pregunte de nuevo con uno mayor.",
        "listed": "Ningún modelo pudo redactar la respuesta. Estos son los pasajes más seguros de "
        "los hallados, en el orden del texto:",
        "uncited": "El modelo no nombró pasajes; entre los que recibió están {marks}.",
    },
}


def build_result(
    *,
    question: str,
    documents: Mapping[str, Document],
    ledger: CoverageLedger,
    account: Account,
    facts: Sequence[Fact],
    answer: Answer | None,
    plan: SwarmPlan | None,
    language: Language,
    now: float,
) -> SwarmResult:
    """The result of a reading in which at least one shard was read."""
    unread = ledger.unread()
    complete = not unread
    quotes = quote_counts(facts)
    notice = ledger.sentence(
        language, quotes=quotes if facts else None, nothing_found=answer is None, now=now
    )
    text = notice
    if answer is not None:
        text = _answer_text(answer, language)
        text = text if complete else f"{text}\n\n{notice}"
    kind: ReplyKind = "full" if complete else "partial"
    if answer is not None and not answer.written:
        kind = "partial"
    return SwarmResult(
        text=text,
        kind=kind,
        coverage=ledger.coverage,
        citations=() if answer is None else answer.citations,
        shards=account.reports,
        timeline=tuple(account.timeline),
        usage=account.usage,
        plan=plan,
        resume_token=None
        if kind == "full"
        else token_of(question, documents, account.reports, facts),
        not_read=unread,
        eta=_eta(unread, now),
        ledger=ledger.spans(),
    )


def waiting_result(
    *,
    ledger: CoverageLedger,
    account: Account,
    eta: float | None,
    plan: SwarmPlan | None,
    language: Language,
) -> SwarmResult:
    """The result when nothing was read: a notice that claims nothing about the text."""
    said = _SAID[language]
    text = said["deadline"]
    if eta is not None:
        text = f"{said['wait']} {said['eta'].format(seconds=max(1, round(eta)))}"
    return SwarmResult(
        text=text,
        kind="wait",
        coverage=ledger.coverage,
        shards=account.reports,
        timeline=tuple(account.timeline),
        usage=account.usage,
        plan=plan,
        not_read=ledger.unread(),
        eta=eta,
        ledger=ledger.spans(),
    )


def nothing_read(errors: Sequence[Exception], reports: Sequence[ShardReport]) -> Exception:
    """What to raise when no shard could be read and nobody knows when one can be.

    A request that every provider rejects is the caller's matter and raised as it
    is; everything else means that the pool did not serve, and an outage says so.
    """
    exhausted = [error for error in errors if isinstance(error, PoolExhausted)]
    if exhausted and is_outage(exhausted[-1]):
        return _outage(exhausted[-1])
    if exhausted:
        return exhausted[-1]
    rejected = [error for error in errors if isinstance(error, RequestRejected)]
    if rejected:
        return rejected[0]
    reasons = [report.reason or report.state for report in reports]
    counted = ", ".join(f"{reason} ({n} parts)" for reason, n in Counter(reasons).most_common())
    return PoolExhausted(
        f"no part of the text could be read: {counted}. Check that the model follows the "
        "format it is asked for, or choose another with model=..."
    )


def _outage(error: PoolExhausted) -> PoolExhausted:
    """An outage in its own words: a retry's back-off is no promise that it ends by then."""
    why = "; ".join(error.causes)
    if error.attempts:
        last = error.attempts[-1]
        why = f"{last.outcome} at {last.provider}/{last.model} via {last.key}: {last.detail}"
    return PoolExhausted(
        f"no part of the text could be read: {why.rstrip('.')}. Check the address and the "
        "network, or ask again when the provider is back",
        attempts=error.attempts,
        causes=error.causes,
    )


def quote_counts(facts: Sequence[Fact]) -> dict[QuoteState, int]:
    """How many facts have a quote in each state."""
    return dict(Counter(fact.state for fact in facts))


def _answer_text(answer: Answer, language: Language) -> str:
    if not answer.written:
        return f"{_SAID[language]['listed']}\n{answer.text}"
    if answer.uncited:
        marks = " ".join(f"[{number}]" for number in range(1, len(answer.citations) + 1))
        return f"{answer.text}\n\n{_SAID[language]['uncited'].format(marks=marks)}"
    return answer.text


def _eta(unread: Sequence[NotRead], now: float) -> float | None:
    """Seconds until the first unread part can be read; None when all was or nobody knows."""
    times = [span.until for span in unread if span.until is not None]
    return max(0.0, min(times) - now) if times else None
