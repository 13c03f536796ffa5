"""Say in English or Spanish how much of a text an answer rests on.

Shares are rounded down, a partial count is "at least", and nothing found in a
part of a text is never said of the whole. All sentences stand in one table.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Final, Literal

from hydra_core.swarm.values import percent

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from hydra_core.swarm.coverage import Part
    from hydra_core.swarm.values import NotRead, QuoteState

Language = Literal["en", "es"]

_MOST_LISTED: Final = 6

_PHRASES: Final[Mapping[Language, Mapping[str, str]]] = {
    "en": {
        "full": "Read all {total} pages.",
        "full one": "Read the whole text.",
        "partial": "Read {share} of the text ({read} of {total} pages{chapters}).",
        "chapters": ": {titles}",
        "not read": "Not read: {spans}.",
        "pages": "pages {pages} ({why})",
        "page": "page {pages} ({why})",
        "run": "{first} to {last}",
        "in": "can be read in {seconds} s",
        "resume": "Continue with resume={token!r}.",
        "quote": "1 quote found in the text, {repaired} corrected, {lost} not found.",
        "quotes": "{found} quotes found in the text, {repaired} corrected, {lost} not found.",
        "nothing": "Read all of it; nothing found.",
        "nothing in part": "Nothing found in the {share} read; this does not show that it is "
        "absent.",
        "at least": "At least {count} ({share} read).",
        "and more": "and {count} more",
    },
    "es": {
        "full": "Leídas las {total} páginas.",
        "full one": "Leído el texto entero.",
        "partial": "Leído el {share} del texto ({read} de {total} páginas{chapters}).",
        "chapters": ": {titles}",
        "not read": "Sin leer: {spans}.",
        "pages": "páginas {pages} ({why})",
        "page": "página {pages} ({why})",
        "run": "de {first} a {last}",
        "in": "se puede leer dentro de {seconds} s",
        "resume": "Continúe con resume={token!r}.",
        "quote": "1 cita hallada en el texto, {repaired} corregidas, {lost} no halladas.",
        "quotes": "{found} citas halladas en el texto, {repaired} corregidas, {lost} no halladas.",
        "nothing": "Leído por completo; no se ha hallado nada.",
        "nothing in part": "No se ha hallado nada en el {share} leído; eso no demuestra que no "
        "esté.",
        "at least": "Al menos {count} (leído el {share}).",
        "and more": "y {count} más",
    },
}

_REASONS: Final[Mapping[Language, Mapping[str, str]]] = {
    "en": {
        "waiting": "waiting for capacity",
        "deadline": "the deadline came first",
        "screened": "only screened by a smaller model",
        "failed": "the call failed",
        "content_filter": "refused by the content filter",
        "rate_limit_minute": "the keys are at their limit",
        "rate_limit_day": "the keys are at their daily limit",
        "quota_exhausted_billing": "the account has no credit left",
        "auth": "the key was refused",
        "timeout": "no answer in time",
        "unreachable": "the provider was unreachable",
        "overloaded": "the provider was overloaded",
        "invalid_response": "the answer was not usable",
        "context_too_long": "too long for every model",
    },
    "es": {
        "waiting": "a la espera de capacidad",
        "deadline": "venció el plazo",
        "screened": "solo cribado por un modelo menor",
        "failed": "la llamada falló",
        "content_filter": "rechazado por el filtro de contenido",
        "rate_limit_minute": "las claves están en su límite",
        "rate_limit_day": "las claves están en su límite diario",
        "quota_exhausted_billing": "la cuenta no tiene crédito",
        "auth": "la clave fue rechazada",
        "timeout": "sin respuesta a tiempo",
        "unreachable": "no se pudo conectar con el proveedor",
        "overloaded": "el proveedor estaba saturado",
        "invalid_response": "la respuesta no era utilizable",
        "context_too_long": "demasiado largo para todos los modelos",
    },
}


@dataclass(frozen=True, slots=True)
class Reading:
    """All that the sentence about a reading depends on; `now` as in `NotRead.until`."""

    coverage: float
    pages: Sequence[Part]
    chapters: Sequence[Part]
    unread: Sequence[NotRead]
    quotes: Mapping[QuoteState, int] | None = None
    nothing_found: bool = False
    now: float = 0.0
    resume_token: str | None = None


def sentence(reading: Reading, language: Language = "en") -> str:
    """How much was read, what was not and why, and how to go on."""
    said = _PHRASES[language]
    share = _share(reading.coverage, language)
    parts = []
    if reading.nothing_found:
        parts.append(
            said["nothing" if not reading.unread else "nothing in part"].format(share=share)
        )
    if reading.unread:
        parts.append(_partial(reading, share, language))
        spans = "; ".join(_missing(reading, language))
        parts.append(said["not read"].format(spans=spans))
    elif not reading.nothing_found:
        total = len(reading.pages)
        parts.append(said["full" if total > 1 else "full one"].format(total=total))
    if reading.quotes is not None:
        parts.append(_quotes(reading.quotes, said))
    if reading.unread and reading.resume_token:
        parts.append(said["resume"].format(token=reading.resume_token))
    return " ".join(parts)


def at_least(count: int, coverage: float, language: Language = "en") -> str:
    """A count that was made over the share read: exact only when all was read."""
    if coverage >= 1.0:
        return f"{count}."
    share = _share(coverage, language)
    return _PHRASES[language]["at least"].format(count=count, share=share)


def _share(coverage: float, language: Language) -> str:
    words = percent(coverage)
    return words.replace(".", ",") if language == "es" else words


def _partial(reading: Reading, share: str, language: Language) -> str:
    said = _PHRASES[language]
    titles = _listed(_whole_runs(reading.chapters, said), language)
    return said["partial"].format(
        share=share,
        read=sum(part.state == "whole" for part in reading.pages),
        total=len(reading.pages),
        chapters=said["chapters"].format(titles=titles) if titles else "",
    )


def _whole_runs(chapters: Sequence[Part], said: Mapping[str, str]) -> list[str]:
    """Chapters read from end to end, neighbours as one run from the first to the last."""
    runs = []
    for whole, group in groupby(chapters, key=lambda part: part.state == "whole"):
        if whole:
            titles = [part.title for part in group]
            run = said["run"].format(first=titles[0], last=titles[-1])
            runs.append(run if len(titles) > 1 else titles[0])
    return runs


def _listed(titles: Sequence[str], language: Language) -> str:
    shown = list(titles[:_MOST_LISTED])
    if len(titles) > _MOST_LISTED:
        rest = len(titles) - _MOST_LISTED
        shown.append(_PHRASES[language]["and more"].format(count=rest))
    return "; ".join(shown)


def _missing(reading: Reading, language: Language) -> Iterator[str]:
    """The pages not read, by reason, and the earliest time for them."""
    said = _PHRASES[language]
    by_reason: dict[str, list[NotRead]] = {}
    for span in reading.unread:
        by_reason.setdefault(span.reason, []).append(span)
    for reason, spans in by_reason.items():
        why = [_REASONS[language].get(reason, reason)]
        times = [span.until for span in spans if span.until is not None]
        if times:
            seconds = max(0, round(min(times) - reading.now))
            why.append(said["in"].format(seconds=seconds))
        pages = _page_ranges(spans)
        one = "page" if pages.isdecimal() else "pages"
        yield said[one].format(pages=pages, why="; ".join(why))


def _page_ranges(spans: Iterable[NotRead]) -> str:
    """`3, 7-9` for one document; several documents are named before their pages."""
    by_document: dict[str, list[tuple[int, int]]] = {}
    for span in spans:
        ranges = by_document.setdefault(span.document, [])
        if ranges and span.pages[0] <= ranges[-1][1] + 1:
            ranges[-1] = (ranges[-1][0], max(ranges[-1][1], span.pages[1]))
        else:
            ranges.append(span.pages)
    written = {
        name: ", ".join(f"{a}-{b}" if a < b else f"{a}" for a, b in ranges)
        for name, ranges in by_document.items()
    }
    if len(written) == 1:
        return next(iter(written.values()))
    return "; ".join(f"{name}: {pages}" for name, pages in written.items())


def _quotes(quotes: Mapping[QuoteState, int], said: Mapping[str, str]) -> str:
    found = quotes.get("exact", 0) + quotes.get("folded", 0)
    return said["quote" if found == 1 else "quotes"].format(
        found=found,
        repaired=quotes.get("repaired", 0),
        lost=quotes.get("unverified", 0),
    )
