"""Hydra: many heads, one voice. The public face over one KeyManager.

One object serves any number of threads and event loops at once, in notebooks too.
Every call ends by its deadline, with a reply that says what it is or a typed error.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import aclosing, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from hydra_core.config import HydraConfig, load
from hydra_core.continuation import OnBroken, Parts, ajoined, going_on, joined
from hydra_core.engine.dispatch import Dispatch
from hydra_core.engine.fallback import FallbackDispatch
from hydra_core.engine.size import size_of
from hydra_core.engine.steps import GiveUp, Patience
from hydra_core.errors import HydraClosed, PoolExhausted, StreamBroken
from hydra_core.messages import Chunk, Message, Reply
from hydra_core.request import chat_request, checked, judged, lease_request

if TYPE_CHECKING:
    from types import TracebackType

    from hydra_core.assemble import Pool
    from hydra_core.degrade import Ladder
    from hydra_core.drive.gate import Gate
    from hydra_core.engine.capacity import GroupCapacity
    from hydra_core.engine.routing import Route
    from hydra_core.experiment import Experiment, Variants
    from hydra_core.leases import HeldLease
    from hydra_core.messages import ChatRequest
    from hydra_core.rotation import Rotate
    from hydra_core.sdk.client import Library
    from hydra_core.store.response_cache import ResponseCache
    from hydra_core.swarm.values import SwarmPlan, SwarmResult

logger = logging.getLogger(__name__)

OnExhausted = Literal["answer", "raise"]
Config = HydraConfig | Mapping[str, Any] | str | Path | None


class Hydra:
    """One dependable model made of many keys, providers and models.

    `config` is a HydraConfig, a dict, the path of a TOML or JSON file, or None: the
    environment and `.env`. Where no key is found at all, the built-in extractive
    model answers, over real HTTP on loopback, and the log says so plainly.

    Raises ConfigError, naming the setting and the remedy.
    """

    def __init__(self, config: Config = None) -> None:
        from hydra_core.assemble import assemble
        from hydra_core.degrade import Ladder
        from hydra_core.drive.clock import uptime
        from hydra_core.drive.drivers import Drivers
        from hydra_core.drive.gate import Gate
        from hydra_core.drive.stream_record import StreamPatience
        from hydra_core.memory import Memory
        from hydra_core.notices import NoticeBoard, unused
        from hydra_core.stats import Tally

        self._closed = True  # until it is built: a debugger may show it when building fails
        settings = load(config)
        self._embedded: Any = None
        if not settings.providers:
            from hydra_core.testing.embedded import embedded

            self._embedded, settings = embedded(settings)
        self._config = settings
        self._pool: Pool = assemble(settings, now=uptime())
        self._board = NoticeBoard()
        self._board.put((*self._pool.notices, *unused(settings)))
        self._gate: Gate = Gate(self._pool.manager, tell=self._board.put)
        self._patience = Patience(
            settings.max_wait, settings.attempt_timeout, settings.timeout
        )
        self._stream_patience = StreamPatience(settings.first_token_timeout, settings.stall_timeout)
        self._tally = Tally()
        self._ladder: Ladder = Ladder(settings, self._pool.exchange)
        self._drivers = Drivers(
            self._gate,
            self._pool.exchange,
            settings.transport,
            longest_pause=self._stream_patience.longest,
        )
        self._experiments: dict[str, Experiment] = {}
        self._memory = Memory(
            settings.store_url(), self._gate, self._pool.exchange, self._tally
        )
        self._closed = False

    @classmethod
    def from_env(cls, env_file: str | Path | None = ".env") -> Self:
        """Configured by the environment alone. Raises ConfigError."""
        return cls(HydraConfig.from_env(env_file))

    @classmethod
    def from_file(cls, path: str | Path) -> Self:
        """Configured by a TOML or JSON file. Raises ConfigError."""
        return cls(HydraConfig.from_file(path))

    @property
    def config(self) -> HydraConfig:
        """The configuration in force."""
        return self._config

    @property
    def closed(self) -> bool:
        """True after `close`; every call then raises HydraClosed."""
        return self._closed

    @property
    def embedded(self) -> bool:
        """True when no key was found and the built-in extractive model answers."""
        return self._embedded is not None

    @property
    def remembered(self) -> float | None:
        """How old what an earlier process stored was at the start, in seconds; None: nothing."""
        return self._memory.age

    def __repr__(self) -> str:
        if self._closed:
            return "<Hydra [closed]>"
        keys = [row for rows in self._key_rows().values() for row in rows]
        states: dict[str, int] = {}
        for row in keys:
            states[row["state"]] = states.get(row["state"], 0) + 1
        told = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
        flying = sum(row["in_flight"] for row in keys)
        return f"<Hydra [keys: {told} | in flight: {flying}]>"

    def chat(
        self,
        messages: str | list[Message],
        *,
        model: str | None = None,
        provider: str | None = None,
        lane: str | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
        tools: list[dict[str, Any]] | None = None,
        tool_choice: str | dict[str, Any] | None = None,
        response_format: dict[str, Any] | None = None,
        deadline: float | None = None,
        on_exhausted: OnExhausted | None = None,
        priority: int = 0,
        max_wait: float | None = None,
        **extra: Any,
    ) -> Reply:
        """Ask, and get one whole reply.

        `messages` is a string or a list of OpenAI-format dicts. `model` is a bare name
        (any provider that lists it), `provider/name` or an alias; None: each provider's
        default. `deadline` is seconds from now for everything, waiting included;
        `max_wait` seconds of waiting for capacity. A higher `priority` is served first;
        below 0 it is batch work, as a swarm's is, which keeps a fifth of the grants.
        `extra` is passed on to the provider.

        Raises RequestRejected when no key would accept it; PoolExhausted or
        DeadlineExceeded only with `on_exhausted="raise"`, or where JSON or tool calls
        were asked for; otherwise `Reply.kind` says what came instead.
        """
        request = self._request(messages, locals(), extra)
        journey = self._journey(request, falling_back=not self._raises(on_exhausted))
        end = self._drivers.for_threads().complete(journey)
        if isinstance(end, Reply):
            return self._delivered(request, end)
        return self._instead(journey, end, on_exhausted)

    async def achat(
        self,
        messages: str | list[Message],
        *,
        model: str | None = None,
        provider: str | None = None,
        lane: str | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
        tools: list[dict[str, Any]] | None = None,
        tool_choice: str | dict[str, Any] | None = None,
        response_format: dict[str, Any] | None = None,
        deadline: float | None = None,
        on_exhausted: OnExhausted | None = None,
        priority: int = 0,
        max_wait: float | None = None,
        **extra: Any,
    ) -> Reply:
        """`chat` for event loops; the loop is never blocked."""
        request = self._request(messages, locals(), extra)
        journey = self._journey(request, falling_back=not self._raises(on_exhausted))
        end = await self._drivers.for_this_loop().complete(journey)
        if isinstance(end, Reply):
            return self._delivered(request, end)
        return await asyncio.to_thread(self._instead, journey, end, on_exhausted)

    def stream(
        self,
        messages: str | list[Message],
        *,
        model: str | None = None,
        provider: str | None = None,
        lane: str | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
        tools: list[dict[str, Any]] | None = None,
        tool_choice: str | dict[str, Any] | None = None,
        response_format: dict[str, Any] | None = None,
        deadline: float | None = None,
        on_exhausted: OnExhausted | None = None,
        priority: int = 0,
        max_wait: float | None = None,
        on_broken: OnBroken = "raise",
        **extra: Any,
    ) -> Iterator[Chunk]:
        """Ask, and get the reply as it is written; the last chunk carries the usage.

        Until the first token, failing over is invisible. Raises StreamBroken, with the
        text so far, when the stream breaks off after it; otherwise as `chat`. With
        `on_broken="continue"` the next key is asked to go on from there, and its chunks
        are marked `continued`; JSON and tool calls are not continued.
        """
        request = self._request(messages, locals(), extra)
        if going_on(on_broken):
            yield from joined(self.stream, self._parts(request, on_exhausted))
            return
        journey = self._journey(request, falling_back=not self._raises(on_exhausted))
        chunks = self._drivers.for_threads().stream(journey, self._stream_patience)
        with closing(chunks), self._counting_breaks():
            for chunk in chunks:
                if isinstance(chunk, Chunk):
                    yield chunk
                elif isinstance(chunk, Reply):
                    yield _last_chunk(self._delivered(request, chunk))
                else:
                    yield _as_chunk(self._instead(journey, chunk, on_exhausted))

    async def astream(
        self,
        messages: str | list[Message],
        *,
        model: str | None = None,
        provider: str | None = None,
        lane: str | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
        tools: list[dict[str, Any]] | None = None,
        tool_choice: str | dict[str, Any] | None = None,
        response_format: dict[str, Any] | None = None,
        deadline: float | None = None,
        on_exhausted: OnExhausted | None = None,
        priority: int = 0,
        max_wait: float | None = None,
        on_broken: OnBroken = "raise",
        **extra: Any,
    ) -> AsyncIterator[Chunk]:
        """`stream` for event loops. Leaving the loop early closes the connection."""
        request = self._request(messages, locals(), extra)
        if going_on(on_broken):
            async with aclosing(ajoined(self.astream, self._parts(request, on_exhausted))) as parts:
                async for part in parts:
                    yield part
            return
        journey = self._journey(request, falling_back=not self._raises(on_exhausted))
        chunks = self._drivers.for_this_loop().stream(journey, self._stream_patience)
        async with aclosing(chunks):
            with self._counting_breaks():
                async for chunk in chunks:
                    if isinstance(chunk, Chunk):
                        yield chunk
                    elif isinstance(chunk, Reply):
                        yield _last_chunk(self._delivered(request, chunk))
                    else:
                        reply = await asyncio.to_thread(self._instead, journey, chunk, on_exhausted)
                        yield _as_chunk(reply)

    def swarm(
        self,
        question: str,
        source: Any,
        *,
        deadline: float | None = None,
        model: str | None = None,
        lane: str | None = None,
        on_progress: Callable[[Any], None] | None = None,
        resume: Any = None,
    ) -> SwarmResult:
        """Read a whole document with all keys at once, and answer from it with citations.

        `source` is a path, a text, a Document, a list of them, or a framework's
        documents. With a `deadline` (seconds) that is too short, the answer is
        partial and says which share of the text was read. When no part can be read, the
        last whole answer to the same question on the same texts comes, as `cached`.

        Raises SourceError for what cannot be read, PoolExhausted when no key can
        ever serve.
        """
        from hydra_core.swarm.run import run_swarm

        checked(locals())
        self._check_open()
        return run_swarm(
            self,
            question,
            source,
            deadline=deadline,
            model=model,
            lane=lane,
            on_progress=on_progress,
            resume=resume,
            language=self._config.language,
            shelf=self._shelf,
        )

    async def aswarm(
        self,
        question: str,
        source: Any,
        *,
        deadline: float | None = None,
        model: str | None = None,
        lane: str | None = None,
        on_progress: Callable[[Any], None] | None = None,
        resume: Any = None,
    ) -> SwarmResult:
        """`swarm` for event loops."""
        from hydra_core.swarm.run import arun_swarm

        checked(locals())
        self._check_open()
        return await arun_swarm(
            self,
            question,
            source,
            deadline=deadline,
            model=model,
            lane=lane,
            on_progress=on_progress,
            resume=resume,
            language=self._config.language,
            shelf=self._shelf,
        )

    def plan(
        self,
        source: Any,
        question: str | None = None,
        *,
        deadline: float | None = None,
        model: str | None = None,
        lane: str | None = None,
    ) -> SwarmPlan:
        """What `swarm` would do with this source now: calls, seconds, tokens, coverage."""
        from hydra_core.swarm.run import plan_swarm

        checked(locals())
        self._check_open()
        return plan_swarm(self, source, question, deadline=deadline, model=model, lane=lane)

    def capacity(
        self, *, model: str | None = None, lane: str | None = None
    ) -> tuple[GroupCapacity, ...]:
        """What each quota group can still take now, for planners."""
        from hydra_core.engine.report import group_capacities

        checked(locals())
        self._check_open()
        return self._gate.ask(
            lambda manager, now: group_capacities(
                manager.routes.find(model=model, lane=lane), now
            )
        )

    def lease(
        self,
        *,
        provider: str | None = None,
        model: str | None = None,
        lane: str | None = None,
        tokens: int = 1000,
        deadline: float | None = None,
        max_wait: float | None = None,
    ) -> HeldLease:
        """A key for one call of any SDK, as a context manager (sync or async).

        Inside: `lease.api_key` (a Secret), `lease.base_url`, `lease.model`. `tokens` is
        what the call may use; `lease.used(tokens)` says what it did. An exception that
        carries a status code or a response is read, and the key rests as it deserves.
        Raises PoolExhausted when no key is free in time.
        """
        from hydra_core.leases import HeldLease

        self._check_open()
        request = lease_request(locals())
        journey = self._journey(request, tokens=tokens)
        return HeldLease(self._gate, self._pool.exchange, journey, self._tally.called)

    def rotate(
        self,
        *,
        provider: str | None = None,
        model: str | None = None,
        lane: str | None = None,
        tokens: int = 1000,
        deadline: float | None = None,
    ) -> Rotate:
        """Decorate a function (sync or async) that calls a provider with `api_key=`.

        Each call gets a key that is free; when it raises an exception with a status code
        or a response, another key is tried. It also gets `base_url`, `model`, `lane` and
        `lease` where it takes them. Any other exception passes untouched.
        """
        from hydra_core.rotation import Rotate

        request = lease_request(locals())

        def journey() -> Dispatch:
            self._check_open()
            return self._journey(request, tokens=tokens)

        return Rotate(self._gate, self._pool.exchange, journey, self._tally.called)

    def http_client(self, library: Library = "auto", **client_options: Any) -> Any:
        """An HTTP client that rotates keys below any SDK which takes `http_client=`.

        `OpenAI(api_key="hydra", base_url="http://hydra/v1", http_client=hydra.http_client())`:
        the SDK's key is a placeholder, its base URL that one or a configured provider's.
        `library` is what the SDK is built on (`auto`: httpx where it is imported already,
        else httpx2); the client's other arguments are `client_options`. The return type is
        the library's `Client`. Raises ConfigError when the library is not installed.
        """
        from hydra_core.sdk.client import SdkPool, sync_client

        self._check_open()
        exchange = self._pool.exchange
        pool = SdkPool(self._gate, exchange, self._config, self._tally, self._check_open)
        return sync_client(pool, library, client_options)

    def async_http_client(self, library: Library = "auto", **client_options: Any) -> Any:
        """`http_client` as an `AsyncClient`, which any number of event loops may use."""
        from hydra_core.sdk.client import SdkPool, async_client

        self._check_open()
        exchange = self._pool.exchange
        pool = SdkPool(self._gate, exchange, self._config, self._tally, self._check_open)
        return async_client(pool, library, client_options)

    def feedback(self, reply: Reply, quality: float) -> None:
        """Teach the score how good a reply was, from 0 to 1.

        Raises InvalidArgument for another quality, and for what is no reply.
        """
        judged(reply, quality)
        self._gate.ask(
            lambda manager, _: manager.judged(reply.provider, reply.model, reply.key, quality)
        )

    def experiment(
        self, name: str, variants: Variants, *, weights: Mapping[str, float] | None = None
    ) -> Experiment:
        """Compare prompts and models on real calls: quality, latency and cost of each.

        `variants` maps names to arguments of `chat` (`model`, `temperature`, ..., a `system`
        prompt, or a `prompt` whose `{}` takes the caller's text), or lists names alone;
        `weights` says how often each is drawn. The first is what others are compared with.
        The same name gives the same experiment again; ConfigError when it has other variants.
        """
        from hydra_core.experiment import Experiment

        self._check_open()
        trial = Experiment(self, name, variants, weights)
        return self._experiments.setdefault(name, trial).matching(trial)

    def explain(
        self,
        messages: str | list[Message],
        *,
        model: str | None = None,
        provider: str | None = None,
        lane: str | None = None,
        max_tokens: int | None = None,
        deadline: float | None = None,
        on_exhausted: OnExhausted | None = None,
        max_wait: float | None = None,
        **extra: Any,
    ) -> list[dict[str, Any]]:
        """Which deployment would serve this request now, and why each other one would not.

        One row each, who would serve it first: `provider`, `model`, `key`, `chosen`, `tier`
        (None: not on its route), `starts_in` (seconds, None: not until something changes),
        `why` and `score`. Nothing is sent. Raises RequestRejected as `chat` does.
        """
        from hydra_core.engine.explanation import foreseen

        request = self._request(messages, locals(), extra)
        falling_back = not self._raises(on_exhausted)
        within = min(
            self._patience.max_wait if max_wait is None else max_wait,
            self._patience.timeout if deadline is None else deadline,
        )
        return self._gate.ask(
            lambda manager, now: foreseen(
                manager, request, now, falling_back=falling_back, max_wait=within
            )
        )

    def health(self) -> dict[str, Any]:
        """The state of every provider and key, and the last 50 errors.

        `total_requests` counts what has ended; `in_flight` are attempts on the wire now, the
        oldest of a key's for `busy_for` seconds, and `waiting` are calls without a key yet.
        """
        return self._tally.health(self._key_rows(), self._gate.waiting)

    def stats(self) -> dict[str, Any]:
        """Counters since the start: calls, attempts, faults, tokens, cost, by key.

        `notices` are the last 50 things that were found out and people should know.
        """
        return {**self._tally.stats(self._key_rows()), "notices": self._board.rows()}

    def session_summary(self) -> dict[str, Any]:
        """What this session did, in one small dict."""
        return self._tally.summary(self._key_rows())

    def close(self) -> None:
        """Give up the connections and flush what is stored. Safe to call twice.

        Calls that wait or are under way in other threads or tasks end with HydraClosed.
        """
        if self._closed:
            return
        self._closed = True
        self._gate.close()
        self._drivers.close()
        self._memory.close()
        self._ladder.close()
        if self._embedded is not None:
            self._embedded.stop()

    async def aclose(self) -> None:
        """`close` for event loops; also closes this loop's connections."""
        self._gate.close()  # first: calls of this loop are told so, not that they failed
        await self._drivers.aclose()
        await asyncio.to_thread(self.close)

    def __enter__(self) -> Self:
        self._check_open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        self._check_open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    def _request(
        self, messages: str | list[Message], named: Mapping[str, Any], extra: Mapping[str, Any]
    ) -> ChatRequest:
        self._check_open()
        return chat_request(messages, named, extra)

    def _route(self, request: ChatRequest, *, smaller: bool = False) -> Route:
        return self._pool.manager.routes.find(
            provider=request.provider, model=request.model, lane=request.lane, smaller=smaller
        )

    def _journey(
        self, request: ChatRequest, *, tokens: int | None = None, falling_back: bool = False
    ) -> Dispatch:
        """The journey of a request; `falling_back`: to smaller models of its providers too."""
        size = size_of(request)
        if tokens is not None:
            size = replace(size, known_tokens=float(tokens))
        route, patience, now = self._route(request), self._patience, self._gate.clock()
        if falling_back:
            smaller = self._route(request, smaller=True)
            if smaller.tiers:
                return FallbackDispatch(
                    request, route, patience, now=now, size=size, smaller=smaller
                )
        return Dispatch(request, route, patience, now=now, size=size)

    def _parts(self, request: ChatRequest, on_exhausted: OnExhausted | None) -> Parts:
        patience, max_wait = self._patience, request.max_wait
        limit = patience.timeout if request.deadline is None else request.deadline
        return Parts(
            request,
            on_exhausted=on_exhausted,
            ends=self._gate.clock() + limit,
            max_wait=patience.max_wait if max_wait is None else max_wait,
            clock=self._gate.clock,
            most=len(self._route(request).deployments),
        )

    @property
    def _shelf(self) -> ResponseCache | None:
        """Where answers of earlier swarms are looked for, if they may stand in for an error."""
        return None if self._raises(None) else self._ladder.cache

    def _raises(self, on_exhausted: OnExhausted | None) -> bool:
        return (on_exhausted or self._config.on_exhausted) == "raise"

    @contextmanager
    def _counting_breaks(self) -> Iterator[None]:
        try:
            yield
        except StreamBroken as broken:
            self._tally.gave_up(broken)
            raise

    def _delivered(self, request: ChatRequest, reply: Reply) -> Reply:
        self._tally.replied(reply)
        self._ladder.remember(request, reply)
        return reply

    def _instead(self, journey: Dispatch, end: GiveUp, on_exhausted: OnExhausted | None) -> Reply:
        """What the caller gets in place of a full answer; raises what cannot be replaced."""
        error = end.error
        self._tally.gave_up(error)
        if not isinstance(error, PoolExhausted) or self._raises(on_exhausted):
            raise error
        if journey.request.needs_structure:
            raise error  # prose in place of JSON or a tool call would break the caller
        left = journey.deadline - self._gate.clock()
        reply = self._ladder.instead(journey.request, error, left)
        self._tally.degraded(reply)
        return replace(reply, latency=self._gate.clock() - journey.started)

    def _key_rows(self) -> dict[str, list[dict[str, Any]]]:
        from hydra_core.engine.report import disabled_row, key_rows

        rows = self._gate.ask(
            lambda manager, now: key_rows(manager, now, self._config.time_scale)
        )
        for key in self._pool.disabled:
            keys = rows.setdefault(key.provider, [])
            keys.insert(key.place, disabled_row(key.name, key.account))
        return rows

    def _check_open(self) -> None:
        if self._closed:
            raise HydraClosed("this Hydra was closed; build a new one")
        self._memory.wake()


def _last_chunk(reply: Reply) -> Chunk:
    """The chunk that closes a stream: how it finished and what it used."""
    return replace(_as_chunk(reply), text="")


def _as_chunk(reply: Reply) -> Chunk:
    return Chunk(
        text=reply.text,
        finish_reason=reply.finish_reason,
        usage=reply.usage,
        provider=reply.provider,
        model=reply.model,
        key=reply.key,
        kind=reply.kind,
        age=reply.age,
        eta=reply.eta,
    )
