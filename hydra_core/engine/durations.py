"""Seconds as people read them."""

from __future__ import annotations


def duration(seconds: float) -> str:
    """Seconds as people read them: `8 s`, `3 min 20 s`, `5 h 10 min`. Rounded up."""
    whole = int(-(-seconds // 1))
    if whole < 100:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"
