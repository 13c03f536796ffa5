"""`hydra-llm`: the command line.

    hydra-llm demo                    a 300-page book, three keys, one of which dies
    hydra-llm ask FILE QUESTION       read a whole text, answer with citations
    hydra-llm plan FILE               what `ask` would do, before its first call
    hydra-llm chat [QUESTION]         one answer, or a conversation
    hydra-llm status                  every key, its state and its limits
    hydra-llm simulate                the engine in seeded worlds full of faults

Results go to stdout, everything else to stderr. The exit status tells what came:
0 a full answer, 3 a partial one, 4 a wait, 1 an error, 2 wrong usage.
"""

from __future__ import annotations

from hydra_core.cli.entry import main

__all__ = ["main"]
