"""What an SDK asked for: one HTTP request, read and freed of its placeholder key.

An SDK insists on a key and a base URL. The key it sends is a placeholder: every
header and query field in which one travels is dropped here, and the transport
attaches a leased key at the last moment. The base URL is `http://hydra/v1`, which
exists nowhere, or a configured provider's own; a request to any other origin is
refused, so that no key can be led astray.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import SplitResult, quote, unquote, urlsplit, urlunsplit

from hydra_core.dialects.json_body import dumps, loads
from hydra_core.messages import ChatRequest, Message
from hydra_core.sdk.reply import SdkReply, refused

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from hydra_core.engine.deployment import Deployment
    from hydra_core.resolved import ResolvedProvider
    from hydra_core.wire import WireRequest

HYDRA_HOST: Final = "hydra"
BASE_URL: Final = f"http://{HYDRA_HOST}/v1"

Headers = tuple[tuple[str, str], ...]

# Where SDKs put their key: OpenAI's header, then Azure's, Anthropic's and Gemini's own.
_KEY_HEADERS: Final = frozenset({"authorization", "api-key", "x-api-key", "x-goog-api-key"})
_KEY_FIELDS: Final = ("key=", "api_key=", "api-key=")
# Of one connection, not of the request; or not meant for a provider at all.
_OWN_HEADERS: Final = frozenset(
    {"host", "content-length", "transfer-encoding", "connection", "keep-alive", "accept-encoding",
     "expect", "te", "upgrade", "cookie", "proxy-authorization"}
)  # fmt: skip
# They name the account of the placeholder: another key does not belong to it.
_ACCOUNT_HEADERS: Final = frozenset({"openai-organization", "openai-project"})
_HYDRA_HEADER: Final = "x-hydra-"
_LANE_HEADER: Final = "x-hydra-lane"

# Azure and Gemini name the model in the path.
_MODEL_IN_PATH: Final = re.compile(r"(/(?:models|deployments)/)([^/:]+)")
_NO_MODEL: Final = ("", "hydra", "default")
# The fields of a JSON request that a model reads, whatever the endpoint calls them.
_READ_FIELDS: Final = ("system", "instructions", "messages", "input", "prompt", "contents")
_OUTPUT_LIMITS: Final = ("max_tokens", "max_completion_tokens", "max_output_tokens")
_CHARS_PER_TOKEN: Final = 4  # of prompts that come as token numbers

# The path at which each dialect's own reader understands the replies.
_READABLE: Final = {
    "openai": re.compile(r"/chat/completions$"),
    "azure": re.compile(r"/chat/completions$"),
    "anthropic": re.compile(r"/messages$"),
    "gemini": re.compile(r":(?:generate|streamGenerate)Content$"),
}
# Which dialects take the requests that come to `http://hydra/v1`: OpenAI's, save these.
_SPEAKERS: Final = {"messages": ("anthropic",)}
_OPENAI_SPEAKERS: Final = ("openai", "azure")


@dataclass(frozen=True, slots=True)
class SdkRequest:
    """One JSON request of an SDK, without any key.

    `provider` None: it came to `http://hydra/v1`, and any provider that speaks one of
    `dialects` may serve it. `endpoint` is the path below the base URL
    (`chat/completions`). `model` is the selector: a bare name, `provider/model`, an
    alias, or None. `read_timeout` is the SDK's own, in seconds.
    """

    url: SplitResult
    headers: Headers = field(repr=False)
    body: bytes = field(repr=False)
    fields: dict[str, Any] = field(repr=False)
    provider: str | None
    endpoint: str
    dialects: tuple[str, ...]
    model: str | None
    lane: str | None
    read_timeout: float | None

    @property
    def stream(self) -> bool:
        """True when the SDK wants the reply as it is written."""
        return self.fields.get("stream") is True or "streamGenerateContent" in self.url.path

    def readable(self, dialect: str) -> bool:
        """True when this dialect's own reader understands the replies."""
        return _READABLE[dialect].search("/" + self.endpoint) is not None

    def as_chat(self) -> ChatRequest:
        """The same request as the engine sees one: enough to route it and to tell its size."""
        limits = (self.fields.get(name) for name in _OUTPUT_LIMITS)
        limit = next((n for n in limits if isinstance(n, int) and n > 0), None)
        params = {name: self.fields[name] for name in ("tools",) if self.fields.get(name)}
        if limit is not None:
            params["max_tokens"] = limit
        return ChatRequest(
            list(_read_by_model(self.fields)),
            model=self.model,
            provider=self.provider,
            lane=self.lane,
            params=params,
        )

    def addressed(self, wire: WireRequest, deployment: Deployment) -> WireRequest:
        """The request for one deployment; `wire` is how its dialect writes a chat request."""
        fields, body = self.fields, self.body
        if fields.get("model", deployment.model.name) != deployment.model.name or (
            self.provider is None and "model" not in fields
        ):
            body = dumps({**fields, "model": deployment.model.name})
        given = {name for name, _ in self.headers}
        headers = (*self.headers, *(pair for pair in wire.headers if pair[0] not in given))
        return replace(wire, url=self._url(wire.url, deployment), headers=headers, body=body)

    def _url(self, chat_url: str, deployment: Deployment) -> str:
        if self.provider is not None:
            return urlunsplit(self.url._replace(path=self._path(deployment.model.name)))
        parts = urlsplit(chat_url)
        path = re.sub(r"(?:chat/completions|messages)$", self.endpoint, parts.path)
        query = "&".join(filter(None, (parts.query, self.url.query)))
        return urlunsplit(parts._replace(path=path, query=query))

    def _path(self, model: str) -> str:
        """The path, with this model where it names the selector; else as it came."""
        path = self.url.path
        found = _MODEL_IN_PATH.search(path)
        if found is None:
            return path
        named = unquote(found[2])
        if named == model or self.fields.get("model", named) != named:
            return path
        served = quote(model.removeprefix("models/"), safe="")
        return f"{path[: found.start(2)]}{served}{path[found.end(2) :]}"


def _read_by_model(fields: Mapping[str, Any]) -> Iterable[Message]:
    for name in _READ_FIELDS:
        value = fields.get(name)
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, str):
                yield {"content": item}
            elif isinstance(item, dict):
                yield {**item, "content": item.get("content", item.get("parts", item.get("text")))}
            elif isinstance(item, int):
                yield {"content": " " * _CHARS_PER_TOKEN}
            elif isinstance(item, list):
                yield {"content": " " * _CHARS_PER_TOKEN * len(item)}


class Reception:
    """Takes the requests of SDKs in, and answers those that no key is needed for."""

    def __init__(
        self, providers: Sequence[ResolvedProvider], aliases: Mapping[str, object]
    ) -> None:
        self._providers = tuple(providers)
        self._aliases = tuple(aliases)
        self._names = frozenset(
            [*aliases, *(model.name for provider in providers for model in provider.models)]
        )

    def receive(
        self,
        method: str,
        url: str,
        headers: Iterable[tuple[str, str]],
        body: bytes,
        *,
        read_timeout: float | None,
    ) -> SdkRequest | SdkReply:
        """The request, or the reply to what needs no key or must not be sent."""
        parts = urlsplit(url)
        provider = self._owner(parts)
        if provider is None and parts.hostname != HYDRA_HOST:
            return refused(
                421,
                "unknown_origin",
                f"{parts.hostname} is no address of this pool, so no key is sent there; use "
                f"base_url={BASE_URL!r} or a configured provider's own",
            )
        endpoint = _endpoint(parts.path, provider)
        if method == "GET" and re.fullmatch(r"models(/.+)?", endpoint):
            return self._models(provider, unquote(endpoint.partition("/")[2]))
        fields = _json_object(body) if method == "POST" else None
        if fields is None:
            return refused(
                404,
                "unsupported_endpoint",
                f"{method} {parts.path} is not served here: only POST requests with a JSON object, "
                "and GET models, are",
            )
        low = [(name.lower(), value) for name, value in headers]
        return SdkRequest(
            url=parts._replace(query=_without_key(parts.query), fragment=""),
            headers=tuple(_kept(low, at_hydra=provider is None)),
            body=body,
            fields=fields,
            provider=provider.name if provider else None,
            endpoint=endpoint,
            dialects=(
                (provider.dialect,) if provider else _SPEAKERS.get(endpoint, _OPENAI_SPEAKERS)
            ),
            model=self._selector(fields, parts.path),
            lane=dict(low).get(_LANE_HEADER) or None,
            read_timeout=read_timeout,
        )

    def _owner(self, url: SplitResult) -> ResolvedProvider | None:
        """The provider at this origin; of several, the one whose path fits best."""
        here = [p for p in self._providers if _origin(urlsplit(p.base_url)) == _origin(url)]

        def fit(provider: ResolvedProvider) -> int:
            path = urlsplit(provider.base_url).path
            return len(path) if f"{url.path}/".startswith(f"{path}/") else -1

        return max(here, key=fit, default=None)

    def _selector(self, fields: Mapping[str, Any], path: str) -> str | None:
        model = fields.get("model")
        if not isinstance(model, str):
            found = _MODEL_IN_PATH.search(path)
            model = unquote(found[2]) if found else ""
        return model if model in self._names or model not in _NO_MODEL else None

    def _models(self, provider: ResolvedProvider | None, wanted: str) -> SdkReply:
        """The configuration as `GET /models` shows it: what `model=` may be."""
        rows: dict[str, str] = {}
        for one in (provider,) if provider else self._providers:
            rows |= {model.name: one.name for model in one.models if model.name not in rows}
        if provider is None:
            rows |= {
                f"{one.name}/{m.name}": one.name for one in self._providers for m in one.models
            }
            rows |= dict.fromkeys(self._aliases, HYDRA_HOST)
        entries = [
            {"id": name, "object": "model", "created": 0, "owned_by": owner}
            for name, owner in rows.items()
        ]
        if not wanted:
            return SdkReply.json(200, {"object": "list", "data": entries})
        for entry in entries:
            if entry["id"] == wanted:
                return SdkReply.json(200, entry)
        return refused(404, "model_not_found", "this model is not configured; GET models lists all")


def _endpoint(path: str, provider: ResolvedProvider | None) -> str:
    """The path below the base URL. Some SDKs put more than `/v1` before it: `/openai/v1`."""
    if provider is not None:
        return path.removeprefix(urlsplit(provider.base_url).path).strip("/")
    before, mark, after = path.partition("/v1/")
    return (after if mark else before).strip("/")


def _kept(headers: Iterable[tuple[str, str]], *, at_hydra: bool) -> Iterable[tuple[str, str]]:
    dropped = _KEY_HEADERS | _OWN_HEADERS | (_ACCOUNT_HEADERS if at_hydra else frozenset())
    for name, value in headers:
        if name not in dropped and not name.startswith(_HYDRA_HEADER):
            yield name, value


def _origin(url: SplitResult) -> tuple[str, str | None, int | None]:
    return url.scheme, url.hostname, url.port or {"http": 80, "https": 443}.get(url.scheme)


def _without_key(query: str) -> str:
    return "&".join(item for item in query.split("&") if not item.startswith(_KEY_FIELDS))


def _json_object(body: bytes) -> dict[str, Any] | None:
    try:
        value = loads(body)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
