"""The whole run as Markdown: question, answer, sources, coverage, parts, calls, keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hydra_core.cli.keys import HEADER, key_rows
from hydra_core.cli.showing import bill, coverage_line, one_line, page_ranges, place
from hydra_core.cli.terminal import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from hydra_core.swarm.values import NotRead, SwarmResult


def report(question: str, source: str, result: SwarmResult, health: Mapping[str, Any]) -> str:
    """The report's text."""
    sections = (
        _head(question, source, result),
        _sources(result),
        _coverage(result),
        _plan(result),
        _table("Keys", HEADER, (row.cells for row in key_rows(health))),
        _parts(result),
        _calls(result),
    )
    return printable("\n".join(line for section in sections for line in section))


def is_report(beginning: str) -> bool:
    """True for a text that begins as a report does."""
    heading, _, rest = beginning.partition("\n")
    return heading.startswith("# ") and rest.startswith("\nSource: `")


def _head(question: str, source: str, result: SwarmResult) -> Iterator[str]:
    yield from (f"# {one_line(question)}", "", f"Source: `{source}`. Answer: {result.kind}.", "")
    yield from ("## Answer", "", result.text, "")


def _sources(result: SwarmResult) -> Iterator[str]:
    if not result.citations:
        return
    yield from ("## Sources", "")
    for number, citation in enumerate(result.citations, 1):
        span = f"characters {citation.start} to {citation.end}"
        yield f"{number}. {place(citation, named=True)}, {span}"
        yield from ("", f"   > {one_line(citation.quote)}", "")


def _coverage(result: SwarmResult) -> Iterator[str]:
    yield from ("## Coverage", "", coverage_line(result), "", bill(result), "")
    if result.not_read:
        yield from _table(
            "Not read",
            ("document", "pages", "why", "can be read"),
            (
                (span.document, page_ranges([span.pages]), span.reason, _when(span))
                for span in result.not_read
            ),
        )
    if result.resume_token is not None:
        yield from ("To read the rest, pass this as `resume=`:", "")
        yield from (f"`{result.resume_token}`", "")


def _when(span: NotRead) -> str:
    return "unknown" if span.until is None else f"{span.until:.0f} s after the start"


def _plan(result: SwarmResult) -> Iterator[str]:
    if result.plan is not None:
        yield from ("## Plan", "", "```text", str(result.plan), "```", "")


def _parts(result: SwarmResult) -> Iterator[str]:
    return _table(
        "Parts",
        ("part", "document", "characters", "state", "key", "model", "seconds", "tokens", "calls"),
        (
            (
                str(shard.index),
                shard.document,
                f"{shard.start}-{shard.end}",
                shard.state if shard.reason is None else f"{shard.state}: {shard.reason}",
                shard.key or "",
                shard.model or "",
                f"{shard.latency:.2f}",
                str(shard.tokens),
                str(shard.attempts),
            )
            for shard in result.shards
        ),
    )


def _calls(result: SwarmResult) -> Iterator[str]:
    return _table(
        "Calls",
        ("part", "key", "from (s)", "to (s)", "outcome"),
        (
            (
                "answer" if entry.shard < 0 else str(entry.shard),
                entry.key,
                f"{entry.start:.2f}",
                f"{entry.end:.2f}",
                entry.outcome,
            )
            for entry in result.timeline
        ),
    )


def _table(title: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield from (f"## {title}", "", _row(header), _row(["---"] * len(header)))
    yield from map(_row, rows)
    yield ""


def _row(cells: Sequence[str]) -> str:
    escaped = (one_line(cell).replace("|", "\\|") for cell in cells)
    return f"| {' | '.join(escaped)} |"
