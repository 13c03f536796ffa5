"""`status`: every key, its state, and how much of its limits is used. No call is made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hydra_core.cli import as_json, exits
from hydra_core.cli.keys import key_rows, table
from hydra_core.cli.session import configured, opened
from hydra_core.engine.durations import duration

if TYPE_CHECKING:
    import argparse

    from hydra_core.cli.terminal import Terminal

# What others sent with the same keys is learned from a provider's reply.
_STORED: Final = "As an earlier run stored it {age} ago; calls and failures are of this run alone."
_NOTHING: Final = "Nothing is stored yet: as configured, before a first call."


def status(args: argparse.Namespace, terminal: Terminal) -> int:
    """Show the state of every key; status 4 when none can answer now. Raises HydraError."""
    with opened(configured(args.config)) as session:
        health, age = session.hydra.health(), session.hydra.remembered
    if args.json:
        terminal.give(as_json.text({**health, "stored_age": age}))
    else:
        for name, provider in health["providers"].items():
            word = "available" if provider["is_available"] else "not available"
            terminal.show(f"{name}: {word}", style="bold")
            rows = key_rows({"providers": {name: provider}})
            terminal.show(table(rows), indent=2, wrap=False)
        terminal.say(_NOTHING if age is None else _STORED.format(age=duration(age)))
    ready = any(provider["is_available"] for provider in health["providers"].values())
    return exits.FULL if ready else exits.WAIT
