"""Try prompts and models against each other on real calls, and say what the data show."""

from __future__ import annotations

import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import aclosing, closing
from dataclasses import dataclass, fields
from itertools import count
from typing import TYPE_CHECKING, Any, Final, cast

from hydra_core.assignment import nearest
from hydra_core.errors import ConfigError, HydraError, InvalidArgument
from hydra_core.messages import Chunk, Message, Reply
from hydra_core.request import check_quality, listed
from hydra_core.trial import Observation, Score, compared

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator

    from hydra_core.hydra import Hydra
    from hydra_core.trial_report import ExperimentReport

Variants = Mapping[str, Mapping[str, Any]] | list[str] | tuple[str, ...]

_GAP: Final = "{}"
_OURS: Final = ("messages", "unit")
# So many replies back, a second feedback corrects the first instead of adding to it.
_CORRECTABLE: Final = 10_000
_HEAVIEST: Final = 1e12


@dataclass(frozen=True, slots=True)
class TrialReply(Reply):
    """A Reply that knows which variant wrote it, for which unit."""

    experiment: str = ""
    variant: str = ""
    unit: str = ""
    number: int = 0


class Experiment:
    """Variants of a call, the unit that decides between them, and their scores so far.

    Made by `hydra.experiment(name, variants)`. Which variant a unit gets depends on the
    experiment's name, the unit and the weights alone: the same in every process and run.
    Scores live in this process and end with it. Safe for any number of threads and loops.
    """

    def __init__(
        self,
        hydra: Hydra,
        name: str,
        variants: Variants,
        weights: Mapping[str, float] | None = None,
    ) -> None:
        self._hydra = hydra
        self.name = name
        self._variants = _checked(name, variants)
        self._weights = _weighted(name, self._variants, weights)
        self._scores = {variant: Score() for variant in self._variants}
        self._lock = threading.Lock()
        self._numbers = count(1)
        self._judged: OrderedDict[int, float] = OrderedDict()

    def __repr__(self) -> str:
        return f"<Experiment {self.name!r}: {', '.join(self._variants)}>"

    def matching(self, other: Experiment) -> Experiment:
        """This experiment, if `other` compares the same things; else raises ConfigError."""
        if (self._variants, self._weights) != (other._variants, other._weights):
            raise ConfigError(
                f"experiment {self.name!r} already compares other variants or weights "
                f"({', '.join(self._variants)}); give the new one another name"
            )
        return self

    def assign(self, unit: str) -> str:
        """The variant of this unit (a user, a session, a document), always the same one."""
        return nearest(self.name, unit, self._weights)

    def chat(
        self, messages: str | list[Message], *, unit: str | None = None, **arguments: Any
    ) -> TrialReply:
        """`hydra.chat` as the unit's variant has it; what the variant sets wins.

        `unit` None: this call is a unit of its own, drawn at random. Raises as
        `hydra.chat`; a call that raises counts as failed, not as a poor answer.
        """
        unit, variant = self._drawn(unit)
        messages, arguments = self._as(variant, messages, arguments)
        try:
            reply = self._hydra.chat(messages, **arguments)
        except HydraError:
            self._failed(variant)
            raise
        return self.observe(reply, unit=unit)

    async def achat(
        self, messages: str | list[Message], *, unit: str | None = None, **arguments: Any
    ) -> TrialReply:
        """`chat` for event loops."""
        unit, variant = self._drawn(unit)
        messages, arguments = self._as(variant, messages, arguments)
        try:
            reply = await self._hydra.achat(messages, **arguments)
        except HydraError:
            self._failed(variant)
            raise
        return self.observe(reply, unit=unit)

    def stream(
        self, messages: str | list[Message], *, unit: str | None = None, **arguments: Any
    ) -> Iterator[Chunk]:
        """`hydra.stream` as the unit's variant has it.

        Its latency is the time that the reader waited for chunks, up to the last one; a
        stream left early is not scored. Give feedback on it by its unit.
        """
        unit, variant = self._drawn(unit)
        messages, arguments = self._as(variant, messages, arguments)
        watch = _Watch()
        stream = cast("Generator[Chunk]", self._hydra.stream(messages, **arguments))
        with closing(stream) as chunks:
            try:
                while (chunk := watch.timed(next(chunks, None))) is not None:
                    yield chunk
                    watch.start()
            except HydraError:
                self._failed(variant)
                raise
        if watch.last is not None:
            self._seen(variant, unit, watch.last, watch.seconds)

    async def astream(
        self, messages: str | list[Message], *, unit: str | None = None, **arguments: Any
    ) -> AsyncIterator[Chunk]:
        """`stream` for event loops."""
        unit, variant = self._drawn(unit)
        messages, arguments = self._as(variant, messages, arguments)
        watch = _Watch()
        stream = cast("AsyncGenerator[Chunk]", self._hydra.astream(messages, **arguments))
        async with aclosing(stream) as chunks:
            try:
                while (chunk := watch.timed(await anext(chunks, None))) is not None:
                    yield chunk
                    watch.start()
            except HydraError:
                self._failed(variant)
                raise
        if watch.last is not None:
            self._seen(variant, unit, watch.last, watch.seconds)

    def observe(self, reply: Reply, *, unit: str) -> TrialReply:
        """Score a reply that you got yourself for this unit, with `assign`'s variant.

        Raises InvalidArgument for what is no Reply: a swarm's result is one answer of many
        models, and says nothing of the variant's.
        """
        if not isinstance(reply, Reply):
            raise InvalidArgument("reply must be a Reply of chat() or achat()")
        variant = self.assign(unit)
        self._seen(variant, unit, reply, reply.latency)
        values = {part.name: getattr(reply, part.name) for part in fields(Reply)}
        return TrialReply(
            **values,
            experiment=self.name,
            variant=variant,
            unit=unit,
            number=next(self._numbers),
        )

    def feedback(self, reply: TrialReply | str, quality: float) -> None:
        """Say how good a reply was, from 0 to 1; also teaches the pool's score.

        A str is a unit: its variant gets the quality (for streams, and for words that come
        later, in another process too). A reply's second feedback replaces its first. One on
        a wait, a cached reply or another model's says nothing of the variant and is passed
        over. Raises InvalidArgument for a number outside 0..1, or another experiment's reply.
        """
        check_quality(quality)
        if isinstance(reply, str):
            with self._lock:
                self._scores[self.assign(reply)].judged(reply, quality)
            return
        if not isinstance(reply, TrialReply) or reply.experiment != self.name:
            raise InvalidArgument(f"this reply is none of experiment {self.name!r}; use its chat()")
        if reply.kind != "full":
            return
        self._hydra.feedback(reply, quality)
        if self._named(reply.variant, reply):
            with self._lock:
                before = self._judged.pop(reply.number, None)
                self._judged[reply.number] = quality
                if len(self._judged) > _CORRECTABLE:
                    self._judged.popitem(last=False)
                self._scores[reply.variant].judged(reply.unit, quality, instead_of=before)

    def report(self) -> ExperimentReport:
        """Quality, latency and cost of every variant so far, and which differences are shown."""
        with self._lock:
            scores = {name: score.copy() for name, score in self._scores.items()}
        return compared(self.name, scores)

    def _drawn(self, unit: str | None) -> tuple[str, str]:
        unit = uuid.uuid4().hex if unit is None else unit
        return unit, self.assign(unit)

    def _as(
        self, variant: str, messages: str | list[Message], arguments: Mapping[str, Any]
    ) -> tuple[list[Message], dict[str, Any]]:
        """The call as the variant has it."""
        changed = {**arguments, **self._variants[variant]}
        system, prompt = changed.pop("system", None), changed.pop("prompt", None)
        messages = listed(messages)
        if prompt is not None:
            messages = _filled(messages, prompt)
        if system is not None:
            messages = _headed(messages, system)
        return messages, changed

    def _named(self, variant: str, reply: Reply | Chunk) -> bool:
        """Whether a model that the variant names wrote it, or the variant names none."""
        model = self._variants[variant].get("model")
        if model is None:
            return True
        accepted = self._hydra.config.aliases.get(model, (model,))
        return reply.model in accepted or f"{reply.provider}/{reply.model}" in accepted

    def _failed(self, variant: str) -> None:
        with self._lock:
            self._scores[variant].failed += 1

    def _seen(self, variant: str, unit: str, answer: Reply | Chunk, latency: float) -> None:
        cost = answer.usage.cost_usd if answer.usage is not None else None
        seen = Observation(answer.kind, latency, cost, self._named(variant, answer))
        with self._lock:
            self._scores[variant].replied(unit, seen)


class _Watch:
    """Counts the seconds for which a reader waits, and keeps the last chunk."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.last: Chunk | None = None
        self.start()

    def start(self) -> None:
        self._since = time.perf_counter()

    def timed(self, chunk: Chunk | None) -> Chunk | None:
        self.seconds += time.perf_counter() - self._since
        self.last = chunk or self.last
        return chunk


def _checked(name: str, variants: Variants) -> dict[str, dict[str, Any]]:
    if isinstance(variants, list | tuple) and all(map(_is_name, variants)):
        variants = {variant: {} for variant in variants}
    # A str would be taken for a list of its letters.
    if not isinstance(variants, Mapping) or not all(_is_name(word) for word in (name, *variants)):
        raise ConfigError(
            f"experiment {name!r}: it needs a name, and variants as a dict of names and chat()'s "
            "arguments, or as a list of names; names are texts"
        )
    if len(variants) < 2:
        raise ConfigError(f"experiment {name!r} needs two variants or more to compare")
    for variant, arguments in variants.items():
        where = f"experiment {name!r}, variant {variant!r}"
        if not isinstance(arguments, Mapping):
            raise ConfigError(f"{where}: expected a dict of chat()'s arguments")
        if wrong := [word for word in _OURS if word in arguments]:
            raise ConfigError(f"{where}: {wrong[0]!r} comes with each call; use system or prompt")
        for word in ("system", "prompt"):
            if not isinstance(arguments.get(word, ""), str):
                raise ConfigError(f"{where}: {word} is a text")
        if _GAP not in arguments.get("prompt", _GAP):
            raise ConfigError(f"{where}: prompt needs a {_GAP} where the caller's text goes")
    return {variant: dict(arguments) for variant, arguments in variants.items()}


def _is_name(word: object) -> bool:
    return isinstance(word, str) and bool(word.strip())


def _weighted(
    name: str, variants: Mapping[str, Any], weights: Mapping[str, float] | None
) -> dict[str, float]:
    if weights is None:
        return dict.fromkeys(variants, 1.0)
    if not isinstance(weights, Mapping) or weights.keys() != variants.keys():
        raise ConfigError(f"experiment {name!r}: weights must name exactly its variants")
    if not all(isinstance(w, int | float) and 0 < w <= _HEAVIEST for w in weights.values()):
        raise ConfigError(f"experiment {name!r}: a weight is a number above 0")
    return {variant: float(weight) for variant, weight in weights.items()}


def _filled(messages: list[Message], prompt: str) -> list[Message]:
    """The last user message's text, put into the template's gaps; braces mean nothing else."""
    for place in reversed(range(len(messages))):
        message = messages[place]
        if message.get("role") == "user" and isinstance(message.get("content"), str):
            text = prompt.replace(_GAP, message["content"])
            return [*messages[:place], {**message, "content": text}, *messages[place + 1 :]]
    return messages


def _headed(messages: list[Message], system: str) -> list[Message]:
    """A system prompt in front; joined to the caller's, since some servers take only one."""
    first = messages[0] if messages else {}
    if first.get("role") == "system" and isinstance(first.get("content"), str):
        return [{**first, "content": f"{system}\n\n{first['content']}"}, *messages[1:]]
    return [{"role": "system", "content": system}, *messages]
