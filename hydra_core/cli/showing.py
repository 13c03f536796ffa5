"""An answer as a reader wants it: the text, its sources, and what it rests on."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from hydra_core.swarm.values import percent

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hydra_core.cli.terminal import Terminal
    from hydra_core.swarm.values import Citation, SwarmResult

_TITLE = "bold"


def show_answer(result: SwarmResult, terminal: Terminal) -> None:
    """Write the answer, its numbered citations and its coverage."""
    terminal.show("Answer", style=_TITLE)
    terminal.show(result.text, indent=2)
    several = len({citation.document for citation in result.citations}) > 1
    if result.citations:
        terminal.show()
        terminal.show("Sources", style=_TITLE)
    for number, citation in enumerate(result.citations, 1):
        terminal.show(f"[{number}] {place(citation, named=several, levels=2)}", indent=2)
        terminal.show(f"\u201c{one_line(citation.quote)}\u201d", indent=6)
    terminal.show()
    terminal.show("Coverage", style=_TITLE)
    terminal.show(coverage_line(result), indent=2)
    terminal.show(bill(result), indent=2)


def place(citation: Citation, *, named: bool = False, levels: int | None = None) -> str:
    """Where a quote stands and how it was verified: page, state, headings (the innermost)."""
    page = f"page {citation.page} ({citation.state})"
    parts = [citation.document, page] if named else [page]
    if citation.heading:
        parts.append(one_line(" > ".join(citation.heading[-levels if levels else 0 :])))
    return ", ".join(parts)


def coverage_line(result: SwarmResult) -> str:
    """The share of the text that was read, and by whom, in one sentence."""
    done = [shard for shard in result.shards if shard.state == "read"]
    line = f"{percent(result.coverage)} of the text was read, in {_parts(len(done))}"
    keys = Counter(shard.key for shard in done if shard.key)
    if keys:
        line += " by " + ", ".join(f"{key} ({count})" for key, count in sorted(keys.items()))
    if result.not_read and result.eta is not None:
        line += f". More can be read in {result.eta:.0f} s"
    return f"{line}."


def bill(result: SwarmResult) -> str:
    """Calls, seconds, tokens and cost."""
    usage, entries = result.usage, result.timeline
    seconds = max((entry.end for entry in entries), default=0.0)
    cost = "cost unknown" if usage.cost_usd is None else f"${usage.cost_usd:.4f}"
    calls = f"{len(entries)} call{'' if len(entries) == 1 else 's'}"
    return f"{calls}, {seconds:.1f} s, {usage.total_tokens:,} tokens, {cost}."


def one_line(text: str) -> str:
    """The text with every run of white space as one blank."""
    return " ".join(text.split())


def page_ranges(pages: Iterable[tuple[int, int]]) -> str:
    """First and last pages as `3, 7-9`."""
    return ", ".join(f"{first}" if first == last else f"{first}-{last}" for first, last in pages)


def _parts(count: int) -> str:
    return "1 part" if count == 1 else f"{count} parts"
