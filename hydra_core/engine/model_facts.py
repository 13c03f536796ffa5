"""One model at one provider: what it costs, what it holds, and what its replies taught."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from hydra_core.engine.echo import Echo
from hydra_core.engine.health import Breaker, Rest
from hydra_core.engine.size import TOKENS_PER_CHAR, USUAL_OUTPUT, tokens_of
from hydra_core.engine.windows import NEVER
from hydra_core.messages import Usage

if TYPE_CHECKING:
    from hydra_core.engine.size import Size

# The deviation covers code, names and the chat format until a model has been seen.
_DEVIATION: Final = 0.03
_PER_MESSAGE: Final = 4.0
_TELLING: Final = 200  # characters; a shorter prompt is mostly the chat format around it
_STEP: Final = 0.15  # the weight of the newest reply
_ROOM: Final = 1.5  # booked for each token of a usual answer, since many are longer
_MILLION: Final = 1e6
UNPRICED_USD: Final = 1e-3
"""What is booked for a call of a model without a price while it is under way: nobody knows what
it costs, but a budget that is spent, or that allows only what is free, keeps it out."""


class ModelFacts:
    """One model at one provider: its window, its price, and what its replies taught.

    `context_window` and `max_output` are tokens; the prices are USD per million.
    `usual_output` is the room in tokens that is booked for an answer of no stated length.
    """

    __slots__ = (
        "_asked",
        "_needs",
        "answered_at",
        "breaker",
        "context_window",
        "deviation",
        "echo",
        "input_usd",
        "max_output",
        "name",
        "output_usd",
        "provider",
        "refused_by",
        "rest",
        "tokens_per_char",
        "usual_output",
    )

    def __init__(
        self,
        provider: str,
        name: str,
        *,
        context_window: int | None = None,
        max_output: int | None = None,
        input_usd: float | None = None,
        output_usd: float | None = None,
    ) -> None:
        self.provider = provider
        self.name = name
        self.context_window = context_window
        self.max_output = max_output
        self.input_usd = input_usd
        self.output_usd = output_usd
        self.rest = Rest(f"{provider}/{name}")
        self.breaker = Breaker(self.rest)
        self.refused_by: set[str] = set()
        self.echo = Echo()
        self.tokens_per_char = TOKENS_PER_CHAR
        self.deviation = _DEVIATION
        self.usual_output = USUAL_OUTPUT
        self.answered_at = -NEVER  # when its provider last answered, whatever it said
        self._asked: Size | None = None
        self._needs = (0.0, 0.0)

    def prompt_tokens(self, size: Size) -> float:
        """The prompt's tokens, estimated with the learned ratio plus its deviation."""
        if size.known_tokens is not None:
            return size.known_tokens
        ratio = self.tokens_per_char + self.deviation
        return size.chars * ratio + _PER_MESSAGE * size.messages

    def tokens(self, size: Size) -> float:
        """What a request of this size will be charged: the prompt and its answer's room."""
        if size.known_tokens is not None:
            return size.known_tokens
        room = self.usual_output if size.max_tokens is None else size.max_tokens
        return self.prompt_tokens(size) + room

    def usual_tokens(self, size: Size) -> float:
        """What such a request will have taken once settled: few answers use all their room."""
        if size.known_tokens is not None:
            return size.known_tokens
        usual = self.usual_output / _ROOM
        answer = usual if size.max_tokens is None else min(usual, size.max_tokens)
        return self.prompt_tokens(size) + answer

    def _usual_room(self, size: Size) -> float:
        most = size.max_tokens
        return self.usual_output if most is None else min(self.usual_output, most)

    def learn(self, size: Size, prompt_tokens: int, completion_tokens: int) -> None:
        """A reply reported its usage: correct the ratio and the usual output."""
        self._asked = None
        if size.chars > _TELLING and prompt_tokens > 0:
            seen = max(0.0, prompt_tokens - _PER_MESSAGE * size.messages) / size.chars
            off = seen - self.tokens_per_char
            self.tokens_per_char += _STEP * off
            self.deviation += _STEP * (abs(off) - self.deviation)
        if completion_tokens > 0:
            self.usual_output += _STEP * (_ROOM * completion_tokens - self.usual_output)

    def cost(self, prompt_tokens: int, completion_tokens: int) -> float | None:
        """USD for one call, or None when a price is unknown (never a false zero)."""
        if self.input_usd is None or self.output_usd is None:
            return None
        return (prompt_tokens * self.input_usd + completion_tokens * self.output_usd) / _MILLION

    def cost_of(self, usage: Usage) -> float | None:
        """What a call cost in USD: as its reply says, else by our prices, where known."""
        if usage.cost_usd is not None:
            return usage.cost_usd
        return self.cost(usage.prompt_tokens, usage.completion_tokens)

    def estimated(self, size: Size, text: str) -> Usage:
        """What a call used that reported nothing: of a lease, all that was announced."""
        usage = Usage(int(self.prompt_tokens(size)), tokens_of(len(text)))
        if size.known_tokens is None:
            return usage
        return replace(usage, cost_usd=self.dearest_usd(usage.total_tokens))

    def needs(self, size: Size) -> tuple[float, float]:
        """What a budget must have for such a request: US dollars and tokens.

        Each candidate of a choice asks about the same request, so the last answer is kept.
        """
        if size is not self._asked:
            self._needs = (self.most_usd(size), self.tokens(size))
            self._asked = size
        return self._needs

    def most_usd(self, size: Size) -> float:
        """What a request of this size will be charged in USD.

        While no price is known it is `UNPRICED_USD`.
        """
        if self.input_usd is None or self.output_usd is None:
            return UNPRICED_USD
        if size.known_tokens is not None:
            return self.dearest_usd(size.known_tokens) or 0.0
        room = self.usual_output if size.max_tokens is None else size.max_tokens
        return (self.prompt_tokens(size) * self.input_usd + room * self.output_usd) / _MILLION

    def usual_usd(self, size: Size) -> float | None:
        """What a request of this size costs as a rule; None while no price is known."""
        if size.known_tokens is not None:
            return self.dearest_usd(size.known_tokens)
        return self.cost(int(self.prompt_tokens(size)), int(self._usual_room(size)))

    def dearest_usd(self, tokens: float) -> float | None:
        """USD for tokens of which nobody says whether they were read or written."""
        if self.input_usd is None or self.output_usd is None:
            return None
        return tokens * max(self.input_usd, self.output_usd) / _MILLION
