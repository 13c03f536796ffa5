"""`status`: every key, its state, and how much of its limits is used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hydra_core.cli import as_json, exits
from hydra_core.cli.keys import key_rows, table
from hydra_core.cli.session import configured, opened

if TYPE_CHECKING:
    import argparse

    from hydra_core.cli.terminal import Terminal

# A process knows what it has sent itself; what others sent with the same keys it
# learns from the provider's first reply.
_SCOPE: Final = "As this process knows them, before its first call."


def status(args: argparse.Namespace, terminal: Terminal) -> int:
    """Show the state of every key; status 4 when none can answer now. Raises HydraError."""
    with opened(configured(args.config)) as session:
        health = session.hydra.health()
    if args.json:
        terminal.give(as_json.text(health))
    else:
        for name, provider in health["providers"].items():
            word = "available" if provider["is_available"] else "not available"
            terminal.show(f"{name}: {word}", style="bold")
            rows = key_rows({"providers": {name: provider}})
            terminal.show(table(rows), indent=2, wrap=False)
        terminal.say(_SCOPE)
    ready = any(provider["is_available"] for provider in health["providers"].values())
    return exits.FULL if ready else exits.WAIT
