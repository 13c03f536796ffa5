"""Clues that keys share a quota although their provider does not name the account.

Two things show it, and each must be seen twice:

- refusal: a key of which nothing was asked for a whole window is refused while another one
  is drained, by what we asked of it, and no third one was asked for anything. The refused
  key must have served before, or both must be told to wait until the same moment: a key
  whose day was spent by somebody else is refused as well. The second time it must have
  served since the first, or be told so again: he may go on for minutes.
- counter: what a reply says is left has gone down by exactly as much as we asked of one
  other key since, and no third one was asked; by different amounts each time.

Law 1: what another user of the same keys would look like is no clue. He uses each of them
       about as much as we do, so only uneven use shows anything: keys that are used in
       turn are not joined by what they do.
Law 2: a contradiction ends a suspicion: the other key served while the first was drained,
       or its counter did not move.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hydra_core.messages import Fault
from hydra_core.wire import MINUTE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from hydra_core.engine.deployment import Deployment, Lease
    from hydra_core.engine.model_facts import ModelFacts
    from hydra_core.wire import LimitReading, Verdict

# Fewer requests are no use that could be told from chance.
_REAL: Final = 3
_TWICE: Final = 2
# Waits are stated in whole seconds, rounded up: two that end together end within this.
_TOGETHER: Final = 1.5
# A counter that strangers move is compared so often in vain, with so many keys, no more.
_LOOKS: Final = 32
_CROWD: Final = 64
_ROUNDING: Final = 0.99
_NEVER_YET: Final = float("-inf")


class Crowd:
    """The accounts that have one model: those that are drained, and those refused fresh.

    `fresh` holds when that was, and until when the provider said to wait; `served` counts
    what all have served.
    """

    __slots__ = ("drained", "fresh", "served", "tracks")

    def __init__(self) -> None:
        self.served = 0
        self.tracks: dict[Track, None] = {}
        self.drained: dict[Track, None] = {}
        self.fresh: dict[Track, tuple[float, float | None]] = {}

    def still_drained(self, now: float) -> list[Track]:
        """Those whose wait is not over."""
        for track in [track for track in self.drained if track.drained_until <= now]:
            del self.drained[track]
        return list(self.drained)


class Track:
    """What one account was asked for one model, as far as it tells anything.

    `served` and `refused` count answers, `served_before` what was served up to the last
    refusal; `unheard` are calls that ended otherwise. `mark` is what all had served when this
    one last did. `drained_until` is when the wait of the last refusal that we caused ends,
    `stated` when the provider said that it does; `suspects` were refused meanwhile, so many
    times each, and had served so much by then. `seen` holds the calls of all accounts at
    the last reading, `matches` by how much the counter fell as another account explains it.
    """

    __slots__ = (
        "busy_at",
        "crowd",
        "deployments",
        "drained_until",
        "looks",
        "mark",
        "matches",
        "proved",
        "refused",
        "seen",
        "served",
        "served_before",
        "stated",
        "suspects",
        "unheard",
    )

    def __init__(self, crowd: Crowd) -> None:
        self.crowd = crowd
        self.deployments: list[Deployment] = []
        self.served = 0
        self.served_before = 0
        self.refused = 0
        self.unheard = 0
        self.mark = 0
        self.busy_at = _NEVER_YET  # when we last asked anything of it that was not refused
        self.drained_until = 0.0
        self.stated: float | None = None
        self.suspects: dict[Track, tuple[int, int]] = {}
        self.proved = False
        self.seen: dict[Track, int] | None = None
        self.matches: dict[Track, set[int]] = {}
        self.looks = 0

    @property
    def calls(self) -> int:
        """Calls begun so far."""
        return sum(deployment.calls for deployment in self.deployments)

    @property
    def in_flight(self) -> int:
        """Calls under way."""
        return sum(deployment.in_flight for deployment in self.deployments)

    def idle_since(self, moment: float) -> bool:
        """Nothing was asked of it after that moment, as far as answers tell."""
        flying = self.in_flight
        known = self.served + self.refused + self.unheard + flying == self.calls
        return known and not flying and self.busy_at < moment

    def absorb(self, other: Track) -> None:
        """The two accounts are one: what was asked of either was asked of it."""
        self.deployments += other.deployments
        self.served += other.served
        self.served_before += other.served_before
        self.refused += other.refused
        self.unheard += other.unheard
        self.busy_at = max(self.busy_at, other.busy_at)
        self.proved |= other.proved
        self.seen = None
        if other.drained_until > self.drained_until:
            self.drained_until, self.stated = other.drained_until, other.stated
            self.crowd.drained[self] = None
        self.crowd.tracks.pop(other, None)
        self.crowd.drained.pop(other, None)
        self.crowd.fresh.pop(other, None)


class Clues:
    """Follows what is asked of each account, and says which of them prove to be one."""

    def __init__(self, deployments: Iterable[Deployment], scale: float) -> None:
        """`scale` shortens the providers' windows."""
        self._scale = scale
        self._tracks: dict[Deployment, Track] = {}
        crowds: dict[ModelFacts, Crowd] = {}
        found: dict[tuple[ModelFacts, str], Track] = {}
        for deployment in deployments:
            place = deployment.model, deployment.account
            track = found.get(place)
            if track is None:
                crowd = crowds.setdefault(deployment.model, Crowd())
                track = found[place] = Track(crowd)
                crowd.tracks[track] = None
            track.deployments.append(deployment)
            self._tracks[deployment] = track

    def heard(self, lease: Lease, verdict: Verdict, now: float) -> Sequence[Deployment]:
        """One deployment of each account that this answer proves to be the lease's own."""
        track = self._tracks[lease.deployment]
        crowd = track.crowd
        if len(crowd.tracks) == 1:
            return ()
        if verdict.fault is None:
            track.busy_at = now
            track.served += 1
            crowd.served += 1
            uneven = crowd.served - track.mark > 2 * len(crowd.tracks)
            track.mark = crowd.served
            if crowd.fresh or crowd.drained:
                self._contradicted(track, now)
            if not (uneven and verdict.readings):
                return ()
            proved = self._read(track, lease, verdict.readings, now)
        elif verdict.fault is Fault.RATE_LIMIT_MINUTE and verdict.kind != "concurrency":
            proved = self._refused(track, verdict, now)
        else:
            return ()
        return [other.deployments[0] for other in proved if other is not track]

    @staticmethod
    def _contradicted(track: Track, now: float) -> None:
        """It serves: it was not refused for good, and shares with nobody who is drained."""
        track.crowd.fresh.pop(track, None)
        for other in track.crowd.still_drained(now):
            other.suspects.pop(track, None)

    def joined(
        self, places: Mapping[ModelFacts, Deployment], gone: Iterable[Deployment]
    ) -> None:
        """The accounts of these deployments were made one; `places`: one kept for each model."""
        for deployment in gone:
            track = self._tracks[places.get(deployment.model, deployment)]
            old, self._tracks[deployment] = self._tracks[deployment], track
            if track is not old and old in track.crowd.tracks:
                track.absorb(old)

    def _refused(self, track: Track, verdict: Verdict, now: float) -> Sequence[Track]:
        window = (verdict.window or MINUTE) * self._scale
        wait, crowd = verdict.retry_after, track.crowd
        stated = None if wait is None else now + wait
        fresh = self._fresh(track, window, now)
        ran, track.served_before = track.served - track.served_before, track.served
        track.refused += 1
        crowd.fresh.pop(track, None)
        if fresh:
            crowd.fresh[track] = now, stated
        elif ran < _REAL:
            return ()
        else:
            track.drained_until = now + (window if wait is None else wait)
            track.stated = stated
            crowd.drained[track] = None
        drained = crowd.still_drained(now)
        if len(drained) != 1:
            return ()  # nobody, or one of several: nothing tells which
        others = (t for t in crowd.tracks if t is not drained[0] and t not in crowd.fresh)
        if not all(other.idle_since(now - window) for other in others):
            return ()
        return self._accused(drained[0], now - window)

    def _accused(self, drained: Track, since: float) -> Sequence[Track]:
        """Who proves to share with the one that is drained; refusals before `since` are old."""
        fresh, drained.crowd.fresh = drained.crowd.fresh, {}
        for track, (at, stated) in fresh.items():
            together = (
                stated is not None
                and drained.stated is not None
                and abs(stated - drained.stated) <= _TOGETHER * self._scale
            )
            current = at >= max(since, drained.busy_at)  # else it has served since
            if track is not drained and current and (track.served or together):
                times, served = drained.suspects.get(track, (0, -1))
                if together or track.served > served:
                    drained.suspects[track] = times + 1, track.served
        seen = sum(times for times, _ in drained.suspects.values())
        if not drained.suspects or (not drained.proved and seen < _TWICE):
            return ()
        drained.proved = True
        suspects, drained.suspects = drained.suspects, {}
        return [drained, *suspects]

    @staticmethod
    def _fresh(track: Track, window: float, now: float) -> bool:
        """Nothing was asked of it within the window but the call that was refused."""
        flying = track.in_flight
        unheard = track.calls - track.served - track.refused - flying
        if unheard != track.unheard:  # they failed or were given up: perhaps they were counted
            track.unheard, track.busy_at = unheard, now
        return flying <= 1 and now - track.busy_at > window

    def _read(
        self, track: Track, lease: Lease, readings: Sequence[LimitReading], now: float
    ) -> Sequence[Track]:
        """Compare what the counter lost with what we asked of the others since it was read."""
        missing = self._missing(lease, readings, now)
        if missing is None or (missing < _REAL and track.seen is None):
            return ()
        if track.looks >= _LOOKS or len(track.crowd.tracks) > _CROWD:
            return ()
        track.looks += 1
        before, track.seen = track.seen, None
        if any(other.in_flight for other in track.crowd.tracks if other is not track):
            return ()  # who knows which of those calls have been counted
        track.seen = {other: other.calls for other in track.crowd.tracks}
        if before is None or track.calls - before[track] != 1:
            return ()  # it was read since, when use was even
        asked = {t: n - before.get(t, 0) for t, n in track.seen.items() if t is not track}
        busy = [other for other, calls in asked.items() if calls]
        if len(busy) != 1 or asked[busy[0]] < _REAL:
            return ()
        (other,) = busy
        if abs(missing - asked[other]) > _ROUNDING:
            track.matches.pop(other, None)
            return ()
        found = track.matches.setdefault(other, set())
        found.add(asked[other])
        return [other] if len(found) >= _TWICE else ()

    def _missing(
        self, lease: Lease, readings: Sequence[LimitReading], now: float
    ) -> float | None:
        """Requests that the provider counts and we do not; None: it does not say."""
        for reading in readings:
            if reading.kind == "requests" and reading.remaining is not None:
                window = lease.group.window("requests", reading.window * self._scale)
                if window is None or window.limit != reading.limit:
                    return None
                return window.limit - reading.remaining - window.used(now)
        return None
