"""What a quota group has counted, as plain data, and back into windows built since.

Amounts travel with the instant at which they return. All three kinds of window can say
that of themselves (`Window.frees`) and be told it (`Window.observe`), so a count outlives
a change of shape, and one that came back meanwhile is simply no longer there.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Any, Final

from hydra_core.engine.bucket import Bucket
from hydra_core.engine.ceiling import Ceiling
from hydra_core.engine.fixed_window import FixedWindow
from hydra_core.engine.learning import end_slow_start
from hydra_core.engine.windows import SlidingWindow
from hydra_core.wire import DAY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from hydra_core.engine.guess import Guess
    from hydra_core.engine.quota import QuotaGroup
    from hydra_core.engine.windows import Window
    from hydra_core.wire import LimitKind

# A rolling window's bookings are stored in this many pieces, each dated late: what it
# holds returns up to a fiftieth of the window later than it might. Few stay as they are.
_PIECES: Final = 50
_FEW: Final = 4
_ALL: Final = 1 << 30
_GRAIN: Final = 1e-6  # of a limit; less is the rounding of many additions
_LONGEST: Final = 32 * 86_400.0  # a month; no provider's window is longer
_MOST: Final = 1e12  # tokens; a larger number is damage
_SHAPES: Final = frozenset(kind.shape for kind in (SlidingWindow, Bucket, FixedWindow))


@dataclass(frozen=True, slots=True)
class Count:
    """One stored window: its limit, and (seconds from now, amount) of all that will return.

    `resets_in` is seconds from now to a fixed window's next reset, None for the others;
    `guess` is (limit, patience in calls) where the limit was only supposed (`engine.study`).
    `others` is what of it was not sent by those who wrote the row, but told to them, and
    `heard` what they were ever told so, whoever has turned out to have sent it since.
    """

    kind: LimitKind
    length: float
    limit: float
    configured: bool
    shape: str
    returns: tuple[tuple[float, float], ...]
    resets_in: float | None
    guess: tuple[float, int] | None
    others: float
    heard: float

    @property
    def used(self) -> float:
        """Units still counted."""
        return sum(amount for _, amount in self.returns)

    @property
    def sent(self) -> float:
        """Units of these that were sent by those who wrote them."""
        return self.used - self.others


def plain_number(value: object, low: float, high: float) -> float:
    """The value as a number from `low` to `high`. Raises ValueError for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise ValueError("not a plausible number")
    return float(value)


@dataclass(frozen=True, slots=True)
class GroupCount:
    """What a stored row says of its quota group.

    `ceiling` is how many calls at once a refusal showed to be bearable, `sent` how many the
    slow start had let go; None: neither was there.
    """

    windows: tuple[Count, ...]
    ceiling: int | None
    sent: float | None

    @property
    def by_limit(self) -> dict[tuple[LimitKind, float], Count]:
        """The windows by the kind and length of their limits."""
        return {(count.kind, count.length): count for count in self.windows}


def group_row(group: QuotaGroup, now: float, wall: float) -> dict[str, Any]:
    """A quota group as plain data."""
    guesses = {} if group.study is None else group.study.guesses
    return {
        "windows": [_told(window, guesses.get(window), now, wall) for window in group.windows],
        "ceiling": None if group.ceiling is None else group.ceiling.allowed,
        "sent": None if group.slow_start is None else group.slow_start.sent_before,
    }


def _told(window: Window, guess: Guess | None, now: float, wall: float) -> dict[str, Any]:
    """A window as plain data, its moments as seconds since 1970."""
    row: dict[str, Any] = {
        "kind": window.kind,
        "length": window.length,
        "limit": window.limit,
        "configured": window.configured,
        "shape": window.shape,
        "returns": [[wall + wait, amount] for wait, amount in _pieces(window, now)],
        "others": window.others(now),
    }
    if isinstance(window, FixedWindow):
        row["resets_at"] = wall + window.resets_at - now
    if guess is not None:
        row["guess"] = [guess.limit, guess.patience]
    return row


def _pieces(window: Window, now: float) -> Iterator[tuple[float, float]]:
    frees = window.frees(now, _ALL)
    if len(frees) <= _FEW:
        yield from frees
        return
    width = window.length / _PIECES
    pieces: dict[int, float] = {}
    for wait, amount in frees:
        piece = ceil(wait / width)
        pieces[piece] = pieces.get(piece, 0.0) + amount
    for piece in sorted(pieces):
        yield piece * width, pieces[piece]


def group_of(row: Mapping[str, Any], taken: float, wall: float) -> GroupCount:
    """What a row says of its group; raises as `count_of`."""
    ceiling, sent = row["ceiling"], row["sent"]
    return GroupCount(
        tuple(count_of(window, taken, wall) for window in row["windows"]),
        None if ceiling is None else int(plain_number(ceiling, 1, _MOST)),
        None if sent is None else plain_number(sent, 0, _MOST),
    )


def count_of(row: Mapping[str, Any], taken: float, wall: float) -> Count:
    """A stored window as it stands at `wall`.

    It was written at `taken`. A wall clock that has gone back since makes nothing return
    later than it would have then. Raises ValueError, TypeError, KeyError or
    AttributeError for a row that makes no sense.
    """
    length = plain_number(row["length"], 1e-3, _LONGEST)
    if row["kind"] not in ("requests", "tokens") or row["shape"] not in _SHAPES:
        raise ValueError("no kind of limit")
    present, limit = max(taken, wall), plain_number(row["limit"], 1e-3, _MOST)
    returns, written = [], 0.0
    for at, stored in row["returns"]:
        amount = plain_number(stored, 0.0, _MOST)
        written += amount
        # A bucket that was overdrawn takes longer than its period to be full again.
        longest = length * max(2.0, 1.01 * amount / limit if row["shape"] == "bucket" else 0.0)
        wait = plain_number(at - present, -1e12, longest)
        if row["shape"] == "bucket" and at > taken:
            amount *= wait / (at - taken)  # it has been refilling ever since
        if wait > 0.0:
            returns.append((wait, amount))
    resets_at = row.get("resets_at")
    guess = row.get("guess")
    resets_in = None if resets_at is None else plain_number(resets_at - present, -1e12, 2 * length)
    left = sum(amount for _, amount in returns)
    others = min(plain_number(row.get("others", 0.0), 0.0, _MOST), written)
    heard = plain_number(row.get("heard", others), 0.0, _MOST)
    if row["shape"] != "bucket" and written:
        others *= left / written  # what returned meanwhile was of either alike
    return Count(
        kind=row["kind"],
        length=length,
        limit=limit,
        configured=row["configured"] is True,
        shape=row["shape"],
        returns=tuple(returns),
        resets_in=resets_in,
        guess=None if guess is None else _guess_of(*guess),
        others=min(others, left),
        heard=heard,
    )


def _guess_of(limit: object, patience: object) -> tuple[float, int]:
    return plain_number(limit, 1e-3, _MOST), int(plain_number(patience, 1.0, _MOST))


def joined(
    row: dict[str, Any],
    ours: Count,
    stored: Count,
    before: Count | None,
    earlier: Count | None,
    wall: float,
) -> dict[str, Any]:
    """Our window (`row`, read as `ours`) as it counts with what others have stored of it.

    `before` is our own count when we stored last. What we sent since is added to what is
    stored, but for as much as others have been told meanwhile of use that none of them had
    sent: those may be the very same calls. What is left of `others` does not say how much
    that is, since each who writes takes his own out of it. And it is counted from `earlier`,
    what the store held the time before: what was told after we had taken our last count and
    before it was stored may be of calls that it did not hold yet.
    """
    sent = ours.sent - (before.sent if before else 0.0)  # less, where a booking was not used
    told = min(stored.others, max(0.0, stored.heard - (earlier.heard if earlier else 0.0)))
    known = max(0.0, min(sent, told))
    used = max(ours.used, stored.used + sent - known)
    others = max(0.0, used - stored.sent - sent)
    heard = stored.heard + max(0.0, others - (stored.others - known))
    more = used - ours.used
    if more > _GRAIN * ours.limit:
        row = {**row, "returns": _with_more(row, stored, more, wall)}
    return {**row, "others": others, "heard": min(heard, _MOST)}


def _with_more(
    row: Mapping[str, Any], other: Count, amount: float, wall: float
) -> list[tuple[float, float]]:
    """What a window's row counts, and `amount` of what `other` counts: what returns last of it."""
    returns = [(at, used) for at, used in row["returns"] if at > wall]
    if row["shape"] == "bucket":  # all of it comes back as one, and evenly
        used = amount + sum(used for _, used in returns)
        return [(wall + used * row["length"] / row["limit"], used)]
    for wait, used in sorted(other.returns, reverse=True):
        returns.append((wall + wait, min(used, amount)))
        amount -= used
        if amount <= 0.0:
            break
    return sorted(returns)


def recount(
    group: QuotaGroup,
    stored: Sequence[GroupCount],
    scale: float,
    now: float,
    *,
    day_end: Callable[[float], float] | None = None,
) -> None:
    """Give a group back its learned limits, and what of them was used.

    A limit that the configuration states keeps its own size. Of several counts of one
    limit (each key of an account kept one) the largest holds. `day_end` tells when the
    provider's calendar day ends (monotonic seconds); None: its days roll.
    """
    counts = [count for row in stored for count in row.windows]
    for count in counts:
        if not count.configured:
            _recall(group, count, now, day_end)
    for count in sorted(counts, key=lambda count: count.used, reverse=True):
        window = group.window(count.kind, count.length)
        if window is None:
            continue  # the configuration stated it, and does so no more
        used = 0.0
        for wait, amount in sorted(count.returns, reverse=True):  # what returns last comes first
            used += amount
            window.observe(used, None if isinstance(window, FixedWindow) else wait, now)
    ceilings = [row.ceiling for row in stored if row.ceiling is not None]
    if ceilings and group.ceiling is None:
        group.ceiling = Ceiling(min(ceilings), now, scale)
    if group.slow_start is not None:
        group.slow_start.resume(max((row.sent or 0.0 for row in stored), default=0.0))
        end_slow_start(group, scale)


def _recall(
    group: QuotaGroup, count: Count, now: float, day_end: Callable[[float], float] | None
) -> None:
    """A limit that was learned is known again; the configuration's own word beats it."""
    window, study = group.window(count.kind, count.length), group.study
    if window is not None and window.configured:
        return
    if count.guess is not None and study is None:
        return  # all limits are told, and nothing is supposed
    if window is None:
        window = _learned(count, now, day_end)
        group.windows.append(window)
    if count.guess is None:
        window.limit = count.limit
        if study is not None:
            study.forget(window)
    elif study is not None:
        window.limit, patience = count.guess
        study.suppose(window, now, patience)


def _learned(count: Count, now: float, day_end: Callable[[float], float] | None) -> Window:
    if count.shape == "bucket":
        return Bucket(count.kind, count.limit, count.length, configured=False)
    if count.resets_in is not None:
        if count.length != DAY:
            day_end = None
        return FixedWindow(
            count.kind,
            count.limit,
            count.length,
            resets_at=now + count.resets_in if day_end is None else day_end(now),
            next_reset=day_end,
            configured=False,
        )
    return SlidingWindow(count.kind, count.limit, count.length, configured=False)
