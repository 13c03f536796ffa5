"""What a caller of a swarm may mean: looked at before anything is read or sent."""

from __future__ import annotations

from math import inf, isnan

from hydra_core.errors import RequestRejected


def seconds_of(deadline: float | None) -> float | None:
    """The seconds that a swarm has; None for as many as it takes.

    Raises RequestRejected for what is no number.
    """
    if deadline is None or deadline == inf:
        return None
    if isinstance(deadline, bool) or not isinstance(deadline, int | float) or isnan(deadline):
        raise RequestRejected("deadline is seconds from now, and must be a number or None")
    return deadline


def question_of(question: object) -> str:
    """The question as it was asked. Raises RequestRejected for what is no text."""
    if not isinstance(question, str):
        raise RequestRejected("question must be a text")
    return question
