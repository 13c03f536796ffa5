"""One call, driven as the real drivers drive it: through the real gate, step by step.

Sends become events at a provider, parks become timers and bells, and at any moment the
caller may lose interest, even twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hydra_core.engine.steps import GiveUp, Park, Send
from hydra_core.messages import Fault, Reply
from hydra_core.testing.simulation.answers import answer_of, misread, spoken_answer
from hydra_core.testing.simulation.faults import HANG
from hydra_core.testing.simulation.provider import Outcome, Sent

if TYPE_CHECKING:
    from hydra_core.engine.dispatch import Dispatch
    from hydra_core.engine.routing import Route
    from hydra_core.testing.simulation.run import Simulation
    from hydra_core.testing.simulation.traffic import Call

KILLED: Final = "killed"
"""How a call ends whose process is killed: nobody is left to tell."""

_IMPATIENCE: Final = 0.001
"""Seconds after which who has cancelled cancels again."""


class Caller:
    """The driver of one call. It is its own bell: ringing it wakes it, if it is parked."""

    __slots__ = (
        "_journey",
        "_parked_at",
        "_sent",
        "_simulation",
        "_turn",
        "_waited",
        "call",
        "due",
        "ended",
        "refusals",
        "route",
        "was_waiting",
    )

    def __init__(self, simulation: Simulation, call: Call, journey: Dispatch, route: Route) -> None:
        self.call = call
        self.route = route
        self.due = simulation.time.now + (call.request.deadline or 0.0)
        self.ended = 0
        self.refusals: list[tuple[Fault, Sent]] = []
        self.was_waiting = False
        self._simulation = simulation
        self._journey = journey
        self._turn = 0
        self._sent: Sent | None = None
        self._parked_at: float | None = None
        self._waited = 0.0

    def begin(self) -> None:
        """Come, and perhaps plan to leave."""
        if self.call.leaves_after is not None:
            time = self._simulation.time
            time.at(time.now + self.call.leaves_after, self._cancel)
        self.step()

    def ring(self) -> None:
        """The engine's bell: look again at once."""
        if self._parked_at is not None:
            self._wake_at(self._simulation.time.now)

    def patience(self) -> float:
        """The last moment at which the caller would still be glad of a place."""
        allowed = self.call.request.max_wait or 0.0
        return min(self.due, self._simulation.time.now + allowed - self._waited)

    def step(self) -> None:
        """Ask the engine what to do, and do it."""
        simulation, self._turn = self._simulation, self._turn + 1
        self.was_waiting = self._parked_at is not None
        if self._parked_at is not None:
            self._waited += simulation.time.now - self._parked_at
            self._parked_at = None
        match simulation.gate.step(self._journey, lambda: self):
            case Send() as send:
                self._send(send)
            case Park() as park:
                self._parked_at = simulation.time.now
                self._wake_at(simulation.time.now + park.seconds)
            case Reply() as reply:
                self._end("reply", f"{reply.provider}/{reply.model} {reply.key}")
            case GiveUp() as end:
                self._end(type(end.error).__name__, "")
                simulation.explain(self, end.error)

    def _wake_at(self, when: float) -> None:
        turn = self._turn

        def wake() -> None:
            if turn == self._turn and not self.ended:
                self.step()

        self._simulation.time.at(when, wake)

    def _send(self, send: Send) -> None:
        simulation, turn = self._simulation, self._turn
        sent = self._sent = simulation.send(self.call, send)
        now = simulation.time.now

        def time_out() -> None:
            if turn == self._turn and not self.ended:
                self._hear(sent, Outcome(None, HANG))

        def arrive() -> None:
            outcome = simulation.arrive(sent)
            if outcome.seconds is not None:
                due = simulation.time.now + outcome.seconds
                simulation.time.world_at(due, lambda: leave(outcome))

        def leave(outcome: Outcome) -> None:
            simulation.provider(sent).finish(sent)
            simulation.time.at(simulation.time.now, lambda: answered(outcome))

        def answered(outcome: Outcome) -> None:
            if turn == self._turn and not self.ended:
                self._hear(sent, outcome)

        simulation.time.world_at(now + simulation.delay(sent), arrive)
        simulation.time.at(now + send.timeout, time_out)

    def _hear(self, sent: Sent, outcome: Outcome) -> None:
        """The attempt is over: tell the engine, and go on unless the reader has seen a part."""
        simulation = self._simulation
        self._sent = None
        answer = None
        if simulation.speaks(sent):
            answer = spoken_answer(sent, outcome)
            if answer is not None and misread(outcome, answer):
                simulation.wrong("misread", f"{outcome.fault} read as {answer.verdict}")
        simulation.close(sent, outcome)
        if isinstance(outcome.fault, Fault):
            self.refusals.append((outcome.fault, sent))
        simulation.gate.report(self._journey, answer or answer_of(sent, outcome))
        if outcome.fault is Fault.STREAM_BROKEN and self.call.streams:
            simulation.gate.abandon(self._journey)
            self._end("StreamBroken", "")
        else:
            self.step()

    def _cancel(self) -> None:
        if self.ended:
            return
        simulation, sent = self._simulation, self._sent
        self._sent = None
        if sent is not None:
            simulation.hang_up(sent)
        simulation.gate.abandon(self._journey)
        self._end("cancelled", "")
        simulation.time.at(
            simulation.time.now + _IMPATIENCE, lambda: simulation.gate.abandon(self._journey)
        )

    def die(self) -> None:
        """The process was killed: its connections close, and nobody settles anything."""
        sent, self._sent = self._sent, None
        if sent is not None:
            self._simulation.hang_up(sent)
        self._end(KILLED, "")

    def _end(self, how: str, where: str) -> None:
        self.ended += 1
        self._simulation.end(self, how, where)
