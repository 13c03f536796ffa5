"""Provider x model x key: what a request is sent to, and what is known of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from hydra_core.engine.health import Breaker, Rest
from hydra_core.engine.score import Score
from hydra_core.engine.windows import NEVER

if TYPE_CHECKING:
    from hydra_core.engine.allowance import Allowance, Spend
    from hydra_core.engine.quota import Booking, QuotaGroup
    from hydra_core.engine.score import ScoreWeights

# Until a model has been seen: English prose has about 4 characters a token in every
# common tokenizer; the deviation covers code, names and the chat format.
_TOKENS_PER_CHAR: Final = 0.25
_DEVIATION: Final = 0.03
_PER_MESSAGE: Final = 4.0
_USUAL_OUTPUT: Final = 256.0
_STEP: Final = 0.15
_MILLION: Final = 1e6


@dataclass(frozen=True, slots=True)
class Size:
    """How large a request is before anyone counted its tokens."""

    chars: int
    messages: int
    max_tokens: int | None
    known_tokens: float | None = None

    @property
    def size_class(self) -> int:
        """Requests within a factor of four of each other share a class (engine.roster)."""
        return self.rough_tokens.bit_length() >> 1

    @property
    def rough_tokens(self) -> int:
        """Tokens, answer included, before any model taught us better."""
        rough = self.known_tokens
        if rough is None:
            rough = self.chars * _TOKENS_PER_CHAR + (self.max_tokens or _USUAL_OUTPUT)
        return int(rough)


class ModelFacts:
    """One model at one provider: its window, its price, and what its replies taught.

    `context_window` and `max_output` are tokens; the prices are USD per million.
    """

    __slots__ = (
        "_asked",
        "_needs",
        "breaker",
        "context_window",
        "deviation",
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
        self.tokens_per_char = _TOKENS_PER_CHAR
        self.deviation = _DEVIATION
        self.usual_output = _USUAL_OUTPUT
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

    def learn(self, size: Size, prompt_tokens: int, completion_tokens: int) -> None:
        """A reply reported its usage: correct the ratio and the usual output."""
        self._asked = None
        if size.chars > 200 and prompt_tokens > 0:
            seen = max(0.0, prompt_tokens - _PER_MESSAGE * size.messages) / size.chars
            off = seen - self.tokens_per_char
            self.tokens_per_char += _STEP * off
            self.deviation += _STEP * (abs(off) - self.deviation)
        if completion_tokens > 0:
            self.usual_output += _STEP * (1.5 * completion_tokens - self.usual_output)

    def cost(self, prompt_tokens: int, completion_tokens: int) -> float | None:
        """USD for one call, or None when a price is unknown (never a false zero)."""
        if self.input_usd is None or self.output_usd is None:
            return None
        return (prompt_tokens * self.input_usd + completion_tokens * self.output_usd) / _MILLION

    def needs(self, size: Size) -> tuple[float, float]:
        """What a budget must have for such a request: US dollars and tokens.

        Each candidate of a choice asks about the same request, so the last answer is kept.
        """
        if size is not self._asked:
            self._needs = (self.most_usd(size), self.tokens(size))
            self._asked = size
        return self._needs

    def most_usd(self, size: Size) -> float:
        """What a request of this size will be charged in USD; infinite while no price is known."""
        if self.input_usd is None or self.output_usd is None:
            return NEVER
        if size.known_tokens is not None:
            return self.dearest_usd(size.known_tokens) or 0.0
        room = self.usual_output if size.max_tokens is None else size.max_tokens
        return (self.prompt_tokens(size) * self.input_usd + room * self.output_usd) / _MILLION

    def dearest_usd(self, tokens: float) -> float | None:
        """USD for tokens of which nobody says whether they were read or written."""
        if self.input_usd is None or self.output_usd is None:
            return None
        return tokens * max(self.input_usd, self.output_usd) / _MILLION


@dataclass(frozen=True, slots=True)
class Scopes:
    """Whose rests a deployment shares with others; `pooled`: its quota is one of many models."""

    key: Rest
    account: Rest
    group: Rest
    provider: Rest
    pooled: bool = False


class Deployment:
    """One key of one provider for one model.

    `hard_until` and `soft_until` repeat the latest of all scopes this deployment
    stands in (key, account, group, model, provider), so that choosing reads two
    numbers, and `breaker` is the one in force; `refresh` recomputes them when a scope
    changes, which is rare.
    `allowance` is what its owner allows it; None: everything.
    """

    __slots__ = (
        "account",
        "allowance",
        "breaker",
        "calls",
        "failures",
        "group",
        "hard_until",
        "in_flight",
        "key",
        "last_used",
        "model",
        "order",
        "own_rest",
        "priority",
        "probing",
        "provider",
        "rests",
        "scopes",
        "score",
        "soft_until",
    )

    def __init__(
        self,
        *,
        provider: str,
        model: ModelFacts,
        key: str,
        account: str,
        group: QuotaGroup,
        scopes: Scopes,
        weights: ScoreWeights,
        priority: int,
        order: int,
        allowance: Allowance | None = None,
    ) -> None:
        self.provider = provider
        self.model = model
        self.key = key
        self.account = account
        self.group = group
        self.allowance = allowance
        self.own_rest = Rest(self.name)
        self.stand_in(scopes)
        self.priority = priority
        self.order = order
        self.score = Score(weights)
        self.calls = 0
        self.failures = 0
        self.in_flight = 0
        self.last_used = 0
        self.probing = False
        self.breaker = model.breaker
        self.hard_until = 0.0
        self.soft_until = 0.0

    @property
    def name(self) -> str:
        """`provider/model via key`, as messages show it."""
        return f"{self.provider}/{self.model.name} via {self.key}"

    def __repr__(self) -> str:
        return f"<Deployment {self.name}>"

    def stand_in(self, scopes: Scopes) -> None:
        """Share the rests of these scopes; `refresh` then takes them over."""
        self.scopes = scopes
        own = (self.own_rest, scopes.key, scopes.account, scopes.group)
        self.rests = (*own, self.model.rest, scopes.provider)

    def rests_at(self, now: float) -> bool:
        """True while the provider, or our doubt, keeps it from serving."""
        return self.hard_until > now or self.soft_until > now

    def refresh(self) -> None:
        """Take over the latest rest of all scopes, and the breaker that is open for longest."""
        self.hard_until = max(rest.hard_until for rest in self.rests)
        breaker = self.model.breaker
        wider = self.scopes.provider.breaker
        if wider is not None and 0.0 < wider.open_until >= breaker.open_until:
            breaker = wider
        self.breaker = breaker
        self.soft_until = max(breaker.open_until, *(rest.soft_until for rest in self.rests))


class Lease:
    """The right to make one call, charged before it is sent and settled exactly once.

    `probes` are those whose one probe at a time this call is; `spend` is what it booked in
    budgets, None where there are none; `used` its tokens as far as is known; `ended` is when
    the provider's answer came, infinite where none did.
    """

    __slots__ = (
        "charges",
        "deployment",
        "ended",
        "granted",
        "group",
        "probes",
        "settled",
        "size",
        "spend",
        "tokens",
        "used",
    )

    def __init__(
        self,
        deployment: Deployment,
        size: Size,
        tokens: float,
        charges: Booking,
        granted: float,
        *,
        probes: tuple[Breaker | Deployment, ...] = (),
        spend: Spend | None = None,
    ) -> None:
        self.deployment = deployment
        self.group = deployment.group
        self.size = size
        self.tokens = tokens
        self.charges = charges
        self.granted = granted
        self.probes = probes
        self.spend = spend
        self.used = tokens
        self.ended = NEVER
        self.settled = False

    def __repr__(self) -> str:
        state = "settled" if self.settled else "open"
        return f"<Lease {self.deployment.name}: {self.tokens:.0f} tokens, {state}>"
